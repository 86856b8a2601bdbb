"""What is measured: a model, a phase and how it runs, and what can be counted of it beforehand."""

from pathlib import PurePath
from typing import Literal, Self

from pydantic import NonNegativeFloat, PositiveInt, model_validator

from scalemark.schema.basics import AttentionBackend, Dtype, Frozen, Optimizer, OptimizerKernels, Parallelism, Phase


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
