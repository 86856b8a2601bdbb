"""Fit a form to rows: the best of many starts, its bootstrap, and which form the rows ask for.

Of many rows the law itself is fitted to all. What would take its time over and over sees some of them: the starts are
tried on a sample, and the bootstrap is a bag of little bootstraps (see `bags`).
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from scalemark.fit.bags import MANY_ROWS, bags, sample
from scalemark.fit.forms import CHINCHILLA, FORMS, Data, Form, check_rows
from scalemark.fit.rows import Labels, Rows, resample
from scalemark.fit.solver import HUBER_DELTA, Array, Problem, Solution, SolveStatus, solve

# Of a law in a suite; a replicate of a few dozen rows costs some tens of microseconds.
REPLICATES = 1000
SEARCH_STEPS, REPLICATE_STEPS = 400, 100
# What `auto` chooses among. Not tied exponents: on grids measured here they foretold larger models as well as the
# others, but where they were wrong their intervals, narrow for want of a parameter, held none of them (docs/notes.md).
CANDIDATES = ("chinchilla", "overlap")
# Of the ends that a sample's starts found, so many are followed on all rows.
_FOLLOWED = 2
# Residuals below this are as good as none: no loss is known better, and a further parameter must not win by rounding.
_SMALLEST_RESIDUAL = 1e-4


@dataclass(frozen=True)
class LossFit:
    """A fit. values and each row of draws: as `form.parameters`, scales in the unit of the loss.

    objective: summed Huber loss of the log residuals at `delta`. steepness: see `solver.Solution`. reached: share of
    the starts that ended within 1e-6 of the best objective. at_bound: which parameters stopped at the edge of their
    range. unconverged: replicates that were not at rest when their steps were over; they are among the draws.
    """

    form: Form
    values: Array
    draws: Array
    objective: float
    delta: float
    steepness: float
    status: SolveStatus
    at_bound: tuple[bool, ...]
    reached: float
    unconverged: int

    def predict(self, params: Array | float, tokens: Array | float) -> Array:
        return self.form.predict(self.values, params, tokens)

    def predict_draws(self, params: Array, tokens: Array) -> Array:
        """Under each replicate, shape (replicates, *params.shape)."""
        values = self.draws.reshape(len(self.draws), *(1,) * np.ndim(params), -1)
        return self.form.predict(values, params, tokens)


def fit_form(
    form: Form,
    rows: Rows,
    seed: int = 0,
    replicates: int = REPLICATES,
    weights: Array | None = None,
    delta: float = HUBER_DELTA,
) -> LossFit:
    """The best of many starts, and `replicates` refits to trunks or rows drawn with replacement, begun at the best.

    weights: how much each row counts in each refit, shape (refits, rows), in place of drawing. Raises FitError for
    fewer rows than parameters, or fewer than two distinct N or D.
    """
    best = _search(form, rows, delta)
    return _with_draws(best, rows, seed, replicates, weights)


@dataclass(frozen=True)
class _Best:
    """Where a search ended. theta: (parameters,), as the solver has them; fit: the same, without draws."""

    theta: Array
    fit: LossFit


def _search(form: Form, rows: Rows, delta: float) -> _Best:
    """The best of many starts; of many rows, each start on the same sample of them, the best ends then on all."""
    check_rows(rows, form)
    data = Data.of(rows)
    problem = form.problem(data)
    found = some = solve(form.starts(data), *_sampled(form, data), SEARCH_STEPS, delta)
    if len(rows) > MANY_ROWS:
        found = solve(_distinct_ends(some), problem, np.ones((1, len(rows))), SEARCH_STEPS, delta)
    best = found.best
    fit = LossFit(
        form=form,
        values=form.natural(data, found.theta[best]),
        draws=np.zeros((0, len(form.parameters))),
        objective=float(found.objective[best]),
        delta=delta,
        steepness=float(found.steepness[best]),
        status=found.status(best),
        at_bound=tuple(bool(hit) for hit in found.at_bound[best]),
        reached=float(np.mean(some.objective <= some.objective[some.best] * (1 + 1e-6) + 1e-30)),
        unconverged=0,
    )
    return _Best(found.theta[best], fit)


def _sampled(form: Form, data: Data) -> tuple[Problem, Array]:
    """The problem of a sample of the rows, about the same means, and weights for it."""
    chosen = sample(len(data.log_loss))
    some = replace(data, x=data.x[chosen], y=data.y[chosen], log_loss=data.log_loss[chosen])
    return form.problem(some), np.ones((1, len(chosen)))


def _distinct_ends(found: Solution) -> Array:
    """The few best places at which the starts ended, each once; shape (ends, parameters)."""
    order = np.argsort(np.where(found.finite, found.objective, np.inf), kind="stable")
    _, first = np.unique(found.objective[order].round(9), return_index=True)
    return found.theta[order[np.sort(first)[:_FOLLOWED]]]


def _with_draws(best: _Best, rows: Rows, seed: int, replicates: int, weights: Array | None = None) -> LossFit:
    rng = np.random.default_rng(seed)
    form, data = best.fit.form, Data.of(rows)
    if weights is None and len(rows) > MANY_ROWS:
        drawn, unconverged = _little_bootstraps(best, data, rows, replicates, rng)
    else:
        if weights is None:
            weights = resample(rows.groups, rows.params, rows.tokens, replicates, rng, len(form.parameters))
        start = np.repeat(best.theta[None], len(weights), axis=0)
        solved = solve(start, form.problem(data), weights, REPLICATE_STEPS, best.fit.delta)
        drawn, unconverged = solved.theta, int(np.sum(~solved.converged))
    return replace(best.fit, draws=form.natural(data, drawn), unconverged=unconverged)


def _little_bootstraps(
    best: _Best, data: Data, rows: Rows, replicates: int, rng: np.random.Generator
) -> tuple[Array, int]:
    """theta of each replicate, shape (replicates, parameters): how refits to a bag move about the bag's own fit."""
    form, thetas, unconverged = best.fit.form, [], 0
    for bag in bags(rows.groups, len(rows), replicates, rng):
        some = replace(data, x=data.x[bag.rows], y=data.y[bag.rows], log_loss=data.log_loss[bag.rows])
        problem = form.problem(some)
        own = solve(best.theta[None], problem, np.ones((1, len(bag.rows))), REPLICATE_STEPS, best.fit.delta)
        start = np.repeat(own.theta, len(bag.weights), axis=0)
        solved = solve(start, problem, bag.weights, REPLICATE_STEPS, best.fit.delta)
        thetas.append(np.clip(best.theta + solved.theta - own.theta, *problem.bounds))
        unconverged += int(np.sum(~solved.converged))
    return np.concatenate(thetas), unconverged


