"""The narrowing that is foretold, against the information summed anew and against the spread of real refits."""

from dataclasses import replace

import numpy as np
import pytest

from scalemark.errors import FitError
from scalemark.fit.forms import CHINCHILLA, FORMS, Data
from scalemark.fit.held import solver_parameters
from scalemark.fit.loss_fit import fit_form
from scalemark.fit.next_run import _by_derivatives, _by_draws, narrowings, next_run
from scalemark.fit.optimum import Optimum
from scalemark.fit.rows import Rows
from scalemark.fit.solver import Array, solve

TRUTH = np.array([0.9, 60.0, 400.0, 0.45, 0.42])
PARAMS, TOKENS = (
    column.ravel() for column in np.meshgrid(12e3 * 2.0 ** np.arange(5), 5e5 * 2.0 ** np.arange(4), indexing="ij")
)


def rows_of(params: Array = PARAMS, tokens: Array = TOKENS, seed: int = 0, noise: float = 0.004) -> Rows:
    error = noise * np.random.default_rng(seed).standard_normal(len(params))
    return Rows.independent(params, tokens, CHINCHILLA.predict(TRUTH, params, tokens) * np.exp(error))


def spread_of_refits(params: Array, tokens: Array, at: tuple[float, float], draws: int = 150) -> float:
    """Standard deviation of the log loss that refits to new data predict, by squares."""
    predicted = []
    for seed in range(draws):
        rows = rows_of(params, tokens, seed)
        data = Data.of(rows)
        start = solver_parameters(CHINCHILLA, data, TRUTH)[None]
        found = solve(start, CHINCHILLA.problem(data), np.ones((1, len(rows))), delta=np.inf)
        predicted.append(float(CHINCHILLA.predict(CHINCHILLA.natural(data, found.theta[0]), *at)))
    return float(np.std(np.log(predicted)))


def test_the_narrowing_is_that_of_the_information_summed_anew() -> None:
    rows = rows_of()
    optimum = Optimum.of(fit_form(CHINCHILLA, rows, replicates=1), rows)
    gradient, params, tokens = np.array([1.0, -0.3, 0.2, 0.5, 0.1]), np.array([1e4, 4e5]), np.array([8e6, 1e6])
    found = narrowings(optimum, gradient, params, tokens)
    for one in range(2):
        more = np.column_stack([optimum.jacobian, optimum.derivatives_at(params, tokens)[:, one]])
        after, before = (gradient @ np.linalg.inv(m @ m.T) @ gradient for m in (more, optimum.jacobian))
        assert found[one] == pytest.approx(1 - np.sqrt(after / before), rel=1e-6)


def test_refits_with_the_run_narrow_in_the_order_that_was_foretold() -> None:
    """Five runs from of little use to of much, each trained 150 times; the prediction at ten times the compute."""
    rows = rows_of(noise=0.0)
    fit = fit_form(CHINCHILLA, rows, replicates=1)
    compute = 10 * rows.compute_flops.max()
    size = float(CHINCHILLA.optimal_params(TRUTH, compute))
    at = size, compute / 6 / size
    extra = [(5e4, 2e6), (12e3, 4e6), (12e3, 16e6), (4e5, 5e5), (8e5, 16e6)]
    optimum = Optimum.of(fit, rows)
    gradient = optimum.derivatives_at(np.array([at[0]]), np.array([at[1]]))[:, 0]
    foretold = narrowings(optimum, gradient, *np.array(extra).T)
    before = spread_of_refits(PARAMS, TOKENS, at)
    seen = [1 - spread_of_refits(np.append(PARAMS, n), np.append(TOKENS, d), at) / before for n, d in extra]
    assert np.ptp(foretold) > 0.1
    assert np.corrcoef(foretold, seen)[0, 1] > 0.9
    np.testing.assert_allclose(seen, foretold, atol=0.12)


@pytest.mark.parametrize("target", ["frontier", "E"])
def test_each_run_that_is_named_narrows_more_than_the_cheaper_ones(target: str) -> None:
    rows = rows_of()
    found = next_run(fit_form(CHINCHILLA, rows, replicates=1), rows, target)
    costs, narrowing = [run.cost for run in found.runs], [run.narrowing for run in found.runs]
    assert costs == sorted(costs) and narrowing == sorted(narrowing)
    assert found.best in found.runs and 0 < found.best.narrowing < 1
    assert found.best.narrowing >= narrowing[-1] / 2
    assert max(costs) <= 2 * rows.compute_flops.max()
    for run in found.runs:
        near = (np.abs(np.log(PARAMS / run.params)) < 0.7) & (np.abs(np.log(TOKENS / run.tokens)) < 0.7)
        assert near.any()


def test_where_time_is_dear_for_small_models_a_larger_one_is_advised() -> None:
    """As on a machine whose overhead makes every step of a small model as slow as one of a large model."""
    rows = rows_of()
    fit = fit_form(CHINCHILLA, rows, replicates=1)
    by_flops = next_run(fit, rows).best
    by_time = next_run(fit, rows, cost_of=lambda n, d: d * (1 + n / 1e6)).best
    assert by_time.params > by_flops.params


def test_targets_that_a_form_does_not_have_are_refused() -> None:
    rows = rows_of()
    with pytest.raises(FitError, match="kaplan has no E"):
        next_run(fit_form(FORMS["kaplan"], rows, replicates=1), rows, "E")
    with pytest.raises(FitError, match="knows compute alone"):
        next_run(fit_form(FORMS["saturating"], rows, replicates=1), rows)


def test_replicates_foretell_the_same_narrowing_as_derivatives() -> None:
    """Where both may be used: which runs help is the same to within the noise of 2000 replicates."""
    rows = rows_of(noise=0.002)
    fit = fit_form(CHINCHILLA, rows, replicates=2000, delta=np.inf)
    at = np.array([4e5]), np.array([4e7])
    params, tokens = np.array([12e3, 24e3, 2e5, 4e5, 4e5]), np.array([8e6, 5e5, 4e6, 5e5, 8e6])
    for point in (at, None):
        by_derivatives, by_draws = (by(fit, rows, point, params, tokens)[1] for by in (_by_derivatives, _by_draws))
        assert np.corrcoef(by_derivatives, by_draws)[0, 1] > 0.9


def test_a_fit_at_its_bounds_asks_its_replicates() -> None:
    rows = rows_of(noise=0.02).only((PARAMS < 60e3) & (TOKENS < 3e6))
    fit = fit_form(CHINCHILLA, rows, replicates=300)
    stuck = replace(fit, at_bound=(True, False, False, False, False))
    found = next_run(stuck, rows, "E")
    assert 0 < found.best.narrowing < 1
    with pytest.raises(FitError, match="E rests at the edge of its range, and then it takes 100 replicates"):
        next_run(replace(stuck, draws=fit.draws[:20]), rows)
