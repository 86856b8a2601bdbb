"""The non-negative solver against another one, against outliers, and where terms overlap."""

import numpy as np
import pytest
from scipy.optimize import lsq_linear, minimize

from scalemark.fit.cost.solver import (
    HUBER_DELTA,
    huber,
    objective,
    projected_gradient,
    solve,
    solve_overlapping,
    weighted,
)
from scalemark.fit.cost.terms import Form, Term

RNG = np.random.default_rng(3)
QUANTITIES = np.column_stack([np.ones(24), RNG.uniform(1, 50, 24), RNG.uniform(1, 2000, 24)])
TRUTH = np.array([2.0, 0.5, 0.01])
NOTHING = np.zeros(3)
ROOFLINE = Form(
    "roofline",
    "a roofline",
    tuple(Term(name, "s", name, lambda _: 1.0) for name in ("overhead", "compute", "memory")),
    (("compute",), ("memory",)),
)


def test_exact_values_give_back_their_coefficients() -> None:
    np.testing.assert_allclose(solve(QUANTITIES, QUANTITIES @ TRUTH, NOTHING), TRUTH, rtol=1e-9)


def test_it_agrees_with_another_bounded_least_squares() -> None:
    values = QUANTITIES @ np.array([0.0, 0.5, 0.01]) * np.exp(0.02 * RNG.standard_normal(24))
    lowest = np.array([0.0, 0.6, 0.0])
    ours = weighted(QUANTITIES, values, lowest, np.ones(24))
    other = lsq_linear(QUANTITIES / values[:, None], np.ones(24), bounds=(lowest, np.inf), tol=1e-14).x
    np.testing.assert_allclose(ours, other, rtol=1e-5, atol=1e-9)


def test_the_huber_minimum_is_that_of_a_general_optimiser() -> None:
    values = QUANTITIES @ TRUTH * np.exp(0.08 * RNG.standard_normal(24))
    ours = solve(QUANTITIES, values, NOTHING)
    found = minimize(
        lambda c: objective(QUANTITIES @ c / values - 1), TRUTH, bounds=[(0, None)] * 3, options={"ftol": 1e-15}
    )
    assert objective(QUANTITIES @ ours / values - 1) <= found.fun * (1 + 1e-6)
    assert projected_gradient(QUANTITIES, values, NOTHING, ours) < 1e-5


def test_huber_is_smooth_where_it_changes() -> None:
    ends = HUBER_DELTA + np.array([-1e-9, 1e-9])
    assert np.diff(huber(ends))[0] == pytest.approx(2e-9 * HUBER_DELTA, rel=1e-3)


def test_two_rows_that_are_far_off_do_not_bend_the_law() -> None:
    values = QUANTITIES @ TRUTH
    values[[3, 17]] *= 1.5
    np.testing.assert_allclose(solve(QUANTITIES, values, NOTHING), TRUTH, rtol=0.03)
    squares = weighted(QUANTITIES, values, NOTHING, np.ones(24))
    assert np.abs(squares / TRUTH - 1).max() > 0.1


def test_no_coefficient_goes_below_its_bound() -> None:
    lowest = np.array([0.0, 0.8, 0.0])
    found = solve(QUANTITIES, QUANTITIES @ TRUTH, lowest)
    assert found[1] == 0.8
    assert (found >= lowest).all()


def test_a_quantity_that_is_zero_everywhere_gets_its_bound() -> None:
    padded = np.column_stack([QUANTITIES, np.zeros(24)])
    np.testing.assert_allclose(solve(padded, QUANTITIES @ TRUTH, np.zeros(4)), [*TRUTH, 0.0], rtol=1e-9)


@pytest.mark.parametrize("power", [1.5, 3.0])
def test_overlapping_terms_give_back_their_coefficients(power: float) -> None:
    values = ROOFLINE.evaluate(np.array([*TRUTH, power]), QUANTITIES)
    found = solve_overlapping(ROOFLINE, QUANTITIES, values, NOTHING, power)
    np.testing.assert_allclose(ROOFLINE.evaluate(found, QUANTITIES), values, rtol=0.01)


def test_a_large_power_takes_the_longest_and_power_one_adds() -> None:
    added = ROOFLINE.evaluate(np.array([*TRUTH, 1.0]), QUANTITIES)
    np.testing.assert_allclose(added, QUANTITIES @ TRUTH)
    longest = ROOFLINE.evaluate(np.array([*TRUTH, 200.0]), QUANTITIES)
    np.testing.assert_allclose(longest, 2.0 + (QUANTITIES[:, 1:] * TRUTH[1:]).max(axis=1), rtol=0.01)


def test_slopes_are_the_derivatives() -> None:
    at, step = np.array([*TRUTH, 2.5]), 1e-6
    for index in range(3):
        moved = np.zeros(4)
        moved[index] = step * at[index]
        difference = ROOFLINE.evaluate(at + moved, QUANTITIES) - ROOFLINE.evaluate(at - moved, QUANTITIES)
        slope = ROOFLINE.slopes(at, QUANTITIES)[:, index]
        np.testing.assert_allclose(slope, difference / (2 * moved[index]), rtol=1e-5)
