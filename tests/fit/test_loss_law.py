"""The loss law from training runs: known parameters, predictions that hold, and what is refused."""

import factories
import numpy as np
import pytest

from scalemark.errors import FitError
from scalemark.fit.loss_law import fit_loss_law, frontier, predict_loss
from scalemark.schema import Law, TrainingRun

RUNS = factories.make_suite().training_runs


@pytest.fixture(scope="module")
def law() -> Law:
    return fit_loss_law(RUNS)


def with_status(run: TrainingRun, **changes: object) -> TrainingRun:
    return run.model_copy(update=changes)


@pytest.mark.parametrize("name", ["E", "A", "B", "alpha", "beta"])
def test_the_interval_of_each_parameter_holds_the_truth(law: Law, name: str) -> None:
    estimate = next(parameter.estimate for parameter in law.parameters if parameter.name == name)
    slack = 0.05 * factories.TRUE_LOSS_LAW[name]
    assert estimate.low - slack <= factories.TRUE_LOSS_LAW[name] <= estimate.high + slack


def test_new_runs_fall_inside_the_prediction_interval(law: Law) -> None:
    """A 90 % interval over 400 new runs at sizes between those trained: 85 % at least, as 16 runs made the law."""
    rng = np.random.default_rng(0)
    inside = []
    for _ in range(40):
        params, tokens = np.exp(rng.uniform(np.log([8e3, 3e5]), np.log([2e5, 2e6])))
        interval = predict_loss(law, params, tokens)
        runs = factories.true_loss(params, tokens) * np.exp(0.003 * rng.standard_normal(10))
        inside += [interval.low <= loss <= interval.high for loss in runs]
    assert np.mean(inside) >= 0.85


def test_ten_times_the_compute_is_predicted_within_two_percent(law: Law) -> None:
    params, tokens, loss = frontier(law, 10 * law.domain["compute_flops"].high)
    assert loss.value == pytest.approx(factories.true_loss(params, tokens), rel=0.02)


def test_a_prediction_is_less_certain_far_away(law: Law) -> None:
    near, far = predict_loss(law, 5e4, 1e6), predict_loss(law, 5e8, 1e10)
    assert far.relative_half_width > 1.5 * near.relative_half_width


def test_the_frontier_spends_its_compute_and_no_other_split_is_better(law: Law) -> None:
    params, tokens, loss = frontier(law, 1e15)
    assert 6 * params * tokens == pytest.approx(1e15)
    for factor in (0.8, 0.98, 1.02, 1.25):
        assert predict_loss(law, params * factor, tokens / factor).value > loss.value


def test_runs_that_did_not_finish_are_left_out(law: Law) -> None:
    broken = (with_status(RUNS[0], status="diverged"), with_status(RUNS[1], validation_loss=None))
    assert fit_loss_law((*RUNS, *broken)).coefficients == law.coefficients


@pytest.mark.parametrize("runs", [(), RUNS[:4], [RUNS[0]] * 8], ids=["none", "too few", "one size"])
def test_too_few_runs_are_refused_with_advice(runs: tuple[TrainingRun, ...]) -> None:
    with pytest.raises(FitError, match="train"):
        fit_loss_law(runs)
