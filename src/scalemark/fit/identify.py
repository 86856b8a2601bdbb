"""What the runs tell of each parameter: condition number, profile likelihood, and a verdict in words.

A profile holds one quantity at a value, fits all others, and asks how far the objective rises. What rises by less than
a robust likelihood ratio allows (`Optimum.tolerable_rise`) fits about as well as the best. Unlike an interval from
the spread of refits, a profile sees where there is no end: the values that fit may go on to a bound.
"""

from dataclasses import dataclass

import numpy as np

from scalemark.fit.held import ALLOCATION, Held, Quantity, quantities, solver_parameters
from scalemark.fit.loss_fit import LossFit, fit_to_sample
from scalemark.fit.optimum import Optimum
from scalemark.fit.rows import Rows
from scalemark.fit.solver import Array, Mask, solve
from scalemark.schema import INTERVAL_LEVEL

# An interval this wide (high over low) does not tell the parameter.
VAGUE_RATIO = {"E": 1.5, "A": 100.0, "B": 100.0, "K": 100.0, "alpha": 3.0, "beta": 3.0, "gamma": 3.0, "p": 10.0}
# Beyond this, the size that is right for ten times the compute is uncertain by more than a factor of two.
VAGUE_ALLOCATION = float(np.log10(2))
# Where a profile is evaluated, in units of the half width that is expected; then on in growing steps.
_NEAR = np.array([0.3, 0.6, 0.9, 1.2, 1.7, 2.5])
_GROWTH = 1.6
# A floor of so small a share of the highest that fits is none.
_NO_FLOOR = 1e-3
_REFINED_POINTS = 4
_STEPS = 100
# Share of a direction of unit length.
_NOTEWORTHY = 0.3


@dataclass(frozen=True)
class Profile:
    """One quantity. low, high: between them lie all its values that fit about as well as the best, at `level`.

    open_below, open_above: such values go on to the end of the range, so that `low` or `high` is no limit of theirs.
    values, rises: the profile itself, by value; what rises by more than `tolerable` does not fit as well.
    """

    name: str
    value: float
    low: float
    high: float
    open_below: bool
    open_above: bool
    level: float
    tolerable: float
    values: tuple[float, ...]
    rises: tuple[float, ...]

    @property
    def identified(self) -> bool:
        """Whether the runs limit it on both sides, closely enough to be of use."""
        if self.open_below or self.open_above:
            return False
        if self.name == ALLOCATION:
            return self.high - self.low <= VAGUE_ALLOCATION
        return self.low > 0 and self.high / self.low <= VAGUE_RATIO[self.name]

    @property
    def verdict(self) -> str:
        """'E lies between 1.76 and 1.87', or 'E is not identified: any value from 0 to 1.2 fits'."""
        if self.identified:
            return f"{self.name} lies between {self.low:.3g} and {self.high:.3g}"
        return f"{self.name} is not identified: {self._what_fits}"

    @property
    def _what_fits(self) -> str:
        if self.open_below and self.open_above:
            return "any value fits"
        if self.open_above:
            return f"any value above {self.low:.3g} fits"
        if self.open_below and self.name != "E":
            return f"any value below {self.high:.3g} fits"
        return f"any value from {0 if self.open_below else self.low:.3g} to {self.high:.3g} fits"


@dataclass(frozen=True)
class Identifiability:
    """What runs tell of a law. condition: of the scaled curvature, see `Optimum.condition`.

    weakest: the parameters that move most along its flattest direction, by how far: those that trade off.
    """

    condition: float
    weakest: tuple[str, ...]
    profiles: tuple[Profile, ...]

    def __getitem__(self, name: str) -> Profile:
        return next(profile for profile in self.profiles if profile.name == name)

    @property
    def verdicts(self) -> tuple[str, ...]:
        """One sentence per quantity."""
        return tuple(profile.verdict for profile in self.profiles)


