"""The forms that a loss law may have, each a function of N (parameters) and D (training tokens).

    chinchilla   L = E + A/N^alpha + B/D^beta                  Hoffmann et al. 2022, equation 2
    tied         L = E + A/N^alpha + B/D^alpha                 one exponent for both; Gadre et al. 2024, equation 2
    kaplan       L = (A^p/N^(alpha·p) + B^p/D^(beta·p))^(1/p)  with p = 1/beta and no floor; Kaplan et al. 2020, eq. 1.5
    overlap      L = E + ((A/N^alpha)^p + (B/D^beta)^p)^(1/p)  what N and D leave to learn is partly the same
    saturating   L = E + K/C^gamma                             C = 6·N·D; for runs near the compute-optimal frontier

    log L ≈ logsumexp(e, a − α·x, b − β·y),  x = log N − mean,  y = log D − mean

Centring makes a and b the logs of what N and D add to the loss in the middle of the data: numbers that the data pin
down, where log A and log B are an extrapolation to N = D = 1.

With `overlap` and p > 1 the larger of the two terms counts more, up to the mere maximum: small models measured here
gain less from further tokens than large ones, since what they cannot hold, data cannot teach. Its compute-optimal size
has the closed form of chinchilla, with A^p and B^p for A and B.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import product

import numpy as np

from scalemark.errors import FitError, InputError
from scalemark.fit.rows import FEWEST_SIZES, Rows
from scalemark.fit.solver import Array, Problem

# Bounds: a term below e^-12 of the smallest loss is nothing; an exponent near 0 makes a term one with E.
_SMALLEST_LOG_SHARE, _LARGEST_LOG_SHARE = -12.0, 5.0
_SMALLEST_EXPONENT, _LARGEST_EXPONENT = 0.01, 4.0
# p from 1 to 10, beyond which the sum is the larger term to within 7 %.
_SMALLEST_Q, _LARGEST_Q = 0.1, 1.0
_START_Q = (1.0, 0.7, 0.45, 0.25)
_START_EXPONENTS = (0.1, 0.3, 0.6, 1.2)
_START_FLOORS = (0.2, 0.6, 0.9)
_START_SPLITS = (0.2, 0.5, 0.8)


@dataclass(frozen=True)
class Data:
    """Centred logs of rows, shape (rows,). offsets: the means taken away from log N and log D."""

    x: Array
    y: Array
    log_loss: Array
    offsets: tuple[float, float]

    @classmethod
    def of(cls, rows: Rows) -> "Data":
        log_n, log_d = np.log(rows.params), np.log(rows.tokens)
        offsets = float(log_n.mean()), float(log_d.mean())
        return cls(log_n - offsets[0], log_d - offsets[1], np.log(rows.loss), offsets)

    @property
    def log_range(self) -> tuple[float, float]:
        """Within which the log of a term lies."""
        return float(self.log_loss.min()) + _SMALLEST_LOG_SHARE, float(self.log_loss.max()) + _LARGEST_LOG_SHARE


@dataclass(frozen=True)
class PowerTerm:
    """exp(theta[scale] − theta[exponent] · x); a constant where there is no x, shape (rows,)."""

    scale: int
    exponent: int = -1
    x: Array | None = None

    def value(self, theta: Array) -> Array:
        scale = theta[:, self.scale, None]
        return np.asarray(np.exp(scale if self.x is None else scale - theta[:, self.exponent, None] * self.x))

    @cached_property
    def moments(self) -> Array:
        """1, −x and x², shape (rows, 3)."""
        assert self.x is not None
        return np.stack([np.ones_like(self.x), -self.x, self.x**2], axis=1)


@dataclass(frozen=True)
class PowerSum:
    """log of a sum of power terms. Its derivatives are the shares of the sum, and cost no further exponential."""

    terms: tuple[PowerTerm, ...]
    log_loss: Array
    bounds: tuple[Array, Array]

    def linearise(self, theta: Array) -> tuple[Array, Array]:
        """Residuals of log loss, shape (problems, rows), and their Jacobian, (problems, parameters, rows), at theta."""
        parts = [term.value(theta) for term in self.terms]
        total = sum(parts[1:], start=parts[0])
        jacobian = np.zeros((len(theta), theta.shape[1], len(self.log_loss)))
        for term, part in zip(self.terms, parts, strict=True):
            share = part / total
            jacobian[:, term.scale] += share
            if term.x is not None:
                jacobian[:, term.exponent] -= term.x * share
        return np.asarray(np.log(total) - self.log_loss), jacobian

    def curvature(self, theta: Array, jacobian: Array, slope: Array) -> Array:
        """Of a log-sum-exp with linear logs: the terms' spread about their mean, weighted by their shares."""
        found = -_weighted_squares(jacobian, slope)
        for term in self.terms:
            weighted = slope * jacobian[:, term.scale]
            if term.x is None:
                found[:, term.scale, term.scale] += weighted.sum(axis=1)
                continue
            one, first, second = (weighted @ term.moments).T
            found[:, term.scale, term.scale] += one
            found[:, term.scale, term.exponent] += first
            found[:, term.exponent, term.scale] += first
            found[:, term.exponent, term.exponent] += second
        return np.asarray(found)


