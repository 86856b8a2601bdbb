"""Warnings are values: each says what was seen and ends in advice."""

import pytest

from scalemark.record.noise import noise_warnings
from scalemark.record.times import time_fields
from scalemark.schema import Block, Ceilings, Cell, Conditions, Estimate, ModelConfig, Workload

MODEL = ModelConfig(n_layer=1, d_model=64, n_head=1)


def cell(tagged: dict | None = None, host_s: tuple[float, ...] | None = None, steady: bool = True) -> Cell:
    conditions = Conditions(turn_lengths=(4,), tagged=tagged or {}, host_s=host_s)
    blocks = [
        Block(index=i, warmup_s=(0.1,), rounds_s=(0.1,) * 4, setup_s=0.1, steady=steady, conditions=conditions)
        for i in range(3)
    ]
    bare = Cell(workload=Workload(phase="step", model=MODEL, batch=2, seq_len=256), status="ok", blocks=tuple(blocks))
    return bare.model_copy(update=time_fields(bare))


def said(*cells: Cell) -> list[str]:
    return [f"{warning.subject}: {warning.message}" for warning in noise_warnings(cells, Ceilings())]


def test_rounds_that_nothing_disturbed_give_no_warning():
    assert said(cell()) == []


@pytest.mark.parametrize(
    ("tag", "words"),
    [
        ("stolen", "hypervisor gave to others"),
        ("pressured", "waited for a CPU"),
        ("throttled", "held the cores back"),
        ("preempted", "lost a CPU"),
    ],
)
def test_a_share_of_disturbed_rounds_is_said_with_what_to_do(tag, words):
    (warning,) = said(cell({tag: (0, 1)}))
    assert warning.startswith("50% of the timed rounds")
    assert words in warning
    assert ": " in warning.split("rounds: ")[1], "advice follows what was seen"


def test_a_few_disturbed_rounds_are_not_worth_a_warning():
    assert said(cell({"stolen": (0,)}), *[cell()] * 10) == []


def test_cells_that_never_became_steady_are_counted():
    (warning,) = said(cell(steady=False), cell())
    assert warning.startswith("1 of 2 cells")
    assert "drifted" in warning


def test_a_gpu_that_waits_for_its_host_is_said():
    (warning,) = said(cell(host_s=(0.099,) * 4))
    assert "waited for the host" in warning
    assert said(cell(host_s=(0.02,) * 4)) == []


def test_a_time_that_the_correction_made_sure_of_is_no_longer_wide():
    raw = cell()
    wide = raw.model_copy(update={"time_s": Estimate(value=0.1, low=0.08, high=0.12)})
    assert "no better than" in said(wide)[0]
    assert said(wide.model_copy(update={"corrected_s": Estimate(value=0.1, low=0.099, high=0.101)})) == []
