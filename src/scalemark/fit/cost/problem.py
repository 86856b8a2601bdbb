"""What a cost law is fitted to, and one form fitted to it."""

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from scalemark.fit.cost.rivals import Sizes
from scalemark.fit.cost.solver import Array, Mask, huber, objective, solve, solve_overlapping
from scalemark.fit.cost.terms import Form, Limits

_POWERS = (1.5, 2.0, 3.0, 5.0)
# No time repeats to 0.1 ‰: below that, forms fit equally well.
PERFECT = 1e-4


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


def solve_form(problem: Problem, form: Form) -> Array:
    """Coefficients; where terms overlap, with the power that fits best."""
    quantities, lowest = form.quantities(problem.counted), form.lowest(problem.limits)
    if not form.overlapping:
        return solve(quantities, problem.values, lowest)
    found = [solve_overlapping(form, quantities, problem.values, lowest, power) for power in _POWERS]
    return min(found, key=lambda coefficients: objective(form.evaluate(coefficients, quantities) / problem.values - 1))


def log_errors(problem: Problem, form: Form, coefficients: Array) -> Array:
    """log(predicted/measured) of the problem's rows."""
    predicted = form.evaluate(coefficients, form.quantities(problem.counted))
    return np.asarray(np.log(np.maximum(predicted, 1e-300)) - np.log(problem.values))


def mean_loss(problem: Problem, form: Form, coefficients: Array) -> float:
    return float(huber(np.expm1(log_errors(problem, form, coefficients))).mean()) + PERFECT**2 / 2


def n_free(problem: Problem, form: Form, coefficients: Array) -> int:
    """How many coefficients the rows decided: those above their bound, and the power."""
    above = coefficients[: len(form.terms)] > form.lowest(problem.limits) * (1 + 1e-9)
    return int(above.sum()) + bool(form.overlapping)
