"""Everything that follows from one suite: laws, curves, prices, what-ifs, scaling over ranks."""

from typing import Literal

from pydantic import NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt

from scalemark.schema.basics import Estimate, Frozen, LawKind, Reference, Tag
from scalemark.schema.diff import Diff
from scalemark.schema.law import Law, RepeatedText
from scalemark.schema.plan import PriceTag, TrainingPlan
from scalemark.schema.suite import Suite
from scalemark.schema.workload import ModelConfig, Workload


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
