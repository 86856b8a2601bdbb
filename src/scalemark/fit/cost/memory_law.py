"""Allocated bytes against what the shape says is live at the peak: allocated = fixed + factor · predicted.

The walk of `model.memory` gives every tensor, so that nothing is left to fit but what no tensor shows: workspaces of
libraries, which no shape changes, and what an allocator adds in proportion.
"""

from collections.abc import Sequence

import numpy as np

from scalemark.errors import FitError
from scalemark.fit.cost.fitting import REPLICATES
from scalemark.fit.cost.law import Described, fit_law
from scalemark.fit.cost.problem import Problem
from scalemark.fit.cost.rivals import Sizes
from scalemark.fit.cost.terms import MEMORY_FORM
from scalemark.fit.prediction import range_of
from scalemark.schema import Accounting, Cell, Law, PredictedMemory

_ADVICE = "measure them with this version, and with the memory pass"


def fit_memory_law(cells: Sequence[Cell], seed: int = 0) -> Law:
    """Peak allocated bytes of a step; raises FitError where there are too few cells, or no predicted peaks."""
    usable = [
        (cell.accounting, cell.predicted_memory, float(cell.memory.allocated_bytes))
        for cell in walked_cells(cells)
        if cell.accounting and cell.predicted_memory and cell.memory and cell.memory.allocated_bytes
    ]
    if cells and not usable:
        raise FitError(f"no cell has both a measured and a predicted peak of memory: {_ADVICE}")
    problem = _problem(usable, seed)
    domain = (
        {
            "params_non_embedding": range_of(problem.sizes.params),
            "predicted_peak_bytes": range_of(np.array([predicted.peak_bytes for _, predicted, _ in usable])),
        }
        if usable
        else {}
    )
    return fit_law(problem, Described("memory", "bytes", "peak of allocated tensors", domain))


def walked_cells(cells: Sequence[Cell]) -> list[Cell]:
    """The cells that a memory law is fitted to, in its order: those with a measured and a predicted peak."""
    return [
        cell
        for cell in cells
        if cell.accounting and cell.predicted_memory and cell.memory and cell.memory.allocated_bytes
    ]


def _problem(usable: Sequence[tuple[Accounting, PredictedMemory, float]], seed: int) -> Problem:
    peaks = np.array([peak for _, _, peak in usable])
    params = np.array([float(accounting.params_non_embedding) for accounting, _, _ in usable])
    return Problem(
        forms=(MEMORY_FORM,),
        counted=tuple(predicted for _, predicted, _ in usable),
        values=peaks,
        resampled=np.repeat(peaks[:, None], REPLICATES, axis=1),
        sizes=Sizes(params, np.zeros_like(params), np.ones_like(params)),
        seed=seed,
    )
