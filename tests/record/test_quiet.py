"""How quiet a run was, counted from what stands beside its rounds."""

import factories
import pytest

from scalemark.record.quiet import noise_of
from scalemark.schema import Cell, Conditions


def disturbed(cell: Cell, gemm_s: tuple[float, ...], stolen: tuple[int, ...]) -> Cell:
    conditions = Conditions(turn_lengths=(4, 4), gemm_s=gemm_s, tagged={"stolen": stolen})
    blocks = tuple(block.model_copy(update={"conditions": conditions}) for block in cell.blocks)
    return cell.model_copy(update={"blocks": blocks})


CELLS = [factories.make_cell(rung) for rung in factories.DIAGONAL[:3]]


def test_nothing_timed_is_no_noise() -> None:
    assert noise_of([]) is None
    assert noise_of([CELLS[0].model_copy(update={"time_s": None})]) is None


def test_rounds_and_what_disturbed_them_are_counted() -> None:
    """Three blocks of eight rounds in each cell, two of them tagged in each block of one."""
    noise = noise_of([disturbed(CELLS[0], (1e-3, 1e-3), (1, 5)), *CELLS[1:]])
    assert noise
    assert (noise.n_cells, noise.n_rounds) == (3, 3 * 3 * 8)
    assert noise.tagged == {"stolen": 6}


def test_the_least_certain_cell_is_named() -> None:
    wide = CELLS[1].model_copy(update={"time_s": factories.estimate(0.01, 0.4)})
    noise = noise_of([CELLS[0], wide, CELLS[2]])
    assert noise and noise.half_width
    assert noise.widest == wide.workload.key
    assert noise.half_width.high == pytest.approx(0.4)
    assert noise.half_width.low <= noise.half_width.value < 0.4


def test_kernels_are_told_by_their_median_and_what_most_readings_lie_between() -> None:
    noise = noise_of([disturbed(CELLS[0], (1e-3, 3e-3), ())])
    assert noise
    gemm = noise.references_s["gemm"]
    assert gemm.value == pytest.approx(2e-3)
    assert (gemm.low, gemm.high) == pytest.approx((1e-3, 3e-3))
    assert "triad" not in noise.references_s


def test_the_correction_is_told_where_there_is_one() -> None:
    assert CELLS[0].time_s
    corrected = CELLS[0].model_copy(update={"corrected_s": CELLS[0].time_s.scaled(0.9)})
    noise, without = noise_of([corrected, CELLS[1]]), noise_of(CELLS)
    assert noise and noise.shift and without
    assert noise.shift.value == pytest.approx(0.9)
    assert without.shift is None
