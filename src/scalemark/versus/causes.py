"""Why contenders differ: the coefficients of their laws of step time, fitted in one form for all.

Several forms fit about as well, and only the coefficients of one form can stand side by side. Predictions come from the
law that describes each contender best; here only the causes are told.
"""

from collections.abc import Sequence

from scalemark.diff.verdict import ratio_of
from scalemark.fit.cost_law import common_form, fit_time_law
from scalemark.schema import CoefficientCompared, Contender, Estimate, Law, Parameter
from scalemark.versus.fitted import law_cells, limits_of


def compare_coefficients(contenders: Sequence[Contender]) -> tuple[str | None, tuple[CoefficientCompared, ...]]:
    """The form's name, and its terms with each contender's coefficient; nothing where fewer than two have a law."""
    timed = [one for one in contenders if one.law("step_time")]
    if len(timed) < 2:
        return None, ()
    form = common_form([(law_cells(one), limits_of(one)) for one in timed])
    laws = {one.name: _in_form(one, form) for one in timed}
    each = [laws[one.name].parameters if one.name in laws else None for one in contenders]
    n_terms = min(len(parameters) for parameters in each if parameters)
    return form, tuple(_compared([row and row[index] for row in each]) for index in range(n_terms))


def _in_form(contender: Contender, form: str) -> Law:
    seed = contender.suite.settings.seed
    return fit_time_law(law_cells(contender), seed, limits_of(contender), form_name=form)


def _compared(parameters: Sequence[Parameter | None]) -> CoefficientCompared:
    meaning = next(one.meaning for one in parameters if one)
    first = parameters[0]
    return CoefficientCompared(
        meaning=meaning,
        parameters=tuple(parameters),
        ratios=(None, *(_ratio(first, one) for one in parameters[1:])),
    )


def _ratio(first: Parameter | None, other: Parameter | None) -> Estimate | None:
    """The other over the first, where both are told in one unit."""
    if not (first and other and first.identified and other.identified and first.name == other.name):
        return None
    return ratio_of(other.estimate, first.estimate) if min(first.estimate.low, other.estimate.low) > 0 else None