@dataclass(frozen=True)
class OverlapSum:
    """log(E + ((A/N^alpha)^p + (B/D^beta)^p)^(1/p)); theta: e, a, b, alpha, beta, q = 1/p.

    kaplan: without E, and q = beta; theta is then a, b, alpha, beta.
    """

    data: Data
    bounds: tuple[Array, Array]
    kaplan: bool = False

    def linearise(self, theta: Array) -> tuple[Array, Array]:
        """With u, v the logs of the terms and w = q · log(e^(u/q) + e^(v/q)): dw/du is a softmax, dw/dq an entropy."""
        if self.kaplan:
            return self._without_floor(theta)
        e, a, b, alpha, beta, q = (column[:, None] for column in theta.T)
        both, by_n, by_d, by_q, x, y = self._joint(a, b, alpha, beta, q)
        total = np.logaddexp(e, both)
        reducible = np.exp(both - total)
        by_n, by_d, by_q = reducible * by_n, reducible * by_d, reducible * by_q
        return total - self.data.log_loss, np.stack([1 - reducible, by_n, by_d, -x * by_n, -y * by_d, by_q], axis=1)

    def _without_floor(self, theta: Array) -> tuple[Array, Array]:
        a, b, alpha, beta = (column[:, None] for column in theta.T)
        both, by_n, by_d, by_q, x, y = self._joint(a, b, alpha, beta, beta)
        return both - self.data.log_loss, np.stack([by_n, by_d, -x * by_n, -y * by_d + by_q], axis=1)

    def _joint(self, a: Array, b: Array, alpha: Array, beta: Array, q: Array) -> tuple[Array, ...]:
        x, y = self.data.x, self.data.y
        of_n, of_d = a - alpha * x, b - beta * y
        both = q * np.logaddexp(of_n / q, of_d / q)
        share = np.exp((of_n - both) / q)
        return both, share, 1 - share, (both - share * of_n - (1 - share) * of_d) / q, x, y

    def curvature(self, theta: Array, jacobian: Array, slope: Array) -> Array:
        """Of w: s·(1 − s)/q · k·kᵀ, k = d(u, −v, −(u − v)/q), as u, v and q are linear; E adds how w differs from e."""
        a, b, alpha, beta, q = (column[:, None] for column in self._of_joint(theta))
        apart = (a - alpha * self.data.x - b + beta * self.data.y) / q
        by_n, by_d = (jacobian[:, 0], jacobian[:, 1]) if self.kaplan else (jacobian[:, 1], jacobian[:, 2])
        one, x, y = np.ones_like(by_n), self.data.x + 0 * by_n, self.data.y + 0 * by_n
        if self.kaplan:
            return _weighted_squares(np.stack([one, -one, -x, y - apart], axis=1), slope * by_n * by_d / q)
        reducible = by_n + by_d
        inner = _weighted_squares(
            np.stack([0 * one, one, -one, -x, y, -apart], axis=1), slope * by_n * by_d / (reducible * q)
        )
        outer = jacobian.copy()
        outer[:, 0] = -reducible
        return inner + _weighted_squares(outer, slope * (1 - reducible) / reducible)

    def _of_joint(self, theta: Array) -> Array:
        """a, b, alpha, beta and q, shape (5, problems)."""
        return np.asarray(theta[:, [0, 1, 2, 3, 3]].T if self.kaplan else theta[:, 1:].T)


