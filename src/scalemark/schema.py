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

import json
from functools import lru_cache
from hashlib import sha256
from math import exp, log
from pathlib import PurePath
from typing import TYPE_CHECKING, Annotated, Literal, NamedTuple, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    model_validator,
)

if TYPE_CHECKING:
    import pandas as pd

SCHEMA_VERSION = 5
INTERVAL_LEVEL = 0.9

Phase = Literal["forward", "backward", "optimizer", "step", "eval"]
Dtype = Literal["float32", "bfloat16"]
Optimizer = Literal["adamw", "sgd"]
OptimizerKernels = Literal["foreach", "for_loop"]
AttentionBackend = Literal["math", "flash", "efficient"]
Parallelism = Literal["none", "ddp", "fsdp"]
Collective = Literal["all_reduce", "all_gather", "reduce_scatter"]
Backend = Literal["gloo", "nccl"]
CellStatus = Literal["ok", "oom", "predicted_oom", "timeout", "skipped", "failed"]
RunStatus = Literal["ok", "diverged", "skipped", "failed"]
VerdictName = Literal["regressed", "improved", "same", "inconclusive", "missing", "new", "incomparable"]
LawKind = Literal["step_time", "memory", "energy", "loss", "repeated_loss", "communication"]
Purpose = Literal["scout", "time", "memory", "loss", "energy"]
Goal = Literal["hours", "usd", "kwh", "loss"]
Kernel = Literal["gemm", "triad"]
Reference = Literal["gemm", "exchange", "triad"]
Mark = Literal["not_steady", "wide"]
RemoteExecutor = Literal["ray", "slurm"]
ExecutorName = Literal["local"] | RemoteExecutor
Tag = Literal["stolen", "preempted", "pressured", "throttled"]
Facts = dict[str, str | int | float | None]


class Frozen(BaseModel):
    """A value: equal by content, hashable, no field unknown, no NaN."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Estimate(Frozen):
    """A value with its interval, in the unit that the field's name says."""

    value: float
    low: float
    high: float
    level: float = INTERVAL_LEVEL

    def scaled(self, factor: float) -> "Estimate":
        """The same estimate in another unit; `factor` is positive."""
        return Estimate(value=self.value * factor, low=self.low * factor, high=self.high * factor, level=self.level)

    def inverted(self, numerator: float) -> "Estimate":
        """`numerator` divided by the estimate, as a rate is made of a time."""
        return Estimate(
            value=numerator / self.value, low=numerator / self.high, high=numerator / self.low, level=self.level
        )

    @property
    def relative_half_width(self) -> float:
        """Half the interval over the value: 0.01 reads '± 1 %'."""
        return (self.high - self.low) / 2 / abs(self.value) if self.value else 0.0


