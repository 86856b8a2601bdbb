"""Several suites side by side."""

from typing import Annotated

from pydantic import Field, PositiveFloat, PositiveInt

from scalemark.schema.analysis import CurvePoint
from scalemark.schema.basics import Dtype, Estimate, Frozen, LawKind, Optimizer
from scalemark.schema.law import Law, Parameter, Range
from scalemark.schema.suite import Suite


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
