"""What a law says of sizes that it has not seen: the largest hidden, everything fitted again, and they are predicted.

The choice of the form is made again as well: hidden rows choose nothing.
"""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np

from scalemark.fit.cost.choosing import FEWEST_SIZES, choose_form
from scalemark.fit.cost.fitting import Fit, fit
from scalemark.fit.cost.problem import Problem, log_errors, solve_form
from scalemark.fit.cost.rivals import rival_errors
from scalemark.fit.cost.solver import Array, Mask
from scalemark.fit.cost.terms import Form
from scalemark.fit.prediction import hidden_rows
from scalemark.schema import Estimate, Holdout

# The largest sizes are hidden: those beyond a third of the largest if so many smaller ones stay, else the two largest,
# if they are at least so much larger than the rest.
HOLDOUT_REACH = 3.0
FEWEST_TO_REACH = 6
HOLDOUT_STEP = 1.3
HOLDOUT_SHAPES = 2
# An exact law has an interval of no width.
_ROUNDING = 1e-9


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
        return errors_of(self.predicted, self.measured)

    @property
    def covered(self) -> int:
        """How many lay inside their intervals."""
        return covered_by(self.predicted, self.measured)

    def as_holdout(self, variable: str) -> Holdout:
        """For the record of a law; variable: what the hidden rows exceed `above` in."""
        return Holdout(
            variable=variable,
            above=self.above,
            errors=self.errors,
            covered=self.covered,
            reach=self.reach,
            rivals=self.rivals,
            rows=hidden_rows(self.rows, self.measured, self.predicted),
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
    errors = np.expm1(log_errors(unseen, form, solve_form(kept, form)))
    return tuple(float(error) for error in errors)


def errors_of(predicted: Sequence[Estimate], measured: Array) -> tuple[float, ...]:
    """predicted/measured − 1, row by row."""
    return tuple(float(one.value / value - 1) for one, value in zip(predicted, measured, strict=True))


def covered_by(predicted: Sequence[Estimate], measured: Array) -> int:
    """How many measured values lie inside their intervals."""
    pairs = zip(predicted, measured, strict=True)
    return sum(bool(one.low * (1 - _ROUNDING) <= value <= one.high * (1 + _ROUNDING)) for one, value in pairs)


def left_out(problem: Problem, groups: Sequence[Hashable]) -> Array:
    """predicted/measured − 1 of every row, from the rows of all other groups, shape (rows,)."""
    labels = list(groups)
    errors = np.empty(len(labels))
    for group in dict.fromkeys(labels):
        hidden = np.array([label == group for label in labels])
        kept = problem.only(~hidden)
        form = choose_form(kept)
        errors[hidden] = np.expm1(log_errors(problem.only(hidden), form, solve_form(kept, form)))
    return errors
