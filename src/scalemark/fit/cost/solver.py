"""Non-negative least squares on relative residuals, with Huber's loss and with bounds; terms may overlap.

    minimise Σ Huber(predicted/measured − 1; δ = 5 %),  coefficients ≥ lowest ≥ 0

Relative, because the smallest rung and the largest are as dear to a law. Huber, because published tables hold rows
that are far off for reasons of their own, and squares would let two of them bend the whole law.
"""

from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import nnls

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]

# Within 5 % counts squared, beyond it in proportion: about what a step time on a shared machine repeats to.
HUBER_DELTA = 0.05
_REWEIGHTINGS = 100
SETTLED = 1e-5
_OVERLAP_ITERATIONS = 50
_STEPS = (1.0, 0.5, 0.2, 0.05)
_WORTH_A_STEP = 1e-4
# A share of the value that is rounding and no term.
_NOTHING = 1e-11
# Where every part of an overlapped group was 0 it would stay 0: each begins with at least this share of the time.
_SMALLEST_SHARE = 1e-3


class Overlapping(Protocol):
    """A form whose terms may run at the same time (see `terms.Form`)."""

    def evaluate(self, coefficients: Array, quantities: Array) -> Array:
        """Predicted values, shape (rows,)."""

    def slopes(self, coefficients: Array, quantities: Array) -> Array:
        """Derivatives by the coefficients without the power, shape (rows, terms)."""


def huber(relative: Array) -> Array:
    """r²/2 within δ, δ·(|r| − δ/2) beyond."""
    size = np.abs(relative)
    return np.where(size <= HUBER_DELTA, size**2 / 2, HUBER_DELTA * (size - HUBER_DELTA / 2))


def objective(relative: Array) -> float:
    """Σ Huber over the rows."""
    return float(huber(relative).sum())


def projected_gradient(quantities: Array, values: Array, lowest: Array, coefficients: Array) -> float:
    """Largest derivative of the objective by the logarithm of a coefficient that no bound holds; 0 at the minimum."""
    slope = np.clip(quantities @ coefficients / values - 1, -HUBER_DELTA, HUBER_DELTA)
    gradient = coefficients * ((quantities / values[:, None]).T @ slope)
    return float(np.abs(gradient[coefficients > lowest]).max(initial=0.0))


def solve(quantities: Array, values: Array, lowest: Array, settled: float = SETTLED) -> Array:
    """Coefficients, shape (terms,), by iteratively reweighted least squares (Huber 1981, section 7.8).

    quantities: shape (rows, terms); values: positive, shape (rows,); lowest: what each coefficient is at least.
    settled: ends when no weight moves by more.
    """
    weights = np.ones(len(values))
    for _ in range(_REWEIGHTINGS):
        coefficients = weighted(quantities, values, lowest, weights)
        updated = _weights(quantities @ coefficients / values - 1)
        if np.abs(updated - weights).max() < settled:
            break
        weights = updated
    return coefficients


def weighted(quantities: Array, values: Array, lowest: Array, weights: Array) -> Array:
    """Coefficients, each at least its lowest, that minimise the weighted sum of squared relative residuals."""
    root = np.sqrt(weights)
    rows = quantities * (root / values)[:, None]
    scale = rows.max(axis=0)
    scale[scale == 0] = 1.0  # a quantity that is 0 everywhere, as logits are for some tasks
    solution, _ = nnls(rows / scale, root * (1 - quantities @ lowest / values))
    solution[solution < _NOTHING] = 0.0
    return np.asarray(lowest + solution / scale)


def solve_overlapping(
    form: Overlapping, quantities: Array, values: Array, lowest: Array, power: float, start: Array | None = None
) -> Array:
    """Coefficients and the power, shape (terms + 1,), of terms that overlap as a p-norm of this power.

    The prediction is its slopes times its coefficients (it is homogeneous of degree one; Euler), so that the problem
    with the slopes held is linear: each step goes to its solution (Gauss-Newton), or as far that way as it gets better.
    """
    floor = _SMALLEST_SHARE * np.median(values / np.maximum(quantities, 1e-300).T, axis=1)
    begin = solve(quantities, values, lowest) if start is None else start
    at = np.append(np.maximum(begin, np.where(quantities.any(axis=0), floor, 0.0)), power)
    for _ in range(_OVERLAP_ITERATIONS):
        relative = form.evaluate(at, quantities) / values - 1
        found = weighted(form.slopes(at, quantities), values, lowest, _weights(relative))
        trials = (np.append(at[:-1] + share * (found - at[:-1]), power) for share in _STEPS)
        reached = objective(relative) * (1 - _WORTH_A_STEP)
        better = (one for one in trials if objective(form.evaluate(one, quantities) / values - 1) < reached)
        following = next(better, None)
        if following is None:
            break
        at = following
    return at


def _weights(relative: Array) -> Array:
    return HUBER_DELTA / np.maximum(np.abs(relative), HUBER_DELTA)
