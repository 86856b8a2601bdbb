"""What each option of a training step does to its time, memory and loss, beside the same step without it.

    time     per block: log(median round with / median round without) ─> mean and Student's interval over blocks
    memory   peak with / peak without
    loss     per seed: last loss with − last loss without          ─> mean and Student's interval over seeds

Both sides ran in the same blocks, in one worker process each time, so that what made a block slow leaves the ratio.
"""

from collections import Counter
from collections.abc import Sequence
from math import inf
from statistics import median, stdev

from scalemark.record.control import corrected_rounds_s
from scalemark.schema import INTERVAL_LEVEL, Cell, LossEffect, WhatIf
from scalemark.stats import mean_difference, paired_ratio


def what_ifs(cells: Sequence[Cell]) -> tuple[WhatIf, ...]:
    """One per option whose step without it was timed: the largest steps first, of each the fastest option first."""
    timed = {cell.workload: cell for cell in cells if cell.time_s}
    pairs = [(cell, timed[base]) for cell in cells if (base := cell.workload.base) in timed and base]
    looks = Counter(cell.workload.plain for cell, _ in pairs if cell.status == "ok")
    found = [(_step_flops(base), _what_if(cell, base, looks[cell.workload.plain])) for cell, base in pairs]
    return tuple(one for _, one in sorted(found, key=lambda pair: (-pair[0], _ratio_or_last(pair[1]))))


def _ratio_or_last(found: WhatIf) -> float:
    return found.time_ratio.value if found.time_ratio else inf


def _step_flops(cell: Cell) -> float:
    return cell.accounting.flops.model_flops("step") if cell.accounting else 0.0


def _what_if(cell: Cell, base: Cell, looks: int) -> WhatIf:
    """looks: how many options of the step are judged."""
    with_s, without_s = _shared_medians_s(cell, base) if cell.status == "ok" else ([], [])
    return WhatIf(
        workload=cell.workload,
        base=base.workload,
        time_ratio=paired_ratio(with_s, without_s),
        joint_ratio=paired_ratio(with_s, without_s, 1 - (1 - INTERVAL_LEVEL) / max(looks, 1)),
        n_blocks=len(with_s),
        memory_ratio=_memory_ratio(cell, base),
        loss=_loss_effect(cell, base),
        reason=cell.reason,
    )


def _shared_medians_s(cell: Cell, base: Cell) -> tuple[list[float], list[float]]:
    """Median rounds of both sides in the blocks that both took part in, corrected where both can be."""
    are_corrected = cell.control is not None and base.control is not None
    sides = [_medians_s(one, are_corrected) for one in (cell, base)]
    shared = sorted(sides[0].keys() & sides[1].keys())
    return [sides[0][index] for index in shared], [sides[1][index] for index in shared]


def _medians_s(cell: Cell, is_corrected: bool) -> dict[int, float]:
    control = cell.control
    if not is_corrected or control is None:
        return {block.index: median(block.rounds_s) for block in cell.blocks}
    return {block.index: median(corrected_rounds_s(block, control, control.references_s)) for block in cell.blocks}


def _memory_ratio(cell: Cell, base: Cell) -> float | None:
    """Of what the same allocator, or the same observer of tensors, saw; a resident set holds much beside tensors."""
    if not (cell.memory and base.memory and cell.memory.allocated_bytes and base.memory.allocated_bytes):
        return None
    return cell.memory.allocated_bytes / base.memory.allocated_bytes


def _loss_effect(cell: Cell, base: Cell) -> LossEffect | None:
    """None where either side has no losses, or they are of other seeds."""
    ours, theirs = cell.short_losses, base.short_losses
    if ours is None or theirs is None or ours.seeds != theirs.seeds:
        return None
    difference = mean_difference([one - other for one, other in zip(ours.last, theirs.last, strict=True)])
    if difference is None:
        return None
    return LossEffect(
        difference=difference, spread=stdev(theirs.last), n_seeds=len(ours.seeds), n_steps=len(ours.losses[0])
    )
