"""What a suite says against a base."""

from typing import Annotated, Literal

from pydantic import Field, NonNegativeFloat, NonNegativeInt

from scalemark.schema.basics import Estimate, Frozen, LawKind, VerdictName


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
