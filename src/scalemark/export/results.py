"""What of a suite leaves it: one number with its interval for each thing measured, under a name that lasts."""

from collections.abc import Iterator
from dataclasses import dataclass

from scalemark.schema import Cell, Estimate, Suite, TrainingRun


@dataclass(frozen=True)
class Result:
    """Lower is better. metric: its name with the unit, as in 'step_seconds'; estimate: low = high where exact."""

    subject: str
    metric: str
    unit: str
    estimate: Estimate


def results(suite: Suite) -> Iterator[Result]:
    """Times (machine's slow moments taken out where that is known), peak memory, energy, and losses reached."""
    for cell in suite.cells:
        if cell.status == "ok":
            yield from _cell_results(cell)
    for run in suite.training_runs:
        if run.status == "ok" and run.validation_loss is not None:
            yield Result(run_name(run), "validation_loss", "nats/token", _exact(run.validation_loss))


def run_name(run: TrainingRun) -> str:
    """A training run's name, its key included: two seeds are two things."""
    return f"train/{run.config}/{run.config.key}"


def _cell_results(cell: Cell) -> Iterator[Result]:
    subject = cell.workload.key
    if cell.typical_s:
        yield Result(subject, "time_seconds", "s", cell.typical_s)
    if cell.memory and cell.memory.allocated_bytes is not None:
        yield Result(subject, "peak_memory_bytes", "bytes", _exact(float(cell.memory.allocated_bytes)))
    if cell.energy and cell.energy.joules_per_round and not cell.energy.fake:
        yield Result(subject, "energy_joules", "J", cell.energy.joules_per_round)


def _exact(value: float) -> Estimate:
    return Estimate(value=value, low=value, high=value)
