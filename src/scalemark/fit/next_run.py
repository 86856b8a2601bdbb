"""Which further training run would narrow most what the law says, for what it costs.

A run at (N, D) adds the derivatives v of its log loss to the information M = J·Jᵀ of the runs that there are. A
quantity with gradient g then has the variance (Sherman & Morrison 1950; see Atkinson, Donev & Tobias 2007, Optimum
Experimental Designs)

    g·M⁻¹·g − (g·M⁻¹·v)² / (1 + v·M⁻¹·v)

in units of the scatter, which is not touched. Nothing is trained and nothing refitted. It takes the law for right, the
new run for as noisy as the others, and for a trunk of its own.

Where a parameter rests at its bound, derivatives do not say how far the law may move. Then the replicates of the
bootstrap stand for the laws that fit, and the same formula is taken of their covariances: with y the log loss that each
predicts for the run and q what each says of the quantity, var q − cov(q, y)² / (var y + scatter²).
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from scalemark.errors import FitError
from scalemark.fit.loss_fit import LossFit
from scalemark.fit.optimum import Optimum
from scalemark.fit.rows import Rows
from scalemark.fit.solver import Array

# How far beyond the largest run the prediction lies that is to be narrowed.
REACH = 10.0
# How far from every run, in size and in tokens, and beyond the dearest in cost, a further one may be. In the far
# corners (a tiny model on all of the text) a run tells the form most, and the form is least to be trusted.
_BEYOND = 2.0
_GRID_POINTS = 16
# Of the largest narrowing that any run offers: less than this is cheap but no answer.
_WORTHWHILE = 0.5
# A dearer run is named where it narrows by this much more.
_MORE = 1.15
# To tell a covariance from.
_FEWEST_DRAWS = 100
Target = Literal["frontier", "E"]
CostOf = Callable[[Array, Array], Array]


@dataclass(frozen=True)
class ExtraRun:
    """A run that could be trained. narrowing: share of its standard error that the target would lose."""

    params: float
    tokens: float
    cost: float
    narrowing: float

    @property
    def narrowing_per_cost(self) -> float:
        return self.narrowing / self.cost


@dataclass(frozen=True)
class NextRun:
    """What further runs would do for one target.

    standard_error: of the log of the target. runs: each narrows clearly more than the cheaper ones, cheapest first.
    """

    target: Target
    standard_error: float
    runs: tuple[ExtraRun, ...]

    @property
    def best(self) -> ExtraRun:
        """Most narrowing per cost, among runs that narrow at least half as much as any; alone, cost favours crumbs."""
        most = self.runs[-1].narrowing
        return max(
            (run for run in self.runs if run.narrowing >= _WORTHWHILE * most), key=lambda r: r.narrowing_per_cost
        )


def six_n_d(params: Array, tokens: Array) -> Array:
    """FLOPs of training, 6·N·D."""
    return np.asarray(6 * params * tokens)


def next_run(fit: LossFit, rows: Rows, target: Target = "frontier", cost_of: CostOf = six_n_d) -> NextRun:
    """The runs worth training next, among sizes and token counts no more than a factor of two from a run that there is.

    target: the loss at ten times the largest compute, at its optimal size, or E. cost_of: FLOPs or seconds of
    (N, D), arrays of equal shape; no run costs more than twice the dearest of the rows. Raises FitError where the form
    has no such target, or where a parameter rests at its bound and the fit has too few replicates.
    """
    params, tokens = _candidates(rows)
    cost = cost_of(params, tokens)
    affordable = cost <= _BEYOND * cost_of(rows.params, rows.tokens).max()
    at = _frontier(fit, rows) if target == "frontier" else None
    by = _by_draws if any(fit.at_bound) else _by_derivatives
    standard_error, narrowing = by(fit, rows, at, params, tokens)
    runs = [
        ExtraRun(*(float(value) for value in values))
        for values in zip(*(column[affordable] for column in (params, tokens, cost, narrowing)), strict=True)
    ]
    return NextRun(target, standard_error, _front(runs))


def _by_derivatives(
    fit: LossFit, rows: Rows, at: tuple[Array, Array] | None, params: Array, tokens: Array
) -> tuple[float, Array]:
    """Standard error of the target's log, and its narrowing by each run. at: N and D whose loss it is; None for E."""
    optimum = Optimum.of(fit, rows)
    gradient = optimum.derivatives_at(*at)[:, 0] if at else np.eye(len(optimum.theta))[_index_of_e(fit)]
    return optimum.standard_error(gradient), narrowings(optimum, gradient, params, tokens)


