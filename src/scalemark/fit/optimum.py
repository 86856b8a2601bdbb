"""A fit where it came to rest: what its rows say there of small moves of its parameters.

The scatter of what M-estimators find is a sandwich, bread · meat · bread (Huber 1981, section 7.6): with J the
derivatives of the log loss, ψ = clip(residual, ±δ), and mean ψ' = P(|residual| ≤ δ),

    bread = (mean ψ' · J·Jᵀ)⁻¹      meat = Σ over rows, or over trunks that err together, of scores · scoresᵀ

P(|residual| ≤ δ) is that of normal residuals of the scatter at hand: δ is mostly far below it, and the few rows
within δ would make a poor count.
"""

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from scipy.stats import norm, t

from scalemark.fit.forms import Data, Form
from scalemark.fit.held import solver_parameters
from scalemark.fit.loss_fit import LossFit
from scalemark.fit.rows import Labels, Rows
from scalemark.fit.solver import Array, Problem, huber

# Losses that a law meets exactly still have intervals of some width.
_SMALLEST_SCATTER = 1e-6
_SINGULAR = 1e-13
_LEVERAGE = 1e-3


@dataclass(frozen=True)
class Optimum:
    """A fit as the solver sees it. theta: (parameters,). residuals: (rows,). jacobian: (parameters, rows)."""

    form: Form
    data: Data
    problem: Problem
    theta: Array
    residuals: Array
    jacobian: Array
    delta: float
    groups: Labels | None

    @classmethod
    def of(cls, fit: LossFit, rows: Rows) -> "Optimum":
        """A fit to these very rows."""
        data = Data.of(rows)
        problem = fit.form.problem(data)
        theta = np.clip(solver_parameters(fit.form, data, fit.values), *problem.bounds)
        residuals, jacobian = problem.linearise(theta[None])
        return cls(fit.form, data, problem, theta, residuals[0], jacobian[0], fit.delta, rows.groups)

    @property
    def objective(self) -> float:
        return float(huber(self.residuals[None], np.ones((1, len(self.residuals))), self.delta)[0])

    @property
    def scatter(self) -> float:
        """Standard deviation of the log residuals, each parameter paid for with a row."""
        spare = max(1, len(self.residuals) - len(self.theta))
        return max(float(np.sqrt(np.sum(self.residuals**2) / spare)), _SMALLEST_SCATTER)

    @property
    def within(self) -> float:
        """Mean ψ'."""
        return float(2 * norm.cdf(self.delta / self.scatter) - 1)

    @property
    def lengths(self) -> Array:
        """Of the columns of derivatives; 0 for a parameter that has no effect."""
        return np.asarray(np.sqrt((self.jacobian**2).sum(axis=1)))

    @cached_property
    def principal(self) -> tuple[Array, Array]:
        """Eigenvalues, rising, and eigenvectors (parameters, directions) of J·Jᵀ with columns of unit length."""
        scaled = self.jacobian / np.maximum(self.lengths, 1e-300)[:, None]
        values, vectors = np.linalg.eigh(scaled @ scaled.T)
        return np.maximum(values, 0.0), vectors

    @property
    def condition(self) -> float:
        """Largest over smallest eigenvalue of the scaled curvature; infinite where a direction has no effect.

        With columns scaled to unit length, as units must not count (Belsley, Kuh & Welsch 1980, section 3.2; theirs is
        the root of this one).
        """
        values = self.principal[0]
        return float(values[-1] / values[0]) if values[0] > _SINGULAR * values[-1] else float("inf")

    @cached_property
    def inverse(self) -> Array:
        """(J·Jᵀ)⁻¹; directions without any effect count as known."""
        values, vectors = self.principal
        told = values > _SINGULAR * values[-1]
        reciprocal = np.where(told, 1 / np.where(told, values, 1.0), 0.0)
        inverse = (vectors * reciprocal) @ vectors.T
        length = np.where(self.lengths > 0, self.lengths, np.inf)
        return np.asarray(inverse / length[:, None] / length)

    @cached_property
    def meat(self) -> Array:
        """Σ scores · scoresᵀ; a score is that of a row, or of all rows of a trunk."""
        psi = np.clip(self.residuals, -self.delta, self.delta)
        if self.groups is None:
            spare = max(1, len(self.residuals) - len(self.theta))
            return np.asarray(np.sum(psi**2) / spare * self.jacobian @ self.jacobian.T)
        order = np.argsort(self.groups, kind="stable")
        members = np.split(order, np.flatnonzero(np.diff(self.groups[order])) + 1)
        scores = np.stack([self._score_of_trunk(psi[here], self.jacobian[:, here]) for here in members])
        return np.asarray(scores.T @ scores * (len(scores) - 1) / len(scores))

    def _score_of_trunk(self, psi: Array, jacobian: Array) -> Array:
        """As it is where the law was not fitted to this trunk: seven trunks bend a law of five parameters to them.

        The jackknife's correction (CR3; Bell & McCaffrey 2002, Survey Methodology 28:169).
        """
        bent = np.eye(len(psi)) - jacobian.T @ self.inverse @ jacobian
        return np.asarray(jacobian @ np.linalg.pinv(bent, rcond=_LEVERAGE, hermitian=True) @ psi)

    @property
    def _trunks(self) -> Labels:
        return np.unique(self.groups) if self.groups is not None else np.arange(len(self.residuals))

    def standard_error(self, gradient: Array) -> float:
        """Of a quantity with this gradient, shape (parameters,)."""
        ahead = self.inverse @ gradient
        return float(np.sqrt(ahead @ self.meat @ ahead) / self.within)

    def t_quantile(self, level: float) -> float:
        """Student's, for as many rows (or trunks) as are left to tell the scatter."""
        left = len(self.residuals) - len(self.theta) if self.groups is None else len(self._trunks) - 1
        return float(t.ppf((1 + level) / 2, max(1, left)))

    def tolerable_rise(self, gradient: Array, level: float) -> float:
        """How far the objective rises, at this level, where a quantity with this gradient is held at its true value.

        ½ · t² · (bread·meat·bread) / bread: the robust likelihood ratio. For rows that err on their own the last
        factor is mean ψ² / mean ψ' (Heritier & Ronchetti 1994, JASA 89:897).
        """
        ahead = self.inverse @ gradient
        factor = float(ahead @ self.meat @ ahead) / max(float(gradient @ ahead), 1e-300) / self.within
        return 0.5 * self.t_quantile(level) ** 2 * max(factor, _SMALLEST_SCATTER**2)

    def derivatives_at(self, params: Array, tokens: Array) -> Array:
        """Of the log loss predicted for other models, by the solver's parameters: shape (parameters, models)."""
        of_n, of_d = self.data.offsets
        x, y = np.log(params) - of_n, np.log(tokens) - of_d
        elsewhere = self.form.problem(replace(self.data, x=x, y=y, log_loss=np.zeros_like(x)))
        return np.asarray(elsewhere.linearise(self.theta[None])[1][0])
