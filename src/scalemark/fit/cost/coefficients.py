"""The coefficients of one form of step time, suite after suite: in one form, so that they can be set side by side."""

from collections.abc import Sequence
from dataclasses import replace

from scalemark.errors import FitError
from scalemark.fit.cost.draws import bootstrap
from scalemark.fit.cost.law import ABOVE, VAGUE_RATIO
from scalemark.fit.cost.problem import solve_form
from scalemark.fit.cost.terms import Limits, Term
from scalemark.fit.cost.time_law import Timed, time_problem
from scalemark.schema import Cell, Estimate, Law
from scalemark.stats import percentile_interval

# Enough for the ends of an interval in a chart, and a fifth of a law's own time.
REPLICATES = 60


def time_coefficients(cells: Sequence[Cell], like: Law, limits: Limits, seed: int = 0) -> dict[str, Estimate]:
    """By name, as a rate where it is one; without those that these cells do not tell, as a law's own table says it.

    like: a law of step time, whose form to take. Raises FitError where the cells are fewer than its terms.
    """
    problem = time_problem(Timed.of(cells, seed), "step", limits, seed)
    form = next((form for form in problem.forms if form.text == like.form), problem.forms[0])
    if len(cells) < len(form.terms):
        raise FitError(f"{len(cells)} steps cannot tell {len(form.terms)} terms: measure more rungs")
    problem = replace(problem, forms=(form,), resampled=problem.resampled[:, :REPLICATES])
    coefficients, draws = solve_form(problem, form), bootstrap(problem, form)
    found: dict[str, Estimate] = {}
    for index, (term, lowest) in enumerate(zip(form.terms, form.lowest(limits), strict=True)):
        estimate = percentile_interval(draws[:, index], float(coefficients[index]))
        if coefficients[index] > lowest * ABOVE and 0 < estimate.high <= VAGUE_RATIO * estimate.low:
            found[term.rate_name or term.name] = estimate.inverted(1.0) if term.rate_name else estimate
    return found


def coefficient_units(like: Law, cells: Sequence[Cell]) -> dict[str, tuple[str, str]]:
    """Unit and meaning of each coefficient, by the names of `time_coefficients`."""
    forms = time_problem(Timed.of(cells, 0), "step", Limits(), 0).forms
    form = next((form for form in forms if form.text == like.form), forms[0])
    return {_name(term): (term.rate_unit if term.rate_name else term.unit, term.meaning) for term in form.terms}


def _name(term: Term) -> str:
    return term.rate_name or term.name
