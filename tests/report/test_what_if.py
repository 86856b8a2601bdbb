"""What the table advises follows from the intervals; the same words in every form of the report."""

import pytest
from factories import make_suite

from scalemark.report.sections import report_sections
from scalemark.report.tables.what_if import advice, option_name, what_if_table
from scalemark.report.terminal import terminal_summary
from scalemark.schema import Analysis, Estimate, LossEffect, ModelConfig, WhatIf, Workload

BASE = Workload(
    phase="step",
    model=ModelConfig(n_layer=8, d_model=512, n_head=8),
    batch=4,
    seq_len=256,
    optimizer="adamw",
)
FASTER, SLOWER, UNCLEAR = (
    Estimate(value=value, low=low, high=high)
    for value, low, high in ((0.62, 0.55, 0.7), (1.3, 1.2, 1.4), (1, 0.9, 1.1))
)


def effect(value: float, half: float, spread: float = 0.05) -> LossEffect:
    difference = Estimate(value=value, low=value - half, high=value + half)
    return LossEffect(difference=difference, spread=spread, n_seeds=3, n_steps=6)


def what_if(time_ratio: Estimate | None = FASTER, **fields: object) -> WhatIf:
    work = BASE.model_copy(update={"dtype": "bfloat16"})
    found = {
        "workload": work,
        "base": BASE,
        "time_ratio": time_ratio,
        "joint_ratio": time_ratio,
        "n_blocks": 5,
        **fields,
    }
    return WhatIf.model_validate(found)


def analysis_of(*found: WhatIf) -> Analysis:
    return Analysis(suite=make_suite(), what_ifs=found)


@pytest.mark.parametrize(
    ("found", "begins"),
    [
        (what_if(FASTER, loss=effect(0.0, 0.0)), "Take it: 1.61× faster (1.43 to 1.82)"),
        (what_if(FASTER), "Weigh it: 1.61× faster (1.43 to 1.82), loss not measured"),
        (what_if(FASTER, loss=effect(0.5, 0.1)), "Weigh it: 1.61× faster"),
        (what_if(SLOWER), "Leave it: 1.30× slower (1.20 to 1.40)"),
        (what_if(SLOWER, memory_ratio=0.6), "Where memory is short: 1.30× slower"),
        (what_if(UNCLEAR), "No sure gain: as fast, as far as can be told"),
        (what_if(UNCLEAR, memory_ratio=0.6), "Where memory is short"),
    ],
)
def test_advice_follows_from_what_is_sure(found: WhatIf, begins: str) -> None:
    assert advice(found).startswith(begins)


def test_what_only_an_interval_of_its_own_calls_faster_is_no_sure_gain() -> None:
    joint = Estimate(value=0.62, low=0.3, high=1.2, level=0.99)
    assert advice(what_if(FASTER, joint_ratio=joint)).startswith("No sure gain: 1.61× faster (1.43 to 1.82)")


def test_advice_names_memory_and_loss_where_they_differ() -> None:
    said = advice(what_if(FASTER, memory_ratio=0.81, loss=effect(0.5, 0.1)))
    assert said == "Weigh it: 1.61× faster (1.43 to 1.82), 19 % less memory, +0.5000 loss after 6 steps."


def test_no_effect_is_said_only_beside_what_seeds_do() -> None:
    assert "no effect on loss" in advice(what_if(loss=effect(0.002, 0.001)))
    assert "no effect" not in advice(what_if(loss=effect(0.002, 0.001, spread=0.001)))
    assert "the same loss to the last digit" in advice(what_if(loss=effect(0.0, 0.0)))


def test_a_difference_of_rounding_is_not_written_out() -> None:
    losses = [
        what_if_table(analysis_of(what_if(loss=one))).rows[0][5] for one in (effect(2e-7, 3e-7), effect(0.01, 0.002))
    ]
    assert losses == ["< 0.0001 apart", "+0.0100 ± 0.0020"]


def test_what_was_not_measured_says_why_beside_what_was() -> None:
    untimed = what_if(None, reason="no kernel here")
    table = what_if_table(analysis_of(what_if(), untimed))
    assert table.rows[1][3:] == ("–", "–", "–", "no kernel here")
    assert not what_if_table(analysis_of(untimed)).rows, "a step none of whose options was timed tells nothing"


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({"dtype": "bfloat16"}, "bfloat16"),
        ({"compiled": True}, "torch.compile"),
        ({"checkpointed": True}, "activation checkpointing"),
        ({"micro_batches": 4}, "4 micro-batches"),
        ({"optimizer_kernels": "for_loop"}, "for-loop AdamW"),
        ({"dtype": "bfloat16", "attention": "math"}, "math attention (in bfloat16)"),
    ],
)
def test_an_option_has_the_name_that_people_use(changes: dict[str, object], name: str) -> None:
    assert option_name(BASE.model_copy(update=changes)) == name


def test_the_short_table_is_of_the_largest_step_alone_and_nothing_says_nothing() -> None:
    smaller = what_if().model_copy(update={"base": BASE.model_copy(update={"seq_len": 128})})
    analysis = analysis_of(what_if(), smaller)
    assert len(what_if_table(analysis).rows) == 2
    assert len(what_if_table(analysis, largest_only=True).rows) == 1
    empty = what_if_table(analysis_of())
    assert not empty.rows and not empty.note


def test_the_note_says_what_seeds_do_and_over_how_many_blocks() -> None:
    note = what_if_table(analysis_of(what_if(loss=effect(0.002, 0.001)))).note
    assert "over 5 blocks" in note
    assert "from seed to seed it differs by 0.050" in note


def test_every_form_of_the_report_has_it() -> None:
    """Markdown and HTML draw the sections; the terminal has its own choice of tables."""
    analysis = analysis_of(what_if(), what_if().model_copy(update={"base": BASE.model_copy(update={"seq_len": 128})}))
    (section,) = [one for one in report_sections(analysis) if one.title == "What if"]
    assert section.tables == (what_if_table(analysis),)
    lines = terminal_summary(analysis, {}, width=120)
    assert sum("1.61× faster" in line for line in lines) == 1, "of the largest step alone"
