"""Many suites: what was found on disk, and how a machine's numbers moved from suite to suite."""

from typing import Literal

from pydantic import NonNegativeFloat, NonNegativeInt, PositiveInt

from scalemark.schema.basics import Estimate, Frozen
from scalemark.schema.suite import Machine


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
