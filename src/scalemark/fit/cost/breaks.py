"""A break in what the law leaves over: from some size on, everything costs more, as when a cache no longer holds it.

For every place between two sizes the law is refitted with one more term, a share of its own prediction for the rows
above. The largest gain is held against the largest gains of data that have no break: the fitted law with normal noise,
which is tried at as many places (a parametric bootstrap of the maximum; Davies 1987 says why the usual F will not do).
"""

from dataclasses import dataclass

import numpy as np

from scalemark.fit.cost.solver import Array, weighted

SIMULATIONS = 300
# One suite in a hundred without a break is said to have one.
FALSE_ALARMS = 0.01
FEWEST_ABOVE = 2


@dataclass(frozen=True)
class Break:
    """Rows of size `above` and larger cost `excess` more than the law of those up to `below` says (0.2: 20 %)."""

    below: float
    above: float
    excess: float


def find_break(quantities: Array, values: Array, sizes: Array, lowest: Array, seed: int = 0) -> Break | None:
    """The break that explains most, or None where noise alone explains as much.

    quantities: shape (rows, terms), linear; sizes: shape (rows,), what a cache or a memory must hold.
    """
    places = _places(sizes, quantities.shape[1])
    if not len(places):
        return None
    gains, excesses, base = _gains(quantities, values, sizes, places, lowest)
    best = int(np.argmax(gains))
    if excesses[best] <= 0 or gains[best] < _usual_gain(quantities, base, values, sizes, places, lowest, seed):
        return None
    return Break(
        below=float(sizes[sizes < places[best]].max()), above=float(places[best]), excess=float(excesses[best])
    )


def _places(sizes: Array, n_terms: int) -> Array:
    """Sizes that a break may come before: enough rows above, and below more rows than terms that are told there."""
    fewest_below = min(n_terms + 1, max(len(sizes) // 2, FEWEST_ABOVE + 1))
    return np.array(
        [
            size
            for size in np.unique(sizes)[1:]
            if (sizes >= size).sum() >= FEWEST_ABOVE and (sizes < size).sum() >= fewest_below
        ]
    )


def _gains(quantities: Array, values: Array, sizes: Array, places: Array, lowest: Array) -> tuple[Array, Array, Array]:
    """How many times the squares shrink at each place, the excess there, and what the law says without a break."""
    every = np.ones(len(values))
    base = quantities @ weighted(quantities, values, lowest, every)
    squares = float(np.sum((base / values - 1) ** 2))
    gains, excesses = [], []
    for place in places:
        broken = np.column_stack([quantities, base * (sizes >= place)])
        coefficients = weighted(broken, values, np.append(lowest, 0.0), every)
        left = float(np.sum((broken @ coefficients / values - 1) ** 2))
        gains.append(squares / max(left, 1e-300) if squares > _NO_NOISE * len(values) else 1.0)
        excesses.append(_excess(broken, coefficients, sizes >= place))
    return np.array(gains), np.array(excesses), base


# Squares of what computers round: nothing is left over to break.
_NO_NOISE = 1e-16


def _excess(broken: Array, coefficients: Array, is_above: np.ndarray) -> float:
    """How much more the rows above cost than their other terms say."""
    rows = broken[is_above]
    without = rows[:, :-1] @ coefficients[:-1]
    return float(np.median(rows @ coefficients / np.maximum(without, 1e-300)) - 1)


def _usual_gain(
    quantities: Array, base: Array, values: Array, sizes: Array, places: Array, lowest: Array, seed: int
) -> float:
    """The gain that data without a break exceed once in a hundred."""
    sd = float(np.std(np.log(base / values)))
    rng = np.random.default_rng(seed)
    simulated = base * np.exp(sd * rng.standard_normal((SIMULATIONS, len(base))))
    largest = [_gains(quantities, row, sizes, places, lowest)[0].max() for row in simulated]
    return float(np.quantile(largest, 1 - FALSE_ALARMS))
