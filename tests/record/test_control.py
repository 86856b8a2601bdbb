"""The control variates of a run: cells whose slow moments were the machine's, made up with a known truth."""

import numpy as np
import pytest

from scalemark.record.control import controls_of, corrected, turn_references_s
from scalemark.schema import Block, Cell, Conditions, ControlVariate, ModelConfig, Workload
from scalemark.stats import median_over_blocks

GEMM_S, EXCHANGE_S, TRIAD_S = 1e-3, 2e-4, 4e-3
AT_TRUTH = {"gemm": GEMM_S, "exchange": EXCHANGE_S, "triad": TRIAD_S}
TURNS, ROUNDS_PER_TURN, BLOCKS, CELLS = 4, 2, 3, 10
MODEL = ModelConfig(n_layer=1, d_model=64, n_head=1)


def block(index: int, turns_s: np.ndarray, gemms: np.ndarray, exchanges: np.ndarray, triad: float) -> Block:
    """Turns of two equal rounds each; references as log deviations from what is typical."""
    conditions = Conditions(
        turn_lengths=(ROUNDS_PER_TURN,) * len(turns_s),
        gemm_s=tuple(GEMM_S * np.exp(gemms)),
        exchange_s=tuple(EXCHANGE_S * np.exp(exchanges)),
        triad_s=(TRIAD_S * np.exp(triad),) * 2,
    )
    rounds_s = tuple(np.repeat(turns_s, ROUNDS_PER_TURN))
    return Block(index=index, warmup_s=(), rounds_s=rounds_s, setup_s=0.1, conditions=conditions)


def cell(number: int, blocks: list[Block]) -> Cell:
    workload = Workload(phase="step", model=MODEL, batch=2, seq_len=16 * (1 + number), optimizer="adamw")
    time_s = median_over_blocks([one.rounds_s for one in blocks])
    return Cell(workload=workload, status="ok", blocks=tuple(blocks), time_s=time_s)


def truth_s(number: int) -> float:
    return 0.01 * (1 + number)


def campaign(follow_gemm: float, follow_exchange: float = 0.0, seed: int = 0, moved=0.1, noise=0.003) -> list[Cell]:
    """Ten cells in three blocks of a machine that has slow visits, and whose cores are apart at one visit in three.

    follow_exchange: of the first cell; of the tenth it is nothing, and in between it falls.
    """
    rng = np.random.default_rng(seed)
    cells = []
    for number in range(CELLS):
        blocks = []
        for index in range(BLOCKS):
            gemms = moved * rng.standard_normal() + noise * rng.standard_normal(TURNS)
            exchanges = 0.5 * (rng.random() < 1 / 3) + noise * rng.standard_normal(TURNS)
            own = follow_exchange * (1 - number / (CELLS - 1))
            logs = follow_gemm * gemms + own * exchanges + noise * rng.standard_normal(TURNS)
            triad = 0.05 * rng.standard_normal()
            blocks.append(block(index, truth_s(number) * np.exp(logs), gemms, exchanges, triad))
        cells.append(cell(number, blocks))
    return cells


def errors(cells: list[Cell], at_truth: bool) -> np.ndarray:
    """Log of each cell's time over its truth, raw or corrected to where the references are typical."""
    controls = controls_of(cells)
    found = [corrected(c, controls[c.workload.key], AT_TRUTH) if at_truth else c.time_s for c in cells]
    return np.array([np.log(one.value / truth_s(number)) for number, one in enumerate(found)])


@pytest.mark.parametrize("follow", [0.5, 0.9])
def test_the_kernel_that_the_cells_follow_is_found_with_its_coefficient(follow):
    controls = list(controls_of(campaign(follow)).values())
    assert np.median([one.coefficients["gemm"] for one in controls]) == pytest.approx(follow, abs=0.06)
    assert np.median([one.coefficients["exchange"] for one in controls]) < 0.03
    assert np.median([one.coefficients["triad"] for one in controls]) < 0.1
    assert controls[0].references_s["gemm"] == pytest.approx(GEMM_S, rel=0.1)


def test_cells_that_suffer_unlike_from_cores_that_are_apart_get_coefficients_of_their_own():
    controls = controls_of(campaign(0.5, follow_exchange=0.6, seed=3))
    found = [one.coefficients["exchange"] for one in controls.values()]
    assert found[0] > 0.4 and found[-1] < 0.15
    assert np.corrcoef(found, np.arange(CELLS))[0, 1] < -0.8


def test_cells_that_follow_nothing_are_hardly_touched():
    coefficients = [
        list(one.coefficients.values()) for seed in range(20) for one in controls_of(campaign(0.0, seed=seed)).values()
    ]
    assert np.mean(coefficients) < 0.03


def test_the_corrected_time_is_nearer_the_truth_and_surer():
    cells = campaign(0.9, follow_exchange=0.5)
    assert errors(cells, at_truth=True).std() < 0.3 * errors(cells, at_truth=False).std()
    controls = controls_of(cells)
    narrower = [
        corrected(c, controls[c.workload.key]).relative_half_width / c.time_s.relative_half_width for c in cells
    ]
    assert np.median(narrower) < 0.5


@pytest.mark.parametrize(("follow", "noise"), [(0.0, 0.02), (0.3, 0.02), (1.0, 0.02), (0.0, 0.003)])
def test_over_many_runs_of_the_same_code_the_corrected_times_never_spread_more_than_the_raw_ones(follow, noise):
    runs = [campaign(follow, seed=seed, moved=0.03, noise=noise) for seed in range(30)]
    raw = np.array([errors(run, at_truth=False) for run in runs])
    better = np.array([errors(run, at_truth=True) for run in runs])
    assert np.mean(better.var(axis=0)) <= 1.02 * np.mean(raw.var(axis=0))


def test_too_few_blocks_tell_no_coefficient():
    assert controls_of(campaign(1.0)[:1]) == {}
    assert controls_of([]) == {}


def test_a_run_with_a_block_that_nothing_was_read_beside_is_left_as_it_is():
    silent = Block(index=0, warmup_s=(), rounds_s=(0.01,), setup_s=0.1)
    assert controls_of([*campaign(1.0), cell(50, [silent])]) == {}


def test_a_kernel_that_this_machine_does_not_run_is_left_out():
    cells = campaign(0.8)
    on_gpu = [one.model_copy(update={"blocks": tuple(without_exchange(each) for each in one.blocks)}) for one in cells]
    assert set(controls_of(on_gpu)[cells[0].workload.key].coefficients) == {"gemm", "triad"}


def without_exchange(one: Block) -> Block:
    return one.model_copy(update={"conditions": one.conditions.model_copy(update={"exchange_s": None})})


def test_the_triad_around_a_visit_stands_beside_each_of_its_turns():
    conditions = campaign(0.5)[0].blocks[0].conditions
    assert len(turn_references_s(conditions, "triad")) == len(turn_references_s(conditions, "gemm")) == TURNS


def test_coefficients_of_zero_give_the_raw_time():
    one = campaign(0.5)[0]
    nothing = ControlVariate(coefficients={"gemm": 0.0}, references_s={"gemm": GEMM_S})
    assert corrected(one, nothing).value == pytest.approx(one.time_s.value)
