"""One cost law fitted: its form chosen, its draws, and what it says of the largest sizes when they are hidden.

    choose a form ─> solve ─> refit to rows drawn with replacement ─> hide the largest, refit all of it, predict them

Forms are told apart by AICc, which knows the rows fitted, and by how far each misses larger sizes when fitted to
smaller ones, which is what a law is for. The choice is made again on the rows that are left when the largest are
hidden: hidden rows choose nothing.
"""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from scalemark.errors import FitError
from scalemark.fit.cost.rivals import Sizes, rival_errors
from scalemark.fit.cost.solver import Array, Mask, huber, objective, solve, solve_overlapping
from scalemark.fit.cost.terms import Form, Limits
from scalemark.fit.prediction import predict_with_scatter, residual_sd
from scalemark.schema import Estimate, Holdout

REPLICATES = 300
FEWEST_SIZES = 4
# The largest sizes are hidden: those beyond a third of the largest if so many smaller ones stay, else the two largest,
# if they are at least so much larger than the rest.
HOLDOUT_REACH = 3.0
FEWEST_TO_REACH = 6
HOLDOUT_STEP = 1.3
HOLDOUT_SHAPES = 2

_POWERS = (1.5, 2.0, 3.0, 5.0)
# Forms so far behind in AICc have little support (Burnham & Anderson 2002, section 2.6).
_UNSUPPORTED_AICC = 7.0
# A form is left for a more complicated one only if that misses larger sizes by a tenth less.
_CLEARLY_BETTER = 0.9
# No time repeats to 0.1 ‰: below that, forms fit equally well.
_PERFECT = 1e-4
# Forms are tried on the sizes above these quantiles, fitted to those below.
_CUTS = (0.5, 0.65, 0.8)
_LARGEST_LOG_ERROR = 1.0
# An interval needs no more than this of a replicate.
_DRAWN_SETTLED = 1e-2
# Shares of a typical step that a term held by its bound is tried at, and the rise of −2 log L that shows it: χ² of one
# degree of freedom at 90 %, since the term can only rise.
_RISES = np.geomspace(0.002, 2.0, 13)
_SEEN = 2.71
# An exact law has an interval of no width.
_ROUNDING = 1e-9


@dataclass(frozen=True)
class Problem:
    """What a law is fitted to, one row per measurement.

    counted: what the terms are functions of. values: measured, shape (rows,); resampled: their bootstrap, shape (rows,
    replicates). sizes: parameters and FLOPs, for what is hidden and for the rivals.
    """

    forms: tuple[Form, ...]
    counted: tuple[Any, ...]
    values: Array
    resampled: Array
    sizes: Sizes
    limits: Limits = field(default_factory=Limits)
    seed: int = 0

    def only(self, kept: Mask) -> "Problem":
        """The same problem on the rows where `kept` is true."""
        counted = tuple(one for one, keep in zip(self.counted, kept, strict=True) if keep)
        return replace(
            self,
            counted=counted,
            values=self.values[kept],
            resampled=self.resampled[kept],
            sizes=self.sizes.only(kept),
        )

    def with_form(self, form: Form) -> "Problem":
        return replace(self, forms=(form,))


@dataclass(frozen=True)
class Fit:
    """A fitted form. draws: shape (replicates, coefficients). beyond_sd: scatter of what lies past the fitted sizes."""

    form: Form
    coefficients: Array
    draws: Array
    log_residuals: Array
    residual_sd: float
    beyond_sd: float
    objective: float
    aicc: float

    def predict(self, one: Any, is_beyond: bool) -> Estimate:
        """A new measurement, scatter included; past the fitted range with what was missed there."""
        quantities = self.form.quantities([one])
        log_draws = np.log(np.maximum(self.form.evaluate(self.draws, quantities)[:, 0], 1e-300))
        log_value = float(np.log(self.form.evaluate(self.coefficients, quantities)[0]))
        return predict_with_scatter(log_value, log_draws, self.beyond_sd if is_beyond else self.residual_sd)


def fit(problem: Problem) -> Fit:
    """The chosen form with its draws; raises FitError where the sizes are too few."""
    _check_sizes(problem)
    form = choose_form(problem)
    chosen = problem.with_form(form)
    coefficients = solve_form(chosen, form)
    log_residuals = _log_errors(chosen, form, coefficients)
    relative = np.expm1(log_residuals)
    sd = residual_sd(log_residuals, _n_free(problem, form, coefficients))
    return Fit(
        form=form,
        coefficients=coefficients,
        draws=_bootstrap(chosen, form, coefficients),
        log_residuals=log_residuals,
        residual_sd=sd,
        beyond_sd=max(sd, min(forward_error(problem, form), _LARGEST_LOG_ERROR)),
        objective=objective(relative),
        aicc=aicc(problem, form, coefficients),
    )


