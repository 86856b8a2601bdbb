"""What a cost law says of shapes that were counted in the same convention: one with its interval, or many as arrays."""

from collections.abc import Mapping, Sequence
from functools import cache
from itertools import product
from typing import get_args

import numpy as np
from scipy.interpolate import CubicSpline

from scalemark.fit.cost.energy_law import energy_forms
from scalemark.fit.cost.fitting import estimate
from scalemark.fit.cost.solver import Array
from scalemark.fit.cost.terms import MEMORY_FORM, Counted, Evaluated, time_forms
from scalemark.fit.prediction import extrapolation
from scalemark.schema import Accounting, Estimate, Law, Phase


def predict(law: Law, counted: Counted) -> Estimate:
    """Seconds, bytes or joules, by the law's kind, of one shape.

    counted: `Accounting`, or for a memory law the `PredictedMemory` of the workload. Beyond the fitted range the
    interval is no narrower than what the law missed on the sizes hidden from it.
    """
    spread = scatter(law, distance(law, counted) > 1)
    return estimate(form_of(law), np.array(law.coefficients), np.array(law.draws), counted, spread)


def scatter(law: Law, is_beyond: bool) -> float:
    """How far the logarithms of single measurements scatter about the law, in or beyond the fitted range."""
    if not (law.holdout and is_beyond):
        return law.residual_sd
    return max(law.residual_sd, float(np.sqrt(np.mean(np.log1p(law.holdout.errors) ** 2))))


def predict_values(law: Law, counted: Sequence[Counted]) -> Array:
    """The law's own prediction for each shape, shape (n,)."""
    form = form_of(law)
    return form.evaluate(np.array(law.coefficients), form.quantities(counted))


def predict_draws(law: Law, counted: Sequence[Counted]) -> Array:
    """The same under each bootstrap replicate, shape (replicates, n): how uncertain the law is.

    How far single measurements scatter about it is not in here; `predict` adds it.
    """
    form = form_of(law)
    return form.evaluate(np.array(law.draws), form.quantities(counted))


def predict_between(law: Law, counted: Sequence[Counted], at: Array, places: Array) -> tuple[Array, Array]:
    """Values, shape (places,), and draws, (replicates, places), of shapes in between those counted.

    at: where along a family of shapes each stands, increasing; places: where the law is asked. What a law of time takes
    of models that keep their proportions is a polynomial of the depth of degree three at most, so a cubic through four
    depths or more is exact.
    """
    form = form_of(law)
    quantities = np.asarray(CubicSpline(at, form.quantities(counted))(places))
    return (
        form.evaluate(np.array(law.coefficients), quantities),
        form.evaluate(np.array(law.draws), quantities),
    )


def distance(law: Law, counted: Counted) -> float:
    """How many times beyond the fitted range; 1 inside it."""
    if isinstance(counted, Accounting):
        return extrapolation(law, "params_non_embedding", counted.params_non_embedding)
    return extrapolation(law, "predicted_peak_bytes", counted.peak_bytes)


def form_of(law: Law) -> Evaluated:
    """The form whose words the law carries."""
    known = _forms()
    assert law.form in known, f"no cost law has the form {law.form!r}"
    return known[law.form]


@cache
def _forms() -> Mapping[str, Evaluated]:
    kinds = product(get_args(Phase), (False, True))
    times = [form for phase, asynchronous in kinds for form in time_forms(phase, asynchronous)]
    forms: list[Evaluated] = [*times, MEMORY_FORM, *energy_forms()]
    return {form.text: form for form in forms}
