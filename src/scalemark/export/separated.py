"""Comma-separated values (RFC 4180): one row per cell and training run, whatever became of it."""

import csv
from collections.abc import Iterator
from io import StringIO

from scalemark.export.results import run_name
from scalemark.schema import Cell, Suite, TrainingRun

COLUMNS = (
    "suite",
    "machine",
    "commit",
    "subject",
    "status",
    "reason",
    "params_non_embedding",
    "seconds",
    "seconds_low",
    "seconds_high",
    "raw_seconds",
    "peak_memory_bytes",
    "joules",
    "tokens",
    "validation_loss",
)


def csv_text(suite: Suite) -> str:
    """With a heading row; what is unknown is empty."""
    out = StringIO(newline="")
    table = csv.DictWriter(out, COLUMNS, lineterminator="\r\n")
    table.writeheader()
    about = {"suite": suite.id, "machine": suite.machine.id, "commit": suite.commit}
    for row in _rows(suite):
        table.writerow({**about, **row})
    return out.getvalue()


def _rows(suite: Suite) -> Iterator[dict[str, object]]:
    yield from map(_cell_row, suite.cells)
    yield from map(_run_row, suite.training_runs)


def _cell_row(cell: Cell) -> dict[str, object]:
    time_s, energy = cell.typical_s, cell.energy
    return {
        "subject": cell.workload.key,
        "status": cell.status,
        "reason": cell.reason,
        "params_non_embedding": cell.accounting.params_non_embedding if cell.accounting else None,
        "seconds": time_s.value if time_s else None,
        "seconds_low": time_s.low if time_s else None,
        "seconds_high": time_s.high if time_s else None,
        "raw_seconds": cell.time_s.value if cell.time_s else None,
        "peak_memory_bytes": cell.memory.allocated_bytes if cell.memory else None,
        "joules": energy.joules_per_round.value if energy and energy.joules_per_round and not energy.fake else None,
    }


def _run_row(run: TrainingRun) -> dict[str, object]:
    return {
        "subject": run_name(run),
        "status": run.status,
        "reason": run.reason,
        "params_non_embedding": run.accounting.params_non_embedding if run.accounting else None,
        "seconds": run.seconds,
        "tokens": run.config.tokens,
        "validation_loss": run.validation_loss,
    }
