"""One quantity of a law held at a value while all else is fitted: what a profile likelihood is made of.

A quantity is a parameter of the form or the allocation exponent a = beta/(alpha + beta). Each has a coordinate that is
linear, or nearly so, in the solver's parameters, and takes the place of one of them:

    E             log E               in the place of e
    A, B, K       log of the scale    in the place of a, b or k, which are logs of terms in the middle of the data
    p             q = 1/p             in its own place
    a             log(beta/alpha)     in the place of beta
    alpha …       as it is            in its own place
"""

from dataclasses import dataclass

import numpy as np

from scalemark.fit.forms import Data, Form
from scalemark.fit.solver import Array, Problem

ALLOCATION = "a"
_LOGS = ("E", "A", "B", "K")


@dataclass(frozen=True)
class Quantity:
    """A quantity of a form. index: whose place its coordinate takes.

    partner: the exponent on which what is replaced depends as well, if any; shift: for a scale, the mean log that
    centring took away, so that coordinate = theta[index] + shift · theta[partner].
    """

    name: str
    index: int
    partner: int | None = None
    shift: float = 0.0

    @property
    def is_ratio(self) -> bool:
        """Whether it is the allocation exponent: its coordinate is log(theta[index] / theta[partner])."""
        return self.name == ALLOCATION

    def coordinate(self, theta: Array) -> Array:
        """Shape (problems,), of the solver's parameters (problems, parameters)."""
        if self.partner is None:
            return theta[:, self.index]
        other = theta[:, self.partner]
        return np.log(theta[:, self.index] / other) if self.is_ratio else theta[:, self.index] + self.shift * other

    def gradient(self, theta: Array) -> Array:
        """Of the coordinate by the solver's parameters, shape (parameters,), at one theta (parameters,)."""
        found = np.zeros(len(theta))
        found[self.index] = 1 / theta[self.index] if self.is_ratio else 1.0
        if self.partner is not None:
            found[self.partner] = -1 / theta[self.partner] if self.is_ratio else self.shift
        return found

    def natural(self, coordinate: Array | float) -> Array:
        """The quantity itself: E of log E, p of q, a of log(beta/alpha)."""
        if self.is_ratio:
            return np.asarray(1 / (1 + np.exp(-np.asarray(coordinate))))
        if self.name in _LOGS:
            return np.asarray(np.exp(coordinate))
        return np.asarray(1 / np.asarray(coordinate) if self.name == "p" else coordinate)

    def limits(self, bounds: tuple[Array, Array]) -> tuple[float, float]:
        """Of the coordinate, from the solver's bounds."""
        (low, high), (other_low, other_high) = _of(bounds, self.index), _of(bounds, self.partner)
        if self.is_ratio:
            return float(np.log(low / other_high)), float(np.log(high / other_low))
        ends = self.shift * other_low, self.shift * other_high
        return low + min(ends), high + max(ends)


def _of(bounds: tuple[Array, Array], index: int | None) -> tuple[float, float]:
    return (0.0, 0.0) if index is None else (float(bounds[0][index]), float(bounds[1][index]))


def quantities(form: Form, data: Data) -> tuple[Quantity, ...]:
    """Every parameter of the form, and the allocation exponent where the form leaves it free."""
    names = form.parameters
    of_n, of_d = data.offsets
    scales = {"A": ("alpha", of_n), "B": ("beta" if "beta" in names else "alpha", of_d)}
    scales["K"] = ("gamma", of_n + of_d + float(np.log(6)))
    found = [
        Quantity(name, index, names.index(scales[name][0]), scales[name][1])
        if name in scales
        else Quantity(name, index)
        for index, name in enumerate(names)
    ]
    if "beta" in names:
        found.append(Quantity(ALLOCATION, names.index("beta"), names.index("alpha")))
    return tuple(found)


def solver_parameters(form: Form, data: Data, values: Array) -> Array:
    """theta, shape (…, parameters), of values as the form names them: the inverse of `Form.natural`."""
    theta = np.array(values, dtype=float)
    for quantity in quantities(form, data)[: len(form.parameters)]:
        column = theta[..., quantity.index]
        if quantity.name in _LOGS:
            column = np.log(column)
        theta[..., quantity.index] = 1 / column if quantity.name == "p" else column
        if quantity.partner is not None:
            theta[..., quantity.index] -= quantity.shift * theta[..., quantity.partner]
    return theta


@dataclass(frozen=True)
class Held:
    """A problem whose quantity stays where each problem begins.

    Its parameters are the solver's, with the quantity's coordinate in its place; see `free` and `whole`.
    """

    problem: Problem
    quantity: Quantity

    @property
    def bounds(self) -> tuple[Array, Array]:
        """Those of the problem; what is held, and what follows from it, has none."""
        low, high = (bound.copy() for bound in self.problem.bounds)
        low[self.quantity.index], high[self.quantity.index] = -np.inf, np.inf
        return low, high

    def free(self, theta: Array) -> Array:
        """The solver's parameters, (problems, parameters), with the coordinate in its place."""
        found = theta.copy()
        found[:, self.quantity.index] = self.quantity.coordinate(theta)
        return found

    def whole(self, held: Array) -> Array:
        """The inverse of `free`."""
        quantity, theta = self.quantity, held.copy()
        if quantity.partner is not None:
            coordinate, other = held[:, quantity.index], held[:, quantity.partner]
            theta[:, quantity.index] = (
                other * np.exp(coordinate) if quantity.is_ratio else coordinate - quantity.shift * other
            )
        return theta

    def linearise(self, held: Array) -> tuple[Array, Array]:
        """The problem's residuals and their Jacobian along what is free, by the chain rule."""
        residuals, jacobian = self.problem.linearise(self.whole(held))
        index, partner = self.quantity.index, self.quantity.partner
        if partner is not None:
            jacobian[:, partner] += self._pull(held)[:, None] * jacobian[:, index]
        jacobian[:, index] = 0.0
        return residuals, jacobian

    def curvature(self, held: Array, jacobian: Array, slope: Array) -> Array:
        """What is replaced is linear in its partner, so the derivatives of the problem are all that it takes."""
        theta = self.whole(held)
        found = self.problem.curvature(theta, self.problem.linearise(theta)[1], slope)
        index, partner = self.quantity.index, self.quantity.partner
        if partner is not None:
            pull = self._pull(held)[:, None]
            found[:, partner] += pull * found[:, index]
            found[:, :, partner] += pull * found[:, :, index]
        found[:, index], found[:, :, index] = 0.0, 0.0
        return found

    def _pull(self, held: Array) -> Array:
        """How far what is replaced moves as its partner does, shape (problems,)."""
        if self.quantity.is_ratio:
            return np.asarray(np.exp(held[:, self.quantity.index]))
        return np.full(len(held), -self.quantity.shift)
