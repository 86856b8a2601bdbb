"""Times and energies of two suites whose difference is known, with and without reruns."""

from functools import cache

import numpy as np
import pytest
from factories import estimate, make_suite

from scalemark.diff import compare
from scalemark.diff.measured import ALL_CELLS, at_references
from scalemark.record.repeats import with_repeats
from scalemark.schema import Cell, Comparison, Conditions, ControlVariate, Diff, Energy, Estimate, Suite

N_CELLS = 9
NOISE = 0.04


@cache
def run(seed: int, slowdown: float = 1.0, noise: float = NOISE) -> Suite:
    """A suite of steps whose every cell is off by some luck of this run."""
    suite = make_suite(f"run {seed}", seed=seed)
    rng = np.random.default_rng(seed)
    cells = [scaled(cell, slowdown * float(np.exp(noise * rng.standard_normal()))) for cell in suite.cells[:N_CELLS]]
    return suite.model_copy(update={"cells": tuple(cells), "training_runs": ()})


def scaled(cell: Cell, factor: float) -> Cell:
    assert cell.time_s is not None
    return cell.model_copy(update={"time_s": cell.time_s.scaled(factor)})


@cache
def baseline() -> Suite:
    return with_repeats(run(100), [run(100 + index) for index in range(1, 9)])


def times(diff: Diff) -> list[Comparison]:
    return [one for one in diff.comparisons if one.metric == "time_s"]


def test_without_reruns_the_fixed_margin_counts() -> None:
    diff = compare(run(100), run(1))
    assert {one.margin for one in times(diff)} == {0.10}
    assert diff.n_repeats == 0
    assert ALL_CELLS not in {one.subject for one in diff.comparisons}


def test_with_reruns_margins_follow_them_and_all_times_are_judged_together() -> None:
    diff = compare(baseline(), run(1))
    assert diff.n_repeats == 8
    cells = {one.subject: one.margin for one in times(diff)}
    together = cells.pop(ALL_CELLS)
    assert len(cells) == N_CELLS
    assert together and all(0.08 < margin < 0.35 and margin > together for margin in cells.values() if margin)


def test_a_slowdown_of_a_fifth_in_every_cell_is_found_by_the_mean_of_all() -> None:
    diff = compare(baseline(), run(2, slowdown=1.2))
    (together,) = [one for one in times(diff) if one.subject == ALL_CELLS]
    assert together.verdict == "regressed" and together.ratio
    assert together.ratio.low < 1.2 < together.ratio.high
    assert diff.verdict == "regressed"


def test_the_base_is_the_mean_of_the_reruns_and_not_a_single_lucky_run() -> None:
    lucky = run(100).model_copy(update={"cells": tuple(scaled(cell, 0.7) for cell in run(100).cells)})
    reruns = [run(100 + index) for index in range(1, 9)]
    diff = compare(with_repeats(lucky, reruns), run(3))
    assert diff.verdict == "same"
    assert {one.verdict for one in times(compare(lucky, run(3)))} == {"regressed"}


def test_a_margin_that_is_asked_for_is_the_floor() -> None:
    slow = run(2, slowdown=1.2)
    diff = compare(baseline(), slow, margin=0.5)
    assert {one.verdict for one in times(diff)} == {"same"}
    assert all(one.margin == pytest.approx(0.5) for one in times(diff))
    assert all(one.margin == 0.3 for one in times(compare(run(100), slow, margin=0.3)))


def test_few_reruns_are_as_good_as_none() -> None:
    few = with_repeats(run(100), [run(101), run(102)])
    assert {one.margin for one in times(compare(few, run(1)))} == {0.10}


def test_unchanged_code_is_seldom_called_anything() -> None:
    """40 suites: of 5 % false alarms, more than 5 would come with a probability of 1.4 %."""
    found = [compare(baseline(), run(seed)).verdict for seed in range(200, 240)]
    assert found.count("regressed") <= 5


# corrected times


def controlled(suite: Suite, gemm_s: float, corrected: float, coefficient: float = 1.0) -> Suite:
    """Measured as it was; corrected to `corrected` × that, at a moment when the kernel takes so long."""
    control = ControlVariate(coefficients={"gemm": coefficient}, references_s={"gemm": gemm_s})
    cells = [
        cell.model_copy(update={"corrected_s": cell.time_s.scaled(corrected), "control": control})
        for cell in suite.cells
        if cell.time_s
    ]
    return suite.model_copy(update={"cells": tuple(cells)})