def _weighted_squares(vectors: Array, weights: Array) -> Array:
    """Σ over rows of weight · vector · vectorᵀ; vectors: (problems, parameters, rows)."""
    return np.asarray(np.matmul(vectors * weights[:, None], vectors.transpose(0, 2, 1)))


class Form(ABC):
    """A form: its parameters, how it is fitted, and what it predicts."""

    name: str
    formula: str
    parameters: tuple[str, ...]

    @property
    def fewest_rows(self) -> int:
        """With as many rows as parameters a fit is exact and says nothing of its own error."""
        return len(self.parameters) + 1

    @abstractmethod
    def problem(self, data: Data) -> Problem:
        """What the solver minimises."""

    @abstractmethod
    def starts(self, data: Data) -> Array:
        """Where it begins, shape (starts, parameters)."""

    @abstractmethod
    def natural(self, data: Data, theta: Array) -> Array:
        """(…, parameters) as `parameters` name them, from the solver's."""

    @abstractmethod
    def predict(self, values: Array, params: Array | float, tokens: Array | float) -> Array:
        """Loss from (…, parameters) values; params and tokens broadcast against the leading shape."""

    def allocation(self, values: Array) -> Array:
        """Exponent a of the compute-optimal size, N ∝ C^a: beta/(alpha + beta); values (…, parameters)."""
        alpha, beta = values[..., self.parameters.index("alpha")], values[..., self.parameters.index("beta")]
        return np.asarray(beta / (alpha + beta))

    def optimal_params(self, values: Array, compute_flops: Array | float) -> Array:
        """Size of the lowest loss at C = 6·N·D (Hoffmann et al. 2022, equation 4)."""
        a, b, alpha, beta, p = self._terms(values)
        log_g = (np.log(alpha / beta) + p * np.log(a / b)) / (p * (alpha + beta))
        return np.asarray(np.exp(log_g + beta / (alpha + beta) * np.log(np.asarray(compute_flops) / 6)))

    def _terms(self, values: Array) -> tuple[Array, Array, Array, Array, Array]:
        """A, B, alpha, beta and p, each of the leading shape."""
        _, a, b, alpha, beta = np.moveaxis(np.asarray(values, dtype=float), -1, 0)
        return a, b, alpha, beta, np.ones_like(a)


class Chinchilla(Form):
    name = "chinchilla"
    formula = "L = E + A/N^alpha + B/D^beta"
    parameters = ("E", "A", "B", "alpha", "beta")

    def problem(self, data: Data) -> Problem:
        terms = (PowerTerm(0), PowerTerm(1, 3, data.x), PowerTerm(2, 4, data.y))
        return PowerSum(terms, data.log_loss, _bounds(data, scales=3, exponents=2))

    def starts(self, data: Data) -> Array:
        """A grid over both exponents, E's share of the lowest loss, and how N and D share the rest."""
        grid = product(_floor_and_rest(data), _START_SPLITS, _START_EXPONENTS, _START_EXPONENTS)
        return np.array(
            [
                [np.log(floor), np.log(split * rest), np.log((1 - split) * rest), alpha, beta]
                for (floor, rest), split, alpha, beta in grid
            ]
        )

    def natural(self, data: Data, theta: Array) -> Array:
        e, a, b, alpha, beta = np.moveaxis(theta, -1, 0)
        log_n, log_d = data.offsets
        return np.stack([np.exp(e), np.exp(a + alpha * log_n), np.exp(b + beta * log_d), alpha, beta], axis=-1)

    def predict(self, values: Array, params: Array | float, tokens: Array | float) -> Array:
        e, a, b, alpha, beta = np.moveaxis(np.asarray(values, dtype=float), -1, 0)
        return np.asarray(e + a * np.asarray(params) ** -alpha + b * np.asarray(tokens) ** -beta)


