"""One workload's place in a campaign: its rounds, its memory, its energy, and what is derived from them."""

from math import exp, log
from typing import Annotated, Literal, Self

from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt, model_validator

from scalemark.schema.basics import Backend, CellStatus, Estimate, Facts, Frozen, Mark, Reference, Tag
from scalemark.schema.workload import Accounting, Workload


class Conditions(Frozen):
    """What the machine did while rounds were timed, in columns beside `Block.rounds_s`.

    A turn is the rounds between two looks at the machine: one long round, or several short ones. Per turn: how many
    rounds it has, what the hypervisor withheld of all CPUs (steal_s), how long some task waited for a CPU (pressure_s,
    Linux PSI), how often a quota or heat held the cores back (throttled), and the reference kernels just before it: a
    matrix product (gemm_s) and cores that hand data to one another (exchange_s, on a CPU alone). Before the first turn
    and after the last: the triad (triad_s). Per round: processor time of all threads (cpu_s), how often the kernel
    took a CPU away (switches), and on CUDA the time until the host had asked for everything (host_s). A column is None
    where the machine does not tell. tagged: rounds that something disturbed, by what; they are kept.
    """

    turn_lengths: tuple[PositiveInt, ...]
    steal_s: tuple[float, ...] | None = None
    pressure_s: tuple[float, ...] | None = None
    throttled: tuple[int, ...] | None = None
    gemm_s: tuple[float, ...] | None = None
    exchange_s: tuple[float, ...] | None = None
    triad_s: tuple[float, ...] | None = None
    cpu_s: tuple[float, ...] | None = None
    switches: tuple[int, ...] | None = None
    host_s: tuple[float, ...] | None = None
    tagged: dict[Tag, tuple[int, ...]] = {}


class RankTimes(Frozen):
    """One cell's rounds in one group of ranks, each on its rank's own clock, as [rank][round].

    steps_s: of whole steps, all ranks starting together. compute_s: of the same step without communication, taken in
    turn with the whole ones; its gradients stay where they are. threads: of each rank.
    """

    backend: Backend
    n_nodes: PositiveInt = 1
    threads: PositiveInt
    steps_s: tuple[tuple[float, ...], ...]
    compute_s: tuple[tuple[float, ...], ...]


class Block(Frozen):
    """One cell's share of one block: raw samples from one worker process, or from a group of ranks.

    setup_s: building the task. warmup_s: every round before the first that counts; the first of them also pays for
    what happens once, compilation among it. steady: whether halves of the rounds agreed before the first that counts,
    or at least in the end; None where there were too few to tell. state_before, state_after: clocks, temperature and
    throttle reasons of a GPU, read and never set. ranks: of a group, what each rank saw; `rounds_s` is then the slowest
    rank of each step.
    """

    index: int
    warmup_s: tuple[float, ...]
    rounds_s: tuple[float, ...]
    setup_s: float
    steady: bool | None = None
    conditions: Conditions | None = None
    state_before: Facts = {}
    state_after: Facts = {}
    ranks: RankTimes | None = None


class RankMemory(Frozen):
    """Memory of each rank of a group. state_bytes: parameters, gradients and optimizer states that it keeps.

    predicted_state_bytes: the same from the shape alone; replicated_state_bytes: of a rank that shares nothing.
    """

    state_bytes: tuple[int, ...]
    predicted_state_bytes: tuple[int, ...]
    replicated_state_bytes: int


class Memory(Frozen):
    """Peak memory of one phase in a process of its own, untimed; of a group, of the rank that needs most.

    allocated_bytes: highest sum of live tensor bytes (CUDA: the allocator's peak). reserved_bytes: what CUDA's caching
    allocator held at its peak. resident_bytes: highest resident set of the process (CPU); resident_before_bytes: the
    same just before the round, the interpreter, torch and the model among it.
    """

    allocated_bytes: int | None = None
    reserved_bytes: int | None = None
    resident_bytes: int | None = None
    resident_before_bytes: int | None = None
    method: str
    reason: str | None = None
    ranks: RankMemory | None = None


class PredictedMemory(Frozen):
    """Peak memory of one phase as its shape gives it, before anything runs: the parts that are live at the peak.

    peak_bytes: their sum. parameter_bytes: rotary angles among them. activation_bytes: kept for the backward pass,
    bfloat16 copies of weights among them. logits_bytes: logits, their softmax, and the gradient of either.
    temporary_bytes: what operators hand to one another, or hold only inside.
    """

    peak_bytes: int
    parameter_bytes: int
    gradient_bytes: int = 0
    optimizer_state_bytes: int = 0
    activation_bytes: int = 0
    logits_bytes: int = 0
    temporary_bytes: int = 0
    data_bytes: int = 0


class Operators(Frozen):
    """Operators that one round of a phase ran, seen below autograd: the same on every run of the same code.

    calls: by name, views left out. bytes_read, bytes_written: of the tensors that they take and give, each once per
    call; caches are not known here.
    """

    calls: dict[str, int]
    bytes_read: int
    bytes_written: int

    @property
    def total(self) -> int:
        """How many operators ran."""
        return sum(self.calls.values())


