"""The table of options: what each does to a step's time, memory and loss, and what to make of it.

What it advises follows from the numbers alone: a joint interval that reaches across 1 advises nothing.
"""

from collections.abc import Sequence

from scalemark.report.numbers import with_interval
from scalemark.report.tables.cost import batch_of
from scalemark.report.tables.table import Column, Table
from scalemark.schema import Analysis, Estimate, LossEffect, WhatIf, Workload
from scalemark.units import MISSING, format_percent, significant

# What is less is not worth a word: an allocator's rounding.
_TOLD_MEMORY = 0.01
# Nats per token; smaller ones are rounding.
_TOLD_LOSS = 0.0001


def what_if_table(analysis: Analysis, largest_only: bool = False) -> Table:
    """A row per option of each step one of whose options was timed, the largest first. largest_only: the first's."""
    steps = list(dict.fromkeys(one.base.plain for one in analysis.what_ifs if one.time_ratio))
    shown = steps[:1] if largest_only else steps
    found = [one for one in analysis.what_ifs if one.base.plain in shown]
    columns = (
        Column("model"),
        Column("batch", "text", 2),
        Column("what if"),
        Column("time", "number"),
        Column("memory", "number"),
        Column("loss", "number", 1),
        Column("advice", "prose"),
    )
    return Table("What if", columns, tuple(map(_row, found)), _note(found) if found else "")


def _row(found: WhatIf) -> tuple[str, ...]:
    work = found.workload
    return (
        work.rung,
        batch_of(work),
        option_name(work),
        MISSING if found.time_ratio is None else with_interval(found.time_ratio, _times),
        MISSING if found.memory_ratio is None else _times(found.memory_ratio),
        _loss(found.loss),
        advice(found),
    )


def option_name(work: Workload) -> str:
    """'activation checkpointing'; in bfloat16 where it is compared with bfloat16."""
    names = {
        "torch.compile": work.compiled,
        "activation checkpointing": work.checkpointed,
        f"{work.micro_batches} micro-batches": work.micro_batches > 1,
        f"{work.attention} attention": work.attention is not None,
        f"{(work.optimizer_kernels or '').replace('_', '-')} AdamW": work.optimizer_kernels is not None,
    }
    named = " + ".join(name for name, is_so in names.items() if is_so)
    if work.dtype == "float32":
        return named
    return f"{named} (in {work.dtype})" if named else work.dtype


def _times(ratio: float) -> str:
    return f"× {ratio:.2f}"


def _loss(effect: LossEffect | None) -> str:
    if effect is None:
        return MISSING
    if effect.verdict == "identical":
        return "the same"
    difference = effect.difference
    if max(abs(difference.low), abs(difference.high)) < _TOLD_LOSS:
        return f"< {_TOLD_LOSS} apart"
    return f"{_signed(difference.value)} ± {(difference.high - difference.low) / 2:.4f}"


def _signed(difference: float) -> str:
    return f"{'−' if difference < 0 else '+'}{abs(difference):.4f}"


def advice(found: WhatIf) -> str:
    """'Take it: 1.61× faster (1.40 to 1.80), no effect on loss.'; why there is none, where it was not measured."""
    ratio, joint = found.time_ratio, found.joint_ratio
    if ratio is None or joint is None:
        return found.reason or "measured in too few blocks to tell: raise --scale-budget"
    parts = [_speed(ratio), _memory(found.memory_ratio), _loss_words(found.loss)]
    return f"{_verdict(found, joint)}: {', '.join(filter(None, parts))}."


def _verdict(found: WhatIf, joint: Estimate) -> str:
    """By what is sure: time first, then memory; a loss that is higher, or not known, is for the reader to weigh."""
    saves_memory = found.memory_ratio is not None and found.memory_ratio < 1 - _TOLD_MEMORY
    may_cost_loss = found.loss is None or found.loss.verdict == "higher"
    if joint.high < 1:
        return "Weigh it" if may_cost_loss else "Take it"
    if saves_memory:
        return "Where memory is short"
    return "Leave it" if joint.low > 1 else "No sure gain"


def _speed(ratio: Estimate) -> str:
    """'1.61× faster (1.40 to 1.80)', 'as fast (0.97 to 1.02 of the time)'."""
    if ratio.high < 1:
        faster = ratio.inverted(1.0)
        return f"{faster.value:.2f}× faster ({faster.low:.2f} to {faster.high:.2f})"
    if ratio.low > 1:
        return f"{ratio.value:.2f}× slower ({ratio.low:.2f} to {ratio.high:.2f})"
    return f"as fast, as far as can be told ({ratio.low:.2f} to {ratio.high:.2f} of the time)"


def _memory(ratio: float | None) -> str:
    if ratio is None or abs(ratio - 1) <= _TOLD_MEMORY:
        return ""
    return f"{format_percent(abs(ratio - 1), 0)} {'less' if ratio < 1 else 'more'} memory"


def _loss_words(effect: LossEffect | None) -> str:
    if effect is None:
        return "loss not measured"
    if effect.verdict == "identical":
        return "the same loss to the last digit"
    if effect.verdict == "none":
        return "no effect on loss that another seed would not exceed"
    told = "loss" if effect.verdict in ("higher", "lower") else "loss, which is not sure"
    return f"{_signed(effect.difference.value)} {told} after {effect.n_steps} steps"


def _note(found: Sequence[WhatIf]) -> str:
    effects = [one.loss for one in found if one.loss]
    blocks = sorted({one.n_blocks for one in found if one.time_ratio})
    parts = [
        "Each option beside the same step without it (in float32, eager, fused AdamW, torch's choice of attention,"
        " unless said).",
        f"Time: ratio of medians, paired by block, both sides having run in the same worker process; 90 % interval over"
        f" {' or '.join(map(str, blocks))} blocks. Advice calls faster or slower only what is so at 90 % for all"
        " options of the step together."
        if blocks
        else "",
        "Memory: ratio of the allocator's peaks; what compiled code holds is not seen on a CPU.",
        _loss_note(effects),
    ]
    return " ".join(filter(None, parts))


def _loss_note(effects: Sequence[LossEffect]) -> str:
    if not effects:
        return ""
    first, spreads = effects[0], sorted(effect.spread for effect in effects)
    spread = " to ".join(dict.fromkeys(significant(one, 2) for one in (spreads[0], spreads[-1])))
    return (
        f"Loss: training loss of step {first.n_steps}, the same start and batches with and without, mean difference and"
        f" 90 % interval over {first.n_seeds} seeds; from seed to seed it differs by {spread} (standard deviation)."
        " It tells of arithmetic; what a long training reaches is not measured."
    )
