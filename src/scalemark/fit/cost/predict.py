"""What a cost law says of shapes that were counted in the same convention: one with its interval, or many as arrays."""

from collections.abc import Mapping, Sequence
from functools import cache
from typing import get_args

import numpy as np

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
    scatter = law.residual_sd
    if law.holdout and distance(law, counted) > 1:
        scatter = max(scatter, float(np.sqrt(np.mean(np.log1p(law.holdout.errors) ** 2))))
    return estimate(form_of(law), np.array(law.coefficients), np.array(law.draws), counted, scatter)


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
    times = [form for phase in get_args(Phase) for form in time_forms(phase)]
    forms: list[Evaluated] = [*times, MEMORY_FORM, *energy_forms()]
    return {form.text: form for form in forms}