class ShortLosses(Frozen):
    """Training losses of the first steps from a seeded start, in nats per token: a run per seed, a loss per step.

    Start and batches depend on the seed alone, so runs of one seed that differ do so by how their steps are computed.
    """

    seeds: tuple[int, ...]
    losses: tuple[tuple[float, ...], ...]

    @model_validator(mode="after")
    def _one_run_per_seed(self) -> Self:
        if len(self.losses) != len(self.seeds) or len(set(map(len, self.losses))) > 1:
            raise ValueError(f"{len(self.seeds)} seeds must have as many runs of one length each")
        return self

    @property
    def last(self) -> tuple[float, ...]:
        """The loss of the last step, by seed."""
        return tuple(run[-1] for run in self.losses)


class Energy(Frozen):
    """Energy of one round, from a counter that was seen to advance; otherwise `unavailable` with the reason.

    source: 'powercap', 'nvml'. domain: which part of the machine it counts. method: how the phase was told apart from
    its preparation. update_period_s: how often the counter moves; quantum_j: by how much at least. window_s, rounds: of
    the longest window. idle_w: of the same domain at rest, and in joules_per_round all the same. estimated_j: from a
    stated power, only where a user asked for it; no fit and no baseline reads it.
    """

    status: Literal["ok", "unavailable"]
    reason: str | None = None
    joules_per_round: Estimate | None = None
    source: str | None = None
    domain: str | None = None
    method: str | None = None
    window_s: PositiveFloat | None = None
    rounds: PositiveInt | None = None
    update_period_s: PositiveFloat | None = None
    quantum_j: PositiveFloat | None = None
    idle_w: Estimate | None = None
    estimated_j: NonNegativeFloat | None = None
    fake: bool = False


class ControlVariate(Frozen):
    """How far a cell's rounds followed the reference kernels, and how much of each was taken out.

    coefficients: by kernel, between 0 (not at all) and 1 (in proportion), estimated from the rounds of the campaign.
    references_s: what each kernel took in this run on the whole; the corrected time is that of such a moment.
    """

    coefficients: dict[Reference, Annotated[float, Field(ge=0, le=1)]]
    references_s: dict[Reference, PositiveFloat]

    def factor_at(self, references_s: dict[Reference, float]) -> float:
        """What the corrected time is multiplied by, to be that of a moment at which the kernels take `references_s`.

        A kernel that only one side ran leaves the time as it is.
        """
        logs = [
            coefficient * log(references_s[kernel] / self.references_s[kernel])
            for kernel, coefficient in self.coefficients.items()
            if kernel in references_s
        ]
        return exp(sum(logs))


class Repeats(Frozen):
    """What whole reruns of the same code on the same machine gave for one cell: how far runs differ by themselves.

    One value per rerun, in the same order in all cells of a suite, None where a rerun has none. time_s: medians as
    measured. corrected_s: at a moment when the reference kernels take `references_s`, which are typical of the reruns.
    joules: of one round.
    """

    time_s: tuple[PositiveFloat | None, ...] = ()
    corrected_s: tuple[PositiveFloat | None, ...] = ()
    references_s: dict[Reference, PositiveFloat] = {}
    joules: tuple[PositiveFloat | None, ...] = ()


class MeasurementWarning(Frozen):
    """Something that makes a number worse than it looks, ending in advice."""

    subject: str
    message: str


class Cell(Frozen):
    """One workload's place in a campaign. Raw samples are kept; the estimates are derived from them.

    time_s: median over blocks as measured, interval by block bootstrap; minimum_s: the fastest round. corrected_s: the
    median with the machine's slow moments taken out by `control`. marks: what makes the time worse than it looks.
    once_s: what the first round takes beyond a steady one (compilation, lazy state). Rates follow from `typical_s`.
    mfu, hfu: model and hardware FLOP/s over the GEMM ceiling of the same run and dtype. vendor_mfu: over the vendor's
    peak, for a device in the table of `record.peaks`. short_losses: of a step whose options are compared. repeats: only
    in a baseline, what reruns gave.
    """

    workload: Workload
    status: CellStatus
    reason: str | None = None
    accounting: Accounting | None = None
    blocks: tuple[Block, ...] = ()
    marks: tuple[Mark, ...] = ()
    time_s: Estimate | None = None
    minimum_s: float | None = None
    corrected_s: Estimate | None = None
    control: ControlVariate | None = None
    once_s: Estimate | None = None
    items_per_s: Estimate | None = None
    flops_per_s: Estimate | None = None
    mfu: Estimate | None = None
    hfu: Estimate | None = None
    vendor_mfu: Estimate | None = None
    operators: Operators | None = None
    predicted_memory: PredictedMemory | None = None
    memory: Memory | None = None
    energy: Energy | None = None
    short_losses: ShortLosses | None = None
    repeats: Repeats | None = None

    @property
    def typical_s(self) -> Estimate | None:
        """The time that rates, laws and prices use: corrected, or as measured where nothing corrects it."""
        return self.corrected_s or self.time_s

    @property
    def samples_s(self) -> tuple[float, ...]:
        """Every timed round, in the order of the blocks."""
        return tuple(sample for block in self.blocks for sample in block.rounds_s)
