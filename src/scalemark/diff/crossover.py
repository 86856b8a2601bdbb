"""Where two laws cross, with an interval, from draws of both: at which size another contender becomes the faster one.

    r(x) = log a(x) − log b(x), x the log of a size       crossing: r changes its sign
    draws r_k(x) of both laws                             crossings x_k, an interval is their quantiles

A draw whose curve does not change its sign crosses below all sizes asked, or above them, as its sign says. So an
interval may be open at an end. It is where the 90 % band of r holds 0 (Fieller 1954, for two straight lines).
The laws come from outside: this module knows none.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from scalemark.schema import INTERVAL_LEVEL

Array = np.ndarray


@dataclass(frozen=True)
class Crossing:
    """A change of sign at x = `at`. rises: from below 0 to above. low, high: None where the interval is open there."""

    at: float
    rises: bool
    low: float | None
    high: float | None


def crossings(x: Array, ratios: Array, draws: Array, level: float = INTERVAL_LEVEL) -> tuple[Crossing, ...]:
    """Every change of sign of `ratios`, in the order of x.

    x: increasing, shape (places,). ratios: log ratios there, shape (places,). draws: shape (draws, places).
    """
    found = []
    for rises in (True, False):
        positions = _positions(x, ratios[None], rises)[0]
        found += [_crossing(x, float(at), draws, rises, level) for at in positions[np.isfinite(positions)]]
    return tuple(sorted(found, key=lambda crossing: crossing.at))


def lowest(x: Array, values: Sequence[Array]) -> list[tuple[int, int, int]]:
    """Which of several curves is the lowest, from where to where: (curve, first place, last place), by rising x."""
    winner = np.argmin(np.stack(list(values)), axis=0)
    changes = np.flatnonzero(np.diff(winner)) + 1
    firsts, lasts = [0, *changes], [*(changes - 1), len(x) - 1]
    return [(int(winner[first]), int(first), int(last)) for first, last in zip(firsts, lasts, strict=True)]


def _crossing(x: Array, at: float, draws: Array, rises: bool, level: float) -> Crossing:
    drawn = _nearest(x, at, draws, rises)
    low = float(np.quantile(drawn, (1 - level) / 2, method="lower"))
    high = float(np.quantile(drawn, (1 + level) / 2, method="higher"))
    return Crossing(
        at=at,
        rises=rises,
        low=min(low, at) if np.isfinite(low) else None,
        high=max(high, at) if np.isfinite(high) else None,
    )


def _nearest(x: Array, at: float, draws: Array, rises: bool) -> Array:
    """Of each draw the like crossing that is nearest to `at`, shape (draws,); −∞ or ∞ where it has none."""
    positions = _positions(x, draws, rises)
    distance = np.where(np.isfinite(positions), np.abs(positions - at), np.inf)
    nearest = np.take_along_axis(positions, distance.argmin(axis=1)[:, None], axis=1)[:, 0]
    here = draws[:, np.abs(x - at).argmin()]
    is_past = here > 0 if rises else here < 0
    return np.where(np.isfinite(nearest), nearest, np.where(is_past, -np.inf, np.inf))


def _positions(x: Array, curves: Array, rises: bool) -> Array:
    """Where each curve changes its sign so, shape (curves, places − 1); NaN where it does not. Straight in between."""
    signed = curves if rises else -curves
    before, after = signed[:, :-1], signed[:, 1:]
    changes = (before <= 0) & (after > 0)
    share = np.divide(-before, after - before, out=np.full_like(before, np.nan), where=changes)
    return np.asarray(x[:-1] + share * np.diff(x))
