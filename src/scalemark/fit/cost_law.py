"""Cost laws, in one place to import from: what a step takes, holds and draws, and what a law says of other shapes."""

from scalemark.fit.cost.energy_law import fit_energy_law
from scalemark.fit.cost.memory_law import fit_memory_law
from scalemark.fit.cost.predict import (
    distance,
    predict,
    predict_between,
    predict_draws,
    predict_values,
    scatter,
    term_values,
)
from scalemark.fit.cost.terms import Limits
from scalemark.fit.cost.time_law import common_form, fit_time_law

__all__ = [
    "Limits",
    "common_form",
    "distance",
    "fit_energy_law",
    "fit_memory_law",
    "fit_time_law",
    "predict",
    "predict_between",
    "predict_draws",
    "predict_values",
    "scatter",
    "term_values",
]