class Tied(Form):
    name = "tied"
    formula = "L = E + A/N^alpha + B/D^alpha"
    parameters = ("E", "A", "B", "alpha")

    def problem(self, data: Data) -> Problem:
        terms = (PowerTerm(0), PowerTerm(1, 3, data.x), PowerTerm(2, 3, data.y))
        return PowerSum(terms, data.log_loss, _bounds(data, scales=3, exponents=1))

    def starts(self, data: Data) -> Array:
        starts = Chinchilla().starts(data)
        return starts[starts[:, 3] == starts[:, 4], :4]

    def natural(self, data: Data, theta: Array) -> Array:
        return Chinchilla().natural(data, theta[..., [0, 1, 2, 3, 3]])[..., :4]

    def predict(self, values: Array, params: Array | float, tokens: Array | float) -> Array:
        return Chinchilla().predict(np.asarray(values)[..., [0, 1, 2, 3, 3]], params, tokens)

    def allocation(self, values: Array) -> Array:
        return np.full(np.shape(values)[:-1], 0.5)

    def _terms(self, values: Array) -> tuple[Array, Array, Array, Array, Array]:
        return super()._terms(np.asarray(values)[..., [0, 1, 2, 3, 3]])


class Overlap(Form):
    name = "overlap"
    formula = "L = E + ((A/N^alpha)^p + (B/D^beta)^p)^(1/p)"
    parameters = ("E", "A", "B", "alpha", "beta", "p")

    @property
    def fewest_rows(self) -> int:
        """The corrected criterion of Akaike is not defined for fewer."""
        return len(self.parameters) + 3

    def problem(self, data: Data) -> Problem:
        low, high = _bounds(data, scales=3, exponents=2)
        return OverlapSum(data, (np.append(low, _SMALLEST_Q), np.append(high, _LARGEST_Q)))

    def starts(self, data: Data) -> Array:
        return np.array([np.append(start, q) for start in Chinchilla().starts(data)[::5] for q in _START_Q])

    def natural(self, data: Data, theta: Array) -> Array:
        return np.concatenate([Chinchilla().natural(data, theta[..., :5]), 1 / theta[..., 5:]], axis=-1)

    def predict(self, values: Array, params: Array | float, tokens: Array | float) -> Array:
        e, a, b, alpha, beta, p = np.moveaxis(np.asarray(values, dtype=float), -1, 0)
        of_n, of_d = np.log(a) - alpha * np.log(params), np.log(b) - beta * np.log(tokens)
        return np.asarray(e + np.exp(np.logaddexp(p * of_n, p * of_d) / p))

    def _terms(self, values: Array) -> tuple[Array, Array, Array, Array, Array]:
        _, a, b, alpha, beta, p = np.moveaxis(np.asarray(values, dtype=float), -1, 0)
        return a, b, alpha, beta, p


class Kaplan(Form):
    name = "kaplan"
    formula = "L = ((A/N^alpha)^(1/beta) + (B/D^beta)^(1/beta))^beta"
    parameters = ("A", "B", "alpha", "beta")

    def problem(self, data: Data) -> Problem:
        return OverlapSum(data, _bounds(data, scales=2, exponents=2), kaplan=True)

    def starts(self, data: Data) -> Array:
        typical = float(np.median(data.log_loss))
        exponents = (0.03, 0.08, *_START_EXPONENTS[:3])
        return np.array([[typical, typical, alpha, beta] for alpha, beta in product(exponents, exponents)])

    def natural(self, data: Data, theta: Array) -> Array:
        a, b, alpha, beta = np.moveaxis(theta, -1, 0)
        log_n, log_d = data.offsets
        return np.stack([np.exp(a + alpha * log_n), np.exp(b + beta * log_d), alpha, beta], axis=-1)

    def predict(self, values: Array, params: Array | float, tokens: Array | float) -> Array:
        a, b, alpha, beta = np.moveaxis(np.asarray(values, dtype=float), -1, 0)
        of_n, of_d = np.log(a) - alpha * np.log(params), np.log(b) - beta * np.log(tokens)
        return np.asarray(np.exp(beta * np.logaddexp(of_n / beta, of_d / beta)))

    def _terms(self, values: Array) -> tuple[Array, Array, Array, Array, Array]:
        a, b, alpha, beta = np.moveaxis(np.asarray(values, dtype=float), -1, 0)
        return a, b, alpha, beta, 1 / beta