def _by_draws(
    fit: LossFit, rows: Rows, at: tuple[Array, Array] | None, params: Array, tokens: Array
) -> tuple[float, Array]:
    """The same from replicates; of E itself, whose log may go to any depth."""
    if len(fit.draws) < _FEWEST_DRAWS:
        stuck = ", ".join(name for name, hit in zip(fit.form.parameters, fit.at_bound, strict=True) if hit)
        raise FitError(f"{stuck} rests at the edge of its range, and then it takes {_FEWEST_DRAWS} replicates: refit")
    says = np.log(fit.predict_draws(*at))[:, 0] if at else fit.draws[:, _index_of_e(fit)]
    predicted = np.log(fit.predict_draws(params, tokens))
    says, predicted = says - says.mean(), predicted - predicted.mean(axis=0)
    variance = float(np.mean(says**2))
    shared = (says @ predicted / len(says)) ** 2 / (np.mean(predicted**2, axis=0) + Optimum.of(fit, rows).scatter ** 2)
    return float(np.sqrt(variance)), np.asarray(1 - np.sqrt(np.maximum(1 - shared / variance, 0.0)))


def narrowings(optimum: Optimum, gradient: Array, params: Array, tokens: Array) -> Array:
    """Share of its standard error that a quantity loses with one more run, shape (runs,), each run by itself."""
    directions = optimum.derivatives_at(params, tokens)
    ahead = optimum.inverse @ gradient
    before = gradient @ ahead
    gained = (ahead @ directions) ** 2 / (1 + np.einsum("kr,kl,lr->r", directions, optimum.inverse, directions))
    return np.asarray(1 - np.sqrt(np.maximum(before - gained, 0.0) / before))


def _index_of_e(fit: LossFit) -> int:
    if "E" not in fit.form.parameters:
        raise FitError(f"the form {fit.form.name} has no E: choose one that has")
    return fit.form.parameters.index("E")


def _frontier(fit: LossFit, rows: Rows) -> tuple[Array, Array]:
    """N and D of the optimal size at ten times the largest compute, no more than as far beyond the rows' sizes.

    There the loss does not depend on N, so that of a prediction's uncertainty only that of the law counts.
    """
    if "alpha" not in fit.form.parameters:
        raise FitError(f"the form {fit.form.name} knows compute alone, and has no optimal size: choose another")
    compute = REACH * float(rows.compute_flops.max())
    optimal = fit.form.optimal_params(fit.values, compute)
    size = np.clip(optimal, rows.params.min() / REACH, rows.params.max() * REACH)
    return np.array([size]), np.array([compute / 6 / size])


def _candidates(rows: Rows) -> tuple[Array, Array]:
    """A grid over sizes and token counts, where it is near a row in both."""
    log_n, log_d, beyond = np.log(rows.params), np.log(rows.tokens), np.log(_BEYOND)
    axes = (np.linspace(column.min() - beyond, column.max() + beyond, _GRID_POINTS) for column in (log_n, log_d))
    size, count = (axis.ravel() for axis in np.meshgrid(*axes, indexing="ij"))
    apart = np.maximum(np.abs(size[:, None] - log_n), np.abs(count[:, None] - log_d)).min(axis=1)
    near = apart <= beyond * (1 + 1e-9)
    return np.exp(size[near]), np.exp(count[near])


def _front(runs: list[ExtraRun]) -> tuple[ExtraRun, ...]:
    """Those that narrow clearly more than any cheaper one, cheapest first."""
    front: list[ExtraRun] = []
    for run in sorted(runs, key=lambda run: (run.cost, -run.narrowing)):
        if not front or run.narrowing > _MORE * front[-1].narrowing:
            front.append(run)
    return tuple(front)
