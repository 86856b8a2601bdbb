"""One cost law fitted: its form chosen, its coefficients with their draws, and how far measurements scatter about it.

problem ─> choosing ─> solver ─> draws ─> Fit        hidden: all of it again without the largest sizes
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from scalemark.errors import FitError
from scalemark.fit.cost.choosing import FEWEST_SIZES, choose_form, forward_error
from scalemark.fit.cost.draws import bootstrap
from scalemark.fit.cost.problem import Problem, log_errors, n_free, solve_form
from scalemark.fit.cost.solver import Array, objective
from scalemark.fit.cost.terms import Evaluated, Form
from scalemark.fit.prediction import predict_with_scatter, residual_sd
from scalemark.schema import Estimate

REPLICATES = 300


@dataclass(frozen=True)
class Fit:
    """A fitted form. draws: shape (replicates, coefficients). beyond_sd: scatter of what lies past the fitted sizes."""

    form: Form
    coefficients: Array
    draws: Array
    log_residuals: Array
    residual_sd: float
    beyond_sd: float
    objective: float

    def predict(self, one: Any, is_beyond: bool) -> Estimate:
        """A new measurement, scatter included; past the fitted range with what was missed there."""
        scatter = self.beyond_sd if is_beyond else self.residual_sd
        return estimate(self.form, self.coefficients, self.draws, one, scatter)


def fit(problem: Problem) -> Fit:
    """The chosen form with its draws; raises FitError where the sizes are too few."""
    _check_sizes(problem)
    form = choose_form(problem)
    coefficients = solve_form(problem, form)
    log_residuals = log_errors(problem, form, coefficients)
    sd = residual_sd(log_residuals, n_free(problem, form, coefficients))
    return Fit(
        form=form,
        coefficients=coefficients,
        draws=bootstrap(problem, form, coefficients),
        log_residuals=log_residuals,
        residual_sd=sd,
        beyond_sd=max(sd, forward_error(problem, form)),
        objective=objective(np.expm1(log_residuals)),
    )


def _check_sizes(problem: Problem) -> None:
    sizes = len(np.unique(problem.sizes.params))
    if sizes < FEWEST_SIZES:
        raise FitError(f"too few model sizes for a law ({sizes}): measure at least {FEWEST_SIZES} rungs")


def estimate(form: Evaluated, coefficients: Array, draws: Array, one: Any, scatter: float) -> Estimate:
    """A new measurement of one shape: how uncertain the law is, and how far measurements scatter about it."""
    quantities = form.quantities([one])
    log_draws = np.log(np.maximum(form.evaluate(draws, quantities)[:, 0], 1e-300))
    log_value = float(np.log(form.evaluate(coefficients, quantities)[0]))
    return predict_with_scatter(log_value, log_draws, scatter)
