"""Ratios pair what shared a block; losses pair what shared a seed; what was not measured on both sides is None."""

from typing import Any

import numpy as np
import pytest

from scalemark.model.accounting import account
from scalemark.model.ladder import find_rung
from scalemark.record.what_if import what_ifs
from scalemark.schema import Block, Cell, Estimate, Memory, ShortLosses, WhatIf, Workload

PLAIN = Workload(phase="step", model=find_rung("d2w128"), batch=4, seq_len=256, optimizer="adamw")
CHECKPOINTED = PLAIN.model_copy(update={"checkpointed": True})


def cell(work: Workload, block_s: dict[int, float], **fields: Any) -> Cell:
    blocks = tuple(
        Block(index=index, warmup_s=(), rounds_s=(0.9 * second, second, 2.0 * second), setup_s=0.1)
        for index, second in block_s.items()
    )
    assert work.model and work.batch and work.seq_len
    return Cell(
        workload=work,
        status="ok",
        accounting=account(work.model, work.batch, work.seq_len),
        blocks=blocks,
        time_s=Estimate(value=1.0, low=0.9, high=1.1) if blocks else None,
        **fields,
    )


def only(cells: list[Cell]) -> WhatIf:
    (found,) = what_ifs(cells)
    return found


def losses(*last: float) -> ShortLosses:
    return ShortLosses(seeds=tuple(range(len(last))), losses=tuple((5.5, one) for one in last))


def test_a_slow_block_slows_both_sides_and_leaves_their_ratio() -> None:
    slow = {0: 1.0, 1: 3.0, 2: 0.7}
    found = only([cell(PLAIN, slow), cell(CHECKPOINTED, {index: 1.25 * s for index, s in slow.items()})])
    assert found.time_ratio is not None
    assert [found.time_ratio.low, found.time_ratio.value, found.time_ratio.high] == pytest.approx([1.25] * 3)
    assert found.n_blocks == 3


def test_only_blocks_that_both_took_part_in_count() -> None:
    found = only([cell(PLAIN, {0: 1.0, 1: 1.0, 2: 1.0, 3: 99.0}), cell(CHECKPOINTED, {0: 2.0, 1: 2.0, 2: 2.0})])
    assert found.n_blocks == 3
    assert found.time_ratio and found.time_ratio.value == pytest.approx(2.0)


def test_one_block_tells_no_interval_and_so_no_ratio() -> None:
    found = only([cell(PLAIN, {0: 1.0}), cell(CHECKPOINTED, {0: 2.0})])
    assert found.time_ratio is None


def test_90_percent_intervals_hold_the_true_ratio_about_that_often() -> None:
    """Blocks share a luck of 20 %, each side has its own of 3 %: pairing must not lose the latter."""
    rng = np.random.default_rng(3)
    held = widths = 0.0
    for _ in range(400):
        shared, ours, theirs = 0.2 * rng.standard_normal(5), *(0.03 * rng.standard_normal((2, 5)))
        sides = [dict(enumerate(map(float, np.exp(shared + own)))) for own in (theirs, ours)]
        ratio = only([cell(PLAIN, sides[0]), cell(CHECKPOINTED, sides[1])]).time_ratio
        assert ratio is not None
        held += (ratio.low <= 1.0 <= ratio.high) / 400
        widths += ratio.relative_half_width / 400
    assert 0.86 <= held <= 0.94
    assert widths < 0.06, "unpaired, the luck of the blocks would make it 0.2 and more"


def test_memory_is_compared_where_an_allocator_told_it_on_both_sides() -> None:
    base = cell(PLAIN, {0: 1.0}, memory=Memory(allocated_bytes=400, method="live tensors"))
    less = cell(CHECKPOINTED, {0: 1.0}, memory=Memory(allocated_bytes=300, method="live tensors"))
    unseen = cell(CHECKPOINTED, {0: 1.0}, memory=Memory(resident_bytes=300, method="VmHWM"))
    assert only([base, less]).memory_ratio == 0.75
    assert only([base, unseen]).memory_ratio is None


