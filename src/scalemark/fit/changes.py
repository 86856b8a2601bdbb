"""Change points in many series at once: where did the level of any of them change for good?

    series (log values) ─> scan ─> intervals with a change inside ─> the clearest first ─> levels, moves
                             └─ permuted suites ─> threshold

**The scan.** Inside each of a fixed set of intervals (seeded binary segmentation; Kovács, Bühlmann, Li & Munk 2023,
Biometrika 110:249, with decay 1/2) a series is split in two where that explains most of its variance, R². Intervals are
compared through the likelihood ratio of Gaussian levels, z² = −d·log(1 − R²), d its degrees of freedom, with Wallace's
correction (1959, Ann. Math. Stat. 30:1121), which makes a Student's t a normal z. Short intervals see a change that was
taken back, long ones a small one.

**The threshold.** If nothing changed, the order of the suites means nothing. So whole suites, all series at once, are
put in a random order many times, and the threshold is what 95 % of these orders stay below in the largest z of all
series and intervals (Westfall & Young 1993; change points by permutation: Matteson & James 2014, JASA 109:334). It
takes no shape of the noise for granted, knows how series move together, and holds for the history as a whole: at most
5 % of the histories without a change get any mark. It does take for granted that suites err independently: a machine
that drifts for days is marked, since its level did change.

**The marks.** The clearest interval gives its split; others that contain it are dropped; and so on. Then each change is
placed anew between its neighbours, and kept only if some series moved there by more than the threshold.

Exact series (allocated bytes) have no noise to weigh: any other value is a change.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import ceil

import numpy as np
from numpy.typing import NDArray
from scipy.stats import t as student

from scalemark.fit.solver import Array
from scalemark.schema import INTERVAL_LEVEL, Estimate

FALSE_ALARMS = 0.05
# Fewest suites on either side: one or two that are off are no level.
SIDE = 3
_MOST_ORDERS, _FEWEST_ORDERS = 999, 199
# Elements that the permutations may go through in all, and at once.
_WORK, _CHUNK = 200_000_000, 300_000
_FULL = 1 - 1e-12

Indices = NDArray[np.intp]


@dataclass(frozen=True)
class Moved:
    """A series whose level changed, new over old."""

    series: int
    ratio: Estimate


@dataclass(frozen=True)
class Change:
    """index: of the first column after the change."""

    index: int
    moved: tuple[Moved, ...]


def find_changes(
    series: Array, exact: Sequence[bool] = (), false_alarms: float = FALSE_ALARMS, seed: int = 0
) -> tuple[Change, ...]:
    """Changes of level, in order. series: logarithms, shape (series, suites), NaN where one is missing.

    exact: which series are the same whenever nothing changed. false_alarms: share of histories without any change that
    may get a mark.
    """
    exact_rows = np.array([*exact, *[False] * (len(series) - len(exact))], dtype=bool)
    noisy = np.flatnonzero(~exact_rows)
    found = _find_noisy(series[noisy], false_alarms, seed)
    changes = {change.index: [Moved(int(noisy[one.series]), one.ratio) for one in change.moved] for change in found}
    blurred = list(changes)
    for row in np.flatnonzero(exact_rows):
        for index, ratio in _steps(series[row]):
            near = [other for other in blurred if abs(other - index) < SIDE]
            if near and index not in changes:  # what noise placed a suite or two away is this very change
                blurred.remove(near[0])
                changes[index] = changes.pop(near[0])
            changes.setdefault(index, []).append(Moved(int(row), ratio))
    return tuple(Change(index, tuple(moved)) for index, moved in sorted(changes.items()))


def _steps(values: Array) -> Iterator[tuple[int, Estimate]]:
    """Where an exact series takes another value, and by what factor."""
    at = np.flatnonzero(np.isfinite(values))
    for before, after in pairwise(at):
        if values[before] != values[after]:
            ratio = float(np.exp(values[after] - values[before]))
            yield int(after), Estimate(value=ratio, low=ratio, high=ratio)


# --- noisy series -----------------------------------------------------------------------------------------------------


def _find_noisy(series: Array, false_alarms: float, seed: int) -> tuple[Change, ...]:
    n = series.shape[1]
    if n < 2 * SIDE or not len(series):
        return ()
    sums = _Sums.of(series[None])
    scanned = [layer.scan(sums) for layer in _layers(n)]
    threshold = permuted_threshold(series, false_alarms, seed)
    candidates = [
        (float(z[0, place]), int(split[0, place]), int(start), int(start) + layer.length)
        for layer, (z, split) in zip(_layers(n), scanned, strict=True)
        for place, start in enumerate(layer.starts)
        if z[0, place] > threshold
    ]
    return _confirmed(sums, _clearest(candidates), threshold, series)


def _clearest(candidates: Sequence[tuple[float, int, int, int]]) -> list[int]:
    """Splits, the clearest first; what contains one already chosen, or is next to it, is dropped."""
    chosen: list[int] = []
    for _, split, start, end in sorted(candidates, reverse=True):
        if not any(start < other < end or abs(other - split) < SIDE for other in chosen):
            chosen.append(split)
    return sorted(chosen)


def _confirmed(sums: "_Sums", splits: list[int], threshold: float, series: Array) -> tuple[Change, ...]:
    """Each split placed anew between its neighbours; those at which nothing moved are dropped, weakest first."""
    while splits:
        edges = [0, *splits, series.shape[1]]
        found = [
            _Layer(end - start, np.array([start])).scan(sums) for start, end in zip(edges, edges[2:], strict=False)
        ]
        strengths = [float(z[0, 0]) for z, _ in found]
        placed = [int(split[0, 0]) for _, split in found]
        weakest = int(np.argmin(strengths))
        if strengths[weakest] > threshold:
            splits = placed
            break
        splits = [split for index, split in enumerate(splits) if index != weakest]
    edges = [0, *splits, series.shape[1]]
    changes = [
        Change(middle, _moved(series, start, middle, end, threshold))
        for start, middle, end in zip(edges, edges[1:], edges[2:], strict=False)
    ]
    return tuple(change for change in changes if change.moved)


def _moved(series: Array, start: int, middle: int, end: int, threshold: float) -> tuple[Moved, ...]:
    """The series whose means on both sides differ by more than the threshold, with how far."""
    found = []
    for index, values in enumerate(series):
        before, after = (part[np.isfinite(part)] for part in (values[start:middle], values[middle:end]))
        if min(len(before), len(after)) < SIDE:
            continue
        z, ratio = _compare(before, after)
        if z > threshold:
            found.append(Moved(index, ratio))
    return tuple(found)


def _compare(before: Array, after: Array) -> tuple[float, Estimate]:
    """How clearly two levels differ, and the ratio of their geometric means with its interval (Student's)."""
    n, freedom = len(before) + len(after), len(before) + len(after) - 2
    difference = float(after.mean() - before.mean())
    within = float(((before - before.mean()) ** 2).sum() + ((after - after.mean()) ** 2).sum())
    between = difference**2 * len(before) * len(after) / n
    error = np.sqrt(within / freedom * (1 / len(before) + 1 / len(after)))
    half = float(student.ppf((1 + INTERVAL_LEVEL) / 2, freedom) * error)
    low, value, high = np.exp([difference - half, difference, difference + half])
    total = within + between
    z = float(_as_normal(np.array(between / total if total > 0 else 0.0), np.array(freedom)))
    return z, Estimate(value=float(value), low=float(low), high=float(high))


# --- the threshold ----------------------------------------------------------------------------------------------------


def permuted_threshold(series: Array, false_alarms: float, seed: int) -> float:
    """What the largest z of a random order of the suites exceeds in a share `false_alarms` of the orders."""
    n = series.shape[1]
    layers = _layers(n)
    size = len(series) * sum(layer.size for layer in layers)
    orders = int(np.clip(_WORK // size, _FEWEST_ORDERS, _MOST_ORDERS))
    at_once = max(1, _CHUNK // (len(series) * max(n, max(layer.size for layer in layers))))
    rng = np.random.default_rng(seed)
    largest: list[float] = []
    while len(largest) < orders:
        drawn = min(at_once, orders - len(largest))
        order = np.argsort(rng.random((drawn, n)), axis=1)
        sums = _Sums.of(series[:, order].transpose(1, 0, 2))
        largest.extend(np.max([layer.largest(sums) for layer in layers], axis=0))
    rank = ceil((1 - false_alarms) * (orders + 1))
    return float(np.sort(largest)[min(rank, orders) - 1])


# --- the scan ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Sums:
    """Running sums of series, shape (orders, series, suites + 1): of values, of their squares, and how many there are.

    Values are taken from the mean of their series, so that sums of squares lose no digits. count: None where none is
    missing.
    """

    total: Array
    square: Array
    count: Array | None

    @classmethod
    def of(cls, series: Array) -> "_Sums":
        there = np.isfinite(series)
        number = np.maximum(there.sum(axis=-1, keepdims=True), 1)
        filled = np.where(there, series, 0.0)
        centred = np.where(there, filled - filled.sum(axis=-1, keepdims=True) / number, 0.0)
        return cls(_running(centred), _running(centred**2), None if there.all() else _running(there.astype(float)))


def _running(values: Array) -> Array:
    sums = np.zeros((*values.shape[:-1], values.shape[-1] + 1))
    np.cumsum(values, axis=-1, out=sums[..., 1:])
    return sums


@dataclass(frozen=True)
class _Layer:
    """Intervals of one length."""

    length: int
    starts: Indices

    @property
    def size(self) -> int:
        return self.length * len(self.starts)

    def scan(self, sums: _Sums) -> tuple[Array, Indices]:
        """For each order and interval the largest z over all series, and where it splits; shape (orders, intervals)."""
        explained, spread, freedom = self._explained(sums)
        best = explained.argmax(axis=-1)
        z = _as_normal(_share(np.take_along_axis(explained, best[..., None], axis=-1)[..., 0], spread), freedom)
        clearest = z.argmax(axis=1)[:, None]
        split = np.take_along_axis(best, clearest, axis=1)[:, 0] + SIDE + self.starts
        return np.take_along_axis(z, clearest, axis=1)[:, 0], split

    def largest(self, sums: _Sums) -> Array:
        """The largest z of each order, shape (orders,)."""
        explained, spread, freedom = self._explained(sums)
        return np.asarray(_as_normal(_share(explained.max(axis=-1), spread), freedom).max(axis=(1, 2)))

    def _explained(self, sums: _Sums) -> tuple[Array, Array, Array]:
        """Sum of squares that each split explains, (orders, series, intervals, splits); of all that an interval has,
        without the last axis, and its degrees of freedom: 0 where it is constant."""
        inside = self.starts[:, None] + np.arange(SIDE, self.length - SIDE + 1)  # first suite of the second part
        first, last = self.starts, self.starts + self.length
        whole, found = _between(sums.total, first, last), _between(sums.total, first[:, None], inside)
        number, n_left = self._counts(sums.count, inside)
        n_right = number[..., None] - n_left
        told = np.minimum(n_left, n_right) >= SIDE
        weight = np.where(told, number[..., None] / np.maximum(n_left * n_right, 1.0), 0.0)
        # In place: these are the largest arrays by far.
        found -= whole[..., None] * (n_left / np.maximum(number, 1.0)[..., None])
        found *= found
        found *= weight
        spread = _between(sums.square, first, last) - whole**2 / np.maximum(number, 1.0)
        rounding = 1e-20 * np.maximum(sums.square[..., -1:], 1e-300)  # all the spread that a constant has
        return found, np.where(spread > rounding, spread, 0.0), number - 2

    def _counts(self, count: Array | None, inside: Indices) -> tuple[Array, Array]:
        """How many values each interval has, and each of its first parts."""
        if count is None:
            return np.full(1, float(self.length)), np.arange(SIDE, self.length - SIDE + 1, dtype=float)
        return _between(count, self.starts, self.starts + self.length), _between(count, self.starts[:, None], inside)


def _between(sums: Array, first: Indices, last: Indices) -> Array:
    """What running sums grow by from one place to another."""
    found = sums[..., last]
    found -= sums[..., first]
    return found


def _share(explained: Array, spread: Array) -> Array:
    return np.asarray(np.where(spread > 0, explained / np.maximum(spread, 1e-300), 0.0))


def _as_normal(share: Array, freedom: Array) -> Array:
    """z of the share of variance that a split explains: Student's t as a normal deviate (Wallace 1959)."""
    d = np.maximum(freedom, 1.0)
    return np.asarray((8 * d + 1) / (8 * d + 3) * np.sqrt(-d * np.log1p(-np.minimum(share, _FULL))))


def _layers(n: int) -> list[_Layer]:
    """All of it, then halves, quarters, … each overlapping its neighbours by half, down to the shortest with a level on
    either side."""
    layers = [_Layer(n, np.array([0]))]
    depth = 1
    while n / 2**depth >= 2 * SIDE:
        length = ceil(n / 2**depth)
        count = 2 ** (depth + 1) - 1
        layers.append(_Layer(length, np.unique(np.linspace(0, n - length, count).round().astype(np.intp))))
        depth += 1
    return layers
