"""From a fit to a `Law`: parameters named for people, notes, the hidden sizes, and how to evaluate it again."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np

from scalemark.fit.cost.fitting import Fit, fit
from scalemark.fit.cost.hidden import Hidden, hide, largest
from scalemark.fit.cost.problem import POWERS, Problem
from scalemark.fit.cost.solver import Array
from scalemark.fit.cost.terms import Term
from scalemark.fit.prediction import range_of
from scalemark.schema import Estimate, Law, LawKind, Parameter, Range
from scalemark.stats import percentile_interval

# Ends of an interval so many times apart say the order of magnitude and no more.
VAGUE_RATIO = 3.0
ABOVE = 1 + 1e-9
# Correlation over the replicates below which two terms are one to the data.
TRADED = -0.8


@dataclass(frozen=True)
class Described:
    """What a law says of itself that its rows do not."""

    kind: LawKind
    unit: str
    subject: str
    domain: dict[str, Range]
    notes: tuple[str, ...] = ()


def fit_law(problem: Problem, described: Described) -> Law:
    """The law of all rows, with what it misses when its largest sizes are hidden."""
    fitted = fit(problem)
    named = parameters(fitted, problem)
    return Law(
        kind=described.kind,
        form=fitted.form.text,
        unit=described.unit,
        subject=described.subject,
        parameters=named,
        domain=described.domain,
        n=len(problem.values),
        residuals=floats(np.expm1(fitted.log_residuals)),
        residual_sd=fitted.residual_sd,
        coefficients=floats(fitted.coefficients),
        draws=tuple(floats(draw) for draw in fitted.draws),
        notes=(*described.notes, *ceiling_notes(fitted, problem), *trade_notes(fitted, named)),
        holdout=holdout.as_holdout("params_non_embedding") if (holdout := hidden_largest(problem)) else None,
    )


def hidden_largest(problem: Problem) -> Hidden | None:
    """What a refit says of the largest sizes; None where the others are too few."""
    rows = largest(problem.sizes.params)
    return None if rows is None else hide(problem, rows)


def sizes_domain(counted: Sequence[Any]) -> dict[str, Range]:
    """Range of what `Accounting` counts, by the names that predictions look up."""
    return {
        "params_non_embedding": range_of(np.array([one.params_non_embedding for one in counted])),
        "items": range_of(np.array([one.items for one in counted])),
    }


# --- parameters -------------------------------------------------------------------------------------------------------


def parameters(fitted: Fit, problem: Problem) -> tuple[Parameter, ...]:
    """One per term, as a rate where it can be, and the power where terms overlap."""
    lowest = fitted.form.lowest(problem.limits)
    each = [
        _parameter(term, float(fitted.coefficients[index]), fitted.draws[:, index], float(lowest[index]))
        for index, term in enumerate(fitted.form.terms)
    ]
    return (*each, _power(fitted)) if fitted.form.overlapping else tuple(each)


def _parameter(term: Term, coefficient: float, draws: Array, lowest: float) -> Parameter:
    """A rate, or the coefficient itself where that may be 0; not identified where it is vague or held by its bound.

    One that is 0 in every replicate is told to be 0: of memory, nothing is fixed where no library keeps a workspace.
    """
    estimate = percentile_interval(draws, coefficient)
    told = coefficient > lowest * ABOVE and 0 < estimate.high <= VAGUE_RATIO * estimate.low
    told = told or estimate.high == 0
    if term.rate_name and estimate.low > 0:
        rate = Estimate(value=1 / estimate.value, low=1 / estimate.high, high=1 / estimate.low, level=estimate.level)
        return Parameter(name=term.rate_name, estimate=rate, unit=term.rate_unit, meaning=term.meaning, identified=told)
    return Parameter(name=term.name, estimate=estimate, unit=term.unit, meaning=term.meaning, identified=told)


def _power(fitted: Fit) -> Parameter:
    """The power of the norm; not identified where the rows fit several."""
    estimate = percentile_interval(fitted.draws[:, -1], float(fitted.coefficients[-1]))
    return Parameter(
        name="overlap_power",
        estimate=estimate,
        unit="1",
        meaning=f"1 adds what overlaps, a large power takes the longest; one of {', '.join(f'{p:g}' for p in POWERS)}",
        identified=estimate.low == estimate.high,
    )


def ceiling_notes(fitted: Fit, problem: Problem) -> tuple[str, ...]:
    """Names the terms that the rows would have made faster than the machine was measured to be."""
    lowest = fitted.form.lowest(problem.limits)
    held = [
        term.meaning
        for term, coefficient, bound in zip(fitted.form.terms, fitted.coefficients, lowest, strict=False)
        if bound > 0 and coefficient <= bound * ABOVE
    ]
    return (f"held at the measured ceiling: {'; '.join(held)}",) if held else ()


def trade_notes(fitted: Fit, named: Sequence[Parameter]) -> tuple[str, ...]:
    """Pairs of terms of which one falls as the other rises, replicate by replicate, where that leaves one untold."""
    moving = [index for index in range(len(fitted.form.terms)) if np.ptp(fitted.draws[:, index]) > 0]
    pairs = [
        f"{_short(named[i])} / {_short(named[j])}"
        for i, j in combinations(moving, 2)
        if not (named[i].identified and named[j].identified)
        and np.corrcoef(fitted.draws[:, i], fitted.draws[:, j])[0, 1] < TRADED
    ]
    return (f"what one takes the other gives, so that only their sum is told: {'; '.join(pairs)}",) if pairs else ()


def _short(parameter: Parameter) -> str:
    return parameter.meaning.partition(",")[0].partition(":")[0]


def floats(column: Array) -> tuple[float, ...]:
    return tuple(float(value) for value in column)
