"""Who is faster at which size: laws of step time along one growing model, their ratios, and where they cross.

Draws of the laws are paired anew, as fits of one seed drew the same rows, and each law as a whole is moved by how far
measurements scatter about it, and by how far runs differ, where a baseline has reruns: a reader who measures finds the
crossing of the times, not of the laws.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from math import exp, log

import numpy as np
from scipy.interpolate import CubicSpline

from scalemark.analysis import CURVE_DEPTHS, FARTHEST_COST_CURVE
from scalemark.diff.crossover import Crossing, crossings, lowest
from scalemark.diff.noise import mean_over_cells, run_to_run
from scalemark.fit.cost_law import predict_between, scatter
from scalemark.fit.prediction import extrapolation
from scalemark.model.accounting import account
from scalemark.model.ladder import BATCH, SEQ_LEN, diagonal_shape
from scalemark.schema import BestRange, Cell, Contender, Crossover, CurvePoint, Estimate, Law, Range
from scalemark.stats import percentile_interval
from scalemark.versus.fitted import counted_for, law_cells

_DRAWS = 2000
_PLACES = 161
# Every so many places a curve that is drawn has a point.
_CURVE_STEP = 4
_SEED = 30_000
Array = np.ndarray


@dataclass(frozen=True)
class Line:
    """A contender's law along the growing model. logs: of seconds, or of their price, shape (places,).

       draws: of the same, shape (draws, places), the scatter of measurements included.
    far: how many times beyond the fitted
       range each place lies.
    """

    name: str
    logs: Array
    draws: Array
    far: Array


@dataclass(frozen=True)
class Lines:
    """Laws at the same sizes. x: logs of non-embedding parameters, increasing, shape (places,)."""

    x: Array
    each: tuple[Line, ...]

    def far(self, at: float, *lines: Line) -> float:
        """How far beyond what these laws were fitted to a size with this logarithm lies."""
        return max(float(np.interp(at, self.x, line.far)) for line in lines)


def ask_laws(contenders: Sequence[Contender]) -> Lines | None:
    """The laws of step time wherever all of them reach; None where fewer than two have one, or they do not meet."""
    laws = {one.name: law for one in contenders if (law := one.law("step_time"))}
    depths, params = _family()
    far = {
        name: np.array([extrapolation(law, "params_non_embedding", size) for size in params])
        for name, law in laws.items()
    }
    reached = np.max(list(far.values()), axis=0, initial=1.0) <= FARTHEST_COST_CURVE
    if len(laws) < 2 or reached.sum() < 2:
        return None
    rng = np.random.default_rng(_SEED)
    lines = [
        _line(one, laws[one.name], depths[reached], far[one.name][reached], rng)
        for one in contenders
        if one.name in laws
    ]
    return Lines(np.log(params[reached]), tuple(lines))


def priced(lines: Lines | None, contenders: Sequence[Contender]) -> Lines | None:
    """The same of what a step costs, of those that have a price; None where fewer than two have one."""
    prices = {one.name: one.usd_per_hour for one in contenders if one.usd_per_hour}
    if lines is None:
        return None
    each = tuple(
        replace(line, logs=line.logs + log(prices[line.name]), draws=line.draws + log(prices[line.name]))
        for line in lines.each
        if line.name in prices
    )
    return Lines(lines.x, each) if len(each) > 1 else None


def _family() -> tuple[Array, Array]:
    """Depths from 1 on, and the non-embedding parameters there, which are a cubic in the depth."""
    depths = np.geomspace(CURVE_DEPTHS[0], CURVE_DEPTHS[-1], _PLACES)
    params = [account(diagonal_shape(depth), BATCH, SEQ_LEN).params_non_embedding for depth in CURVE_DEPTHS]
    return depths, np.asarray(CubicSpline(CURVE_DEPTHS, params)(depths))


def _line(contender: Contender, law: Law, depths: Array, far: Array, rng: np.random.Generator) -> Line:
    whole = np.array(CURVE_DEPTHS, dtype=float)
    counted = [counted_for(contender, law.kind, diagonal_shape(depth), BATCH, SEQ_LEN) for depth in CURVE_DEPTHS]
    values, draws = predict_between(law, counted, whole, depths)
    spread = np.hypot([scatter(law, bool(one > 1)) for one in far], between_runs(law_cells(contender)))
    moved = np.log(draws)[rng.integers(len(draws), size=_DRAWS)] + spread * rng.standard_normal((_DRAWS, 1))
    return Line(contender.name, np.log(values), moved, far)


def between_runs(cells: Sequence[Cell]) -> float:
    """How far a whole law moves from run to run, in the logarithm: as the mean of its cells; 0 where no reruns tell."""
    quantity = "corrected_s" if all(cell.corrected_s for cell in cells) else "time_s"
    noise = run_to_run({"all": mean_over_cells(cells, quantity)}).get("all")
    return noise.sd if noise else 0.0


# --- what follows -----------------------------------------------------------------------------------------------------


def speedup_curves(lines: Lines) -> dict[str, tuple[CurvePoint, ...]]:
    """Of each contender over the first that has a law, as far as both reach."""
    first, *others = lines.each
    return {other.name: tuple(_curve(lines, first, other)) for other in others}


def _curve(lines: Lines, first: Line, other: Line) -> Iterator[CurvePoint]:
    for index in range(0, len(lines.x), _CURVE_STEP):
        ratio = float(first.logs[index] - other.logs[index])
        interval = percentile_interval(first.draws[:, index] - other.draws[:, index], ratio)
        y = Estimate(value=exp(ratio), low=exp(interval.low), high=exp(interval.high))
        far = max(float(first.far[index]), float(other.far[index]))
        yield CurvePoint(x=float(np.exp(lines.x[index])), y=y, extrapolation=far)


def best_ranges(lines: Lines) -> tuple[BestRange, ...]:
    """Whose line is the lowest, from size to size."""
    draws = np.stack([line.draws for line in lines.each])
    return tuple(
        BestRange(
            contender=lines.each[which].name,
            params=Range(low=float(np.exp(lines.x[first])), high=float(np.exp(lines.x[last]))),
            share=float(np.mean(np.all(draws.argmin(axis=0)[:, first : last + 1] == which, axis=1))),
            extrapolation=lines.far(float(lines.x[last]), *lines.each),
        )
        for which, first, last in lowest(lines.x, [line.logs for line in lines.each])
    )


def crossovers(lines: Lines) -> tuple[Crossover, ...]:
    """Where the lowest line changes, each with the interval in which the two cross."""
    found = []
    ranges = lowest(lines.x, [line.logs for line in lines.each])
    for (before, _, last), (after, _, _) in pairwise(ranges):
        below, above = lines.each[before], lines.each[after]
        crossing = _at(lines.x, below, above, float(lines.x[last]))
        found.append(_crossover(lines, below, above, crossing))
    return tuple(found)


def _at(x: Array, below: Line, above: Line, near: float) -> Crossing:
    """Of all crossings of two laws, the one at this place."""
    each = crossings(x, below.logs - above.logs, below.draws - above.draws)
    return min((one for one in each if one.rises), key=lambda one: abs(one.at - near))


def _crossover(lines: Lines, below: Line, above: Line, crossing: Crossing) -> Crossover:
    low, high = (None if end is None else exp(end) for end in (crossing.low, crossing.high))
    far = lines.far(crossing.at, below, above)
    return Crossover(below=below.name, above=above.name, params=exp(crossing.at), low=low, high=high, extrapolation=far)
