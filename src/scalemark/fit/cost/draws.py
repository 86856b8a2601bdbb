"""Replicates of a fit, for its intervals: rows drawn with replacement, and what a bound hides lifted.

A term that its bound holds would be held in nearly every replicate, as if it were known to be that small: a bootstrap
says nothing of a parameter on its boundary (Andrews 2000). So each replicate lifts one such term to somewhere below
what the rows would have shown.
"""

import numpy as np

from scalemark.fit.cost.problem import Problem, mean_loss
from scalemark.fit.cost.solver import Array, solve, solve_overlapping
from scalemark.fit.cost.terms import Form

# An interval needs no more than this of a replicate.
_DRAWN_SETTLED = 1e-2
# Shares of a typical step that a term held by its bound is tried at, and the rise of −2 log L that shows it: χ² of one
# degree of freedom at 90 %, since the term can only rise.
_RISES = np.geomspace(0.002, 2.0, 13)
_SEEN = 2.71


def bootstrap(problem: Problem, form: Form, coefficients: Array) -> Array:
    """Coefficients refitted to rows that are drawn, each with one of its resampled values; the power stays.

    Shape (replicates, coefficients).
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
        draws.append(refit(form, quantities[rows], values, lifted, coefficients))
    return np.stack(draws)


def refit(form: Form, quantities: Array, values: Array, lowest: Array, coefficients: Array) -> Array:
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
    raised = refit(form, quantities, problem.values, lowest, coefficients)
    losses = [mean_loss(problem, form, each) for each in (coefficients, raised)]
    return len(problem.values) * float(np.log(losses[1] / losses[0])) > _SEEN
