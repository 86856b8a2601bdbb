"""Time and memory laws: true coefficients recovered, larger models predicted, intervals that hold."""

import factories
import numpy as np
import pytest

from scalemark.errors import FitError
from scalemark.fit.cost_law import fit_memory_law, fit_time_law, predict
from scalemark.model.accounting import account
from scalemark.model.ladder import BATCH, DIAGONAL, OFF_DIAGONAL, SEQ_LEN, diagonal_shape
from scalemark.schema import Cell, Law

SHAPES = [(rung, BATCH, SEQ_LEN) for rung in (*DIAGONAL, *OFF_DIAGONAL)] + [
    (DIAGONAL[3], 8, 256),
    (DIAGONAL[3], 1, 1024),
]
BEYOND = diagonal_shape(16)


def make_cells(seed: int = 0, noise: float = 0.01) -> list[Cell]:
    return [factories.make_cell(model, batch=b, seq_len=t, seed=seed, noise=noise) for model, b, t in SHAPES]


@pytest.fixture(scope="module")
def time_law() -> Law:
    return fit_time_law(make_cells())


@pytest.fixture(scope="module")
def memory_law() -> Law:
    return fit_memory_law(make_cells())


def test_the_sustained_rate_is_recovered(time_law: Law) -> None:
    rate = next(p.estimate for p in time_law.parameters if p.name == "compute_flops_per_s")
    assert rate.value == pytest.approx(factories.TRUE_FLOPS_PER_S, rel=0.03)
    assert rate.low <= factories.TRUE_FLOPS_PER_S <= rate.high


def test_exact_times_are_reproduced_exactly() -> None:
    law = fit_time_law(make_cells(noise=0.0))
    assert np.abs(law.residuals).max() < 1e-9
    predicted = predict(law, account(BEYOND, BATCH, SEQ_LEN))
    assert predicted.value == pytest.approx(factories.true_step_s(BEYOND), rel=1e-6)


def test_intervals_hold_the_truth_of_a_larger_model() -> None:
    """Twenty suites, a model 5.6 × beyond each: a 90 % interval that misses more than four times is too narrow."""
    accounting, truth = account(BEYOND, BATCH, SEQ_LEN), factories.true_step_s(BEYOND)
    intervals = [predict(fit_time_law(make_cells(seed)), accounting) for seed in range(20)]
    assert sum(interval.low <= truth <= interval.high for interval in intervals) >= 16


def test_an_interval_narrows_with_the_noise() -> None:
    quiet, loud = (
        predict(fit_time_law(make_cells(noise=noise)), account(BEYOND, BATCH, SEQ_LEN)) for noise in (0.001, 0.03)
    )
    assert loud.relative_half_width > 3 * quiet.relative_half_width


def test_a_slower_machine_is_slower_in_its_prediction() -> None:
    cells = [factories.make_cell(m, batch=b, seq_len=t, slowdown=1.5) for m, b, t in SHAPES]
    accounting = account(BEYOND, BATCH, SEQ_LEN)
    slow, usual = predict(fit_time_law(cells), accounting), predict(fit_time_law(make_cells()), accounting)
    assert slow.value == pytest.approx(1.5 * usual.value, rel=1e-6)


def test_a_term_that_was_not_needed_is_said_to_be_not_identified(memory_law: Law) -> None:
    """The made-up memory holds no logits and nothing fixed."""
    known = {parameter.name: parameter.identified for parameter in memory_law.parameters}
    assert known == {"fixed_bytes": False, "state_factor": True, "activation_factor": True, "logits_factor": False}


def test_counted_bytes_are_found_to_cost_one_byte_each(memory_law: Law) -> None:
    values = {parameter.name: parameter.estimate.value for parameter in memory_law.parameters}
    assert values["state_factor"] == pytest.approx(1)
    assert values["activation_factor"] == pytest.approx(1)


def test_memory_of_a_larger_model_is_predicted(memory_law: Law) -> None:
    accounting = account(BEYOND, BATCH, SEQ_LEN)
    state = accounting.parameter_bytes + accounting.gradient_bytes + accounting.optimizer_state_bytes
    assert predict(memory_law, accounting).value == pytest.approx(state + (accounting.activation_bytes or 0), rel=1e-6)


def test_the_hidden_rungs_lie_above_the_kept_ones_and_are_predicted(time_law: Law) -> None:
    assert time_law.holdout is not None
    assert time_law.holdout.above < account(DIAGONAL[-2], BATCH, SEQ_LEN).params_non_embedding
    assert np.abs(time_law.holdout.errors).max() < 0.03
    assert 0 <= time_law.holdout.covered <= len(time_law.holdout.errors) == 2


def test_the_same_seed_gives_the_same_law(time_law: Law) -> None:
    assert fit_time_law(make_cells()) == time_law


@pytest.mark.parametrize("fit", [fit_time_law, fit_memory_law])
@pytest.mark.parametrize("count", [0, 1, 3])
def test_too_few_cells_are_refused_with_advice(fit, count: int) -> None:
    with pytest.raises(FitError, match="at least 4 rungs"):
        fit(make_cells()[:count])


def test_cells_without_a_memory_reading_do_not_enter_the_memory_law(memory_law: Law) -> None:
    blind = make_cells()[0].model_copy(update={"memory": None})
    assert fit_memory_law([*make_cells(), blind]).n == memory_law.n


def test_the_law_is_fitted_to_the_corrected_time_where_there_is_one() -> None:
    cells = make_cells()
    slowed = [cell.model_copy(update={"time_s": cell.time_s.scaled(3.0), "corrected_s": cell.time_s}) for cell in cells]
    assert fit_time_law(slowed).coefficients == pytest.approx(fit_time_law(cells).coefficients)