class Saturating(Form):
    name = "saturating"
    formula = "L = E + K/C^gamma, C = 6·N·D"
    parameters = ("E", "K", "gamma")

    def problem(self, data: Data) -> Problem:
        terms = (PowerTerm(0), PowerTerm(1, 2, data.x + data.y))
        return PowerSum(terms, data.log_loss, _bounds(data, scales=2, exponents=1))

    def starts(self, data: Data) -> Array:
        grid = product(_floor_and_rest(data), _START_EXPONENTS)
        return np.array([[np.log(floor), np.log(rest), gamma] for (floor, rest), gamma in grid])

    def natural(self, data: Data, theta: Array) -> Array:
        e, k, gamma = np.moveaxis(theta, -1, 0)
        return np.stack([np.exp(e), np.exp(k + gamma * (sum(data.offsets) + np.log(6))), gamma], axis=-1)

    def predict(self, values: Array, params: Array | float, tokens: Array | float) -> Array:
        e, k, gamma = np.moveaxis(np.asarray(values, dtype=float), -1, 0)
        return np.asarray(e + k * (6 * np.asarray(params) * np.asarray(tokens)) ** -gamma)

    def allocation(self, values: Array) -> Array:
        return np.full(np.shape(values)[:-1], np.nan)  # it knows compute alone


FORMS: dict[str, Form] = {form.name: form for form in (Chinchilla(), Tied(), Overlap(), Kaplan(), Saturating())}
CHINCHILLA = FORMS["chinchilla"]


def find_form(name: str) -> Form:
    """The form of this name; raises InputError for another."""
    if name not in FORMS:
        raise InputError(f"there is no form {name!r}: choose from {', '.join(FORMS)}")
    return FORMS[name]


def form_of(coefficients: Sequence[float], formula: str) -> Form:
    """The form that a law was fitted in."""
    by_formula = {form.formula: form for form in FORMS.values()}
    assert len(by_formula[formula].parameters) == len(coefficients)
    return by_formula[formula]


def check_rows(rows: Rows, form: Form = CHINCHILLA) -> None:
    """Raise FitError for fewer rows than parameters, fewer than two distinct N or D, or what has no logarithm."""
    if len(rows) < len(form.parameters):
        raise FitError(
            f"a loss law has {len(form.parameters)} parameters and needs more training runs than that, and there are "
            f"{len(rows)}: train more sizes and token counts, or raise the budget"
        )
    for name, column in (("model size", rows.params), ("token count", rows.tokens)):
        if len(np.unique(column)) < FEWEST_SIZES:
            raise FitError(f"all training runs have the same {name}: train at least three, so that it has an effect")
    if min(rows.params.min(), rows.tokens.min(), rows.loss.min()) <= 0:
        raise FitError("a loss law needs positive sizes, token counts and losses: leave the other runs out")


def _bounds(data: Data, scales: int, exponents: int) -> tuple[Array, Array]:
    low, high = data.log_range
    return (
        np.array([low] * scales + [_SMALLEST_EXPONENT] * exponents),
        np.array([high] * scales + [_LARGEST_EXPONENT] * exponents),
    )


def _floor_and_rest(data: Data) -> list[tuple[float, float]]:
    """Starts of E, and what a typical loss has above it."""
    lowest, typical = float(np.exp(data.log_loss.min())), float(np.exp(np.median(data.log_loss)))
    return [(share * lowest, max(typical - share * lowest, 0.1 * lowest)) for share in _START_FLOORS]
