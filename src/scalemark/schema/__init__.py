"""The types that cross stages. Everything here is frozen, validated once, and written to JSON as it is.

    Workload ─> Cell ─┐                       ┌─> Law ──────┐
    TrainingConfig ─> TrainingRun ─> Suite ───┤             ├─> Analysis ─> report
    Machine, Ceilings ─┘                      ├─> TrainingPlan
                                              ├─> Diff ─────┘
                                              └─> Contender ─> SuiteComparison ─> report

Units are in the names (`_s`, `_bytes`, `_j`, `_flops`, `_per_s`); SI inside. `None` means "not measured"; zero is a
measurement. The file format is `Suite`; its version and history:

    1  first version
    2  rounds with what the machine did meanwhile, corrected times, marks, set-up apart; the operators and the predicted
       memory of a phase; energy with its counter's properties; every matrix product of the ceiling; the workers
    3  training runs that branch off one trunk, with their epochs, their loss on the training text, their threads and
       whether others ran beside them; the corpus; runs that went on after an interruption
    4  what whole reruns of the same code gave, beside the cells of a baseline; version 3 has nothing there
    5  where a training run was trained, if not by a worker of the machine itself, and who trained the grid; points of
       loss curves as lists of three numbers, which take a third of the room; the parts that a suite was joined of;
       steps on several ranks (torch.distributed): the rounds and the memory of each rank, and the collectives; how a
       step may run otherwise (checkpointing, micro-batches, attention and optimizer kernels), and short losses
"""

from scalemark.schema.ab import (
    AbPair,
    AbResult,
    AbSamples,
    AbSettings,
    AbSide,
)
from scalemark.schema.analysis import (
    Analysis,
    Contour,
    CurvePoint,
    IsoLoss,
    LossEffect,
    LossPlace,
    Noise,
    Residual,
    Scaling,
    ScalingForecast,
    ScalingRow,
    TermTime,
    TimeSplit,
    WhatIf,
)
from scalemark.schema.basics import (
    INTERVAL_LEVEL,
    SCHEMA_VERSION,
    AttentionBackend,
    Backend,
    CellStatus,
    Collective,
    Dtype,
    Estimate,
    ExecutorName,
    Facts,
    Frozen,
    Goal,
    Kernel,
    LawKind,
    Mark,
    Optimizer,
    OptimizerKernels,
    Parallelism,
    Phase,
    Purpose,
    Reference,
    RemoteExecutor,
    RunStatus,
    Tag,
    VerdictName,
)
from scalemark.schema.cell import (
    Block,
    Cell,
    Conditions,
    ControlVariate,
    Energy,
    MeasurementWarning,
    Memory,
    Operators,
    PredictedMemory,
    RankMemory,
    RankTimes,
    Repeats,
    ShortLosses,
)
from scalemark.schema.diff import (
    Comparison,
    Diff,
    LawDiff,
    LawPoint,
)
from scalemark.schema.history import (
    ChangePoint,
    ContextChange,
    History,
    HistorySeries,
    HistorySuite,
    Level,
    MachineHistory,
    Move,
    PassedOver,
)
from scalemark.schema.journal import (
    BlockMeasured,
    CellCounted,
    CellEnded,
    CellPlanned,
    CollectiveMeasured,
    EnergyMeasured,
    JournalEntry,
    KernelMeasured,
    MemoryMeasured,
    OperatorsCounted,
    RunFinished,
    RunResumed,
    RunStarted,
    RunTrained,
    ShortLossesMeasured,
    WarningRaised,
)
from scalemark.schema.law import (
    AllocationFound,
    Bootstrap,
    FitResult,
    FormScore,
    HiddenRow,
    HiddenRows,
    Holdout,
    Law,
    Objective,
    Parameter,
    Range,
    RepeatedText,
    UsefulRun,
    WorseWithSize,
)
from scalemark.schema.plan import (
    PlannedTraining,
    PriceTag,
    TrainingPlan,
)
from scalemark.schema.suite import (
    Ceilings,
    CollectiveTime,
    GemmRate,
    Machine,
    Settings,
    Suite,
    WorkerStarted,
)
from scalemark.schema.training import (
    CorpusFacts,
    LossPoint,
    RunPlace,
    TrainingConfig,
    TrainingRun,
)
from scalemark.schema.versus import (
    BestRange,
    CoefficientCompared,
    Contender,
    ContenderStep,
    Crossover,
    LossCompared,
    NotCompared,
    ShapeCompared,
    SuiteComparison,
)
from scalemark.schema.workload import (
    Accounting,
    Flops,
    ModelConfig,
    TaskRef,
    Workload,
)