def identify(fit: LossFit, rows: Rows, level: float = INTERVAL_LEVEL) -> Identifiability:
    """Condition number and profiles of a fit to these very rows; of many rows, from a sample that stands for them."""
    some_fit, some_rows, stands_for = fit_to_sample(fit, rows)
    optimum = Optimum.of(some_fit, some_rows)
    centre = solver_parameters(fit.form, optimum.data, fit.values) if stands_for > 1 else optimum.theta
    flattest = np.abs(optimum.principal[1][:, 0])
    weakest = [index for index in np.argsort(-flattest) if flattest[index] > _NOTEWORTHY]
    return Identifiability(
        condition=optimum.condition,
        weakest=tuple(fit.form.parameters[index] for index in weakest),
        profiles=_profiles(optimum, quantities(fit.form, optimum.data), level, stands_for, centre),
    )


def _profiles(
    optimum: Optimum, wanted: tuple[Quantity, ...], level: float, stands_for: float, centre: Array
) -> tuple[Profile, ...]:
    """How the objective rises as each quantity leaves its best value.

    A refit that was made for one quantity tells of all others: where it fits and lies beyond what is known of them,
    their ranges go on from there. stands_for: rows that each row counts as, so that a rise is so many times as telling.
    centre: where the fit to all rows lies, in the solver's parameters; profiles belong about it.
    """
    rises = [optimum.tolerable_rise(one.gradient(optimum.theta), level) / stands_for for one in wanted]
    paths = [_Path(optimum, one, rise) for one, rise in zip(wanted, rises, strict=True)]
    for path in paths:
        path.walk(-1)
        path.walk(1)
    theta = np.concatenate([path.held.whole(path.points) for path in paths])
    objectives = np.concatenate([path.objectives for path in paths])
    for path in paths:
        path.go_on_from(theta, objectives)
        path.mend()
        path.refine()
    return tuple(path.as_profile(level, float(path.quantity.coordinate(centre[None])[0])) for path in paths)


