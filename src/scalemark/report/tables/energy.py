"""What a training step and each of its tokens cost in energy, or why that is not known."""

from collections.abc import Sequence

from scalemark.report.numbers import joules, with_interval
from scalemark.report.tables.cost import batch_of, is_cost_cell, params_of
from scalemark.report.tables.table import UNAVAILABLE, Column, Table
from scalemark.schema import Cell, Energy, Estimate, Suite
from scalemark.units import MISSING, format_amount, format_count, significant

ENERGY_TITLE = "Energy per token"


def energy_table(suite: Suite) -> Table:
    """One row per step whose energy was counted."""
    columns = (
        Column("model"),
        Column("batch", "text", 2),
        Column("parameters", "number", 1),
        Column("energy/step", "number", 3),
        Column("energy/token", "number"),
        Column("tokens/J", "number"),
        Column("power", "number", 4),
    )
    steps = [cell for cell in suite.cells if is_cost_cell(cell) and cell.accounting]
    counted = sorted(filter(_joules, steps), key=lambda cell: (params_of(cell), cell.workload.key))
    note = _note([cell.energy for cell in counted if cell.energy]) if counted else why_no_energy(suite)
    return Table(ENERGY_TITLE, columns, tuple(map(_row, counted)), note)


def why_no_energy(suite: Suite) -> str:
    """The counters' own reasons."""
    reasons = sorted({cell.energy.reason for cell in suite.cells if cell.energy and cell.energy.reason})
    return f"Energy is {UNAVAILABLE}: {'; '.join(reasons) or 'this run had no energy pass'}."


def _joules(cell: Cell) -> Estimate | None:
    return cell.energy.joules_per_round if cell.energy and cell.energy.status == "ok" else None


def _row(cell: Cell) -> tuple[str, ...]:
    counted, accounting = _joules(cell), cell.accounting
    assert counted and accounting
    per_token = counted.scaled(1 / accounting.items)
    return (
        cell.workload.rung,
        batch_of(cell.workload),
        format_amount(accounting.params_total),
        with_interval(counted, joules),
        with_interval(per_token, joules),
        significant(1 / per_token.value) if per_token.value else MISSING,
        _power(cell, counted),
    )


def _power(cell: Cell, counted: Estimate) -> str:
    """Over the window that was counted; over the timed step where preparation was subtracted."""
    energy = cell.energy
    assert energy is not None
    if energy.method == "direct" and energy.window_s and energy.rounds:
        return format_count(counted.value * energy.rounds / energy.window_s, "W")
    return format_count(counted.value / cell.typical_s.value, "W") if cell.typical_s else MISSING


def _note(energies: Sequence[Energy]) -> str:
    domains = sorted({f"{energy.source} of {energy.domain}" for energy in energies})
    idle = next((energy.idle_w for energy in energies if energy.idle_w), None)
    at_rest = with_interval(idle, lambda watts: format_count(watts, "W")) if idle else "not measured"
    return (
        f"Counted by {', '.join(domains)}, with 90 % intervals. Idle power ({at_rest}) is included: a small model pays"
        " mostly for the time that the device is on."
    )
