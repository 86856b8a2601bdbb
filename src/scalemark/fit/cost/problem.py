"""What a cost law is fitted to, and one form fitted to it."""

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from scalemark.fit.cost.rivals import Sizes
from scalemark.fit.cost.solver import Array, Mask, huber, solve, solve_overlapping
from scalemark.fit.cost.terms import Form, Limits

# Beyond the last, the shorter of two that overlap is as good as hidden.
POWERS = (1.0, 1.5, 2.0, 3.0, 5.0)
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
    return min(solutions(problem, form), key=lambda coefficients: mean_loss(problem, form, coefficients))


def solutions(problem: Problem, form: Form) -> list[Array]:
    """The best coefficients with each power; one set where nothing overlaps."""
    quantities, lowest = form.quantities(problem.counted), form.lowest(problem.limits)
    if not form.overlapping:
        return [solve(quantities, problem.values, lowest)]
    return [solve_overlapping(form, quantities, problem.values, lowest, power) for power in POWERS]


def log_errors(problem: Problem, form: Form, coefficients: Array) -> Array:
    """log(predicted/measured) of the problem's rows."""
    predicted = form.evaluate(coefficients, form.quantities(problem.counted))
    return np.asarray(np.log(np.maximum(predicted, 1e-300)) - np.log(problem.values))


def mean_loss(problem: Problem, form: Form, coefficients: Array) -> float:
    """Huber loss per row, and that of a measurement as exact as any: its logarithm is never −∞."""
    return float(huber(np.expm1(log_errors(problem, form, coefficients))).mean()) + PERFECT**2 / 2


def n_free(problem: Problem, form: Form, coefficients: Array) -> int:
    """How many coefficients the rows decided: those above their bound, and the power."""
    above = coefficients[: len(form.terms)] > form.lowest(problem.limits) * (1 + 1e-9)
    return int(above.sum()) + bool(form.overlapping)
