"""What is held stays, the rest ends as low as a search of its own finds, and inverses are inverse."""

import numpy as np
import pytest
from scipy.optimize import minimize

from scalemark.fit.forms import FORMS, Data
from scalemark.fit.held import ALLOCATION, Held, Quantity, quantities, solver_parameters
from scalemark.fit.rows import Rows
from scalemark.fit.solver import Array, huber, solve

TRUTHS = {
    "chinchilla": np.array([0.9, 60.0, 400.0, 0.45, 0.42]),
    "tied": np.array([0.9, 60.0, 400.0, 0.45]),
    "overlap": np.array([0.8, 19.0, 240.0, 0.38, 0.46, 1.5]),
    "kaplan": np.array([4.0, 9.0, 0.12, 0.15]),
    "saturating": np.array([0.8, 900.0, 0.25]),
}


def grid(form: str) -> Rows:
    sizes, tokens = 12_000.0 * 2.0 ** np.arange(7), 5e5 * 2.0 ** np.arange(5)
    params, counts = (column.ravel() for column in np.meshgrid(sizes, tokens, indexing="ij"))
    scatter = np.exp(0.004 * np.random.default_rng(0).standard_normal(len(params)))
    return Rows.independent(params, counts, FORMS[form].predict(TRUTHS[form], params, counts) * scatter)


def cases() -> list[tuple[str, Quantity]]:
    return [(name, quantity) for name in FORMS for quantity in quantities(FORMS[name], Data.of(grid(name)))]


def names(case: tuple[str, Quantity] | str) -> str:
    return case if isinstance(case, str) else f"{case[0]}-{case[1].name}"


def natural(form: str, quantity: Quantity, values: Array) -> Array:
    form_ = FORMS[form]
    if quantity.name == ALLOCATION:
        return form_.allocation(values)
    return values[..., form_.parameters.index(quantity.name)]


@pytest.mark.parametrize("name", list(FORMS))
def test_parameters_of_the_solver_are_the_inverse_of_the_natural_ones(name: str) -> None:
    data = Data.of(grid(name))
    theta = solver_parameters(FORMS[name], data, TRUTHS[name])
    np.testing.assert_allclose(FORMS[name].natural(data, theta), TRUTHS[name], rtol=1e-12)


@pytest.mark.parametrize("case", cases(), ids=names)
def test_a_coordinate_is_that_of_its_quantity(case: tuple[str, Quantity]) -> None:
    name, quantity = case
    theta = solver_parameters(FORMS[name], Data.of(grid(name)), TRUTHS[name])
    found = quantity.natural(quantity.coordinate(theta[None]))[0]
    assert found == pytest.approx(float(natural(name, quantity, TRUTHS[name])), rel=1e-12)


@pytest.mark.parametrize("case", cases(), ids=names)
def test_the_gradient_of_a_coordinate_is_its_slope(case: tuple[str, Quantity]) -> None:
    name, quantity = case
    theta, step = solver_parameters(FORMS[name], Data.of(grid(name)), TRUTHS[name]), 1e-6
    nudges = step * np.eye(len(theta))
    slopes = (quantity.coordinate(theta + nudges) - quantity.coordinate(theta - nudges)) / (2 * step)
    np.testing.assert_allclose(quantity.gradient(theta), slopes, atol=1e-8)


@pytest.mark.parametrize("case", cases(), ids=names)
def test_what_is_held_stays_and_the_rest_is_as_good_as_a_simplex_search_makes_it(case: tuple[str, Quantity]) -> None:
    name, quantity = case
    form, rows, delta = FORMS[name], grid(name), 0.02
    data = Data.of(rows)
    held = Held(form.problem(data), quantity)
    start = held.free(solver_parameters(form, data, TRUTHS[name])[None])
    start[0, quantity.index] += 0.02
    found = solve(start, held, np.ones((1, len(rows))), delta=delta)
    assert found.converged.all()
    values = form.natural(data, held.whole(found.theta))[0]
    expected = quantity.natural(start[0, quantity.index])
    assert float(natural(name, quantity, values)) == pytest.approx(float(expected), rel=1e-9)

    others = np.arange(start.shape[1]) != quantity.index

    def objective(free: Array) -> float:
        point = start.copy()
        point[0, others] = free
        return float(huber(held.linearise(point)[0], np.ones((1, len(rows))), delta)[0])

    search = minimize(
        objective, found.theta[0, others] + 1e-3, method="Nelder-Mead", options={"xatol": 1e-7, "fatol": 1e-15}
    )
    assert found.objective[0] <= search.fun * (1 + 1e-6)


def test_tied_exponents_and_compute_alone_have_no_allocation_to_hold() -> None:
    for name in ("tied", "saturating"):
        assert ALLOCATION not in [quantity.name for quantity in quantities(FORMS[name], Data.of(grid(name)))]
