"""Minimise a sum of Huber losses, many problems at once: the starts of one fit, or the replicates of its bootstrap.

    minimise over theta   Σ_rows weight · Huber(residual(theta); δ)

Each row of theta, shape (problems, parameters), is a problem of its own. All of them advance together, in chunks that
stay in the cache, and each leaves when it is done. A step solves (H + damping · diag) · step = −gradient, where H goes
from the quadratic that touches every Huber loss from above (always downhill, but it crawls: with δ far below the noise
it needs hundreds of steps) to the true second derivative (five steps to the end, but only near it) as damping falls.

Published scaling-law fits went wrong by stopping early (Besiroglu et al. 2024), so a solution says how it ended and
how steep the objective still is there.
"""

from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]
SolveStatus = Literal["converged", "bound", "unfinished", "not_finite"]

HUBER_DELTA = 1e-3
# Steps that a fit may take; nearly all need 5 to 50.
MOST_STEPS = 400
# Of the gradient, in units of what one row's worth of curvature and the objective make of it: see `steepness`.
FLAT = 1e-6
# An objective of nothing but rounding.
_EXACT = 1e-27
# Rows × problems of a chunk: five columns of derivatives then take about a megabyte.
_CHUNK_VALUES = 30_000
_FIRST_DAMPING, _LARGEST_DAMPING = 0.1, 1e12
_EASED, _TIGHTENED = 0.2, 5.0
_DIFFERENCE = 1e-6


class Problem(Protocol):
    """Rows to fit. Each row of theta, shape (problems, parameters), is evaluated on its own."""

    @property
    def bounds(self) -> tuple[Array, Array]:
        """Lowest and highest parameters."""

    def linearise(self, theta: Array) -> tuple[Array, Array]:
        """Residuals log predicted − log measured (problems, rows), their derivatives (problems, parameters, rows)."""

    def curvature(self, theta: Array, jacobian: Array, slope: Array) -> Array:
        """Second derivatives of the residuals, summed over rows with weights `slope` (problems, rows)."""


@dataclass(frozen=True)
class Solution:
    """Where each problem ended, first axis (problems,).

    objective: the sum that was minimised. steepness: largest element of the gradient that no bound holds, each over the
    root of its own curvature, over the root of the objective: free of units, and below `FLAT` where it converged.
    """

    theta: Array
    objective: Array
    steepness: Array
    at_bound: Mask
    finite: Mask

    @property
    def converged(self) -> Mask:
        return self.finite & (self.steepness <= FLAT)

    def status(self, index: int) -> SolveStatus:
        """How one problem ended. bound: flat but for what a bound holds back."""
        if not self.finite[index]:
            return "not_finite"
        if not self.converged[index]:
            return "unfinished"
        return "bound" if self.at_bound[index].any() else "converged"

    @property
    def best(self) -> int:
        """The problem of the lowest objective."""
        return int(np.nanargmin(np.where(self.finite, self.objective, np.inf)))


def huber(residuals: Array, weights: Array, delta: float = HUBER_DELTA) -> Array:
    """Σ over rows of weight · Huber(residual), shape (problems,): quadratic up to δ, then linear. δ may be infinite."""
    size = np.abs(residuals)
    near = np.minimum(size, delta)
    return np.asarray((weights * near * (size - near / 2)).sum(axis=-1))


def solve(
    theta: Array, problem: Problem, weights: Array, steps: int = MOST_STEPS, delta: float = HUBER_DELTA
) -> Solution:
    """Each problem from its row of theta, at most so many steps, none of them uphill.

    weights: how much each row counts, broadcast to (problems, rows).
    """
    rows = problem.linearise(theta[:1])[0].shape[1]
    weights = np.broadcast_to(weights, (len(theta), rows))
    size = max(1, _CHUNK_VALUES // rows)
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):  # a step too far is refused, not an error
        chunks = [
            _Chunk(theta[start : start + size], problem, weights[start : start + size], delta).run(steps)
            for start in range(0, len(theta), size)
        ]
    return Solution(*(np.concatenate(parts) for parts in zip(*chunks, strict=True)))


