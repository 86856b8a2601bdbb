"""The control variate of a run: cells whose slow moments were the machine's, made up with a known truth."""

import numpy as np
import pytest

from scalemark.record.control import control_of, corrected, reference_of
from scalemark.schema import Block, Cell, Conditions, ControlVariate, ModelConfig, Workload
from scalemark.stats import median_over_blocks

GEMM_S, TRIAD_S = 1e-3, 4e-3


def block(index: int, seconds: float, gemm_s: float, triad_s: float = TRIAD_S) -> Block:
    conditions = Conditions(turn_lengths=(2,), gemm_s=(gemm_s,), triad_s=(triad_s, triad_s))
    return Block(index=index, warmup_s=(), rounds_s=(seconds, seconds), setup_s=0.1, conditions=conditions)


def cell(seq_len: int, blocks: list[Block]) -> Cell:
    model = ModelConfig(n_layer=1, d_model=64, n_head=1)
    workload = Workload(phase="step", model=model, batch=2, seq_len=seq_len, optimizer="adamw")
    time_s = median_over_blocks([one.rounds_s for one in blocks])
    return Cell(workload=workload, status="ok", blocks=tuple(blocks), time_s=time_s)


def campaign(coefficient: float, seed: int = 0, slowness: float = 0.1, noise: float = 0.003) -> list[Cell]:
    """Ten cells in three blocks: the machine is slow by `slowness`, and cells follow its product by `coefficient`."""
    rng = np.random.default_rng(seed)
    cells = []
    for number in range(10):
        truth_s, moments = 0.01 * (1 + number), slowness * rng.standard_normal(3)
        seconds = truth_s * np.exp(coefficient * moments + noise * rng.standard_normal(3))
        triads = TRIAD_S * np.exp(0.05 * rng.standard_normal(3))
        pairs = zip(seconds, moments, triads, strict=True)
        blocks = [block(i, s, GEMM_S * np.exp(moment), triad) for i, (s, moment, triad) in enumerate(pairs)]
        cells.append(cell(16 * (1 + number), blocks))
    return cells


@pytest.mark.parametrize("coefficient", [0.5, 1.0])
def test_the_kernel_that_the_cells_follow_is_found_with_its_coefficient(coefficient):
    control = control_of(campaign(coefficient))
    assert control.kernel == "gemm"
    assert control.coefficient == pytest.approx(coefficient, abs=0.05)
    assert control.reference_s == pytest.approx(GEMM_S, rel=0.1)


def test_cells_that_follow_nothing_are_hardly_touched():
    coefficients = [control_of(campaign(0.0, seed)).coefficient for seed in range(20)]
    assert np.mean(coefficients) < 0.02


def test_the_corrected_time_is_nearer_the_truth_and_surer():
    cells = campaign(0.9)
    control = control_of(cells)
    at_truth = control.model_copy(update={"reference_s": GEMM_S})
    raw = [np.log(one.time_s.value / (0.01 * (1 + i))) for i, one in enumerate(cells)]
    better = [np.log(corrected(one, at_truth).value / (0.01 * (1 + i))) for i, one in enumerate(cells)]
    assert np.std(better) < 0.3 * np.std(raw)
    widths = [(corrected(one, control).relative_half_width, one.time_s.relative_half_width) for one in cells]
    assert np.median([new / old for new, old in widths]) < 0.5


def test_over_many_runs_of_the_same_code_the_corrected_times_never_spread_more_than_the_raw_ones():
    for coefficient in (0.0, 0.3, 1.0):
        runs = [campaign(coefficient, seed, slowness=0.03, noise=0.02) for seed in range(40)]
        raw = np.log([[one.time_s.value for one in run] for run in runs])
        better = np.log([[corrected(one, at_typical(run)).value for one in run] for run in runs])
        assert np.mean(better.var(axis=0)) <= 1.02 * np.mean(raw.var(axis=0))


def at_typical(run: list[Cell]) -> ControlVariate:
    """The control variate of a run, at a reference that all runs share."""
    control = control_of(run)
    return control.model_copy(update={"reference_s": GEMM_S if control.kernel == "gemm" else TRIAD_S})


def test_too_few_blocks_tell_no_coefficient():
    assert control_of(campaign(1.0)[:1]) is None
    assert control_of([]) is None


def test_a_block_without_readings_is_not_corrected():
    silent = Block(index=0, warmup_s=(), rounds_s=(0.01,), setup_s=0.1)
    control = ControlVariate(kernel="gemm", coefficient=0.5, reference_s=GEMM_S)
    assert reference_of(silent, "gemm") is None
    assert corrected(cell(16, [silent]), control) is None


def test_a_coefficient_of_zero_gives_the_raw_time():
    one = campaign(0.5)[0]
    control = ControlVariate(kernel="triad", coefficient=0.0, reference_s=TRIAD_S)
    assert corrected(one, control).value == pytest.approx(one.time_s.value)
