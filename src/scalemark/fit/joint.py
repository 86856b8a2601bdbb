"""A loss law in which what N and what D leave to learn overlap: L = E + ((A/N^alpha)^p + (B/D^beta)^p)^(1/p).

With p = 1 it is the law of `scalemark.fit.chinchilla`, in which a further token lowers the loss of every model by the
same amount. Small models measured here gain less from further tokens than large ones: what they cannot hold, data
cannot teach. With p > 1 the larger of the two terms counts more, up to the mere maximum; Kaplan et al. 2020 (equation
1.5) have such an overlap too. The compute-optimal size has the same closed form, with A^p and B^p for A and B.

Solved like the law it extends, from its optimum and from starts of larger p, with q = 1/p as the parameter.
"""

from dataclasses import dataclass

import numpy as np

from scalemark.fit import chinchilla
from scalemark.fit.chinchilla import (
    REPLICATES,
    Array,
    ChinchillaFit,
    Data,
    Rows,
    descend,
    fit_chinchilla,
    fit_from_many_starts,
    objective_of,
    prepare,
    resample,
)

NAMES = (*chinchilla.NAMES, "p")
# The corrected criterion is not defined for fewer.
FEWEST_ROWS = len(NAMES) + 3
# p from 1 to 10, beyond which the sum is the larger term to within 7 %.
_SMALLEST_Q, _LARGEST_Q = 0.1, 1.0
_START_Q = (1.0, 0.7, 0.45, 0.25)
_ITERATIONS, _REPLICATE_ITERATIONS = 2000, 60


# Residuals below this are as good as none: no loss is known better, and a sixth parameter must not win by rounding.
_SMALLEST_RESIDUAL = 1e-4


def fit_law(rows: Rows, seed: int = 0) -> ChinchillaFit:
    """The law with p, or the one without it, by Akaike's corrected criterion (Hurvich & Tsai 1989); raises FitError."""
    plain = fit_chinchilla(rows.params, rows.tokens, rows.loss, seed, groups=rows.groups)
    if len(rows) < FEWEST_ROWS:
        return plain
    joint = fit_joint(rows, seed)
    return joint if corrected_akaike(joint, rows) < corrected_akaike(plain, rows) else plain


def corrected_akaike(fit: ChinchillaFit, rows: Rows) -> float:
    """n·log(mean square of the log residuals) + 2·k·n/(n − k − 1), k counting the scatter as a parameter."""
    residuals = np.log(predict_joint(fit.values, rows.params, rows.tokens)) - np.log(rows.loss)
    n, k = len(rows), len(fit.values) + 1
    return float(n * np.log(np.mean(residuals**2) + _SMALLEST_RESIDUAL**2) + 2 * k * n / (n - k - 1))


@dataclass(frozen=True)
class _Joint:
    """The rows of a Chinchilla fit; theta has q = 1/p as its sixth parameter."""

    rows: Data

    @property
    def bounds(self) -> tuple[Array, Array]:
        low, high = self.rows.bounds
        return np.append(low, _SMALLEST_Q), np.append(high, _LARGEST_Q)

    def residuals(self, theta: Array) -> Array:
        floor, both, *_ = self._terms(theta)
        return np.asarray(np.logaddexp(floor, both) - self.rows.log_loss)

    def jacobian(self, theta: Array) -> Array:
        """With u, v the logs of the terms and w = q · log(e^(u/q) + e^(v/q)): dw/du is a softmax, dw/dq an entropy."""
        floor, both, of_n, of_d = self._terms(theta)
        q = theta[:, 5:6]
        reducible = np.exp(both - np.logaddexp(floor, both))
        share = np.exp(of_n / q - np.logaddexp(of_n / q, of_d / q))
        n, d = reducible * share, reducible * (1 - share)
        by_q = (both - share * of_n - (1 - share) * of_d) / q
        return np.stack([1 - reducible, n, d, -self.rows.x * n, -self.rows.y * d, reducible * by_q], axis=-1)

    def _terms(self, theta: Array) -> tuple[Array, Array, Array, Array]:
        """log E, log of the joint term, and logs of what N and D add to it, each (problems, rows)."""
        e, a, b, alpha, beta, q = (column[:, None] for column in theta.T)
        of_n, of_d = a - alpha * self.rows.x, b - beta * self.rows.y
        return e + 0 * self.rows.x, q * np.logaddexp(of_n / q, of_d / q), of_n, of_d

    def natural(self, theta: Array) -> Array:
        """(…, 6) E, A, B, alpha, beta, p."""
        return np.concatenate([self.rows.natural(theta[..., :5]), 1 / theta[..., 5:]], axis=-1)


def fit_joint(rows: Rows, seed: int = 0, replicates: int = REPLICATES) -> ChinchillaFit:
    """As `fit_chinchilla`, with p as a sixth parameter, trunks drawn where rows branch; raises FitError likewise."""
    data = prepare(rows.params, rows.tokens, rows.loss)
    problem = _Joint(data)
    plain = fit_from_many_starts(data)
    starts = np.array([np.append(plain, q) for q in _START_Q])
    ends, objectives = descend(starts, problem, np.ones((len(starts), 1)), _ITERATIONS)
    best = ends[np.argmin(objectives)]
    weights = resample(rows.groups, data.x, data.y, replicates, np.random.default_rng(seed))
    drawn, _ = descend(np.repeat(best[None], len(weights), axis=0), problem, weights, _REPLICATE_ITERATIONS)
    low, high = problem.bounds
    return ChinchillaFit(
        values=problem.natural(best),
        draws=problem.natural(drawn),
        objective=float(objective_of(problem.residuals(best[None]), np.ones(1))[0]),
        at_bound=tuple(bool(hit) for hit in (best <= low + 1e-6) | (best >= high - 1e-6)),
    )


def predict_joint(values: Array, params: Array | float, tokens: Array | float) -> Array:
    """Loss from (…, 5) values as `chinchilla.NAMES`, or (…, 6) with p; params and tokens broadcast against the rest."""
    e, a, b, alpha, beta, *rest = np.moveaxis(np.asarray(values, dtype=float), -1, 0)
    p = rest[0] if rest else np.ones_like(e)
    of_n, of_d = np.log(a) - alpha * np.log(params), np.log(b) - beta * np.log(tokens)
    return np.asarray(e + np.exp(np.logaddexp(p * of_n, p * of_d) / p))
