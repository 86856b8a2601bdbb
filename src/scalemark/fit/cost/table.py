"""A cost law for published step times: one fit that says what it is, what it missed, and what simpler laws miss."""

from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import pandas as pd

from scalemark.errors import FitError, InputError
from scalemark.fit.cost.columns import Columns, TableRow, Target, flops_of, read_columns, rows_of, table_form
from scalemark.fit.cost.fitting import REPLICATES, Fit, fit
from scalemark.fit.cost.hidden import Hidden, hide, largest, left_out
from scalemark.fit.cost.law import parameters
from scalemark.fit.cost.problem import Problem
from scalemark.fit.cost.rivals import Sizes
from scalemark.fit.cost.solver import HUBER_DELTA, Mask, projected_gradient
from scalemark.fit.cost.terms import Form
from scalemark.schema import INTERVAL_LEVEL, Parameter

Status = Literal["converged", "bound hit"]


@dataclass(frozen=True)
class HiddenRow:
    """One row that was hidden. row: its number in the table, from 1. Seconds per step."""

    row: int
    params: float
    measured: float
    predicted: float
    low: float
    high: float


@dataclass(frozen=True)
class TableHoldout:
    """What a refit without the rows of at least `above_params` parameters said of them.

    mape: mean absolute relative error. coverage: share inside the 90 % intervals. rivals: the mape of simpler laws.
    reach: the largest hidden size over the largest that stayed.
    """

    above_params: float
    rows: tuple[HiddenRow, ...]
    mape: float
    coverage: float
    reach: float
    rivals: dict[str, float]


@dataclass(frozen=True)
class CostFit:
    """A law of seconds per step. Every parameter has its interval, and says whether the rows identify it.

    objective: Σ Huber of the relative residuals; gradient_norm: its largest derivative by the logarithm of a
    coefficient that no bound holds. left_out_error: median absolute relative error with one size left out at a time,
    None where a size left out leaves too few.
    """

    form: str
    parameters: tuple[Parameter, ...]
    objective: float
    gradient_norm: float
    n: int
    status: Status
    holdout: TableHoldout | None
    left_out_error: float | None
    residuals: tuple[float, ...]
    notes: tuple[str, ...]
    _fit: Fit = field(repr=False)
    _columns: Columns = field(repr=False)

    def predict(self, frame: pd.DataFrame) -> pd.DataFrame:
        """Seconds per step of other rows: columns predicted, low, high, and how far beyond the fitted sizes."""
        largest_params = max(row.params for row in self._columns.rows)
        table = []
        for row in rows_of(frame, self._columns.told):
            beyond = max(1.0, row.params / largest_params)
            found = self._fit.predict(row, beyond > 1)
            table.append((found.value, found.low, found.high, beyond))
        return pd.DataFrame(table, columns=["predicted", "low", "high", "extrapolation"], index=frame.index)

    @property
    def n_draws(self) -> int:
        """Refits that the intervals come from."""
        return len(self._fit.draws)

    def as_dict(self) -> dict[str, Any]:
        """Everything as plain values, for JSON."""
        return {
            "form": self.form,
            "params": {parameter.name: _parameter_dict(parameter) for parameter in self.parameters},
            "objective": {"name": "sum of Huber, relative residuals", "delta": HUBER_DELTA, "value": self.objective},
            "gradient_norm": self.gradient_norm,
            "n": self.n,
            "status": self.status,
            "identified": {parameter.name: parameter.identified for parameter in self.parameters},
            "bootstrap": {"replicates": len(self._fit.draws), "level": INTERVAL_LEVEL},
            "holdout": _holdout_dict(self.holdout),
            "left_out_error": self.left_out_error,
            "notes": list(self.notes),
        }


def fit_cost_table(
    frame: pd.DataFrame,
    *,
    target: Target = "seconds",
    holdout_above_params: float | None = None,
    seed: int = 0,
) -> CostFit:
    """A sum of physical terms fitted to all rows, and refitted without the largest to say what it misses.

    frame: columns params, width, depth, seq_len, batch (sequences per step over all devices), devices, and seconds per
    step, or tokens_per_s of all devices. holdout_above_params: hide rows of at least so many parameters, and fit the
    law itself to those below as well; without it, the law is fitted to all rows, and the largest sizes are hidden only
    to say what it misses. Raises InputError for rows that are no measurements, FitError where they are too few.
    """
    columns = read_columns(frame, target)
    form, form_notes = table_form(columns)
    problem = _problem(columns, form, seed)
    hidden = _hidden_rows(problem, holdout_above_params)
    tried = None if hidden is None else hide(problem, hidden)
    fitted = fit(problem) if holdout_above_params is None or tried is None else tried.fit
    used = problem if holdout_above_params is None or hidden is None else problem.only(~hidden)
    return _cost_fit(fitted, used, columns, tried, form_notes)