def test_the_loss_effect_is_the_mean_difference_seed_by_seed() -> None:
    base, other = losses(3.0, 3.5, 4.0), losses(3.1, 3.6, 4.1)
    effect = only([cell(PLAIN, {0: 1.0}, short_losses=base), cell(CHECKPOINTED, {0: 1.0}, short_losses=other)]).loss
    assert effect is not None
    assert effect.difference.value == pytest.approx(0.1)
    assert effect.spread == pytest.approx(0.5)
    assert (effect.n_seeds, effect.n_steps) == (3, 2)


@pytest.mark.parametrize(
    ("last", "verdict"),
    [
        ((3.0, 3.5, 4.0), "identical"),
        ((3.01, 3.49, 4.01), "none"),
        ((3.9, 4.5, 5.1), "higher"),
        ((2.1, 2.5, 2.9), "lower"),
        ((1.0, 3.5, 6.5), "unclear"),
    ],
)
def test_no_effect_is_claimed_only_where_the_interval_is_within_what_seeds_do(
    last: tuple[float, ...], verdict: str
) -> None:
    base = cell(PLAIN, {0: 1.0}, short_losses=losses(3.0, 3.5, 4.0))
    effect = only([base, cell(CHECKPOINTED, {0: 1.0}, short_losses=losses(*last))]).loss
    assert effect is not None
    assert effect.verdict == verdict


def test_an_option_that_was_not_measured_keeps_its_reason_and_one_without_base_is_left_out() -> None:
    skipped = cell(CHECKPOINTED, {}).model_copy(update={"status": "skipped", "reason": "no kernel here"})
    assert only([cell(PLAIN, {0: 1.0}), skipped]).reason == "no kernel here"
    assert what_ifs([skipped, cell(CHECKPOINTED, {0: 1.0})]) == ()


def test_the_largest_steps_come_first() -> None:
    large = PLAIN.model_copy(update={"model": find_rung("d4w256")})
    works = [PLAIN, CHECKPOINTED, large, large.model_copy(update={"checkpointed": True})]
    rungs = [found.workload.rung for found in what_ifs([cell(work, {0: 1.0, 1: 1.0}) for work in works])]
    assert rungs == ["d4w256", "d2w128"]


def test_of_each_step_the_fastest_option_comes_first_and_what_was_not_timed_last() -> None:
    options = [PLAIN.model_copy(update={"micro_batches": parts}) for parts in (2, 4)]
    skipped = cell(CHECKPOINTED, {}).model_copy(update={"status": "skipped", "reason": "no time"})
    slow, fast = (cell(work, {0: second, 1: second}) for work, second in zip(options, (2.0, 0.5), strict=True))
    found = what_ifs([skipped, slow, fast, cell(PLAIN, {0: 1.0, 1: 1.0})])
    assert [one.workload for one in found] == [fast.workload, slow.workload, CHECKPOINTED]


def test_joint_intervals_of_many_options_that_change_nothing_rarely_call_any_of_them_faster_or_slower() -> None:
    options = [PLAIN.model_copy(update={"micro_batches": 2, "seq_len": 256, "attention": a}) for a in ("math", "flash")]
    options += [PLAIN.model_copy(update={"micro_batches": parts}) for parts in (2, 4)]
    rng = np.random.default_rng(5)
    called = {"time_ratio": 0.0, "joint_ratio": 0.0}
    for _ in range(300):
        cells = [
            cell(work, dict(enumerate(map(float, np.exp(0.03 * rng.standard_normal(5)))))) for work in (PLAIN, *options)
        ]
        for name in called:
            ratios = [getattr(one, name) for one in what_ifs(cells)]
            called[name] += any(not one.low <= 1.0 <= one.high for one in ratios) / 300
    assert called["joint_ratio"] <= 0.12 < called["time_ratio"]
