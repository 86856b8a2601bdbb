"""What a cell's rounds say: its time with an interval, its minimum, what happens only once, and how far to trust it."""

from typing import Any

from scalemark.schema import Cell, Estimate, Mark
from scalemark.stats import median_over_blocks

# A time known no better than this is marked: it cannot carry the exponent of a law or a gate of a few per cent.
WIDE_HALF_WIDTH = 0.01


def time_fields(cell: Cell) -> dict[str, Any]:
    """The fields of a cell that follow from its blocks alone; nothing where there are none."""
    if not cell.blocks:
        return {}
    time_s = median_over_blocks([block.rounds_s for block in cell.blocks])
    return {
        "time_s": time_s,
        "minimum_s": min(cell.samples_s),
        "once_s": _once_s(cell),
        "marks": _marks(cell, time_s),
    }


def _once_s(cell: Cell) -> Estimate:
    """Setting up, the first round included, beyond what a steady round takes: compilation, lazy state, first touch.

    It is never below a microsecond, since an estimate is of something positive.
    """
    steady_s = [min(block.rounds_s) for block in cell.blocks]
    first_s = [block.warmup_s[0] if block.warmup_s else s for block, s in zip(cell.blocks, steady_s, strict=True)]
    beyond_s = [
        max(block.setup_s + first - steady, 1e-6)
        for block, first, steady in zip(cell.blocks, first_s, steady_s, strict=True)
    ]
    return median_over_blocks([[seconds] for seconds in beyond_s])


def _marks(cell: Cell, time_s: Estimate) -> tuple[Mark, ...]:
    """Not steady: in most blocks the halves of the rounds still disagreed."""
    unsteady = sum(block.steady is False for block in cell.blocks) * 2 > len(cell.blocks)
    told: dict[Mark, bool] = {"not_steady": unsteady, "wide": time_s.relative_half_width > WIDE_HALF_WIDTH}
    return tuple(mark for mark, is_so in told.items() if is_so)
