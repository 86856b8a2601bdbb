"""The compute-optimal size without a loss law: approaches 1 and 2 of Hoffmann et al. 2022 (sections 3.1 and 3.2).

    approach 1, envelope   the size of the lowest loss at each compute, between the runs of each size
    approach 2, isoflop    runs of equal compute: the minimum of a parabola of loss in log N

Both then fit N = k·C^a. They are cross-checks of the law's own exponent (approach 3), and biased each in its way:

- A parabola is symmetric and a profile, E + A/N^alpha + B·(6N/C)^beta, is not. Its vertex lies off the minimum; by the
  same factor at every compute where the sizes reach equally far to both sides of it, so that a is right and k is not
  (Czech et al. 2026, arXiv 2603.22339). Where the sizes drift from the minimum as compute grows, as a fixed set of
  sizes does, a is wrong too.
- The envelope knows only the sizes that there are, and at each compute favours those that have runs there: between two
  runs of a size the loss is taken to be straight in log C, which is above the curve. Near the ends of the range it is
  cut off by the smallest and the largest size, so computes at which one of these wins are left out. And the lowest of
  many noisy losses is a lucky one.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from scalemark.errors import FitError
from scalemark.fit.rows import Rows, resample
from scalemark.fit.solver import Array, Mask
from scalemark.schema import Estimate
from scalemark.stats import percentile_interval

# Largest over smallest compute of one profile. Over 10 % of compute the loss above E falls by some 2 %.
SAME_COMPUTE = 1.1
FEWEST_SIZES = 3
# With two optima the power law is exact and says nothing of its error.
FEWEST_OPTIMA = 3
_REPLICATES = {"isoflop": 1000, "envelope": 200}
_ENVELOPE_POINTS = 200
_NOTES: dict[str, str] = {
    "isoflop": "a parabola is symmetric and the profile is not: its minimum is shifted, and where the sizes are not "
    "centred alike at every compute the exponent is as well",
    "envelope": "the envelope favours sizes that have runs at a compute, and lucky runs; its ends are cut off",
}
Approach = Literal["isoflop", "envelope"]


@dataclass(frozen=True)
class AllocationCheck:
    """N = coefficient · C^exponent, from the optimal `params` at each of `compute_flops`. notes: what biases it."""

    approach: Approach
    exponent: Estimate
    coefficient: float
    compute_flops: tuple[float, ...]
    params: tuple[float, ...]
    notes: tuple[str, ...]

    def optimal_params(self, compute_flops: float) -> float:
        return float(self.coefficient * compute_flops**self.exponent.value)


def isoflop(rows: Rows, seed: int = 0) -> AllocationCheck:
    """Approach 2. Raises FitError where fewer than three computes have a minimum among three sizes or more."""
    members = profiles(rows)
    log_c = np.array([float(np.mean(np.log(rows.compute_flops[one]))) for one in members])

    def optima(weights: Array) -> tuple[Array, Array]:
        vertices = [_vertices(rows.only(one), weights[:, one]) for one in members]
        return np.stack(vertices, axis=1), np.stack([weights[:, one].sum(axis=1) for one in members], axis=1)

    if len(members) < FEWEST_OPTIMA:
        raise FitError(
            f"{len(members)} computes have runs of {FEWEST_SIZES} sizes within {SAME_COMPUTE - 1:.0%} of each other, "
            f"and IsoFLOP profiles take {FEWEST_OPTIMA}: train several sizes at each of some fixed computes"
        )
    return _check("isoflop", rows, log_c, optima, seed)


def envelope(rows: Rows, seed: int = 0) -> AllocationCheck:
    """Approach 1. Raises FitError where fewer than three sizes are ever best between a smaller and a larger one."""
    sizes = [size for size in np.unique(rows.params) if np.sum(rows.params == size) > 1]
    if len(sizes) < FEWEST_SIZES:
        raise FitError(
            f"{len(sizes)} sizes have runs of more than one length, and an envelope takes {FEWEST_SIZES}: "
            "train each size on several token counts"
        )
    log_c = np.log(np.geomspace(rows.compute_flops.min(), rows.compute_flops.max(), _ENVELOPE_POINTS))

    def optima(weights: Array) -> tuple[Array, Array]:
        best = np.stack([_lowest(rows.only(np.flatnonzero(drawn)), sizes, log_c) for drawn in weights])
        return best, np.ones_like(best)

    return _check("envelope", rows, log_c, optima, seed)


def profiles(rows: Rows) -> list[Mask]:
    """Rows of about equal compute, shape (rows,) each, by compute; none shares a row with another.

    Taken where most sizes lie within `SAME_COMPUTE`, then where most do of what is left, and so on.
    """
    log_c, left = np.log(rows.compute_flops), np.ones(len(rows), dtype=bool)
    found: list[Mask] = []
    width = np.log(SAME_COMPUTE) + 1e-9
    while True:
        windows = [left & (log_c >= low) & (log_c <= low + width) for low in np.unique(log_c[left])]
        counts = [len(np.unique(rows.params[window])) for window in windows]
        if max(counts, default=0) < FEWEST_SIZES:
            return sorted(found, key=lambda one: float(log_c[one].mean()))
        found.append(windows[int(np.argmax(counts))])
        left = left & ~found[-1]


# --- the optima -------------------------------------------------------------------------------------------------------


def _vertices(rows: Rows, weights: Array) -> Array:
    """log N at which a parabola through a profile is lowest, for each row of weights; NaN where there is no minimum."""
    log_n = np.log(rows.params)
    x = log_n - log_n.mean()
    powers = np.stack([np.ones_like(x), x, x**2], axis=1)
    normal = np.einsum("ri,ij,ik->rjk", weights, powers, powers)
    right = np.einsum("ri,ij,i->rj", weights, powers, rows.loss)
    told = _distinct(weights, x) >= FEWEST_SIZES
    normal[~told] = np.eye(3)
    _, slope, bend = np.linalg.solve(normal, right[..., None])[..., 0].T
    with np.errstate(divide="ignore", invalid="ignore"):
        vertex = -slope / (2 * bend)
    inside = told & (bend > 0) & (vertex > x.min()) & (vertex < x.max())
    return np.where(inside, vertex + log_n.mean(), np.nan)


def _distinct(weights: Array, x: Array) -> Array:
    """How many different values each row of weights keeps."""
    values = np.unique(x)
    return np.asarray(np.sum([(weights[:, x == value] > 0).any(axis=1) for value in values], axis=0))


def _lowest(rows: Rows, sizes: list[float], log_c: Array) -> Array:
    """log N of the size of the lowest loss at each compute; NaN unless a smaller and a larger one did worse there."""
    losses = np.stack([_curve(rows.only(rows.params == size), log_c) for size in sizes])
    there = np.isfinite(losses)
    winner = np.argmin(np.where(there, losses, np.inf), axis=0)
    smallest, largest = np.argmax(there, axis=0), len(sizes) - 1 - np.argmax(there[::-1], axis=0)
    return np.where((winner > smallest) & (winner < largest), np.log(sizes)[winner], np.nan)


def _curve(rows: Rows, log_c: Array) -> Array:
    """Loss of one size at each compute, straight between its runs; NaN outside them."""
    if not len(rows):
        return np.full(len(log_c), np.nan)
    order = np.argsort(rows.compute_flops)
    x, y = np.log(rows.compute_flops[order]), rows.loss[order]
    return np.asarray(np.interp(log_c, x, y, left=np.nan, right=np.nan))


# --- the power law ----------------------------------------------------------------------------------------------------


def _check(
    approach: Approach, rows: Rows, log_c: Array, optima: Callable[[Array], tuple[Array, Array]], seed: int
) -> AllocationCheck:
    """optima: from weights (replicates, rows), log N at each log C and how much it counts, (replicates, computes)."""
    best, counts = optima(np.ones((1, len(rows))))
    n_optima = len(np.unique(best[np.isfinite(best)]))
    if n_optima < FEWEST_OPTIMA:
        raise FitError(
            f"the runs enclose {n_optima} optimal sizes from both sides, and {approach} takes {FEWEST_OPTIMA}: "
            "train smaller and larger sizes at each compute"
        )
    exponent, intercept = _power_law(log_c, best, counts)
    weights = resample(rows.groups, rows.params, rows.tokens, _REPLICATES[approach], np.random.default_rng(seed), 3)
    drawn = _power_law(log_c, *optima(weights))[0]
    told = np.isfinite(best[0])
    return AllocationCheck(
        approach=approach,
        exponent=percentile_interval(drawn[np.isfinite(drawn)], float(exponent[0])),
        coefficient=float(np.exp(intercept[0])),
        compute_flops=tuple(float(value) for value in np.exp(log_c[told])),
        params=tuple(float(value) for value in np.exp(best[0][told])),
        notes=(_NOTES[approach],),
    )


def _power_law(log_c: Array, best: Array, counts: Array) -> tuple[Array, Array]:
    """Slope and intercept of each row of optima, by least squares; NaN where fewer than two are left."""
    weights = np.where(np.isfinite(best), counts, 0.0)
    log_n = np.nan_to_num(best)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean_c, mean_n = ((weights * column).sum(axis=1) / weights.sum(axis=1) for column in (log_c, log_n))
        apart = log_c - mean_c[:, None]
        slope = (weights * apart * log_n).sum(axis=1) / (weights * apart**2).sum(axis=1)
    return np.asarray(slope), np.asarray(mean_n - slope * mean_c)
