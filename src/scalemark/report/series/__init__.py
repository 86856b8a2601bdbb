"""The rows behind each chart, one module per subject: plain x and y in SI units, and the words of a tooltip."""

from scalemark.report.series.laws import law_rows, pieces_of
from scalemark.report.series.row import Row
from scalemark.report.series.steps import GROWING, OTHER, memory_rows, step_time_rows
from scalemark.report.series.training import loss_rows, training_curve_rows

__all__ = [
    "GROWING",
    "OTHER",
    "Row",
    "law_rows",
    "loss_rows",
    "memory_rows",
    "pieces_of",
    "step_time_rows",
    "training_curve_rows",
]
