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
# A break that leaves more than two thirds of the squares is not worth saying, nor simulating.
_SMALLEST_GAIN = 1.5
# Squares of what computers round: nothing is left over to break.
_NO_NOISE = 1e-16


@dataclass(frozen=True)
class Break:
    """Rows of size `above` and larger cost `excess` more than the law of those up to `below` says (0.2: 20 %)."""

    below: float
    above: float
    excess: float


@dataclass(frozen=True)
class _Rows:
    """Linear quantities, shape (rows, terms), what each coefficient is at least, and what may break, shape (rows,)."""

    quantities: Array
    lowest: Array
    sizes: Array

    def places(self) -> Array:
        """Sizes that a break may come before: enough rows above, and below it more rows than terms, or half of all."""
        n_rows, n_terms = self.quantities.shape
        fewest_below = min(n_terms + 1, max(n_rows // 2, FEWEST_ABOVE + 1))
        candidates = np.unique(self.sizes)[1:]
        n_below = (self.sizes < candidates[:, None]).sum(axis=1)
        return np.asarray(candidates[(n_below >= fewest_below) & (n_rows - n_below >= FEWEST_ABOVE)])

    def predicted(self, values: Array) -> Array:
        """What the law says without a break."""
        return np.asarray(self.quantities @ weighted(self.quantities, values, self.lowest, np.ones(len(values))))

    def broken(self, values: Array, base: Array, place: float) -> tuple[float, float]:
        """Squares that are left with a break before this size, and by what share the rows above exceed the others."""
        columns = np.column_stack([self.quantities, base * (self.sizes >= place)])
        coefficients = weighted(columns, values, np.append(self.lowest, 0.0), np.ones(len(values)))
        predicted, without = columns @ coefficients, self.quantities @ coefficients[:-1]
        squares = float(np.sum((predicted / values - 1) ** 2))
        is_above = self.sizes >= place
        return squares, float(np.mean(predicted[is_above] / without[is_above]) - 1)

    def gains(self, values: Array, places: Array) -> Array:
        """How many times the squares shrink at each place; 1 where there is nothing to shrink."""
        base = self.predicted(values)
        squares = float(np.sum((base / values - 1) ** 2))
        if squares <= _NO_NOISE * len(values):
            return np.ones(len(places))
        left = np.array([self.broken(values, base, place)[0] for place in places])
        return np.asarray(squares / np.maximum(left, _NO_NOISE))


def find_break(quantities: Array, values: Array, sizes: Array, lowest: Array, seed: int = 0) -> Break | None:
    """The break that explains most, or None where noise alone explains as much.

    quantities: shape (rows, terms), linear; sizes: shape (rows,), what a cache or a memory must hold.
    """
    rows = _Rows(quantities, lowest, sizes)
    places = rows.places()
    gains = rows.gains(values, places)
    if gains.max(initial=1.0) < _SMALLEST_GAIN or gains.max() < _usual_gain(rows, values, places, seed):
        return None
    place = float(places[np.argmax(gains)])
    _, excess = rows.broken(values, rows.predicted(values), place)
    return Break(below=float(sizes[sizes < place].max()), above=place, excess=excess)


def _usual_gain(rows: _Rows, values: Array, places: Array, seed: int) -> float:
    """The gain that data without a break exceed once in a hundred."""
    base = rows.predicted(values)
    sd = float(np.std(np.log(base / values)))
    noise = np.random.default_rng(seed).standard_normal((SIMULATIONS, len(base)))
    largest = [rows.gains(base * np.exp(sd * one), places).max() for one in noise]
    return float(np.quantile(largest, 1 - FALSE_ALARMS))