def _check_sizes(problem: Problem) -> None:
    sizes = len(np.unique(problem.sizes.params))
    if sizes < FEWEST_SIZES:
        raise FitError(f"too few model sizes for a law ({sizes}): measure at least {FEWEST_SIZES} rungs")


def solve_form(problem: Problem, form: Form) -> Array:
    """Coefficients; where terms overlap, with the power that fits best."""
    quantities, lowest = form.quantities(problem.counted), form.lowest(problem.limits)
    if not form.overlapping:
        return solve(quantities, problem.values, lowest)
    found = [solve_overlapping(form, quantities, problem.values, lowest, power) for power in _POWERS]
    return min(found, key=lambda coefficients: objective(form.evaluate(coefficients, quantities) / problem.values - 1))


def _log_errors(problem: Problem, form: Form, coefficients: Array) -> Array:
    """log(predicted/measured) of the problem's rows."""
    predicted = form.evaluate(coefficients, form.quantities(problem.counted))
    return np.asarray(np.log(np.maximum(predicted, 1e-300)) - np.log(problem.values))


def _n_free(problem: Problem, form: Form, coefficients: Array) -> int:
    """How many coefficients the rows decided: those above their bound, and the power."""
    above = coefficients[: len(form.terms)] > form.lowest(problem.limits) * (1 + 1e-9)
    return int(above.sum()) + bool(form.overlapping)


# --- choosing ---------------------------------------------------------------------------------------------------------


def aicc(problem: Problem, form: Form, coefficients: Array) -> float:
    """n·log(mean Huber loss) + 2k, corrected for few rows (Hurvich & Tsai 1989); k counts the noise as well."""
    n, k = len(problem.values), _n_free(problem, form, coefficients) + 1
    return n * float(np.log(_mean_loss(problem, form, coefficients))) + 2 * k + 2 * k * (k + 1) / max(n - k - 1, 0.5)


def choose_form(problem: Problem) -> Form:
    """The supported form that misses larger sizes least; the simplest, unless another does clearly better."""
    if len(problem.forms) == 1:
        return problem.forms[0]
    scores = [aicc(problem, form, solve_form(problem, form)) for form in problem.forms]
    supported = [
        form for form, score in zip(problem.forms, scores, strict=True) if score <= min(scores) + _UNSUPPORTED_AICC
    ]
    errors = [max(forward_error(problem, form), _PERFECT) for form in supported]
    best = int(np.argmin(errors))
    return supported[best] if errors[best] < _CLEARLY_BETTER * errors[0] else supported[0]


def forward_error(problem: Problem, form: Form) -> float:
    """Root mean square of log(predicted/measured) where larger sizes are predicted from smaller ones.

    Over several cuts; 0 where there are too few sizes to cut.
    """
    sizes = np.unique(problem.sizes.params)
    cuts = sorted({int(len(sizes) * share) for share in _CUTS})
    errors = [_errors_above(problem, form, sizes[cut]) for cut in cuts if cut >= FEWEST_SIZES]
    return float(np.sqrt(np.mean(np.concatenate(errors) ** 2))) if errors else 0.0


def _errors_above(problem: Problem, form: Form, size: float) -> Array:
    kept = problem.sizes.params < size
    errors = _log_errors(problem.only(~kept), form, solve_form(problem.only(kept), form))
    return np.clip(errors, -_LARGEST_LOG_ERROR, _LARGEST_LOG_ERROR)


# --- intervals --------------------------------------------------------------------------------------------------------


def _bootstrap(problem: Problem, form: Form, coefficients: Array) -> Array:
    """Coefficients refitted to rows drawn with replacement, each with one of its resampled values; p stays.

    A term that its bound holds would be held in nearly every replicate, as if it were known to be that small. So each
    replicate lifts one such term to somewhere below what the rows would have shown.
    """
    quantities, lowest = form.quantities(problem.counted), form.lowest(problem.limits)
    rooms = unseen_rooms(problem, form, coefficients)
    held = np.flatnonzero(rooms)
    rng = np.random.default_rng(problem.seed)
    draws = []
    for replicate in range(problem.resampled.shape[1]):
        rows = rng.integers(len(quantities), size=len(quantities))
        lifted = lowest.copy()
        if len(held):
            term = rng.choice(held)
            lifted[term] += rng.uniform() * rooms[term]
        values = problem.resampled[rows, replicate]
        draws.append(_refit(form, quantities[rows], values, lifted, coefficients))
    return np.stack(draws)


def _refit(form: Form, quantities: Array, values: Array, lowest: Array, coefficients: Array) -> Array:
    """One replicate, begun where the fit ended where that helps."""
    if not form.overlapping:
        return solve(quantities, values, lowest, _DRAWN_SETTLED)
    start = np.maximum(coefficients[:-1], lowest)
    return solve_overlapping(form, quantities, values, lowest, float(coefficients[-1]), start)