def fit_to_sample(fit: LossFit, rows: Rows) -> tuple[LossFit, Rows, float]:
    """The same form at rest on a sample of many rows, the sample, and how many rows each of them stands for.

    Of few rows, the fit and the rows themselves.
    """
    if len(rows) <= MANY_ROWS:
        return fit, rows, 1.0
    some = rows.only(sample(len(rows)))
    return fit_form(fit.form, some, replicates=1, delta=fit.delta), some, len(rows) / len(some)


def fit_chinchilla(
    params: Sequence[float] | Array,
    tokens: Sequence[float] | Array,
    loss: Sequence[float] | Array,
    seed: int = 0,
    replicates: int = REPLICATES,
    groups: Sequence[int] | Labels | None = None,
    weights: Array | None = None,
) -> LossFit:
    """`fit_form` of chinchilla to columns; groups: one label per row, whose rows are drawn together."""
    rows = Rows.independent(params, tokens, loss, groups)
    return fit_form(CHINCHILLA, rows, seed, replicates, weights)


def fit_law(rows: Rows, seed: int = 0, replicates: int = REPLICATES, delta: float = HUBER_DELTA) -> LossFit:
    """The form among `CANDIDATES` of the lowest corrected criterion; raises FitError where no form can be fitted."""
    candidates = [FORMS[name] for name in CANDIDATES if len(rows) >= FORMS[name].fewest_rows] or [CHINCHILLA]
    found = [_search(form, rows, delta) for form in candidates]
    chosen = min(found, key=lambda best: corrected_akaike(best.fit, rows))
    return _with_draws(chosen, rows, seed, replicates)


def corrected_akaike(fit: LossFit, rows: Rows) -> float:
    """n·log(mean square of the log residuals) + 2·k·n/(n − k − 1), k counting the scatter (Hurvich & Tsai 1989)."""
    residuals = np.log(fit.predict(rows.params, rows.tokens)) - np.log(rows.loss)
    n, k = len(rows), len(fit.values) + 1
    if n <= k + 1:
        return float("inf")  # not defined: no row is left to judge by
    return float(n * np.log(np.mean(residuals**2) + _SMALLEST_RESIDUAL**2) + 2 * k * n / (n - k - 1))
