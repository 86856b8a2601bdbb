"""What is asked of whoever trains. A job holds all that it needs, so any worker on any machine can do it. No torch."""

from typing import TYPE_CHECKING, Literal, Self

from scalemark.schema import Frozen, TrainingConfig

if TYPE_CHECKING:
    from scalemark.train.corpus import Corpus

VALIDATION_WINDOWS = 1024
# Fewer tell the gap between the losses well enough: no law is fitted to the training loss.
TRAIN_WINDOWS = 256


class TokenFiles(Frozen):
    """Where the tokens are: flat files of unsigned integers of `dtype`.

    bytes_per_token: of the validation text; None where tokens are not text. identity: name@hash of the tokens, by which
    another machine knows them; tokenizer: the hash covers its name.
    """

    train_path: str
    validation_path: str
    dtype: Literal["uint8", "uint16", "uint32"] = "uint8"
    bytes_per_token: float | None = 1.0
    identity: str | None = None
    tokenizer: str = "bytes"

    @classmethod
    def of(cls, corpus: "Corpus") -> Self:
        """Of a prepared corpus, wherever the job will run from."""
        return cls(
            train_path=str(corpus.train_path.resolve()),
            validation_path=str(corpus.validation_path.resolve()),
            dtype=corpus.dtype,
            bytes_per_token=corpus.facts.bytes_per_token,
            identity=corpus.identity,
            tokenizer=corpus.facts.tokenizer,
        )


class RunOrder(Frozen):
    """Train this, if the time that is left holds it. expected_s: what it adds to the runs of its trunk before it."""

    config: TrainingConfig
    expected_s: float

    @property
    def key(self) -> str:
        """What the worker says when it begins on it."""
        return self.config.key


class TrunkJob(Frozen):
    """The runs of one trunk (or of several, one trunk after the other), fewest tokens first, and how they are trained.

    budget_s: seconds from its start after which no run is begun. checkpoints: the folder that states are kept in; None
    where an interrupted run is not to go on. shared: whether other jobs run beside it on the machine.
    validation_windows: of `seq_len` tokens each.
    """

    orders: tuple[RunOrder, ...]
    files: TokenFiles
    device: Literal["cpu", "cuda"] = "cpu"
    threads: int = 1
    affinity: tuple[int, ...] | None = None
    budget_s: float
    checkpoints: str | None = None
    shared: bool = False
    validation_windows: int = VALIDATION_WINDOWS

    @property
    def key(self) -> str:
        """Of the first trunk."""
        return self.orders[0].config.trunk

    @property
    def expected_s(self) -> float:
        return sum(order.expected_s for order in self.orders)
