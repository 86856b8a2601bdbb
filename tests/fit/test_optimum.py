"""Standard errors against the spread of refits, rises against coverage, derivatives against the rows' own."""

from dataclasses import replace

import numpy as np
import pytest

from scalemark.fit.forms import CHINCHILLA, Data
from scalemark.fit.held import Held, quantities, solver_parameters
from scalemark.fit.loss_fit import LossFit, fit_form
from scalemark.fit.optimum import Optimum
from scalemark.fit.rows import Rows
from scalemark.fit.solver import HUBER_DELTA, Array, solve

TRUTH = np.array([0.9, 60.0, 400.0, 0.45, 0.42])
PARAMS, TOKENS = (
    column.ravel() for column in np.meshgrid(12e3 * 2.0 ** np.arange(7), 5e5 * 2.0 ** np.arange(5), indexing="ij")
)
TRUNKS = np.repeat(np.arange(7), 5)


def rows_of(seed: int, between: float = 0.0, trunks: Array | None = None) -> Rows:
    """0.4 % between rows, and so much between trunks."""
    rng = np.random.default_rng(seed)
    error = 0.004 * rng.standard_normal(35) + between * rng.standard_normal(7)[TRUNKS]
    return Rows.independent(PARAMS, TOKENS, CHINCHILLA.predict(TRUTH, PARAMS, TOKENS) * np.exp(error), trunks)


def quick_fit(rows: Rows) -> LossFit:
    """From the truth alone, as a simulation may."""
    data = Data.of(rows)
    found = solve(solver_parameters(CHINCHILLA, data, TRUTH)[None], CHINCHILLA.problem(data), np.ones((1, len(rows))))
    values = CHINCHILLA.natural(data, found.theta[0])
    return LossFit(CHINCHILLA, values, values[None], 0.0, HUBER_DELTA, 0.0, "converged", (False,) * 5, 1.0, 0)


def rise_at_truth(optimum: Optimum, name: str) -> tuple[float, Array]:
    """How far the objective rises with one quantity at its true value; the gradient of its coordinate."""
    quantity = next(one for one in quantities(CHINCHILLA, optimum.data) if one.name == name)
    held = Held(optimum.problem, quantity)
    start = held.free(solver_parameters(CHINCHILLA, optimum.data, TRUTH)[None])
    found = solve(start, held, np.ones((1, len(optimum.residuals))))
    return float(found.objective[0]) - optimum.objective, quantity.gradient(optimum.theta)


@pytest.fixture(scope="module")
def optima() -> list[Optimum]:
    """Of 120 data sets without trunks."""
    return [Optimum.of(quick_fit(rows), rows) for rows in map(rows_of, range(120))]


def test_standard_errors_are_the_spread_of_refits_to_new_data(optima: list[Optimum]) -> None:
    spread = np.std([optimum.theta for optimum in optima], axis=0)
    told = np.median([[optimum.standard_error(gradient) for gradient in np.eye(5)] for optimum in optima], axis=0)
    np.testing.assert_allclose(told, spread, rtol=0.25)


def test_standard_errors_see_that_trunks_err_together() -> None:
    branching = [rows_of(seed, between=0.008, trunks=TRUNKS) for seed in range(50)]
    optima = [Optimum.of(quick_fit(rows), rows) for rows in branching]
    spread, alpha = np.std([optimum.theta[3] for optimum in optima]), np.eye(5)[3]
    assert np.median([optimum.standard_error(alpha) for optimum in optima]) > 0.7 * spread
    alone = [replace(optimum, groups=None) for optimum in optima]
    assert np.median([optimum.standard_error(alpha) for optimum in alone]) < 0.7 * spread


@pytest.mark.parametrize("name", ["E", "alpha", "a"])
def test_the_tolerable_rise_holds_the_truth_nine_times_in_ten(name: str, optima: list[Optimum]) -> None:
    rises = [(*rise_at_truth(optimum, name), optimum) for optimum in optima]
    held = [rise <= optimum.tolerable_rise(gradient, 0.9) for rise, gradient, optimum in rises]
    assert 0.82 <= np.mean(held) <= 0.97


def test_a_higher_level_tolerates_more() -> None:
    optimum = Optimum.of(quick_fit(rows_of(0)), rows_of(0))
    gradient = np.eye(5)[3]
    assert optimum.tolerable_rise(gradient, 0.95) > 1.3 * optimum.tolerable_rise(gradient, 0.9)


def test_the_condition_is_free_of_units_and_grows_as_sizes_draw_together() -> None:
    wide = rows_of(0)
    in_thousands = wide.with_params(PARAMS / 1000)
    narrow = wide.only(PARAMS < 30e3)
    cases = (wide, in_thousands, narrow)
    conditions = [Optimum.of(fit_form(CHINCHILLA, rows, replicates=1), rows).condition for rows in cases]
    assert conditions[1] == pytest.approx(conditions[0], rel=1e-3)
    assert conditions[2] > 10 * conditions[0]


def test_derivatives_elsewhere_are_those_of_the_rows_where_they_are() -> None:
    optimum = Optimum.of(quick_fit(rows_of(0)), rows_of(0))
    np.testing.assert_allclose(optimum.derivatives_at(PARAMS[3:9], TOKENS[3:9]), optimum.jacobian[:, 3:9], rtol=1e-10)
