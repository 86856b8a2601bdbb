"""Cost laws, in one place to import from: what a step takes, holds and draws, and what a law says of other shapes."""

from scalemark.fit.cost.energy_law import fit_energy_law, metered_cells
from scalemark.fit.cost.memory_law import fit_memory_law, walked_cells
from scalemark.fit.cost.parts import term_times
from scalemark.fit.cost.predict import distance, predict, predict_between, predict_draws, predict_values, scatter
from scalemark.fit.cost.terms import Limits
from scalemark.fit.cost.time_law import common_form, counted_of, fit_time_law, timed_cells

__all__ = [
    "Limits",
    "common_form",
    "counted_of",
    "distance",
    "fit_energy_law",
    "fit_memory_law",
    "fit_time_law",
    "metered_cells",
    "predict",
    "predict_between",
    "predict_draws",
    "predict_values",
    "scatter",
    "term_times",
    "timed_cells",
    "walked_cells",
]