def test_times_are_brought_to_the_references_of_the_base() -> None:
    """In a moment that is 1.5 times as slow, the same code takes 1.5 times as long: corrected, that is no change."""
    slow_moment = run(4, slowdown=1.5, noise=0.0)
    base = controlled(run(5, noise=0.0), gemm_s=1.0, corrected=1.0)
    diff = compare(base, controlled(slow_moment, gemm_s=1.5, corrected=1.0))
    for one in times(diff):
        assert one.verdict == "same" and one.ratio and one.raw_ratio
        assert one.ratio.value == pytest.approx(1.0, abs=0.03)
        assert one.raw_ratio.value == pytest.approx(1.5, rel=0.03)
    assert {one.verdict for one in times(compare(run(5, noise=0.0), slow_moment))} == {"regressed"}


def test_a_slowdown_of_the_code_is_not_corrected_away() -> None:
    base = controlled(run(5, noise=0.0), gemm_s=1.0, corrected=1.0)
    slow = controlled(run(4, slowdown=1.5, noise=0.0), gemm_s=1.0, corrected=1.0)
    assert {one.verdict for one in times(compare(base, slow))} == {"regressed"}


def test_a_correction_on_one_side_only_is_not_used() -> None:
    plain, other = run(5, noise=0.0), controlled(run(4, noise=0.0), gemm_s=1.0, corrected=3.0)
    for diff in (compare(plain, other), compare(other, plain)):
        assert {one.verdict for one in times(diff)} == {"same"}
        assert {one.raw_ratio for one in times(diff)} == {None}


def test_reruns_are_corrected_too() -> None:
    """Every rerun met another moment; corrected, they agree, so that a tenth more is seen."""
    moments = [1.0, 1.4, 0.8, 1.2, 0.9, 1.3, 1.1, 1.5]
    reruns = [
        controlled(run(300 + index, slowdown=moment, noise=0.005), gemm_s=moment, corrected=1.0)
        for index, moment in enumerate(moments)
    ]
    base = with_repeats(controlled(run(5, noise=0.0), gemm_s=1.0, corrected=1.0), reruns)
    slower = controlled(run(6, slowdown=1.3 * 1.1, noise=0.005), gemm_s=1.3, corrected=1.0)
    assert {one.verdict for one in times(compare(base, slower))} == {"regressed"}


def test_a_base_that_met_an_absurd_moment_does_not_spoil_the_reruns() -> None:
    """Its kernel took 200 times as long, and each rerun's coefficient is its own: at that moment they would differ."""
    rng = np.random.default_rng(0)
    reruns = [
        controlled(run(400 + index, noise=0.005), 1.0, 1.0, coefficient=float(rng.uniform(0.1, 0.6)))
        for index in range(8)
    ]
    base = with_repeats(controlled(run(5, slowdown=100.0, noise=0.0), gemm_s=200.0, corrected=1.0), reruns)
    same, slower = (controlled(run(6, slowdown=slowdown, noise=0.005), 1.0, 1.0, 0.3) for slowdown in (1.0, 1.1))
    assert {one.verdict for one in times(compare(base, same))} == {"same"}
    assert {one.verdict for one in times(compare(base, slower))} == {"regressed"}


def test_a_kernel_that_only_one_side_ran_moves_nothing() -> None:
    control = ControlVariate(coefficients={"gemm": 1.0, "triad": 1.0}, references_s={"gemm": 1.0, "triad": 5.0})
    cell = run(5).cells[0]
    one = cell.model_copy(update={"corrected_s": cell.time_s, "control": control})
    found = at_references(one, {"gemm": 2.0})
    assert found and cell.time_s and found.value == pytest.approx(2 * cell.time_s.value)
    assert at_references(cell, {"gemm": 2.0}) is None


# a busy machine


def beside_a_neighbour(suite: Suite, waited: float, among: int = N_CELLS) -> Suite:
    """The first cells of the suite with rounds in which something waited for a processor for this share of the time."""
    cells = [_beside_a_neighbour(cell, waited if i < among else 0.0) for i, cell in enumerate(suite.cells)]
    return suite.model_copy(update={"cells": tuple(cells)})


def _beside_a_neighbour(cell: Cell, waited: float) -> Cell:
    blocks = [
        block.model_copy(
            update={
                "conditions": Conditions(
                    turn_lengths=(len(block.rounds_s),), pressure_s=(waited * sum(block.rounds_s),)
                )
            }
        )
        for block in cell.blocks
    ]
    return cell.model_copy(update={"blocks": tuple(blocks)})


def test_a_slowdown_while_others_kept_the_machine_busy_is_no_regression() -> None:
    new = beside_a_neighbour(run(2, slowdown=1.5), 0.3)
    for base in (baseline(), run(100)):
        told = times(compare(base, new))
        assert {one.verdict for one in told} == {"inconclusive"}
        assert {one.reason for one in told} == {
            "rounds waited for a processor 30% of their time: end other programs, measure again"
        }


def test_a_baseline_of_a_busy_machine_proves_no_improvement() -> None:
    told = times(compare(beside_a_neighbour(run(100), 0.3), run(2, slowdown=0.5)))
    assert {one.verdict for one in told} == {"inconclusive"}
    assert all("in the base" in (one.reason or "") for one in told)


