"""One training run: what it is, where it ran, and what it reached."""

import json
from functools import lru_cache
from hashlib import sha256
from typing import Annotated, Literal, NamedTuple

from pydantic import AfterValidator, Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt

from scalemark.schema.basics import Dtype, Frozen, Optimizer, RemoteExecutor, RunStatus
from scalemark.schema.workload import Accounting, ModelConfig, TaskRef

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
