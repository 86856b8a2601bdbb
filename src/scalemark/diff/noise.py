"""How far runs of the same code differ by themselves, from the reruns that a baseline stores.

    reruns of a cell  ─> logs ─> centre, standard deviation ─┐
    all cells         ─> how far their variances differ ─────┴─> moderated standard deviation

Ten reruns tell the variance of one cell poorly, those of all cells together tell it well. So each cell's variance is
drawn to the common one, as strongly as the cells are alike (empirical Bayes; Smyth 2004, equations 3 and 4).
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import sqrt

import numpy as np
from scipy.optimize import brentq
from scipy.special import digamma, polygamma

from scalemark.schema import Cell

# With fewer reruns a variance is little more than a guess.
FEWEST_REPEATS = 4
# Variances that do not differ beyond chance are one; so many degrees of freedom are as good as infinitely many.
_MANY = 1e4
# No clock tells two runs apart by less.
_SMALLEST_SD = 1e-6


@dataclass(frozen=True)
class RunToRun:
    """Logarithms of one quantity over n reruns: their mean, and the standard deviation of a single run.

    freedom: degrees of freedom that a verdict may count on: the cell's own. Those of the cells that `sd` was drawn to
    are not counted, since cells of one run share its luck and tails are heavier than normal ones.
    """

    centre: float
    sd: float
    freedom: float
    n: int

    def scale(self, own_error: float = 0.0) -> float:
        """Standard error of a new run less the centre; own_error: of the new run, where that is above `sd`."""
        return sqrt(max(self.sd, own_error) ** 2 + self.sd**2 / self.n)


def run_to_run(logs: Mapping[str, Sequence[float]]) -> dict[str, RunToRun]:
    """By cell, from the logarithms of its reruns; cells with fewer than `FEWEST_REPEATS` are left out."""
    usable = {key: np.asarray(values) for key, values in logs.items() if len(values) >= FEWEST_REPEATS}
    if not usable:
        return {}
    variances = np.array([max(float(values.var(ddof=1)), _SMALLEST_SD**2) for values in usable.values()])
    own = np.array([len(values) - 1.0 for values in usable.values()])
    common, strength = common_variance(variances, own)
    moderated = (strength * common + own * variances) / (strength + own)
    return {
        key: RunToRun(float(values.mean()), float(sqrt(variance)), float(freedom), len(values))
        for (key, values), variance, freedom in zip(usable.items(), moderated, own, strict=True)
    }


def common_variance(variances: np.ndarray, freedom: np.ndarray) -> tuple[float, float]:
    """What the cells' variances have in common, and of how many degrees of freedom that is worth to a single cell.

    Nothing (0 degrees) where there are fewer than three cells. Method of moments on log variances: what they scatter
    beyond a χ² of their own degrees is how far cells differ.
    """
    if len(variances) < 3:
        return 1.0, 0.0
    centred = np.log(variances) - digamma(freedom / 2) + np.log(freedom / 2)
    beyond = float(centred.var(ddof=1) - polygamma(1, freedom / 2).mean())
    strength = 2 * _inverse_trigamma(beyond) if beyond > 0 else _MANY
    strength = min(strength, _MANY)
    return float(np.exp(centred.mean() + digamma(strength / 2) - np.log(strength / 2))), strength


def _inverse_trigamma(value: float) -> float:
    """x with ψ′(x) = value > 0."""
    low, high = 1e-3, _MANY
    if polygamma(1, high) > value:
        return high
    return float(brentq(lambda x: float(polygamma(1, x)) - value, low, high)) if polygamma(1, low) > value else low


def repeated_logs(cells: Iterable[Cell], quantity: str) -> dict[str, list[float]]:
    """Logarithms of what the reruns gave for each cell: `quantity` is a field of `Repeats`."""
    return {
        cell.workload.key: [float(np.log(value)) for value in getattr(cell.repeats, quantity) if value is not None]
        for cell in cells
        if cell.repeats
    }


def mean_over_cells(cells: Sequence[Cell], quantity: str, weights: Sequence[float] | None = None) -> list[float]:
    """For each rerun that has all of these cells, the (weighted) mean of their logarithms."""
    columns = [getattr(cell.repeats, quantity) for cell in cells if cell.repeats]
    rows = zip(*columns, strict=True) if columns and len(columns) == len(cells) else ()
    return [float(np.average(np.log(row), weights=weights)) for row in rows if None not in row]