def _cost_fit(
    fitted: Fit, used: Problem, columns: Columns, tried: Hidden | None, form_notes: tuple[str, ...]
) -> CostFit:
    quantities, lowest = fitted.form.quantities(used.counted), fitted.form.lowest(used.limits)
    return CostFit(
        form=fitted.form.text,
        parameters=parameters(fitted, used),
        objective=fitted.objective,
        gradient_norm=projected_gradient(quantities, used.values, lowest, fitted.coefficients),
        n=len(used.values),
        status="bound hit" if np.any(fitted.coefficients <= lowest) else "converged",
        holdout=None if tried is None else _table_holdout(tried, columns),
        left_out_error=_left_out_error(used, columns.told),
        residuals=tuple(float(value) for value in np.expm1(fitted.log_residuals)),
        notes=(*columns.notes, *form_notes),
        _fit=fitted,
        _columns=columns,
    )


def _problem(columns: Columns, form: Form, seed: int) -> Problem:
    params = np.array([row.params for row in columns.rows])
    return Problem(
        forms=(form,),
        counted=columns.rows,
        values=columns.seconds,
        resampled=np.repeat(columns.seconds[:, None], REPLICATES, axis=1),
        sizes=Sizes(
            params,
            np.array([flops_of(row) for row in columns.rows]),
            np.array([row.items for row in columns.rows]),
        ),
        seed=seed,
    )


def _hidden_rows(problem: Problem, above_params: float | None) -> Mask | None:
    params = problem.sizes.params
    if above_params is None:
        return largest(params)
    hidden = params >= above_params
    if not hidden.any():
        raise InputError(f"no row has {above_params:.4g} parameters or more: hide from a smaller size on")
    n_terms = len(problem.forms[0].terms)
    if (~hidden).sum() <= n_terms:
        raise FitError(
            f"{int((~hidden).sum())} rows below {above_params:.4g} parameters cannot tell {n_terms} terms:"
            " hide from a larger size on"
        )
    return np.asarray(hidden)


def _table_holdout(tried: Hidden, columns: Columns) -> TableHoldout:
    rows = tuple(
        HiddenRow(columns.numbers[row], columns.rows[row].params, float(measured), found.value, found.low, found.high)
        for row, measured, found in zip(tried.rows, tried.measured, tried.predicted, strict=True)
    )
    return TableHoldout(
        above_params=min(row.params for row in rows),
        rows=rows,
        mape=float(np.mean(np.abs(tried.errors))),
        coverage=tried.covered / len(rows),
        reach=tried.reach,
        rivals={name: float(np.mean(np.abs(errors))) for name, errors in tried.rivals.items()},
    )


def _left_out_error(problem: Problem, told: frozenset[str]) -> float | None:
    """Rows of one width and depth are one size, whatever their sequence length does to the parameters."""
    rows: tuple[TableRow, ...] = problem.counted
    groups: list[Hashable] = [(row.width, row.depth) if {"width", "depth"} <= told else row.params for row in rows]
    fewest = min(len(rows) - groups.count(group) for group in groups)
    if fewest <= len(problem.forms[0].terms):
        return None
    return float(np.median(np.abs(left_out(problem, groups))))


def _parameter_dict(parameter: Parameter) -> dict[str, Any]:
    estimate = parameter.estimate
    return {"value": estimate.value, "low": estimate.low, "high": estimate.high, "unit": parameter.unit}


def _holdout_dict(holdout: TableHoldout | None) -> dict[str, Any] | None:
    if holdout is None:
        return None
    return {
        "above_params": holdout.above_params,
        "n": len(holdout.rows),
        "mape": holdout.mape,
        "coverage": holdout.coverage,
        "reach": holdout.reach,
        "rivals": holdout.rivals,
        "rows": [vars(row) for row in holdout.rows],
    }
