"""The batched solver on problems whose answers are known, and what it says of those it cannot finish."""

from dataclasses import dataclass

import numpy as np
import pytest
from scipy.optimize import linprog

from scalemark.fit.solver import FLAT, Array, curvature_by_differences, huber, solve


@dataclass(frozen=True)
class Lines:
    """Residuals design · theta − target: rows (rows, parameters)."""

    design: Array
    target: Array
    low: float = -1e3
    high: float = 1e3

    @property
    def bounds(self) -> tuple[Array, Array]:
        n = self.design.shape[1]
        return np.full(n, self.low), np.full(n, self.high)

    def linearise(self, theta: Array) -> tuple[Array, Array]:
        residuals = theta @ self.design.T - self.target
        return residuals, np.broadcast_to(self.design.T, (len(theta), *self.design.T.shape)).copy()

    def curvature(self, theta: Array, jacobian: Array, slope: Array) -> Array:
        return np.zeros((len(theta), theta.shape[1], theta.shape[1]))


@dataclass(frozen=True)
class Exponentials(Lines):
    """Residuals exp(design · theta) − target, without second derivatives of its own."""

    def linearise(self, theta: Array) -> tuple[Array, Array]:
        predicted = np.exp(theta @ self.design.T)
        return predicted - self.target, predicted[:, None] * self.design.T

    def curvature(self, theta: Array, jacobian: Array, slope: Array) -> Array:
        return curvature_by_differences(self, theta, jacobian, slope)


RNG = np.random.default_rng(0)
DESIGN = np.column_stack([np.ones(60), RNG.standard_normal((60, 2))])
TARGET = DESIGN @ [0.3, -0.2, 0.5] + 0.05 * RNG.standard_t(2, size=60)
ONES = np.ones((1, 60))
ZEROS = np.zeros((1, 3))


def test_with_an_infinite_delta_it_is_least_squares() -> None:
    found = solve(ZEROS, Lines(DESIGN, TARGET), ONES, delta=np.inf)
    np.testing.assert_allclose(found.theta[0], np.linalg.lstsq(DESIGN, TARGET, rcond=None)[0], atol=1e-9)
    assert found.status(0) == "converged" and found.steepness[0] <= FLAT


def test_with_a_tiny_delta_it_is_least_absolute_deviations() -> None:
    """Against a linear program, whose answer is exact."""
    found = solve(ZEROS, Lines(DESIGN, TARGET), ONES, delta=1e-6)
    n, p = DESIGN.shape
    exact = linprog(
        np.r_[np.zeros(p), np.ones(2 * n)],
        A_eq=np.hstack([DESIGN, np.eye(n), -np.eye(n)]),
        b_eq=TARGET,
        bounds=[(None, None)] * p + [(0, None)] * (2 * n),
    )
    np.testing.assert_allclose(found.theta[0], exact.x[:p], atol=1e-4)


def test_an_outlier_pulls_no_harder_than_a_row_at_delta() -> None:
    moved = TARGET.copy()
    moved[0] += 1e6
    usual, spoilt = (solve(ZEROS, Lines(DESIGN, target), ONES, delta=0.01).theta[0] for target in (TARGET, moved))
    np.testing.assert_allclose(usual, spoilt, atol=0.03)


def test_every_problem_of_a_batch_ends_as_it_would_alone() -> None:
    weights = RNG.exponential(size=(700, 60))
    start = np.zeros((700, 3))
    together = solve(start, Exponentials(DESIGN, np.exp(TARGET)), weights)
    assert together.converged.all()
    for index in (0, 350, 699):
        alone = solve(start[:1], Exponentials(DESIGN, np.exp(TARGET)), weights[index : index + 1])
        np.testing.assert_allclose(together.theta[index], alone.theta[0], rtol=1e-9)


def test_no_step_goes_uphill() -> None:
    problem = Exponentials(DESIGN, np.exp(TARGET))
    start = RNG.standard_normal((50, 3))
    before = huber(problem.linearise(start)[0], ONES)
    for steps in (1, 2, 5, 20):
        after = solve(start, problem, ONES, steps).objective
        assert np.all(after <= before * (1 + 1e-12))
        before = after


def test_a_bound_is_kept_and_named() -> None:
    found = solve(ZEROS, Lines(DESIGN, TARGET, low=-1.0, high=0.4), ONES, delta=np.inf)
    assert found.status(0) == "bound"
    assert found.at_bound[0].tolist() == [False, False, True] and found.theta[0, 2] == 0.4
    others = np.linalg.lstsq(DESIGN[:, :2], TARGET - 0.4 * DESIGN[:, 2], rcond=None)[0]
    np.testing.assert_allclose(found.theta[0, :2], others, atol=1e-9)


def test_what_is_not_finished_says_so() -> None:
    found = solve(np.full((1, 3), 3.0), Exponentials(DESIGN, np.exp(TARGET)), ONES, steps=1)
    assert found.status(0) == "unfinished" and found.steepness[0] > FLAT


def test_a_problem_without_numbers_says_so_and_spoils_no_other() -> None:
    weights = np.ones((2, 60))
    weights[0, 5] = np.nan
    found = solve(np.zeros((2, 3)), Lines(DESIGN, TARGET), weights)
    assert (found.status(0), found.status(1)) == ("not_finite", "converged")
    assert found.best == 1


@pytest.mark.parametrize("delta", [1e-3, np.inf])
def test_exact_rows_end_at_nothing(delta: float) -> None:
    found = solve(ZEROS, Lines(DESIGN, DESIGN @ [0.3, -0.2, 0.5]), ONES, delta=delta)
    np.testing.assert_allclose(found.theta[0], [0.3, -0.2, 0.5], atol=1e-10)
    assert found.status(0) == "converged"
