"""Two revisions measured in turn."""

from typing import Literal

from pydantic import NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt

from scalemark.schema.basics import SCHEMA_VERSION, Frozen
from scalemark.schema.diff import Comparison, Diff
from scalemark.schema.workload import Workload


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
