"""The suite, derived from the journal: estimates from samples, rates from times, MFU from the run's own ceilings."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import TypeVar

from scalemark.errors import SchemaError
from scalemark.record.ceilings import ceilings_of, utilisations
from scalemark.record.collectives import collective_times
from scalemark.record.control import controls_of, corrected
from scalemark.record.noise import noise_warnings
from scalemark.record.times import time_fields
from scalemark.schema import (
    BlockMeasured,
    Ceilings,
    Cell,
    CellCounted,
    CellEnded,
    CellPlanned,
    CellStatus,
    CollectiveMeasured,
    Energy,
    EnergyMeasured,
    Estimate,
    JournalEntry,
    KernelMeasured,
    Machine,
    MemoryMeasured,
    OperatorsCounted,
    RunFinished,
    RunStarted,
    RunTrained,
    ShortLossesMeasured,
    Suite,
    TrainingRun,
    WarningRaised,
    WorkerStarted,
)

UNMEASURED = "the run ended before this cell was measured"
# One that came apart was trained too, and would come apart again.
_TRAINED = ("ok", "diverged")

Entry = TypeVar("Entry")


def assemble(entries: Sequence[JournalEntry]) -> Suite:
    """The suite of a whole journal, or of as much of one as a killed run left.

    Raises SchemaError where the journal does not begin with a run.
    """
    if not entries or not isinstance(entries[0], RunStarted):
        raise SchemaError("this journal does not begin with a run: nothing can be recovered from it")
    start = entries[0]
    ends = _of(RunFinished, entries)
    ceilings = ceilings_of(_of(KernelMeasured, entries))
    by_key = _by_key(entries)
    planned = _of(CellPlanned, entries)
    measured = _corrected([_cell(plan, by_key[plan.workload.key]) for plan in planned])
    cells = tuple(_with_rates(cell, ceilings, start) for cell in measured)
    return Suite(
        scalemark_version=start.scalemark_version,
        id=start.id,
        created=start.created,
        commit=start.commit,
        machine=start.machine,
        settings=start.settings,
        corpus=start.corpus,
        ceilings=ceilings,
        cells=cells,
        collectives=collective_times(_of(CollectiveMeasured, entries)),
        training_runs=_training_runs(_of(RunTrained, entries)),
        workers=tuple(_of(WorkerStarted, entries)),
        warnings=(*(entry.warning for entry in _of(WarningRaised, entries)), *noise_warnings(cells, ceilings)),
        complete=_is_complete(entries),
        fake=start.fake or any(cell.energy.fake for cell in cells if cell.energy),
        duration_s=sum(end.duration_s for end in ends) if ends else None,
    )


def _is_complete(entries: Sequence[JournalEntry]) -> bool:
    """Whether the last part of the run, after whatever interruptions, came to its end."""
    last = entries[-1]
    return isinstance(last, RunFinished) and last.complete


def _training_runs(entries: Sequence[RunTrained]) -> tuple[TrainingRun, ...]:
    """One run per configuration: the newest, but what was trained is not lost to a later part that left it out."""
    runs: dict[str, TrainingRun] = {}
    for run in (entry.run for entry in entries):
        before = runs.get(run.config.key)
        if before is None or before.status not in _TRAINED or run.status in _TRAINED:
            runs[run.config.key] = run
    return tuple(runs.values())


def _of(kind: type[Entry], entries: Iterable[object]) -> list[Entry]:
    return [entry for entry in entries if isinstance(entry, kind)]


def _by_key(entries: Sequence[JournalEntry]) -> dict[str, list[JournalEntry]]:
    """What was recorded of each cell."""
    found: dict[str, list[JournalEntry]] = defaultdict(list)
    for entry in entries:
        if key := getattr(entry, "key", None):
            found[key].append(entry)
    return found


def _cell(planned: CellPlanned, entries: Sequence[JournalEntry]) -> Cell:
    """The cell that was planned, with all that its own entries say."""
    counted = _last(CellCounted, entries)
    operators = _last(OperatorsCounted, entries)
    memory = _last(MemoryMeasured, entries)
    energy = _last(EnergyMeasured, entries)
    losses = _last(ShortLossesMeasured, entries)
    cell = Cell(
        workload=planned.workload,
        status="ok",
        accounting=counted.accounting if counted else planned.accounting,
        blocks=tuple(entry.block for entry in _of(BlockMeasured, entries)),
        predicted_memory=planned.predicted_memory,
        operators=operators.operators if operators else None,
        memory=memory.memory if memory else None,
        energy=energy.energy if energy else None,
        short_losses=losses.short_losses if losses else None,
    )
    status, reason = _status(planned, cell, _of(CellEnded, entries))
    return cell.model_copy(update={"status": status, "reason": reason, **time_fields(cell)})


def _last(kind: type[Entry], entries: Sequence[object]) -> Entry | None:
    return next(iter(reversed(_of(kind, entries))), None)


def _corrected(cells: Sequence[Cell]) -> tuple[Cell, ...]:
    """The cells, those with a time also with what it is without the machine's slow moments.

    No reference kernel runs beside the steps of a group of ranks, so those stay as measured.
    """
    controls = controls_of([cell for cell in cells if not cell.workload.is_parallel])
    return tuple(
        cell.model_copy(update={"corrected_s": corrected(cell, control), "control": control})
        if (control := controls.get(cell.workload.key))
        else cell
        for cell in cells
    )


def _with_rates(cell: Cell, ceilings: Ceilings, start: RunStarted) -> Cell:
    """The cell with what follows from its time, its counts and the run's ceilings."""
    if cell.typical_s is None:
        return cell
    energy = _with_estimate(cell.energy, cell.typical_s, start.settings.stated_power_w)
    return cell.model_copy(update={**_rates(cell, cell.typical_s, ceilings, start.machine), "energy": energy})


def _with_estimate(energy: Energy | None, time_s: Estimate, stated_power_w: float | None) -> Energy | None:
    """Energy estimated from a power that a user stated, beside whatever a counter said; no fit or baseline reads it."""
    if energy is None or stated_power_w is None:
        return energy
    return energy.model_copy(update={"estimated_j": time_s.value * stated_power_w})


def _status(planned: CellPlanned, cell: Cell, ends: Sequence[CellEnded]) -> tuple[CellStatus, str | None]:
    if planned.status:
        return planned.status, planned.reason
    if ends:
        return ends[-1].status, ends[-1].reason
    return ("ok", None) if cell.blocks else ("skipped", UNMEASURED)


def _rates(cell: Cell, time_s: Estimate, ceilings: Ceilings, machine: Machine) -> dict[str, Estimate | None]:
    """What follows from the time and the counts."""
    workload, accounting = cell.workload, cell.accounting
    flops = accounting.flops.model_flops(workload.phase) if accounting else 0.0
    flops_per_s = time_s.inverted(flops) if flops else None
    return {
        "items_per_s": time_s.inverted(accounting.items) if accounting and workload.phase != "optimizer" else None,
        "flops_per_s": flops_per_s,
        **utilisations(cell, time_s, ceilings, machine),
    }
