"""The suite, derived from the journal: estimates from samples, rates from times, MFU from the run's own ceilings."""

from collections.abc import Iterable, Sequence
from typing import TypeVar

import numpy as np

from scalemark.errors import SchemaError
from scalemark.schema import (
    BlockMeasured,
    Ceilings,
    Cell,
    CellCounted,
    CellEnded,
    CellPlanned,
    CellStatus,
    EnergyMeasured,
    Estimate,
    JournalEntry,
    KernelMeasured,
    MeasurementWarning,
    MemoryMeasured,
    RunFinished,
    RunStarted,
    RunTrained,
    Suite,
    WarningRaised,
)
from scalemark.stats import median_over_blocks

WIDE_INTERVAL = 0.05
UNSTEADY_CEILING = 0.10
UNMEASURED = "the run ended before this cell was measured"

Entry = TypeVar("Entry")


def assemble(entries: Sequence[JournalEntry]) -> Suite:
    """The suite of a whole journal, or of as much of one as a killed run left.

    Raises SchemaError where the journal does not begin with a run.
    """
    if not entries or not isinstance(entries[0], RunStarted):
        raise SchemaError("this journal does not begin with a run: nothing can be recovered from it")
    start = entries[0]
    end = next(iter(_of(RunFinished, entries)), None)
    ceilings = _ceilings(_of(KernelMeasured, entries))
    cells = tuple(_cell(planned, entries, ceilings) for planned in _of(CellPlanned, entries))
    return Suite(
        scalemark_version=start.scalemark_version,
        id=start.id,
        created=start.created,
        commit=start.commit,
        machine=start.machine,
        settings=start.settings,
        ceilings=ceilings,
        cells=cells,
        training_runs=tuple(entry.run for entry in _of(RunTrained, entries)),
        warnings=(*(entry.warning for entry in _of(WarningRaised, entries)), *_noise_warnings(cells, ceilings)),
        complete=end is not None and end.complete,
        fake=start.fake,
        duration_s=end.duration_s if end else None,
    )


def _of(kind: type[Entry], entries: Iterable[object]) -> list[Entry]:
    return [entry for entry in entries if isinstance(entry, kind)]


def _cell(planned: CellPlanned, entries: Sequence[JournalEntry], ceilings: Ceilings) -> Cell:
    key = planned.workload.key
    counted = [entry.accounting for entry in _of(CellCounted, entries) if entry.key == key]
    cell = Cell(
        workload=planned.workload,
        status="ok",
        accounting=counted[-1] if counted else planned.accounting,
        blocks=tuple(entry.block for entry in _of(BlockMeasured, entries) if entry.key == key),
        memory=next((entry.memory for entry in _of(MemoryMeasured, entries) if entry.key == key), None),
        energy=next((entry.energy for entry in _of(EnergyMeasured, entries) if entry.key == key), None),
    )
    status, reason = _status(planned, cell, [entry for entry in _of(CellEnded, entries) if entry.key == key])
    update = {"status": status, "reason": reason, **(_rates(cell, ceilings) if cell.blocks else {})}
    return cell.model_copy(update=update)


def _status(planned: CellPlanned, cell: Cell, ends: Sequence[CellEnded]) -> tuple[CellStatus, str | None]:
    if planned.status:
        return planned.status, planned.reason
    if ends:
        return ends[-1].status, ends[-1].reason
    return ("ok", None) if cell.blocks else ("skipped", UNMEASURED)


def _rates(cell: Cell, ceilings: Ceilings) -> dict[str, Estimate | None]:
    """Time, and what follows from it and from the counts."""
    workload, accounting = cell.workload, cell.accounting
    time_s = median_over_blocks([block.rounds_s for block in cell.blocks])
    flops = accounting.flops.model_flops(workload.phase) if accounting else 0.0
    flops_per_s = time_s.inverted(flops) if flops else None
    ceiling = ceilings.gemm_flops_per_s.get(f"{workload.device}/{workload.dtype}")
    return {
        "time_s": time_s,
        "items_per_s": time_s.inverted(accounting.items) if accounting and workload.phase != "optimizer" else None,
        "flops_per_s": flops_per_s,
        "mfu": flops_per_s.scaled(1 / ceiling.value) if flops_per_s and ceiling else None,
    }


def _ceilings(kernels: Sequence[KernelMeasured]) -> Ceilings:
    """Best sustained rates: the 90th percentile of a block's rates, since other tenants can only slow a kernel."""
    gemms = {f"{kernel.device}/{kernel.dtype}" for kernel in kernels if kernel.name == "gemm"}
    triads = {kernel.device for kernel in kernels if kernel.name == "triad"}
    return Ceilings(
        gemm_flops_per_s={
            name: _ceiling([k for k in kernels if k.name == "gemm" and f"{k.device}/{k.dtype}" == name])
            for name in sorted(gemms)
        },
        triad_bytes_per_s={
            name: _ceiling([k for k in kernels if k.name == "triad" and k.device == name]) for name in sorted(triads)
        },
    )


def _ceiling(kernels: Sequence[KernelMeasured]) -> Estimate:
    """The median over blocks of each block's upper rates, with its interval."""
    blocks: dict[int, list[float]] = {}
    for kernel in kernels:
        blocks.setdefault(kernel.block_index, []).extend(kernel.rates_per_s)
    upper = [[rate for rate in rates if rate >= np.quantile(rates, 0.8)] for rates in blocks.values()]
    return median_over_blocks(upper)


def _noise_warnings(cells: Sequence[Cell], ceilings: Ceilings) -> list[MeasurementWarning]:
    wide = [cell for cell in cells if cell.time_s and cell.time_s.relative_half_width > WIDE_INTERVAL]
    unsteady = [name for name, rate in ceilings.gemm_flops_per_s.items() if rate.relative_half_width > UNSTEADY_CEILING]
    warnings = [
        MeasurementWarning(
            subject=name,
            message="the matrix-product ceiling moved by more than 10 % between blocks, so MFU is uncertain: "
            "close other programs, or measure when the machine is quiet",
        )
        for name in unsteady
    ]
    if wide:
        worst = max(wide, key=lambda cell: cell.time_s.relative_half_width if cell.time_s else 0.0)
        warnings.append(
            MeasurementWarning(
                subject=f"{len(wide)} of {sum(1 for cell in cells if cell.time_s)} cells",
                message=f"their time is known to no better than ± 5 % (worst: {worst.workload.key}): "
                "give more time with --scale-budget, or a quieter machine",
            )
        )
    return warnings
