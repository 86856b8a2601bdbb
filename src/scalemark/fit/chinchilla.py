"""Fit L = E + A/N^α + B/D^β to arrays (Hoffmann et al. 2022, eq. 2 and approach 3), with bootstrap replicates.

    log L ≈ logsumexp(e, a − α·x, b − β·y),  x = log N − mean,  y = log D − mean
    minimise Σ Huber(log predicted − log measured; δ = 1e-3)

Centring makes a and b the logs of what N and D add to the loss in the middle of the data: numbers that the data pin
down, where log A and log B are an extrapolation to N = D = 1. Many problems are solved at once, one per row of a
batch: the starts of one fit, then the replicates of its bootstrap.

Published fits of this form went wrong by stopping early (Besiroglu et al. 2024), so each step is a damped Gauss-Newton
step on the sum, not the mean, and goes on until nothing improves.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray

from scalemark.errors import FitError

Array = NDArray[np.float64]

NAMES = ("E", "A", "B", "alpha", "beta")
HUBER_DELTA = 1e-3
REPLICATES = 200
FEWEST_SIZES = 2

# Bounds: a term below e^-12 of the smallest loss is nothing; an exponent near 0 makes a term one with E.
_SMALLEST_LOG_SHARE, _LARGEST_LOG_SHARE = -12.0, 5.0
_SMALLEST_EXPONENT, _LARGEST_EXPONENT = 0.01, 4.0
_START_EXPONENTS = (0.1, 0.3, 0.6, 1.2)
_START_FLOORS = (0.2, 0.6, 0.9)
_START_SPLITS = (0.2, 0.5, 0.8)
_STARTS_KEPT = 12
_FIRST_ITERATIONS, _LAST_ITERATIONS = 40, 2000
_LARGEST_DAMPING = 1e12


@dataclass(frozen=True)
class ChinchillaFit:
    """A converged fit. values and each row of draws: E, A, B, alpha, beta, as `NAMES`; E, A, B in the unit of the loss.

    objective: summed Huber loss of the log residuals. at_bound: which parameters stopped at the edge of their range.
    """

    values: Array
    draws: Array
    objective: float
    at_bound: tuple[bool, ...]


@dataclass(frozen=True)
class _Data:
    """Centred logs, shape (rows,). offsets: the means taken away from log N and log D."""

    x: Array
    y: Array
    log_loss: Array
    offsets: tuple[float, float]

    @property
    def bounds(self) -> tuple[Array, Array]:
        """Lowest and highest (e, a, b, alpha, beta)."""
        low, high = self.log_loss.min() + _SMALLEST_LOG_SHARE, self.log_loss.max() + _LARGEST_LOG_SHARE
        return (
            np.array([low, low, low, _SMALLEST_EXPONENT, _SMALLEST_EXPONENT]),
            np.array([high, high, high, _LARGEST_EXPONENT, _LARGEST_EXPONENT]),
        )


def predict_chinchilla(values: Array, params: Array | float, tokens: Array | float) -> Array:
    """Loss from (…, 5) values in the order of `NAMES`; params and tokens broadcast against the leading shape."""
    e, a, b, alpha, beta = np.moveaxis(np.asarray(values, dtype=float), -1, 0)
    return np.asarray(e + a * np.asarray(params) ** -alpha + b * np.asarray(tokens) ** -beta)


def fit_chinchilla(
    params: Sequence[float] | Array,
    tokens: Sequence[float] | Array,
    loss: Sequence[float] | Array,
    seed: int = 0,
    replicates: int = REPLICATES,
) -> ChinchillaFit:
    """The best of many starts, and `replicates` refits to rows drawn with replacement, each begun at the best.

    Raises FitError for fewer rows than parameters, or fewer than two distinct N or D.
    """
    data = _prepare(params, tokens, loss)
    best = _fit_from_many_starts(data)
    counts = _resampled_counts(data, replicates, np.random.default_rng(seed))
    drawn, _ = _descend(np.repeat(best[None], len(counts), axis=0), data, counts, _LAST_ITERATIONS)
    low, high = data.bounds
    return ChinchillaFit(
        values=_natural(best, data),
        draws=_natural(drawn, data),
        objective=float(_objective(_residuals(best[None], data), np.ones(1))[0]),
        at_bound=tuple(bool(hit) for hit in (best <= low + 1e-6) | (best >= high - 1e-6)),
    )


def _prepare(params: Sequence[float] | Array, tokens: Sequence[float] | Array, loss: Sequence[float] | Array) -> _Data:
    n, d, losses = (np.asarray(column, dtype=float) for column in (params, tokens, loss))
    assert len(n) == len(d) == len(losses), "one N, D and loss per row"
    if len(losses) < len(NAMES):
        raise FitError(
            f"a loss law has {len(NAMES)} parameters and needs more training runs than that, and there are "
            f"{len(losses)}: train more sizes and token counts, or raise --scale-budget"
        )
    for name, column in (("model size", n), ("token count", d)):
        if len(np.unique(column)) < FEWEST_SIZES:
            raise FitError(f"all training runs have the same {name}: train at least three, so that it has an effect")
    if min(n.min(), d.min(), losses.min()) <= 0:
        raise FitError("a loss law needs positive sizes, token counts and losses: leave the other runs out")
    log_n, log_d = np.log(n), np.log(d)
    return _Data(log_n - log_n.mean(), log_d - log_d.mean(), np.log(losses), (float(log_n.mean()), float(log_d.mean())))


def _fit_from_many_starts(data: _Data) -> Array:
    """(e, a, b, alpha, beta) of the lowest objective: a few steps from every start, then the best ones to the end."""
    starts = _starts(data)
    near, objectives = _descend(starts, data, np.ones((len(starts), 1)), _FIRST_ITERATIONS)
    kept = near[np.argsort(objectives)[:_STARTS_KEPT]]
    ends, objectives = _descend(kept, data, np.ones((len(kept), 1)), _LAST_ITERATIONS)
    return np.asarray(ends[np.argmin(objectives)])


def _starts(data: _Data) -> Array:
    """A grid over both exponents, E's share of the lowest loss, and how N and D share the rest."""
    lowest, typical = np.exp(data.log_loss.min()), np.exp(np.median(data.log_loss))
    grid = product(_START_FLOORS, _START_SPLITS, _START_EXPONENTS, _START_EXPONENTS)
    return np.array(
        [
            [np.log(floor * lowest), *np.log(np.array([split, 1 - split]) * (typical - floor * lowest)), alpha, beta]
            for floor, split, alpha, beta in grid
        ]
    )


