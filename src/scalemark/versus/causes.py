"""Why contenders differ: the coefficients of their laws of step time, fitted in one form for all.

Several forms fit about as well, and only the coefficients of one form can stand side by side. Predictions come from the
law that describes each contender best; here only the causes are told.
"""

from collections.abc import Sequence
from typing import TypeVar

from scalemark.diff.verdict import ratio_of
from scalemark.fit.cost_law import common_form, fit_time_law, term_times
from scalemark.model.ladder import BATCH, SEQ_LEN
from scalemark.schema import Accounting, CoefficientCompared, Contender, Estimate, Law, ModelConfig, Parameter
from scalemark.versus.fitted import counted_for, law_cells, limits_of


def compare_coefficients(
    contenders: Sequence[Contender], model: ModelConfig
) -> tuple[str | None, tuple[CoefficientCompared, ...]]:
    """The form's name, and its terms with each contender's coefficient; nothing where fewer than two have a law.

    model: the shape, at the ladder's batch, that the time of each term is told of.
    """
    timed = [one for one in contenders if one.law("step_time")]
    if len(timed) < 2:
        return None, ()
    form = common_form([(law_cells(one), limits_of(one)) for one in timed])
    laws = {one.name: _in_form(one, form) for one in timed}
    each = [laws[one.name].parameters if one.name in laws else () for one in contenders]
    seconds = [_seconds(one, laws[one.name], model) if one.name in laws else () for one in contenders]
    n_terms = max(map(len, each))
    return form, tuple(_compared(_row(each, index), _row(seconds, index)) for index in range(n_terms))


def _in_form(contender: Contender, form: str) -> Law:
    seed = contender.suite.settings.seed
    return fit_time_law(law_cells(contender), seed, limits_of(contender), form_name=form)


def _seconds(contender: Contender, law: Law, model: ModelConfig) -> tuple[Estimate, ...]:
    counted = counted_for(contender, law.kind, model, BATCH, SEQ_LEN)
    assert isinstance(counted, Accounting), "a law of time is asked with what a shape counts"
    return tuple(term.seconds for term in term_times(law, [counted])[0])


_Value = TypeVar("_Value")


def _row(columns: Sequence[Sequence[_Value]], index: int) -> list[_Value | None]:
    """One entry of each column, None where it is shorter."""
    return [column[index] if index < len(column) else None for column in columns]


def _compared(parameters: Sequence[Parameter | None], seconds: Sequence[Estimate | None]) -> CoefficientCompared:
    meaning = next(one.meaning for one in parameters if one)
    first = parameters[0]
    return CoefficientCompared(
        meaning=meaning,
        parameters=tuple(parameters),
        ratios=(None, *(_ratio(first, one) for one in parameters[1:])),
        seconds=tuple(seconds),
    )


def _ratio(first: Parameter | None, other: Parameter | None) -> Estimate | None:
    """The other over the first, where both are told in one unit."""
    if not (first and other and first.identified and other.identified and first.name == other.name):
        return None
    return ratio_of(other.estimate, first.estimate) if min(first.estimate.low, other.estimate.low) > 0 else None
