"""How quiet a run was: how far its times are known, what disturbed its rounds, how the reference kernels wandered."""

from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np

from scalemark.record.control import REFERENCES, turn_references_s
from scalemark.schema import Cell, Conditions, Estimate, Noise, Reference
from scalemark.stats import percentile_interval


def noise_of(cells: Sequence[Cell]) -> Noise | None:
    """None where nothing was timed."""
    timed = [cell for cell in cells if cell.time_s and cell.typical_s]
    if not timed:
        return None
    widths = {cell.workload.key: cell.typical_s.relative_half_width for cell in timed if cell.typical_s}
    conditions = [block.conditions for cell in timed for block in cell.blocks if block.conditions]
    return Noise(
        n_cells=len(timed),
        n_rounds=sum(len(cell.samples_s) for cell in timed),
        tagged=dict(Counter(tag for one in conditions for tag, rounds in one.tagged.items() for _ in rounds)),
        half_width=_middle(widths.values()),
        widest=max(widths, key=lambda key: widths[key]),
        references_s={kernel: spread for kernel in REFERENCES if (spread := _spread(conditions, kernel))},
        shift=_middle(cell.corrected_s.value / cell.time_s.value for cell in timed if cell.corrected_s and cell.time_s),
    )


def _middle(values: Iterable[float]) -> Estimate | None:
    """The median, with the smallest and the largest."""
    found = list(values)
    return Estimate(value=float(np.median(found)), low=min(found), high=max(found), level=1.0) if found else None


def _spread(conditions: Iterable[Conditions], kernel: Reference) -> Estimate | None:
    """The median reading, and what 90 % of the readings lie between."""
    readings = [seconds for one in conditions for seconds in turn_references_s(one, kernel) or ()]
    return percentile_interval(readings, float(np.median(readings))) if readings else None