def _resampled_counts(data: _Data, replicates: int, rng: np.random.Generator) -> Array:
    """How often each replicate draws each row, shape (replicates, rows).

    Draws that lose all but one N or D, or keep fewer distinct rows than there are parameters, say nothing of the
    exponents and are drawn again; where nearly all do, fewer replicates come back.
    """
    rows = len(data.log_loss)
    counts = rng.multinomial(rows, np.full(rows, 1 / rows), size=20 * replicates)
    enough = (counts > 0).sum(axis=1) >= len(NAMES)
    for column in (data.x, data.y):
        seen = np.stack([(counts[:, column == value] > 0).any(axis=1) for value in np.unique(column)])
        enough &= seen.sum(axis=0) >= FEWEST_SIZES
    return np.asarray(counts[enough][:replicates], dtype=float)


def _natural(theta: Array, data: _Data) -> Array:
    """(…, 5) E, A, B, alpha, beta from the centred logs."""
    e, a, b, alpha, beta = np.moveaxis(theta, -1, 0)
    log_n, log_d = data.offsets
    return np.stack([np.exp(e), np.exp(a + alpha * log_n), np.exp(b + beta * log_d), alpha, beta], axis=-1)


# --- the solver: one problem per row of theta, shape (problems, 5) ----------------------------------------------------


def _log_terms(theta: Array, data: _Data) -> Array:
    """Logs of the three terms, shape (problems, rows, 3)."""
    e, a, b, alpha, beta = (column[:, None] for column in theta.T)
    return np.stack([e + 0 * data.x, a - alpha * data.x, b - beta * data.y], axis=-1)


def _residuals(theta: Array, data: _Data) -> Array:
    """log predicted − log measured, shape (problems, rows)."""
    return np.asarray(np.logaddexp.reduce(_log_terms(theta, data), axis=-1) - data.log_loss)


def _objective(residuals: Array, weights: Array) -> Array:
    """Σ Huber over rows, each counted `weights` times, shape (problems,)."""
    size = np.abs(residuals)
    huber = np.where(size <= HUBER_DELTA, size**2 / 2, HUBER_DELTA * (size - HUBER_DELTA / 2))
    return np.asarray((weights * huber).sum(axis=-1))


def _jacobian(theta: Array, data: _Data) -> Array:
    """Derivatives of the residuals, shape (problems, rows, 5)."""
    terms = _log_terms(theta, data)
    share = np.exp(terms - np.logaddexp.reduce(terms, axis=-1, keepdims=True))
    e, a, b = np.moveaxis(share, -1, 0)
    return np.stack([e, a, b, -data.x * a, -data.y * b], axis=-1)


def _gradient(theta: Array, data: _Data, weights: Array) -> Array:
    """Derivatives of the objective, shape (problems, 5)."""
    slope = weights * np.clip(_residuals(theta, data), -HUBER_DELTA, HUBER_DELTA)
    return np.asarray(np.einsum("kr,krp->kp", slope, _jacobian(theta, data)))


def _descend(theta: Array, data: _Data, weights: Array, iterations: int) -> tuple[Array, Array]:
    """Each problem's parameters after at most so many damped steps, none of them uphill, and its objective."""
    theta = np.clip(theta, *data.bounds)
    weights = np.broadcast_to(weights, (len(theta), len(data.x)))
    objective = _objective(_residuals(theta, data), weights)
    damping = np.full(len(theta), 1e-2)
    for _ in range(iterations):
        active = np.flatnonzero(damping < _LARGEST_DAMPING)
        if not len(active):
            break
        trial = np.clip(theta[active] + _step(theta[active], data, weights[active], damping[active]), *data.bounds)
        reached = _objective(_residuals(trial, data), weights[active])
        better = reached < objective[active]
        theta[active[better]], objective[active[better]] = trial[better], reached[better]
        damping[active] *= np.where(better, 0.2, 5.0)
    return theta, objective


def _step(theta: Array, data: _Data, weights: Array, damping: Array) -> Array:
    """Levenberg-Marquardt step on the quadratic that touches each Huber term from above (weights δ/|r| past δ)."""
    residuals, jacobian = _residuals(theta, data), _jacobian(theta, data)
    curvature = weights * HUBER_DELTA / np.maximum(np.abs(residuals), HUBER_DELTA)
    gradient = np.einsum("kr,krp->kp", curvature * residuals, jacobian)
    hessian = np.einsum("krp,kr,krq->kpq", jacobian, curvature, jacobian, optimize=True)
    diagonal = np.arange(len(NAMES))
    hessian[:, diagonal, diagonal] += damping[:, None] * hessian[:, diagonal, diagonal] + 1e-14
    return np.asarray(np.linalg.solve(hessian, -gradient[..., None])[..., 0])
