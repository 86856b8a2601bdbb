"""Laws of cost and loss, how they were fitted, and how far they can be trusted."""

from typing import Annotated, Literal

from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt

from scalemark.schema.basics import Estimate, Frozen, LawKind


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
