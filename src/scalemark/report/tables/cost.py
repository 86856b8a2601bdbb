"""What one training step costs: time, rates, memory, energy."""

from collections.abc import Callable, Sequence

from scalemark.report.numbers import flops_rate, rate, with_interval
from scalemark.report.tables.table import UNAVAILABLE, Column, Table, value_or_dash
from scalemark.schema import Cell, Energy, Memory, Suite, Workload
from scalemark.units import MISSING, format_amount, format_bytes, format_percent, format_seconds, significant

# Short, so that a terminal has room for what stands beside it; the note says what it is.
MFU_TITLE = "MFU (vs GEMM)"
# What a step's FLOPs are: 2 per weight and token forward, twice that backward, and attention over all pairs.
FLOP_CONVENTION = "6N + full attention"


def cost_table(suite: Suite) -> Table:
    """What one training step costs: one row per model and batch."""
    cells = sorted(filter(is_cost_cell, suite.cells), key=lambda cell: (params_of(cell), cell.workload.key))
    columns = _cost_columns(cells)
    rows = tuple(tuple(write(cell) for _, write in columns) for cell in cells)
    title = "Cost of a training step"
    return Table(title, tuple(column for column, _ in columns), rows, _cost_note(suite) if cells else "")


def _cost_columns(cells: Sequence[Cell]) -> list[tuple[Column, Callable[[Cell], str]]]:
    """What stands in each column; HFU only where something is computed twice, a vendor's peak only where known."""
    columns: list[tuple[Column, Callable[[Cell], str]]] = [
        (Column("model"), lambda cell: cell.workload.rung),
        (Column("batch", "text", 1), lambda cell: batch_of(cell.workload)),
        (Column("parameters", "number"), _parameters),
        (Column("step time", "number"), lambda cell: with_interval(cell.typical_s, format_seconds)),
        (Column("tokens/s", "number", 2), lambda cell: value_or_dash(cell.items_per_s, rate)),
        (Column(f"FLOP/s ({FLOP_CONVENTION})", "number", 6), lambda cell: value_or_dash(cell.flops_per_s, flops_rate)),
        (Column(MFU_TITLE, "number", 3), lambda cell: value_or_dash(cell.mfu, format_percent)),
    ]
    if any(map(_recomputes, cells)):
        columns.append((Column("HFU (vs GEMM)", "number", 7), lambda cell: value_or_dash(cell.hfu, format_percent)))
    if any(cell.vendor_mfu for cell in cells):
        columns.append(
            (Column("MFU (vs vendor peak)", "number", 7), lambda cell: value_or_dash(cell.vendor_mfu, format_percent))
        )
    columns.append((Column("peak memory", "number", 4), lambda cell: format_bytes(peak_bytes(cell.memory))))
    columns.append((Column("energy/step", "number", 5), lambda cell: _energy(cell.energy)))
    if any(_estimated_j(cell) is not None for cell in cells):
        columns.append((Column("estimated energy", "number", 8), lambda cell: _joules(_estimated_j(cell))))
    return columns


def _parameters(cell: Cell) -> str:
    return format_amount(cell.accounting.params_total if cell.accounting else None)


def _recomputes(cell: Cell) -> bool:
    return cell.hfu is not None and cell.hfu != cell.mfu


def is_cost_cell(cell: Cell) -> bool:
    """Whether it is a whole float32 step as people train: of ours with AdamW, of a user's task as it is."""
    work = cell.workload
    return (
        cell.status == "ok"
        and work.phase == "step"
        and work.dtype == "float32"
        and not work.options
        and (work.optimizer == "adamw" or work.task is not None)
    )


def params_of(cell: Cell) -> int:
    return cell.accounting.params_total if cell.accounting else 0


def batch_of(work: Workload) -> str:
    return MISSING if work.batch is None else f"{work.batch} × {work.seq_len or 1}"


def peak_bytes(memory: Memory | None) -> int | None:
    """Peak of live tensors where the allocator told it, of the resident set otherwise; None where not measured."""
    if memory is None:
        return None
    return memory.resident_bytes if memory.allocated_bytes is None else memory.allocated_bytes


def _energy(energy: Energy | None) -> str:
    if energy is None or energy.joules_per_round is None:
        return UNAVAILABLE
    return with_interval(energy.joules_per_round, _joules)


def _joules(joules: float | None) -> str:
    return MISSING if joules is None else f"{significant(joules)} J"


def _estimated_j(cell: Cell) -> float | None:
    return cell.energy.estimated_j if cell.energy else None


def _energy_note(cells: Sequence[Cell]) -> str:
    """How energy was measured and what the device drew at rest, or why there is none; and what an estimate is not."""
    energies = [cell.energy for cell in cells if cell.energy]
    methods = sorted({_energy_method(energy) for energy in energies if energy.joules_per_round})
    reasons = sorted({energy.reason for energy in energies if energy.reason})
    parts = [
        f"Energy: {'; '.join(methods)}." if methods else "",
        f"Energy {UNAVAILABLE}: {'; '.join(reasons)}." if reasons else "",
        "Estimated energy is a power that the user stated times the step time: no measurement, and in no law."
        if any(_estimated_j(cell) is not None for cell in cells)
        else "",
    ]
    return " ".join(filter(None, parts))


def _energy_method(energy: Energy) -> str:
    """'powercap of package-0 + dram, direct, idle power (12.3 W ± 1.0 %) included'."""
    idle = with_interval(energy.idle_w, lambda watts: f"{significant(watts)} W") if energy.idle_w else "not measured"
    return f"{energy.source} of {energy.domain}, {energy.method}, idle power ({idle}) included"


def _cost_note(suite: Suite) -> str:
    ceilings = [f"{key} {flops_rate(e.value)}" for key, e in suite.ceilings.gemm_flops_per_s.items()]
    against = f"the GEMM ceiling measured in this run ({', '.join(ceilings)})" if ceilings else "no measured ceiling"
    cells = [cell for cell in suite.cells if is_cost_cell(cell)]
    methods = sorted({cell.memory.method for cell in cells if cell.memory})
    parts = [
        "Forward, backward and AdamW in float32; medians with 90 % intervals, which tokens/s, FLOP/s and MFU share.",
        "The machine's slow moments, as reference kernels beside the rounds saw them, are taken out; times as measured"
        " are among all cells."
        if any(cell.corrected_s for cell in cells)
        else "",
        "Parameters are totals, embeddings included; batch is sequences × tokens.",
        "N: weights in matrix products, the head included and the token table not; full attention: all pairs, though"
        " the mask leaves half (PaLM, appendix B); of a user's own model, the products and convolutions counted in it.",
        f"MFU (vs GEMM) is against {against}.",
        _other_utilisations(cells),
        f"Peak memory: {'; '.join(methods)}." if methods else "",
        _energy_note(cells),
    ]
    return " ".join(filter(None, parts))


def _other_utilisations(cells: Sequence[Cell]) -> str:
    """What HFU and the vendor's peak mean, where the table has them."""
    peaks = {
        flops_rate(cell.flops_per_s.value / cell.vendor_mfu.value)
        for cell in cells
        if cell.flops_per_s and cell.vendor_mfu
    }
    parts = [
        "HFU counts the forward passes that the backward pass repeats." if any(map(_recomputes, cells)) else "",
        f"Vendor peak, dense: {', '.join(sorted(peaks))}." if peaks else "",
    ]
    return " ".join(filter(None, parts))