class _Path:
    """Points of a profile by coordinate: refits with the quantity held, and the objective that each reaches."""

    def __init__(self, optimum: Optimum, quantity: Quantity, tolerable: float) -> None:
        self.quantity, self.tolerable, self.delta = quantity, tolerable, optimum.delta
        self.held = Held(optimum.problem, quantity)
        self.limits = quantity.limits(optimum.problem.bounds)
        self.row_weights = np.ones((1, len(optimum.residuals)))
        gradient = quantity.gradient(optimum.theta)
        ahead = optimum.inverse @ gradient
        variance = float(gradient @ ahead)
        has_effect = variance > 0
        self.half_width = float(np.sqrt(2 * tolerable * variance / optimum.within)) if has_effect else np.inf
        self.theta, self.direction = optimum.theta, ahead / variance if has_effect else gradient / (gradient @ gradient)
        self.points = self.held.free(optimum.theta[None])
        self.coordinate = float(self.points[0, quantity.index])
        self.objectives = np.array([optimum.objective])
        self.lowest = optimum.objective

    @property
    def coordinates(self) -> Array:
        return self.points[:, self.quantity.index]

    @property
    def rises(self) -> Array:
        return np.asarray(self.objectives - min(self.lowest, self.objectives.min()))

    @property
    def fits(self) -> Mask:
        return np.asarray(self.rises <= self.tolerable)

    def walk(self, side: int) -> None:
        """From the best value to one that no longer fits, or to the end of the range. side: −1 or 1."""
        room = side * (self.limits[side > 0] - self.coordinate)
        if room <= 0:
            return
        ahead = side * min(self.half_width, room / _NEAR[-1]) * _NEAR
        theta = np.clip(self.theta + ahead[:, None] * self.direction, *self.held.problem.bounds)
        self._add(self.held.free(theta), self.coordinate + ahead)
        while self.fits[_end(side)] and not self.is_open(side):
            self._step(side)

    def go_on_from(self, theta: Array, objectives: Array) -> None:
        """Walk on from the outermost of other refits that fit, where it lies beyond this path."""
        self.lowest = min(self.lowest, float(objectives.min()))
        found = self.held.free(theta[objectives - self.lowest <= self.tolerable])
        for side in (-1, 1):
            at = side * found[:, self.quantity.index]
            if not len(found) or at.max() <= side * self._edge(side):
                continue
            outermost = found[np.argmax(at)][None]
            self._add(outermost, outermost[:, self.quantity.index])
            while self.fits[_end(side)] and not self.is_open(side):
                self._step(side)

    def is_open(self, side: int) -> bool:
        """Whether the last value on this side fits and is the end of the range."""
        end, limit = _end(side), self.limits[side > 0]
        return bool(self.fits[end] and side * (limit - self.coordinates[end]) <= 1e-9 * abs(limit))

    def mend(self) -> None:
        """Try each point again from between its neighbours: a refit that was caught in a hollow gets out."""
        share = (self.coordinates[1:-1] - self.coordinates[:-2]) / (self.coordinates[2:] - self.coordinates[:-2])
        between = self.points[:-2] + share[:, None] * (self.points[2:] - self.points[:-2])
        points, objectives = self._solve(between, self.coordinates[1:-1])
        better = np.flatnonzero(objectives < self.objectives[1:-1])
        self.points[better + 1], self.objectives[better + 1] = points[better], objectives[better]

    def refine(self) -> None:
        """More points where the profile leaves what fits."""
        shares = np.arange(1, _REFINED_POINTS + 1)[:, None] / (_REFINED_POINTS + 1)
        pairs = [self.points[list(pair)] for pair in (self._crossing(side) for side in (-1, 1)) if pair]
        for inside, outside in pairs:
            between = inside + shares * (outside - inside)
            self._add(between, between[:, self.quantity.index])

    def as_profile(self, level: float, centre: float) -> Profile:
        """centre: the coordinate that it belongs about: another than its own where its rows are some of the law's."""
        ends = [(self._edge(side), self.is_open(side)) for side in (-1, 1)]

        def natural(coordinate: Array | float) -> Array:
            return self.quantity.natural(np.asarray(coordinate) + (centre - self.coordinate))

        order = np.argsort(natural(self.coordinates))
        (low, open_below), (high, open_above) = sorted((float(natural(edge)), is_open) for edge, is_open in ends)
        open_below &= self.quantity.name != "p"  # at 1 the law is the plain one, and below it none
        open_below |= self.quantity.name == "E" and low < _NO_FLOOR * high
        best = int(np.argmin(self.objectives))
        return Profile(
            name=self.quantity.name,
            value=float(natural(self.coordinates[best])),
            low=low,
            high=high,
            open_below=open_below,
            open_above=open_above,
            level=level,
            tolerable=self.tolerable,
            values=tuple(float(value) for value in natural(self.coordinates)[order]),
            rises=tuple(float(rise) for rise in self.rises[order]),
        )

    def _edge(self, side: int) -> float:
        """Coordinate at which the rise is what is tolerable; a root grows about evenly with the coordinate."""
        crossing = self._crossing(side)
        if crossing is None:
            return float(self.coordinates[_end(side)])
        roots = np.sqrt(self.rises[list(crossing)])
        share = (np.sqrt(self.tolerable) - roots[0]) / (roots[1] - roots[0])
        inside, outside = self.coordinates[list(crossing)]
        return float(inside + share * (outside - inside))

    def _crossing(self, side: int) -> tuple[int, int] | None:
        """The outermost point that fits, and its neighbour beyond; None where there is none."""
        inside = int(np.flatnonzero(self.fits)[_end(side)])
        outside = inside + side
        return (inside, outside) if 0 <= outside < len(self.points) else None

    def _step(self, side: int) -> None:
        """One point further on, along the line through the last two."""
        end = _end(side)
        last, before = self.points[end], self.points[end - side]
        index, limit = self.quantity.index, self.limits[side > 0]
        step = _GROWTH * (last - before)
        step *= min(1.0, (limit - last[index]) / step[index])
        self._add((last + step)[None], np.array([last[index] + step[index]]))

    def _add(self, starts: Array, coordinates: Array) -> None:
        points, objectives = self._solve(starts, coordinates)
        order = np.argsort(np.append(self.coordinates, coordinates), kind="stable")
        self.points = np.concatenate([self.points, points])[order]
        self.objectives = np.concatenate([self.objectives, objectives])[order]

    def _solve(self, starts: Array, coordinates: Array) -> tuple[Array, Array]:
        starts = starts.copy()
        starts[:, self.quantity.index] = coordinates
        found = solve(starts, self.held, self.row_weights, _STEPS, self.delta)
        return found.theta, np.where(found.finite, found.objective, np.inf)


def _end(side: int) -> int:
    """Index of the outermost element."""
    return 0 if side < 0 else -1
