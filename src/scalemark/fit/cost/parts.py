"""What each term of a step time law takes of one step.

Where terms are added, a term takes its coefficient times its quantity. Where groups of them overlap, by a p-norm, a
term takes its size times the derivative of the whole by it: the p-norm is homogeneous, so that by Euler's theorem these
add up to the step too, and a term that hides behind a longer one takes next to nothing.
"""

from collections.abc import Sequence

import numpy as np

from scalemark.fit.cost.predict import form_of
from scalemark.fit.cost.solver import Array
from scalemark.fit.cost.terms import Form, Term
from scalemark.schema import Accounting, Law, TermTime
from scalemark.stats import percentile_interval


def term_times(law: Law, counted: Sequence[Accounting]) -> tuple[tuple[TermTime, ...], ...]:
    """For each shape the terms of a time law, with intervals over the law's replicates."""
    form = form_of(law)
    assert isinstance(form, Form), "only the time of a step is a sum of terms of its own"
    quantities = form.quantities(counted)
    values = _seconds(form, np.array(law.coefficients), quantities)
    draws = np.stack([_seconds(form, np.array(draw), quantities) for draw in law.draws])
    return tuple(
        tuple(_term_time(term, values[row], draws[:, row], column) for column, term in enumerate(form.terms))
        for row in range(len(counted))
    )


def _term_time(term: Term, values: Array, draws: Array, column: int) -> TermTime:
    """values: (terms,), draws: (replicates, terms), of one shape."""
    share = percentile_interval(draws[:, column] / draws.sum(axis=1), float(values[column] / values.sum()))
    return TermTime(
        name=term.name,
        meaning=term.meaning,
        seconds=percentile_interval(draws[:, column], float(values[column])),
        share=share,
    )


def _seconds(form: Form, coefficients: Array, quantities: Array) -> Array:
    """Shape (rows, terms)."""
    return np.asarray(coefficients[: len(form.terms)] * form.slopes(coefficients, quantities))