def unseen_rooms(problem: Problem, form: Form, coefficients: Array) -> Array:
    """How far each coefficient that its bound holds could rise unseen, shape (terms,); 0 for the others.

    By profile likelihood: the others refitted, until the objective says with 95 % confidence that it is too much.
    """
    lowest, quantities = form.lowest(problem.limits), form.quantities(problem.counted)
    held = coefficients[: len(form.terms)] <= lowest * (1 + 1e-9)
    rooms = np.zeros(len(lowest))
    for index in np.flatnonzero(held & quantities.any(axis=0)):
        share = np.median(problem.values / np.maximum(quantities[:, index], 1e-300))
        rises = share * _RISES
        seen = [_is_seen(problem, form, coefficients, int(index), rise) for rise in rises]
        first = seen.index(True) if any(seen) else len(rises)
        rooms[index] = rises[first - 1] if first else 0.0
    return rooms


def _is_seen(problem: Problem, form: Form, coefficients: Array, index: int, rise: float) -> bool:
    """Whether the rows fit clearly worse with this coefficient so much above its bound."""
    lowest, quantities = form.lowest(problem.limits), form.quantities(problem.counted)
    lowest[index] += rise
    raised = _refit(form, quantities, problem.values, lowest, coefficients)
    losses = [_mean_loss(problem, form, each) for each in (coefficients, raised)]
    return len(problem.values) * float(np.log(losses[1] / losses[0])) > _SEEN


def _mean_loss(problem: Problem, form: Form, coefficients: Array) -> float:
    return float(huber(np.expm1(_log_errors(problem, form, coefficients))).mean()) + _PERFECT**2 / 2


# --- hidden sizes -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Hidden:
    """Rows that were hidden, and what the law fitted to the others said of them."""

    rows: tuple[int, ...]
    predicted: tuple[Estimate, ...]
    measured: Array
    fit: Fit
    above: float
    reach: float
    rivals: dict[str, tuple[float, ...]]

    @property
    def errors(self) -> tuple[float, ...]:
        """predicted/measured − 1."""
        pairs = zip(self.predicted, self.measured, strict=True)
        return tuple(float(predicted.value / measured - 1) for predicted, measured in pairs)

    @property
    def covered(self) -> int:
        """How many lay inside their intervals."""
        pairs = zip(self.predicted, self.measured, strict=True)
        return sum(bool(p.low * (1 - _ROUNDING) <= measured <= p.high * (1 + _ROUNDING)) for p, measured in pairs)

    def as_holdout(self, variable: str) -> Holdout:
        return Holdout(
            variable=variable,
            above=self.above,
            errors=self.errors,
            covered=self.covered,
            reach=self.reach,
            rivals=self.rivals,
        )


def largest(params: Array) -> Mask | None:
    """Which rows to hide by default; None where too few sizes would be left, or they end too close together."""
    sizes = np.unique(params)
    far = params > sizes[-1] / HOLDOUT_REACH
    if len(np.unique(params[~far])) >= FEWEST_TO_REACH:
        return np.asarray(far)
    if len(sizes) < FEWEST_SIZES + HOLDOUT_SHAPES or sizes[-1] < HOLDOUT_STEP * sizes[-1 - HOLDOUT_SHAPES]:
        return None
    return np.asarray(params >= sizes[-HOLDOUT_SHAPES])


def hide(problem: Problem, hidden: Mask) -> Hidden:
    """Refit everything, the choice of the form too, to the rows that are not hidden, and predict those that are."""
    kept, unseen = problem.only(~hidden), problem.only(hidden)
    fitted = fit(kept)
    above = float(kept.sizes.params.max())
    predicted = tuple(
        fitted.predict(one, bool(params > above))
        for one, params in zip(unseen.counted, unseen.sizes.params, strict=True)
    )
    return Hidden(
        rows=tuple(int(row) for row in np.flatnonzero(hidden)),
        predicted=predicted,
        measured=unseen.values,
        fit=fitted,
        above=above,
        reach=float(unseen.sizes.params.max()) / above,
        rivals={
            **rival_errors(kept.sizes, kept.values, unseen.sizes, unseen.values),
            **{form.name: _errors_of(form, kept, unseen) for form in problem.forms if form != fitted.form},
        },
    )


def _errors_of(form: Form, kept: Problem, unseen: Problem) -> tuple[float, ...]:
    errors = np.expm1(_log_errors(unseen, form, solve_form(kept, form)))
    return tuple(float(error) for error in errors)


def left_out(problem: Problem, groups: Sequence[Hashable]) -> Array:
    """predicted/measured − 1 of every row, from the rows of all other groups, shape (rows,)."""
    labels = list(groups)
    errors = np.empty(len(labels))
    for group in dict.fromkeys(labels):
        hidden = np.array([label == group for label in labels])
        kept = problem.only(~hidden)
        form = choose_form(kept)
        errors[hidden] = np.expm1(_log_errors(problem.only(hidden), form, solve_form(kept, form)))
    return errors