class _Chunk:
    """Problems under way; the arrays hold those that are not done."""

    def __init__(self, theta: Array, problem: Problem, weights: Array, delta: float) -> None:
        self.problem, self.delta = problem, delta
        self.low, self.high = problem.bounds
        self.ends = np.clip(theta, self.low, self.high)
        self.objectives, self.steepness = np.full(len(theta), np.nan), np.full(len(theta), np.inf)
        self.left = np.arange(len(theta))
        self.theta, self.weights = self.ends.copy(), weights
        self.residuals, self.jacobian = problem.linearise(self.theta)
        self.objective = huber(self.residuals, weights, delta)
        self.damping = np.full(len(theta), _FIRST_DAMPING)

    def run(self, steps: int) -> tuple[Array, Array, Array, Mask, Mask]:
        """Step all problems until each is at rest or `steps` are taken; what is returned has a row for each problem."""
        for taken in range(steps + 1):
            self._look()
            self._let_go(self._done() | (taken == steps))
            if not len(self.left):
                break
            self._step()
        at_bound = (self.ends <= self.low) | (self.ends >= self.high)
        return self.ends, self.objectives, self.steepness, at_bound, np.isfinite(self.objectives)

    def _look(self) -> None:
        """Gradient and curvature where the problems stand."""
        self.touching = self.weights / np.maximum(np.abs(self.residuals) / self.delta, 1.0)
        self.slope = self.touching * self.residuals
        gradient = np.matmul(self.jacobian, self.slope[..., None])[..., 0]
        self.scale = np.matmul(self.jacobian**2, self.touching[..., None])[..., 0]
        self.held = ((self.theta <= self.low) & (gradient > 0)) | ((self.theta >= self.high) & (gradient < 0))
        self.gradient = np.where(self.held, 0.0, gradient)
        ratio = np.abs(self.gradient) / np.sqrt(self.scale + 1e-300)
        self.steep = ratio.max(axis=1) / np.sqrt(self.objective + 1e-300)

    def _done(self) -> Mask:
        lost = ~np.isfinite(self.objective)
        return np.asarray(
            (self.steep <= FLAT) | (self.objective < _EXACT) | (self.damping > _LARGEST_DAMPING) | lost, dtype=bool
        )

    def _let_go(self, done: Mask) -> None:
        """Write down those that are done, and go on with the others."""
        if not done.any():
            return
        gone, kept = self.left[done], ~done
        exact = self.objective[done] < _EXACT
        self.ends[gone], self.objectives[gone] = self.theta[done], self.objective[done]
        self.steepness[gone] = np.where(exact, 0.0, self.steep[done])
        for name in ("left", "theta", "weights", "residuals", "jacobian", "objective", "damping"):
            setattr(self, name, getattr(self, name)[kept])
        for name in ("touching", "slope", "scale", "held", "gradient"):
            setattr(self, name, getattr(self, name)[kept])

    def _step(self) -> None:
        trial = np.clip(self.theta + self._direction(), self.low, self.high)
        residuals, jacobian = self.problem.linearise(trial)
        reached = huber(residuals, self.weights, self.delta)
        better = reached < self.objective
        self.theta[better], self.objective[better] = trial[better], reached[better]
        self.residuals[better], self.jacobian[better] = residuals[better], jacobian[better]
        self.damping *= np.where(better, _EASED, _TIGHTENED)

    def _direction(self) -> Array:
        """The step that the blend of both curvatures asks for; what a bound holds stays."""
        blend = (self.damping / (1 + self.damping))[:, None]
        inside = self.weights * (np.abs(self.residuals) <= self.delta)
        row_weights = blend * self.touching + (1 - blend) * inside
        hessian = np.matmul(self.jacobian * row_weights[:, None], self.jacobian.transpose(0, 2, 1))
        hessian += (1 - blend)[..., None] * self.problem.curvature(self.theta, self.jacobian, self.slope)
        diagonal = np.arange(self.theta.shape[1])
        hessian = np.where(self.held[:, :, None] | self.held[:, None, :], 0.0, hessian)
        hessian[:, diagonal, diagonal] += self.damping[:, None] * self.scale + self.held + 1e-14
        return np.asarray(np.linalg.solve(hessian, -self.gradient[..., None])[..., 0])


def curvature_by_differences(problem: Problem, theta: Array, jacobian: Array, slope: Array) -> Array:
    """`Problem.curvature` of a problem that knows no second derivatives: differences of its first ones."""
    here = np.matmul(jacobian, slope[..., None])[..., 0]
    columns = []
    for index in range(theta.shape[1]):
        moved = theta.copy()
        moved[:, index] += _DIFFERENCE
        there = np.matmul(problem.linearise(moved)[1], slope[..., None])[..., 0]
        columns.append((there - here) / _DIFFERENCE)
    found = np.stack(columns, axis=-1)
    return np.asarray((found + found.transpose(0, 2, 1)) / 2)
