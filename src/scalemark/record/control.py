"""The reference kernels as a control variate: how much of a cell's slow moments was the machine's, and taken out.

    cell's block:  y = log(median of its rounds / the cell's typical)      x = log(reference beside them / its typical)
    all cells:     y = c·x + rest, c in [0, 1]                            corrected round = round · exp(−c·x)

One coefficient for a whole campaign and device, from all its cells and blocks: three blocks of one cell tell hardly
anything. Of the two kernels that one is taken which explains more. The raw time always stays beside the corrected one.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import exp, log
from statistics import median

import numpy as np

from scalemark.schema import Block, Cell, ControlVariate, Estimate, Kernel
from scalemark.stats import control_coefficient, median_over_blocks

KERNELS: tuple[Kernel, ...] = ("gemm", "triad")
# Fewer blocks than this, all cells together, tell no coefficient: nothing is corrected then.
FEWEST_BLOCKS = 6


@dataclass(frozen=True)
class _Visit:
    """One cell's block: log of its time and of the reference beside it, each over what is typical of it."""

    y: float
    x: float


def control_of(cells: Sequence[Cell]) -> ControlVariate | None:
    """The control variate of these cells' times, estimated from all their blocks; None where none was measured."""
    candidates = [control for kernel in KERNELS if (control := _control(cells, kernel)) is not None]
    return max(candidates, key=lambda pair: pair[0])[1] if candidates else None


def corrected(cell: Cell, control: ControlVariate) -> Estimate | None:
    """The cell's time at a moment when the reference kernel takes `control.reference_s`; None without its readings."""
    blocks = []
    for block in cell.blocks:
        reference_s = reference_of(block, control.kernel)
        if reference_s is None:
            return None
        factor = exp(-control.coefficient * log(reference_s / control.reference_s))
        blocks.append([seconds * factor for seconds in block.rounds_s])
    return median_over_blocks(blocks) if blocks else None


def reference_of(block: Block, kernel: Kernel) -> float | None:
    """Seconds of the kernel while this block's rounds were timed: the median over its turns."""
    conditions = block.conditions
    readings = (conditions.gemm_s if kernel == "gemm" else conditions.triad_s) if conditions else None
    return median(readings) if readings else None


def _control(cells: Sequence[Cell], kernel: Kernel) -> tuple[float, ControlVariate] | None:
    """The variation that this kernel explains, and the control variate that it makes."""
    references = [reference_of(block, kernel) for cell in cells for block in cell.blocks]
    known = [reference_s for reference_s in references if reference_s]
    visits = [visit for cell in cells for visit in _visits(cell, kernel)]
    if len(visits) < FEWEST_BLOCKS:
        return None
    y, x = np.array([visit.y for visit in visits]), np.array([visit.x for visit in visits])
    coefficient = control_coefficient(y, x)
    explained = float(np.sum(y**2) - np.sum((y - coefficient * x) ** 2))
    return explained, ControlVariate(kernel=kernel, coefficient=coefficient, reference_s=median(known))


def _visits(cell: Cell, kernel: Kernel) -> list[_Visit]:
    pairs = [(median(block.rounds_s), reference_of(block, kernel)) for block in cell.blocks if block.rounds_s]
    known = [(seconds, reference_s) for seconds, reference_s in pairs if reference_s]
    if len(known) < 2:
        return []
    log_times, log_references = np.log(np.array(known)).T
    return [
        _Visit(float(y), float(x))
        for y, x in zip(log_times - log_times.mean(), log_references - log_references.mean(), strict=True)
    ]