def test_a_machine_that_is_always_as_busy_is_judged_as_any_other() -> None:
    base, slower = (beside_a_neighbour(suite, 0.2) for suite in (run(100), run(2, slowdown=1.5)))
    assert "regressed" in {one.verdict for one in times(compare(base, slower))}


def test_the_cells_that_met_no_neighbour_are_judged_and_so_is_their_mean() -> None:
    new = beside_a_neighbour(run(2, slowdown=1.5), 0.3, among=4)
    told = {one.subject: one.verdict for one in times(compare(baseline(), new))}
    assert told[ALL_CELLS] == "regressed"
    keys = [cell.workload.key for cell in new.cells]
    assert {told[key] for key in keys[:4]} == {"inconclusive"}
    assert {told[key] for key in keys[4:]} == {"regressed"}


# energy


def with_energy(suite: Suite, joules: Estimate, **changes: object) -> Suite:
    fields = {"status": "ok", "source": "powercap", "domain": "package", "joules_per_round": joules, **changes}
    energy = Energy.model_validate(fields)
    return suite.model_copy(update={"cells": tuple(cell.model_copy(update={"energy": energy}) for cell in suite.cells)})


def energies(base: Suite, new: Suite) -> set[str]:
    return {one.verdict for one in compare(base, new).comparisons if one.metric == "joules_per_round"}


def test_energy_is_judged_like_time() -> None:
    base = with_energy(run(5), estimate(2.0))
    assert energies(base, with_energy(run(5), estimate(2.02))) == {"same"}
    assert energies(base, with_energy(run(5), estimate(2.6))) == {"regressed"}


def test_energy_that_a_slower_process_explains_is_not_called_worse() -> None:
    """It was read in one process: on an H200 1.6 times as much in a round, where processes differ by that in time."""
    restless = estimate(1.0, half_width=0.3)
    sides = [
        with_energy(
            suite.model_copy(
                update={"cells": tuple(cell.model_copy(update={"time_s": restless}) for cell in suite.cells)}
            ),
            estimate(joules, half_width=0.03),
        )
        for suite, joules in ((run(5), 2.0), (run(6), 3.2))
    ]
    assert energies(*sides) == {"inconclusive"}
    assert energies(with_energy(run(5), estimate(2.0)), with_energy(run(6), estimate(3.2))) == {"regressed"}


def test_energy_of_another_counter_is_not_compared() -> None:
    base = with_energy(run(5), estimate(2.0))
    assert energies(base, with_energy(run(5), estimate(2.0), domain="dram")) == set()
    assert energies(base, with_energy(run(5), estimate(2.0), fake=True)) == set()
    assert energies(base, run(5)) == set()


def test_where_reruns_tell_the_noise_of_energy_that_of_the_time_does_not_count() -> None:
    def restless(suite: Suite) -> Suite:
        cells = (cell.model_copy(update={"time_s": estimate(1.0, half_width=0.3)}) for cell in suite.cells)
        return suite.model_copy(update={"cells": tuple(cells)})

    rng = np.random.default_rng(3)
    reruns = [
        with_energy(restless(run(100 + i)), estimate(2.0 * float(np.exp(0.01 * rng.standard_normal()))))
        for i in range(8)
    ]
    base = with_repeats(with_energy(restless(run(5)), estimate(2.0)), reruns)
    assert energies(base, with_energy(restless(run(6)), estimate(2.4))) == {"regressed"}


def test_reruns_tell_the_noise_of_energy() -> None:
    rng = np.random.default_rng(0)
    reruns = [with_energy(run(100 + i), estimate(2.0 * float(np.exp(0.01 * rng.standard_normal())))) for i in range(8)]
    base = with_repeats(with_energy(run(5), estimate(2.0)), reruns)
    assert energies(base, with_energy(run(5), estimate(2.2))) == {"regressed"}
    assert energies(base, with_energy(run(5), estimate(2.05))) == {"same"}


def test_a_run_whose_blocks_differ_more_than_the_reruns_do_is_not_judged_by_their_mean() -> None:
    """All cells of one block are slow together, as on a machine that was slow for a minute."""
    slow = run(2, slowdown=1.12)
    cells = []
    for cell in slow.cells:
        blocks = [
            block.model_copy(update={"rounds_s": tuple(second * factor for second in block.rounds_s)})
            for block, factor in zip(cell.blocks, (1.0, 1.3, 1.7), strict=True)
        ]
        cells.append(cell.model_copy(update={"blocks": tuple(blocks)}))
    restless = slow.model_copy(update={"cells": tuple(cells)})
    verdicts = [
        next(one for one in times(compare(baseline(), new)) if one.subject == ALL_CELLS) for new in (slow, restless)
    ]
    assert [one.verdict for one in verdicts] == ["regressed", "inconclusive"]
