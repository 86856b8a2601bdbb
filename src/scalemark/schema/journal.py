"""What a run appends as it happens. The suite is derived from these, so a crash loses one entry."""

from typing import Annotated, Literal

from pydantic import Field, NonNegativeInt, PositiveFloat, PositiveInt

from scalemark.schema.basics import Backend, CellStatus, Collective, Dtype, Frozen, Kernel
from scalemark.schema.cell import Block, Energy, MeasurementWarning, Memory, Operators, PredictedMemory, ShortLosses
from scalemark.schema.suite import Machine, Settings, WorkerStarted
from scalemark.schema.training import CorpusFacts, TrainingRun
from scalemark.schema.workload import Accounting, Workload


class RunStarted(Frozen):
    """First entry of every journal."""

    kind: Literal["run_started"] = "run_started"
    id: str
    created: str
    scalemark_version: str
    commit: str | None = None
    machine: Machine
    settings: Settings
    corpus: CorpusFacts | None = None
    fake: bool = False


class RunResumed(Frozen):
    """The run goes on after an interruption: when, and the budget that it has from here."""

    kind: Literal["run_resumed"] = "run_resumed"
    created: str
    commit: str | None = None
    budget_s: PositiveFloat


class CellPlanned(Frozen):
    """A cell that takes part, or (with a status) one that was ruled out before measuring."""

    kind: Literal["cell_planned"] = "cell_planned"
    workload: Workload
    accounting: Accounting | None = None
    predicted_memory: PredictedMemory | None = None
    status: CellStatus | None = None
    reason: str | None = None


class BlockMeasured(Frozen):
    kind: Literal["block"] = "block"
    key: str
    block: Block


class CellEnded(Frozen):
    """A cell that could not be measured (again): out of memory, out of time, or an error."""

    kind: Literal["cell_ended"] = "cell_ended"
    key: str
    status: CellStatus
    reason: str


class CellCounted(Frozen):
    """Accounting of a user's task, counted on the built module."""

    kind: Literal["counted"] = "counted"
    key: str
    accounting: Accounting


class OperatorsCounted(Frozen):
    kind: Literal["operators"] = "operators"
    key: str
    operators: Operators


class MemoryMeasured(Frozen):
    kind: Literal["memory"] = "memory"
    key: str
    memory: Memory


class ShortLossesMeasured(Frozen):
    kind: Literal["short_losses"] = "short_losses"
    key: str
    short_losses: ShortLosses


class EnergyMeasured(Frozen):
    kind: Literal["energy"] = "energy"
    key: str
    energy: Energy


class KernelMeasured(Frozen):
    """One reference kernel in one block: FLOP/s for 'gemm', bytes/s for 'triad'.

    shape: (m, n, k) of the product (m, k) × (k, n). array_bytes: of the triad's three arrays together. rates_per_s:
    none where the product would have taken too much time or memory.
    """

    kind: Literal["kernel"] = "kernel"
    name: Kernel
    device: Literal["cpu", "cuda"]
    dtype: Dtype
    block_index: int
    shape: tuple[int, int, int] | None = None
    array_bytes: PositiveInt | None = None
    rates_per_s: tuple[float, ...]


class CollectiveMeasured(Frozen):
    """A collective operation in one group of ranks. rounds_s: of the slowest rank."""

    kind: Literal["collective"] = "collective"
    operation: Collective
    backend: Backend
    device: Literal["cpu", "cuda"]
    world_size: PositiveInt
    n_nodes: PositiveInt = 1
    message_bytes: PositiveInt
    block_index: NonNegativeInt
    rounds_s: tuple[PositiveFloat, ...]


class RunTrained(Frozen):
    kind: Literal["trained"] = "trained"
    run: TrainingRun


class WarningRaised(Frozen):
    kind: Literal["warning"] = "warning"
    warning: MeasurementWarning


class RunFinished(Frozen):
    """Last entry; absent where the run was killed."""

    kind: Literal["run_finished"] = "run_finished"
    duration_s: float
    complete: bool


JournalEntry = Annotated[
    RunStarted
    | RunResumed
    | CellPlanned
    | BlockMeasured
    | CellEnded
    | CellCounted
    | WorkerStarted
    | OperatorsCounted
    | MemoryMeasured
    | ShortLossesMeasured
    | EnergyMeasured
    | KernelMeasured
    | CollectiveMeasured
    | RunTrained
    | WarningRaised
    | RunFinished,
    Field(discriminator="kind"),
]
