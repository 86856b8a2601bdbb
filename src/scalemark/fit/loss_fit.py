"""Fit a form to rows: the best of many starts, its bootstrap, and which form the rows ask for."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from scalemark.fit.forms import CHINCHILLA, FORMS, Data, Form, check_rows
from scalemark.fit.rows import Labels, Rows, resample
from scalemark.fit.solver import HUBER_DELTA, Array, SolveStatus, solve

# Of a law in a suite; a replicate of a few dozen rows costs some tens of microseconds.
REPLICATES = 1000
SEARCH_STEPS, REPLICATE_STEPS = 400, 100
# What `auto` chooses among. Not tied exponents: on grids measured here they foretold larger models as well as the
# others, but where they were wrong their intervals, narrow for want of a parameter, held none of them (docs/notes.md).
CANDIDATES = ("chinchilla", "overlap")
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
    check_rows(rows, form)
    data = Data.of(rows)
    problem = form.problem(data)
    found = solve(form.starts(data), problem, np.ones((1, len(rows))), SEARCH_STEPS, delta)
    best = found.best
    if weights is None:
        rng = np.random.default_rng(seed)
        weights = resample(rows.groups, rows.params, rows.tokens, replicates, rng, len(form.parameters))
    start = np.repeat(found.theta[best][None], len(weights), axis=0)
    drawn = solve(start, problem, weights, REPLICATE_STEPS, delta)
    return LossFit(
        form=form,
        values=form.natural(data, found.theta[best]),
        draws=form.natural(data, drawn.theta),
        objective=float(found.objective[best]),
        delta=delta,
        steepness=float(found.steepness[best]),
        status=found.status(best),
        at_bound=tuple(bool(hit) for hit in found.at_bound[best]),
        reached=float(np.mean(found.objective <= found.objective[best] * (1 + 1e-6) + 1e-30)),
        unconverged=int(np.sum(~drawn.converged)),
    )


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
    fits = [fit_form(form, rows, seed, replicates=1, delta=delta) for form in candidates]
    chosen = min(fits, key=lambda fit: corrected_akaike(fit, rows))
    return fit_form(chosen.form, rows, seed, replicates, delta=delta)


def corrected_akaike(fit: LossFit, rows: Rows) -> float:
    """n·log(mean square of the log residuals) + 2·k·n/(n − k − 1), k counting the scatter (Hurvich & Tsai 1989)."""
    residuals = np.log(fit.predict(rows.params, rows.tokens)) - np.log(rows.loss)
    n, k = len(rows), len(fit.values) + 1
    if n <= k + 1:
        return float("inf")  # not defined: no row is left to judge by
    return float(n * np.log(np.mean(residuals**2) + _SMALLEST_RESIDUAL**2) + 2 * k * n / (n - k - 1))