class ModelConfig(Frozen):
    """One decoder-only transformer: RMSNorm, rotary positions, no biases. A rung of the ladder is one of these."""

    n_layer: PositiveInt
    d_model: PositiveInt
    n_head: PositiveInt
    vocab_size: PositiveInt = 256
    activation: Literal["swiglu", "relu2"] = "relu2"
    tied_head: bool = False

    @model_validator(mode="after")
    def _heads_divide_width(self) -> Self:
        if self.d_model % self.n_head or self.d_head % 2:
            raise ValueError(f"{self.n_head} heads must divide d_model = {self.d_model} into even widths")
        return self

    @property
    def name(self) -> str:
        """'d4w256'; what departs from the defaults follows."""
        extras = [
            f"v{self.vocab_size}" if self.vocab_size != 256 else "",
            self.activation if self.activation != "relu2" else "",
            "tied" if self.tied_head else "",
        ]
        return "-".join([f"d{self.n_layer}w{self.d_model}", *filter(None, extras)])

    @property
    def d_head(self) -> int:
        return self.d_model // self.n_head

    @property
    def d_ff(self) -> int:
        """Hidden width of the feed-forward block: 4·d for ReLU², 8/3·d for SwiGLU up to the next multiple of 16."""
        return 4 * self.d_model if self.activation == "relu2" else -(-8 * self.d_model // 3 // 16) * 16


class TaskRef(Frozen):
    """Where a worker finds a user's own task: a factory in a file, and its arguments."""

    path: str
    function: str
    arguments: tuple[tuple[str, int | float | str | bool], ...] = ()

    @property
    def name(self) -> str:
        """'simple_nn(width=10)'."""
        arguments = ",".join(f"{key}={value}" for key, value in self.arguments)
        return f"{self.function}({arguments})" if arguments else self.function

    @property
    def key(self) -> str:
        """'bench_simple_nn:simple_nn(width=10)': the file's name, but not its folder, is part of the identity."""
        return f"{PurePath(self.path).stem}:{self.name}"


class Workload(Frozen):
    """A rung (or a user's task), a phase, and how it runs.

    checkpointed: each block keeps its input alone, and the backward pass runs it again. micro_batches: so many parts of
    the batch go forward and backward one after the other before one update (gradient accumulation). attention: the
    backend of scaled dot-product attention; None for torch's own choice. optimizer_kernels: AdamW's; None for the fused
    ones.

    batch: sequences of one step, over all ranks together. parallelism: how a step is spread over `world_size` ranks:
    replicas that average their gradients (ddp), or parameters, gradients and optimizer states in shards (fsdp). The
    reference of both is 'ddp' on one rank, which has nobody to talk to.
    """

    phase: Phase
    model: ModelConfig | None = None
    task: TaskRef | None = None
    batch: PositiveInt | None = None
    seq_len: PositiveInt | None = None
    dtype: Dtype = "float32"
    device: Literal["cpu", "cuda"] = "cpu"
    optimizer: Optimizer | None = None
    compiled: bool = False
    checkpointed: bool = False
    micro_batches: PositiveInt = 1
    attention: AttentionBackend | None = None
    optimizer_kernels: OptimizerKernels | None = None
    parallelism: Parallelism = "none"
    world_size: PositiveInt = 1

    @model_validator(mode="after")
    def _options_apply(self) -> Self:
        if self.model is None and (self.checkpointed or self.micro_batches > 1 or self.attention):
            raise ValueError("checkpointing, micro-batches and attention backends are of the ladder's models alone")
        if self.micro_batches > 1 and (self.phase != "step" or (self.batch or 0) % self.micro_batches):
            raise ValueError(f"{self.micro_batches} micro-batches must divide the batch ({self.batch}) of a whole step")
        if self.optimizer_kernels and self.optimizer != "adamw":
            raise ValueError("only AdamW has other kernels to choose from")
        return self

    @model_validator(mode="after")
    def _ranks_share_a_step(self) -> Self:
        if self.parallelism == "none":
            if self.world_size > 1:
                raise ValueError(f"{self.world_size} ranks need a parallelism: say ddp or fsdp")
            return self
        if self.phase != "step" or self.options != (self.placement,):
            raise ValueError("only whole steps, without other options, are spread over ranks")
        if self.model is None or self.batch is None or self.batch % self.world_size:
            raise ValueError(f"{self.world_size} ranks share a rung's batch, which must be a multiple of their number")
        return self

    @property
    def is_parallel(self) -> bool:
        """Whether it runs in a group of ranks, one rank alone among them."""
        return self.parallelism != "none"

    @property
    def rank_batch(self) -> int | None:
        """Sequences of one step on each rank."""
        return None if self.batch is None else self.batch // self.world_size

    @property
    def placement(self) -> str:
        """'ddp2': how it is spread over ranks; empty where it is not."""
        return f"{self.parallelism}{self.world_size}" if self.is_parallel else ""

    @property
    def rung(self) -> str:
        """Name of the model measured, without how it runs."""
        return self.model.name if self.model else self.task.name  # type: ignore[union-attr]

    @property
    def options(self) -> tuple[str, ...]:
        """How it departs from eager execution on one device with torch's choices, dtype apart: 'accumulate4', …"""
        told = {
            "compiled": self.compiled,
            "checkpointed": self.checkpointed,
            f"accumulate{self.micro_batches}": self.micro_batches > 1,
            f"{self.attention}-attention": self.attention is not None,
            f"{self.optimizer_kernels}": self.optimizer_kernels is not None,
            self.placement: self.is_parallel,
        }
        return tuple(name for name, is_so in told.items() if is_so)

    @property
    def key(self) -> str:
        """Readable identity, equal on every machine: 'd4w256/step/b2x256/float32/adamw/cpu'; options follow."""
        shape = f"b{self.batch}x{self.seq_len}" if self.batch else None
        what = self.model.name if self.model else self.task.key  # type: ignore[union-attr]
        parts = [what, self.phase, shape, self.dtype, self.optimizer, self.device, *self.options]
        return "/".join(part for part in parts if part)

    @property
    def is_plain_step(self) -> bool:
        """Whether it is a rung's whole step in float32 with AdamW, on one device and without options.

        Cost laws are fitted to these.
        """
        plain = self.model and self.phase == "step" and self.dtype == "float32" and self.optimizer == "adamw"
        return bool(plain) and not self.options

    @property
    def plain(self) -> "Workload":
        """The same in float32 and without options."""
        return self._eager("float32")

    @property
    def base(self) -> "Workload | None":
        """What its option is judged against: the same without, in the same dtype; of bfloat16 alone, float32.

        None where there is nothing to judge: a plain step, and whatever is no whole AdamW step of a rung.
        """
        base = self._eager(self.dtype if self.options else "float32")
        return base if self.plain.is_plain_step and base != self else None

    def _eager(self, dtype: Dtype) -> "Workload":
        defaults = {"compiled": False, "checkpointed": False, "micro_batches": 1}
        return self.model_copy(update={**defaults, "attention": None, "optimizer_kernels": None, "dtype": dtype})

    def __str__(self) -> str:
        """Short name for a test: the phase is in the test's own name, unless a task has several."""
        if self.task:
            return f"{self.task.name}-{self.phase}"
        shape = f"{self.batch}x{self.seq_len}"
        return "-".join(filter(None, [self.rung, shape, self.dtype, self.optimizer, *self.options]))


class Flops(Frozen):
    """FLOPs of one forward pass over one batch; a multiply-add counts as 2. Each convention is kept apart.

    matmul: linear layers, the head included. attention_full: QKᵀ and attention·V over all pairs.
    attention_causal: the same over the pairs that the causal mask leaves.
    recompute_forward_passes: what the backward pass repeats, as a share of the forward pass (0 without activation
    checkpointing).
    """

    matmul: NonNegativeFloat
    attention_full: NonNegativeFloat = 0.0
    attention_causal: NonNegativeFloat = 0.0
    recompute_forward_passes: NonNegativeFloat = 0.0

    def model_flops(self, phase: Phase) -> float:
        """Model FLOPs of one phase: matmul + full attention, backward = 2 × forward (PaLM, appendix B)."""
        return _FORWARD_PASSES[phase] * (self.matmul + self.attention_full)

    def hardware_flops(self, phase: Phase) -> float:
        """Model FLOPs, and those of the forward passes that the backward pass repeats (PaLM, appendix B: HFU)."""
        repeated = self.recompute_forward_passes if phase in ("backward", "step") else 0
        return (_FORWARD_PASSES[phase] + repeated) * (self.matmul + self.attention_full)


# A backward pass costs two forward passes: one for the gradient of the inputs, one for that of the weights.
_FORWARD_PASSES: dict[Phase, int] = {"forward": 1, "eval": 1, "backward": 2, "step": 3, "optimizer": 0}


class Accounting(Frozen):
    """What follows from the shape alone, for one batch: the same on every machine, so it is gated exactly.

    items: tokens of a batch (samples, for a task that is not a language model). attention_scores: one for each head,
    layer and pair of tokens, all pairs; None in suites of before it was counted.
    source: 'shape' where a formula gave it, 'counted' where the built module was counted.
    """

    params_total: int
    params_embedding: int = 0
    params_head: int = 0
    items: PositiveInt
    n_layer: int = 0
    flops: Flops
    parameter_bytes: int
    gradient_bytes: int
    optimizer_state_bytes: int
    activation_bytes: int | None = None
    logits_bytes: int | None = None
    attention_scores: int | None = None
    source: Literal["shape", "counted"] = "shape"

    @property
    def params_non_embedding(self) -> int:
        """Parameters without the token table and without an untied head."""
        return self.params_total - self.params_embedding - self.params_head


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


# Shapes and counts that several thousand runs of a grid have in common are kept once.
_shared_model = lru_cache(maxsize=4096)(lambda model: model)
_shared_accounting = lru_cache(maxsize=4096)(lambda accounting: accounting)


class TrainingConfig(Frozen):
    """One training run, whole: its hash is its identity.

    tokens: training tokens seen (D). corpus: name and SHA-256 of the token files. The learning rate rises over
    `warmup_steps`, stays, and falls to 0 over the last `decay_share` of the steps. Up to that fall the run is the same
    whatever its tokens are: runs that differ in nothing else are branches of one trunk, and `trunk` names it.
    unique_tokens: of the training text, only so many are used, again and again; None for all of it. For a user's task,
    `task` is set, `tokens` counts samples, and batch, schedule and optimizer are the task's own.
    """

    model: Annotated[ModelConfig | None, AfterValidator(_shared_model)] = None
    task: TaskRef | None = None
    tokens: PositiveInt
    batch: PositiveInt | None = None
    seq_len: PositiveInt = 1
    learning_rate: PositiveFloat | None = None
    warmup_steps: NonNegativeInt | None = None
    decay_share: Annotated[float, Field(gt=0, le=1)] | None = None
    optimizer: Optimizer | None = None
    seed: int = 0
    dtype: Dtype = "float32"
    device: Literal["cpu", "cuda"] = "cpu"
    corpus: str | None = None
    unique_tokens: PositiveInt | None = None

    @property
    def key(self) -> str:
        """Twelve hexadecimal digits that change with any field but the folder of a task's file."""
        return self._digest(exclude=set())

    @property
    def trunk(self) -> str:
        """The key of all runs that are this one but for their tokens."""
        return self._digest(exclude={"tokens"})

    def _digest(self, exclude: set[str]) -> str:
        fields = self.model_dump(mode="json", exclude=exclude | {"task"})
        content = json.dumps([fields, self.task and [self.task.key, self.task.arguments]], sort_keys=True)
        return sha256(content.encode()).hexdigest()[:12]

    @property
    def n_steps(self) -> int:
        """Optimizer steps; only the task knows, where the batch is its own."""
        assert self.batch is not None
        return max(1, round(self.tokens / (self.batch * self.seq_len)))

    @property
    def decay_from(self) -> int:
        """The step after which the learning rate falls: where the run leaves its trunk."""
        return self.n_steps - max(1, round((self.decay_share or 0.0) * self.n_steps))

    def __str__(self) -> str:
        if self.task:
            return f"{self.task.name}-{self.tokens}"
        unique = f"of{self.unique_tokens / 1e6:.2f}M" if self.unique_tokens else ""
        seed = f"-seed{self.seed}" if self.seed else ""
        return f"{self.model.name}-{self.tokens / 1e6:.2f}M{unique}{seed}"  # type: ignore[union-attr]


class LossPoint(NamedTuple):
    """Training loss averaged since the point before, in nats per token.

    A plain tuple: a grid of 100,000 runs has millions of them, and as models they would take four times the memory.
    """

    step: int
    tokens: int
    train_loss: Annotated[float, Field(allow_inf_nan=False)]


class RunPlace(Frozen):
    """Where a scheduler had a run trained. node: its host name; cpu: the processor's name.

    exclusive: whether the whole node was given to the run; None where the scheduler does not tell. beside_cpus: CPUs
    that everything else on the node kept busy meanwhile, on average.
    """

    executor: RemoteExecutor
    node: str
    cpu: str | None = None
    exclusive: bool | None = None
    beside_cpus: NonNegativeFloat | None = None


class TrainingRun(Frozen):
    """One model trained on D tokens. Losses are cross-entropies in nats per token.

    validation_accuracy: share of validation tokens predicted right. train_loss: of the finished model on training text
    that it has seen, as much as `validation_items`. epochs: tokens over the different tokens there were; above 1, text
    was repeated. seconds: of the training loop, trunk included, as a run of its own would take; validation and set-up
    are in `total_seconds`. threads: of its worker. shared: whether others trained beside it, so that its seconds are no
    measure of the machine. diverged_at_step: the last step with a finite loss. place: where it was trained; None for a
    worker of the suite's own machine.
    """

    config: TrainingConfig
    status: RunStatus
    reason: str | None = None
    accounting: Annotated[Accounting | None, AfterValidator(_shared_accounting)] = None
    curve: tuple[LossPoint, ...] = ()
    validation_loss: float | None = None
    validation_accuracy: float | None = None
    validation_items: int | None = None
    train_loss: float | None = None
    bits_per_byte: float | None = None
    epochs: PositiveFloat | None = None
    seconds: NonNegativeFloat | None = None
    total_seconds: NonNegativeFloat | None = None
    threads: PositiveInt | None = None
    shared: bool = False
    diverged_at_step: NonNegativeInt | None = None
    place: RunPlace | None = None

    @property
    def has_own_node(self) -> bool:
        """Whether its seconds can price anything: not on a node that a scheduler may have filled up with others."""
        return self.place is None or self.place.exclusive is True

    @property
    def gap(self) -> float | None:
        """Validation minus training loss, nats per token: what was learned by heart."""
        if self.validation_loss is None or self.train_loss is None:
            return None
        return self.validation_loss - self.train_loss

    @property
    def repeats(self) -> bool:
        """Whether it saw any token twice."""
        return self.epochs is not None and self.epochs > 1


class CorpusFacts(Frozen):
    """The text that a run trained on. identity: name@hash of the tokens, as in `TrainingConfig.corpus`.

    bytes_per_token: of the validation text (1 for bytes; None where tokens are not text). entropy_rate: nats per token
    that no model can go below, for a process that was made to have a known one.
    """

    identity: str
    train_tokens: PositiveInt
    validation_tokens: PositiveInt
    vocab_size: PositiveInt = 256
    tokenizer: str = "bytes"
    documents: PositiveInt
    bytes_per_token: PositiveFloat | None = 1.0
    entropy_rate: PositiveFloat | None = None


class Machine(Frozen):
    """Fingerprint in three tiers. Only `identity` is hashed into `id`; unknown is null, and hashed as null."""

    id: str
    identity: Facts
    context: Facts = {}
    state: Facts = {}

    @property
    def summary(self) -> str:
        """One line for people: 'AMD EPYC, 2 cores, 23.5 GiB, torch 2.13.0', without what is not known."""
        facts = self.identity
        known = (facts.get("cores"), float(facts.get("memory_bytes") or 0) / 2**30, facts.get("torch"))
        written = ("{} cores", "{:.1f} GiB", "torch {}")
        device = facts.get("gpu") or facts.get("cpu") or "unknown device"
        return ", ".join([str(device), *(text.format(fact) for text, fact in zip(written, known, strict=True) if fact)])


class GemmRate(Frozen):
    """FLOP/s of one matrix product (m, k) × (k, n) on random data."""

    device: Literal["cpu", "cuda"]
    dtype: Dtype
    m: PositiveInt
    n: PositiveInt
    k: PositiveInt
    flops_per_s: Estimate


class Ceilings(Frozen):
    """What the machine reached in this run on kernels that do nothing else: the denominators of MFU and bandwidth.

    gemm_flops_per_s: by 'device/dtype', the best product of the sweep; gemm_sweep: all of them, the shapes of the
    campaign's own models among them. triad_bytes_per_s: by device, STREAM triad over arrays past the last-level cache
    (McCalpin 1995), bytes read and written; triad_array_bytes: of its three arrays together.
    """

    gemm_flops_per_s: dict[str, Estimate] = {}
    triad_bytes_per_s: dict[str, Estimate] = {}
    triad_array_bytes: dict[str, int] = {}
    gemm_sweep: tuple[GemmRate, ...] = ()


class CollectiveTime(Frozen):
    """One collective operation on one message size: the slowest rank of each round.

    message_bytes: of the whole tensor, as nccl-tests counts it: what is reduced, gathered into, or scattered from.
    blocks_s: raw samples, by group of processes.
    """

    operation: Collective
    backend: Backend
    device: Literal["cpu", "cuda"]
    world_size: PositiveInt
    n_nodes: PositiveInt = 1
    message_bytes: PositiveInt
    blocks_s: tuple[tuple[float, ...], ...]
    time_s: Estimate

    @property
    def bus_bytes_per_s(self) -> Estimate:
        """Bus bandwidth: what each rank's link carries if data goes round a ring, so that world sizes compare.

        Message over time, times 2(p − 1)/p for all-reduce, (p − 1)/p for the others (nccl-tests, doc/PERFORMANCE.md).
        """
        passes = 2 if self.operation == "all_reduce" else 1
        return self.time_s.inverted(passes * (self.world_size - 1) / self.world_size * self.message_bytes)


class WorkerStarted(Frozen):
    """A worker process as it found itself: what it runs with, and what the machine was doing just then.

    start_s: from its launch to the first order, importing torch included. affinity: CPUs it may use (None where the
    system does not tell). environment: variables that move times, where they are set. rank: its place in a group.
    """

    kind: Literal["worker"] = "worker"
    purpose: Purpose
    index: int
    start_s: float | None = None
    threads: int
    affinity: tuple[int, ...] | None = None
    environment: dict[str, str] = {}
    state: Facts = {}
    rank: NonNegativeInt | None = None


class Settings(Frozen):
    """Every effective value of a run. stated_power_w: what a user says the device draws; only `estimated_j` uses it.

    executor, executor_options: who trained the grid, and how it was asked for.
    """

    budget_s: PositiveFloat
    device: Literal["cpu", "cuda"]
    seed: int
    n_blocks: int
    threads: int
    affinity: tuple[int, ...] | None = None
    environment: dict[str, str] = {}
    stated_power_w: PositiveFloat | None = None
    selection: str | None = None
    executor: ExecutorName = "local"
    executor_options: dict[str, str] = {}


class Suite(Frozen):
    """The one record of a run. See `SCHEMA_VERSION` for the version's history.

    parts: ids of the suites that `scalemark merge --join` made this one of; none for a suite that was run.
    """

    schema_version: int = SCHEMA_VERSION
    scalemark_version: str
    id: str
    created: str
    commit: str | None = None
    machine: Machine
    settings: Settings
    corpus: CorpusFacts | None = None
    ceilings: Ceilings = Ceilings()
    cells: tuple[Cell, ...] = ()
    collectives: tuple[CollectiveTime, ...] = ()
    training_runs: tuple[TrainingRun, ...] = ()
    workers: tuple[WorkerStarted, ...] = ()
    warnings: tuple[MeasurementWarning, ...] = ()
    complete: bool = True
    fake: bool = False
    duration_s: NonNegativeFloat | None = None
    parts: tuple[str, ...] = ()

    def frame(self, what: Literal["cells", "training"] = "cells") -> "pd.DataFrame":
        """One row per measured cell, or per finished training run, as a pandas table; empty where there are none.

        cells: phase, model and batch, params (non-embedding), FLOPs and bytes counted, seconds of one round with its
        90 % interval, peak bytes, joules. training: params (non-embedding), tokens, loss (nats per token), and trunk:
        what `scalemark.fit_loss` takes.
        """
        import pandas as pd

        if what == "cells":
            return pd.DataFrame([_cell_row(cell) for cell in self.cells if cell.status == "ok"])
        runs = [run for run in self.training_runs if run.status == "ok"]
        trunks: dict[str, int] = {}
        return pd.DataFrame([_run_row(run, trunks.setdefault(run.config.trunk, len(trunks) + 1)) for run in runs])


def _cell_row(cell: Cell) -> dict[str, object]:
    work, counted, time_s = cell.workload, cell.accounting, cell.typical_s
    return {
        "key": work.key,
        "phase": work.phase,
        "dtype": work.dtype,
        "plain": work.is_plain_step,
        "options": "+".join(work.options),
        "batch": work.batch,
        "seq_len": work.seq_len,
        "width": work.model.d_model if work.model else None,
        "depth": work.model.n_layer if work.model else None,
        "params": counted.params_non_embedding if counted else None,
        "model_flops": counted.flops.model_flops(work.phase) if counted else None,
        "activation_bytes": counted.activation_bytes if counted else None,
        "seconds": time_s.value if time_s else None,
        "seconds_low": time_s.low if time_s else None,
        "seconds_high": time_s.high if time_s else None,
        "peak_bytes": cell.memory.allocated_bytes if cell.memory else None,
        "joules": cell.energy.joules_per_round.value if cell.energy and cell.energy.joules_per_round else None,
    }


def _run_row(run: TrainingRun, trunk: int) -> dict[str, object]:
    return {
        "key": run.config.key,
        "params": run.accounting.params_non_embedding if run.accounting and run.config.model else None,
        "tokens": run.config.tokens,
        "loss": run.validation_loss,
        "accuracy": run.validation_accuracy,
        "epochs": run.epochs,
        "unique_tokens": run.config.tokens / run.epochs if run.epochs else None,
        "trunk": trunk,
        "seconds": run.seconds,
    }


class Parameter(Frozen):
    """One fitted parameter: what it means, its unit, and its interval."""

    name: str
    estimate: Estimate
    unit: str
    meaning: str
    identified: bool = True


class Range(Frozen):
    """From the smallest to the largest value that a law was fitted to."""

    low: float
    high: float


class HiddenRow(Frozen):
    """A measurement that was hidden from a fit, and what was predicted for it. row: its number, from 1."""

    row: PositiveInt
    measured: float
    predicted: float
    low: float
    high: float


class Holdout(Frozen):
    """The largest measurements were hidden, the law refitted, and these predicted. errors: predicted/measured − 1.

    above: the largest value of the variable that was kept. reach: the largest hidden one over it. rivals: errors of
    simpler laws that were fitted to the same rows and predicted the same ones. rows: one for each error, numbered as
    the law's residuals are.
    """

    variable: str
    above: float
    errors: tuple[float, ...]
    covered: int
    reach: PositiveFloat | None = None
    rivals: dict[str, tuple[float, ...]] = {}
    rows: tuple[HiddenRow, ...] = ()


class Law(Frozen):
    """A fitted function with its parameters, domain and diagnostics.

    domain: fitted range by variable. coefficients: what the law is evaluated with, in its form's own terms; draws: one
    row of such coefficients per bootstrap replicate. `parameters` say the same to people. residuals:
    predicted/measured − 1. residual_sd: standard deviation of the log residuals, corrected for the parameters spent.
    """

    kind: LawKind
    form: str
    unit: str
    subject: str
    parameters: tuple[Parameter, ...]
    domain: dict[str, Range]
    n: int
    residuals: tuple[float, ...]
    residual_sd: float = 0.0
    coefficients: tuple[float, ...] = ()
    draws: Annotated[tuple[tuple[float, ...], ...], Field(repr=False)] = ()
    status: Literal["ok", "not_identified"] = "ok"
    notes: tuple[str, ...] = ()
    holdout: Holdout | None = None


class Objective(Frozen):
    """What a fit minimised, and what it came to. delta: of a Huber loss, where it turns from squares to lines."""

    name: str
    delta: PositiveFloat | None = None
    value: float


class HiddenRows(Frozen):
    """How well a law foretold what was hidden from it.

    mape: mean absolute error, 0.01 reads '1 %'. coverage: share of the rows inside their 90 % intervals. variable,
    above and reach: as in `Holdout`. rivals: the mape of simpler laws on the same rows.
    """

    n: PositiveInt
    n_kept: PositiveInt
    mape: float
    coverage: float
    variable: str
    above: float
    reach: PositiveFloat
    rows: tuple[HiddenRow, ...]
    rivals: dict[str, float] = {}


class Bootstrap(Frozen):
    """Refits to rows drawn with replacement. unconverged: those that were not at rest when their steps were over."""

    replicates: int
    seconds: NonNegativeFloat
    unconverged: int = 0


class FormScore(Frozen):
    """A form beside others. aicc: corrected criterion of Akaike, lower is better. mape: error on the hidden rows."""

    form: str
    objective: float
    aicc: float | None = None
    mape: float | None = None


class AllocationFound(Frozen):
    """The exponent a of N ∝ C^a in one way. how: a form, an approach or a choice of convention; reason: why none."""

    how: str
    allocation: Estimate | None = None
    optimal_params: float | None = None
    reason: str | None = None


class UsefulRun(Frozen):
    """A further run, and by what share it would narrow the standard error of a prediction at ten times the compute."""

    params: float
    tokens: float
    compute_flops: float
    narrowing: float


class FitResult(Frozen):
    """All that a fit to a table says, for a file and for people; numbers at full precision.

    status: how the solver ended, or 'not_identified' where the rows leave a parameter open. identified: per parameter.
    allocation: exponent a of the compute-optimal size, N ∝ C^a. reached: share of the starts that ended at the best
    objective. steepness: of the objective there, free of units (see `scalemark.fit.solver.Solution`). verdicts: what
    the rows tell of each parameter, from profile likelihoods. condition: of the scaled curvature. checks: a by other
    approaches; conventions: a, and the optimal size at ten times the compute, under other choices of convention.
    next_run: the run that would tell most for its compute.
    """

    kind: LawKind
    form: str
    formula: str
    params: dict[str, Estimate]
    identified: dict[str, bool]
    objective: Objective
    n: PositiveInt
    dropped: int = 0
    status: str
    steepness: float | None = None
    reached: float | None = None
    allocation: Estimate | None = None
    bootstrap: Bootstrap
    holdout: HiddenRows | None = None
    residual_sd: float
    condition: float | None = None
    verdicts: dict[str, str] = {}
    forms: tuple[FormScore, ...] = ()
    checks: tuple[AllocationFound, ...] = ()
    conventions: tuple[AllocationFound, ...] = ()
    next_run: UsefulRun | None = None
    notes: tuple[str, ...] = ()
    source: str | None = None
    data_sha256: str | None = None


class WorseWithSize(Frozen):
    """A model that did worse than a smaller one on the same text, as often seen. Losses in nats per token.

    gap: validation minus training loss of the larger model; None where the training loss was not taken.
    """

    unique_tokens: int
    tokens: int
    epochs: float
    params: int
    loss: float
    smaller_params: int
    smaller_loss: float
    gap: float | None = None

    @property
    def excess(self) -> float:
        """Loss over that of the smaller model, less 1: 0.02 reads '2 % worse'."""
        return self.loss / self.smaller_loss - 1


class RepeatedText(Frozen):
    """What runs that saw text more than once tell. errors: how far each law misses them, mean absolute and relative.

    The laws are refitted without the trunk that they predict. Empty where that was not possible.
    """

    n_runs: int
    errors: dict[Literal["discounted", "all_new", "fitted_to_all"], float] = {}
    worse_with_size: tuple[WorseWithSize, ...] = ()


class CurvePoint(Frozen):
    """A law at one place. extrapolation: distance beyond the fitted range, 1 inside it."""

    x: float
    y: Estimate
    extrapolation: float = 1.0


class TermTime(Frozen):
    """What one term of a step time law takes of one step.

    Where terms overlap it is the size of the term times the derivative of the whole by it: what is hidden behind
    another term counts little, and all terms add up to the step even so (Euler's theorem on homogeneous functions).
    share: of the law's own time of the step, replicate by replicate, so that no end is above 1.
    """

    name: str
    meaning: str
    seconds: Estimate
    share: Estimate


class TimeSplit(Frozen):
    """Where the time of one step goes by the step time law, and how long it was measured to take.

    measured_s: None for a model that is only priced. extrapolation: as in `PriceTag`.
    """

    model: ModelConfig
    batch: PositiveInt
    seq_len: PositiveInt
    params_non_embedding: int
    measured_s: Estimate | None = None
    terms: tuple[TermTime, ...]
    extrapolation: float

    @property
    def predicted_s(self) -> float:
        """The law's time of the step: all terms together."""
        return sum(term.seconds.value for term in self.terms)


class LossPlace(Frozen):
    """A model size and a number of tokens. extrapolation: how far beyond the trained runs, 1 among them."""

    params: PositiveFloat
    tokens: PositiveFloat
    extrapolation: float = 1.0


class Contour(Frozen):
    """Where the loss law says one loss is reached, from small models to large ones."""

    loss: PositiveFloat
    places: tuple[LossPlace, ...]


class IsoLoss(Frozen):
    """The loss law as a map over parameters (non-embedding) and tokens.

    optimal: the sizes and tokens that reach the lowest loss for their compute, 6·N·D, smallest first.
    """

    contours: tuple[Contour, ...]
    optimal: tuple[LossPlace, ...]


class Residual(Frozen):
    """One measurement beside what its law says of it.

    subject: workload or training run. x: non-embedding parameters, or FLOPs of a training run. predicted: with the
    interval of a new measurement. foretold: what the law said of it when it was hidden, for those that were.
    """

    subject: str
    x: PositiveFloat
    measured: Estimate
    predicted: Estimate
    foretold: Estimate | None = None

    @property
    def ratio(self) -> Estimate:
        """Measured over predicted, with the interval of the measurement."""
        return self.measured.scaled(1 / self.predicted.value)


class Noise(Frozen):
    """How quiet the run was.

    n_rounds: timed, in all cells. tagged: of them, by what disturbed them. half_width: of the cells' times, relative;
    the median with the smallest and the largest. widest: the cell of the largest. references_s: of each kernel that ran
    beside the rounds, its median and what 90 % of its readings lay between. shift: corrected over measured time, the
    median of the cells with the smallest and the largest.
    """

    n_cells: NonNegativeInt
    n_rounds: NonNegativeInt
    tagged: dict[Tag, int] = {}
    half_width: Estimate | None = None
    widest: str | None = None
    references_s: dict[Reference, Estimate] = {}
    shift: Estimate | None = None


class PriceTag(Frozen):
    """What it costs to train one model of a given shape here.

    extrapolation: its non-embedding parameters over the largest fitted. Fields are None where no law reaches.
    """

    model: ModelConfig
    params_total: int
    params_non_embedding: int
    training_tokens: float
    step_s: Estimate | None = None
    tokens_per_s: Estimate | None = None
    training_s: Estimate | None = None
    training_j: Estimate | None = None
    memory_bytes: Estimate | None = None
    fits_memory: bool | None = None
    extrapolation: float


class PlannedTraining(Frozen):
    """One model, how long it is trained, and what that is predicted to cost and to reach.

    tokens: seen in training, text shown again among them; epochs: tokens over the different ones there are. loss:
    validation loss in nats per token. time_s: set-up, all steps and validation, as `TrainingRun.total_seconds`.
    energy_j, usd: None where no law or price tells. regret: loss over the lowest that the same budget reaches, less 1
    (0.01 reads '1 % worse'). loss_extrapolation, cost_extrapolation: how far beyond what either law was fitted to.
    """

    model: ModelConfig
    batch: PositiveInt
    seq_len: PositiveInt
    params_total: PositiveInt
    params_non_embedding: PositiveInt
    tokens: PositiveInt
    n_steps: PositiveInt
    epochs: PositiveFloat | None = None
    loss: Estimate
    time_s: Estimate
    energy_j: Estimate | None = None
    usd: Estimate | None = None
    memory_bytes: Estimate | None = None
    regret: Estimate
    loss_extrapolation: float
    cost_extrapolation: float

    @property
    def extrapolation(self) -> float:
        """The larger of both distances."""
        return max(self.loss_extrapolation, self.cost_extrapolation)

    @property
    def tokens_per_parameter(self) -> float:
        """Of all parameters, as the rule of 20 counts them."""
        return self.tokens / self.params_total


class TrainingPlan(Frozen):
    """What to train for a budget, or what a loss takes.

    amount: of the goal: hours, US dollars, kWh, or nats per token. threads, shared: how the model is priced to be
    trained: on so many threads, beside others or alone. time_to_loss_s: for a goal of a loss, the time after which
    `best`'s shape reaches it; None where one replicate in twenty or more never does. optimal_params: non-embedding
    parameters of the best shape, with the interval over pairs of replicates of both laws. near_optimal: from the
    smallest to the largest size whose loss for the same budget is within `near_optimal_excess` of the best. rule: the
    model with `rule_tokens_per_parameter` for the same budget. front: the best model of other budgets, smallest first.
    """

    suite_id: str
    machine: str
    device: Literal["cpu", "cuda"]
    threads: PositiveInt
    shared: bool
    goal: Goal
    amount: PositiveFloat
    usd_per_hour: PositiveFloat | None = None
    best: PlannedTraining
    time_to_loss_s: Estimate | None = None
    optimal_params: Estimate
    near_optimal: Range
    near_optimal_excess: PositiveFloat
    named: tuple[PlannedTraining, ...] = ()
    rule: PlannedTraining | None = None
    rule_tokens_per_parameter: PositiveFloat
    front: tuple[PlannedTraining, ...] = ()
    memory_limit_bytes: PositiveFloat | None = None
    energy_reason: str | None = None
    notes: tuple[str, ...] = ()


class ScalingRow(Frozen):
    """What a step costs on several ranks.

    step_s: the slowest rank. compute_s: the same without communication. exposed_s: step minus compute, what hiding
    leaves of communication; its interval may reach below 0. communication_s: what the laws say all collectives of a
    step take by themselves. skew: slowest over fastest rank of the compute-only rounds, less 1. weak, strong:
    efficiency against one rank with the same batch for each, or the same in all; None where that was not measured.
    """

    workload: Workload
    step_s: Estimate
    compute_s: Estimate
    exposed_s: Estimate
    communication_s: Estimate | None = None
    skew: Estimate
    weak: Estimate | None = None
    strong: Estimate | None = None
    state_bytes: int | None = None
    replicated_state_bytes: int | None = None


class ScalingForecast(Frozen):
    """A step on more ranks than the laws saw, each with as much to do.

    measured_s: of a world size that was measured and hidden from the laws, what it took; None for the next one.
    """

    workload: Workload
    step_s: Estimate
    weak: Estimate | None = None
    measured_s: Estimate | None = None


class Scaling(Frozen):
    """What steps on several ranks tell: how well they scale, the laws of communication, and the next world size."""

    rows: tuple[ScalingRow, ...] = ()
    laws: tuple[Law, ...] = ()
    forecasts: tuple[ScalingForecast, ...] = ()
    notes: tuple[str, ...] = ()


class Comparison(Frozen):
    """What diff says of one thing. ratio: new over base, for a measured quantity.

    raw_ratio: the same as measured, where what is judged had the machine's slow moments taken out. margin: the change
    that the verdict asks for, 0.05 reads '5 %'.
    """

    subject: str
    metric: str
    base: float | None = None
    new: float | None = None
    ratio: Estimate | None = None
    raw_ratio: Estimate | None = None
    margin: NonNegativeFloat | None = None
    verdict: VerdictName
    reason: str | None = None


class LawPoint(Frozen):
    """Two laws at one place. ratio: new over base, with the band that holds at all places of its law together.

    where: a model (and its tokens). extrapolation: how far beyond what either law was fitted to, 1 inside.
    """

    where: str
    role: Literal["rung", "pivot", "target"]
    base: float
    new: float
    ratio: Estimate
    extrapolation: float = 1.0


class LawDiff(Frozen):
    """Two fits of one law, compared as predictions. The coefficients explain the verdict and do not make it.

    p_worse: how often laws that do not differ by more than the margin would differ so much at some place.
    """

    kind: LawKind
    verdict: VerdictName
    margin: NonNegativeFloat
    p_worse: Annotated[float, Field(ge=0, le=1)] | None = None
    points: tuple[LawPoint, ...] = ()
    explanation: tuple[str, ...] = ()
    reason: str | None = None


class Diff(Frozen):
    """A suite against a baseline. advisory: another machine, so time says nothing of the code.

    verdict: the worst of the comparisons, and of the laws that decide. n_repeats: reruns that the margins come from; 0
    where the baseline stores none.
    """

    base_id: str
    new_id: str
    verdict: VerdictName
    advisory: bool = False
    comparisons: tuple[Comparison, ...] = ()
    laws: tuple[LawDiff, ...] = ()
    differing_fields: tuple[str, ...] = ()
    n_repeats: NonNegativeInt = 0


class AbSide(Frozen):
    """One of two revisions that were measured in turn. revision: as asked for; 'WORKTREE' for files as they lay there.

    commit: what was checked out; of files as they lay there, the commit that they were made into for it.
    """

    name: Literal["base", "head"]
    revision: str
    commit: str


class AbSamples(Frozen):
    """One workload in one pair of processes: seconds of the rounds of each side, visit by visit.

    The two sides visit in turn, in an order drawn anew each time, and the n-th visit of one belongs to the n-th of the
    other. rounds_per_visit: how many consecutive rounds make a visit.
    """

    key: str
    rounds_per_visit: PositiveInt
    base_s: tuple[PositiveFloat, ...]
    head_s: tuple[PositiveFloat, ...]


class AbPair(Frozen):
    """A fresh process of each side, alive at the same time, and what they took. One that was lost has a reason."""

    index: NonNegativeInt
    samples: tuple[AbSamples, ...] = ()
    lost: str | None = None


class AbSettings(Frozen):
    """Every effective value of an A/B run. looks: shares of the time at which it may be decided; alpha: false alarms,
    of both signs together, that all looks and all workloads may cost."""

    budget_s: PositiveFloat
    margin: PositiveFloat
    alpha: PositiveFloat
    looks: tuple[float, ...]
    seed: int
    device: Literal["cpu", "cuda"]
    threads: PositiveInt
    affinity: tuple[int, ...] | None = None
    environment: dict[str, str] = {}


class AbResult(Frozen):
    """Two revisions on one machine: the pairs as measured, and what follows from them.

    diff: exact counters, then times; ratios are head over base, with their 90 % intervals. looks_taken: how many of the
    looks it took to decide, or all of them.
    """

    schema_version: int = SCHEMA_VERSION
    scalemark_version: str
    created: str
    base: AbSide
    head: AbSide
    workloads: tuple[Workload, ...]
    settings: AbSettings
    pairs: tuple[AbPair, ...]
    diff: Diff
    looks_taken: PositiveInt
    duration_s: NonNegativeFloat

    @property
    def times(self) -> tuple[Comparison, ...]:
        """What is said of times alone, without the exact counters."""
        return tuple(comparison for comparison in self.diff.comparisons if comparison.metric == "time_s")


class LossEffect(Frozen):
    """What an option does to the loss of a few first steps, in nats per token.

    difference: with the option less without, mean over seeds, with Student's interval. spread: standard deviation of
    the loss without it from seed to seed. n_steps: of each run.
    """

    difference: Estimate
    spread: NonNegativeFloat
    n_seeds: PositiveInt
    n_steps: PositiveInt

    @property
    def verdict(self) -> Literal["identical", "none", "higher", "lower", "unclear"]:
        """'none' claims that whatever effect the interval allows is smaller than what another seed does."""
        low, high = self.difference.low, self.difference.high
        if low == high == 0:
            return "identical"
        if max(-low, high) < self.spread:
            return "none"
        return "higher" if low > 0 else "lower" if high < 0 else "unclear"


class WhatIf(Frozen):
    """One option of a whole step beside the same step without it; ratios are with the option over without.

    time_ratio: paired by block. joint_ratio: the same, with the interval that holds for all options of the step at once
    (Bonferroni), since of many options one seems faster by chance. memory_ratio: of the peaks of the allocator. Each is
    None where not measured on both sides; reason: why the option has no time.
    """

    workload: Workload
    base: Workload
    time_ratio: Estimate | None = None
    joint_ratio: Estimate | None = None
    n_blocks: NonNegativeInt = 0
    memory_ratio: PositiveFloat | None = None
    loss: LossEffect | None = None
    reason: str | None = None


class Analysis(Frozen):
    """Everything a report says: the suite and what was derived from it. The report draws this and computes nothing.

    curves: by law kind, the law with its band over its domain and beyond. term_curves: the same for each term of the
    step time law. splits: where a step's time goes, smallest model first. residuals: by law kind. missing_plans: by
    budget ('24 h'), why there is no plan for it.
    """

    suite: Suite
    laws: tuple[Law, ...] = ()
    missing_laws: dict[LawKind, str] = {}
    curves: dict[LawKind, tuple[CurvePoint, ...]] = {}
    term_curves: dict[str, tuple[CurvePoint, ...]] = {}
    prices: tuple[PriceTag, ...] = ()
    splits: tuple[TimeSplit, ...] = ()
    isoloss: IsoLoss | None = None
    plans: tuple[TrainingPlan, ...] = ()
    missing_plans: dict[str, str] = {}
    residuals: dict[LawKind, tuple[Residual, ...]] = {}
    noise: Noise | None = None
    what_ifs: tuple[WhatIf, ...] = ()
    repeated: RepeatedText | None = None
    scaling: Scaling | None = None
    diff: Diff | None = None
    no_diff_reason: str | None = None

    def law(self, kind: LawKind) -> Law | None:
        """The law of this kind, if one could be fitted."""
        return next((law for law in self.laws if law.kind == kind), None)


# Many suites: what was found on disk, and how a machine's numbers moved from suite to suite.


class PassedOver(Frozen):
    """A file, or a line of one, that holds no suite, and why."""

    place: str
    reason: str


class HistorySuite(Frozen):
    """One suite among others of its machine. notes: what a reader must know: interrupted, noisy, made up."""

    id: str
    created: str
    commit: str | None = None
    place: str
    notes: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """Seven digits of the commit where it is known, as git shortens it, or the suite's id."""
        return self.commit[:7] if self.commit else self.id


class Level(Frozen):
    """What a series was about (a geometric mean) from one suite on. first: that suite's index."""

    first: NonNegativeInt
    value: float


class HistorySeries(Frozen):
    """One quantity over the suites of a machine, in columns beside `MachineHistory.suites`; None where it is missing.

    metric: seconds of a step, bytes of its peak memory, or a coefficient of the law of step time, as a rate where it is
    one. exact: the same in every run of the same code, so that any difference is a change. absent: by the suite's
    index, why a cell that took part has no value. levels: between change points. scatter: standard deviation of the
    logarithms about their levels.
    """

    subject: str
    label: str
    metric: Literal["time_s", "memory_bytes", "coefficient"]
    unit: str
    exact: bool = False
    values: tuple[float | None, ...]
    lows: tuple[float | None, ...]
    highs: tuple[float | None, ...]
    absent: dict[int, str] = {}
    levels: tuple[Level, ...] = ()
    scatter: NonNegativeFloat | None = None


class Move(Frozen):
    """A series whose level changed. series: its index. ratio: new level over old."""

    series: NonNegativeInt
    ratio: Estimate


class ChangePoint(Frozen):
    """Where something changed for good. index: of the first suite after it."""

    index: PositiveInt
    moves: tuple[Move, ...]


class ContextChange(Frozen):
    """A fact of the machine that is no part of its identity and that differs from the suite before: a driver, say."""

    index: PositiveInt
    fact: str
    before: str | int | float | None
    after: str | int | float | None


class MachineHistory(Frozen):
    """All suites of one machine, oldest first, with what moved. Machines are never mixed.

    succeeds: the machine of the same hardware that was seen before this one, and which facts differ. law_form: of the
    coefficients; n_laws: suites that they were fitted to, no_law_reason: why to none. duplicates: suites found again.
    """

    machine: Machine
    suites: tuple[HistorySuite, ...]
    series: tuple[HistorySeries, ...] = ()
    changes: tuple[ChangePoint, ...] = ()
    context_changes: tuple[ContextChange, ...] = ()
    succeeds: str | None = None
    law_form: str | None = None
    n_laws: NonNegativeInt = 0
    no_law_reason: str | None = None
    duplicates: NonNegativeInt = 0


class History(Frozen):
    """What a folder of suites tells, by machine. false_alarms: share of histories without a change that have a mark."""

    machines: tuple[MachineHistory, ...]
    passed_over: tuple[PassedOver, ...] = ()
    false_alarms: float


class Contender(Frozen):
    """One of several suites side by side, under the name that a reader gave it.

    dtype, optimizer, compiled: which of its training steps take part; laws and curves are of these. usd_per_hour: what
    a reader says that it costs. laws, missing_laws, curves: as in `Analysis`.
    """

    name: str
    suite: Suite
    dtype: Dtype = "float32"
    optimizer: Optimizer = "adamw"
    compiled: bool = False
    usd_per_hour: PositiveFloat | None = None
    laws: tuple[Law, ...] = ()
    missing_laws: dict[LawKind, str] = {}
    curves: dict[LawKind, tuple[CurvePoint, ...]] = {}

    def law(self, kind: LawKind) -> Law | None:
        """The law of this kind, if one could be fitted."""
        return next((law for law in self.laws if law.kind == kind), None)


class ContenderStep(Frozen):
    """One training step of one shape on one contender; None is not known.

    measured: or predicted by the contender's laws, `extrapolation` times beyond what they were fitted to. speedup: time
    of the first contender over this one's, 2 reads 'twice as fast'; None for the first itself. usd: what the reader's
    price per hour makes of the time. fits_memory: whether the contender has that much.
    """

    contender: str
    measured: bool
    extrapolation: float = 1.0
    seconds: Estimate
    speedup: Estimate | None = None
    memory_bytes: Estimate | None = None
    fits_memory: bool | None = None
    joules: Estimate | None = None
    usd: Estimate | None = None


class ShapeCompared(Frozen):
    """One model and batch on every contender that has it, in their order.

    items: tokens of a step (samples, for a user's task). on_line: whether it is one of the growing models that lines of
    laws are drawn along. training_tokens: that a whole training of it is priced for; None where it is not.
    """

    name: str
    batch: PositiveInt | None = None
    seq_len: PositiveInt | None = None
    params_total: int
    params_non_embedding: int
    items: PositiveInt
    on_line: bool = False
    training_tokens: PositiveFloat | None = None
    steps: tuple[ContenderStep, ...]

    def step(self, contender: str) -> ContenderStep | None:
        """That of one contender."""
        return next((step for step in self.steps if step.contender == contender), None)


class Crossover(Frozen):
    """The size at which two laws cross: below it one contender is faster (or cheaper), above it the other.

    params: non-embedding; low, high: 90 % interval over draws of both laws. An end is None where more than 5 % of the
    draws cross beyond the sizes that both laws were asked at, or nowhere. extrapolation: of the farther law there.
    """

    below: str
    above: str
    params: PositiveFloat
    low: PositiveFloat | None
    high: PositiveFloat | None
    extrapolation: float = 1.0

    @property
    def is_told(self) -> bool:
        """Whether it has an interval with an end at all: two laws that are one cross anywhere."""
        return self.low is not None or self.high is not None


class BestRange(Frozen):
    """Between these sizes (non-embedding parameters) this contender is the fastest, or the cheapest, by the laws.

    share: of the draws in which it is so at all of them, 0.98 reads 'nearly sure'. extrapolation: at the far end.
    """

    contender: str
    params: Range
    share: Annotated[float, Field(ge=0, le=1)]
    extrapolation: float = 1.0


class CoefficientCompared(Frozen):
    """One term of the law of step time on every contender, fitted in one form. None: the contender has no law.

    ratios: over the first contender's; None where either does not tell it. seconds: what the term takes of one step of
    a shape, as in `TermTime`; None for a power, which takes nothing.
    """

    meaning: str
    parameters: tuple[Parameter | None, ...]
    ratios: tuple[Estimate | None, ...]
    seconds: tuple[Estimate | None, ...]


class LossCompared(Frozen):
    """One training configuration and the validation loss (nats per token) that each contender reached with it."""

    model: str
    params_non_embedding: int
    tokens: PositiveInt
    losses: tuple[float | None, ...]

    @property
    def spread(self) -> float:
        """Largest over smallest, less 1: 0.01 reads 'they differ by 1 %'."""
        known = [loss for loss in self.losses if loss is not None]
        return max(known) / min(known) - 1


class NotCompared(Frozen):
    """What could not be compared, or not on equal terms. fields: what differs, as 'name: value, value'."""

    what: str
    fields: tuple[str, ...] = ()
    reason: str


class SuiteComparison(Frozen):
    """Several suites side by side: machines, torch versions, dtypes, commits. The report draws it and computes nothing.

    speedups: by contender, the speed-up over the first that the laws say, along one growing model. usd: by contender,
    US dollars per million tokens along it. fastest, cheapest: who is, by size; crossovers, price_crossovers: between
    neighbours there. common_form: of the laws whose coefficients stand side by side; cause_shape: the model that
    `CoefficientCompared.seconds` are of.
    """

    contenders: tuple[Contender, ...]
    shapes: tuple[ShapeCompared, ...] = ()
    speedups: dict[str, tuple[CurvePoint, ...]] = {}
    usd: dict[str, tuple[CurvePoint, ...]] = {}
    fastest: tuple[BestRange, ...] = ()
    crossovers: tuple[Crossover, ...] = ()
    cheapest: tuple[BestRange, ...] = ()
    price_crossovers: tuple[Crossover, ...] = ()
    common_form: str | None = None
    cause_shape: str | None = None
    coefficients: tuple[CoefficientCompared, ...] = ()
    losses: tuple[LossCompared, ...] = ()
    not_compared: tuple[NotCompared, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """Of the contenders, in their order."""
        return tuple(contender.name for contender in self.contenders)


# The journal: what a run appends as it happens. The suite is derived from these, so a crash loses one entry.


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
