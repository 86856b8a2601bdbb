"""How the numbers of each machine moved from suite to suite, and where they changed for good. No torch.

    paths ─> read_views  ─> _Log per machine ─> series ─> find_changes ─> History ─> report

The joint between record, fit and report. One pass over the files; of a suite a few hundred numbers are kept.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import pairwise
from math import log
from pathlib import Path
from statistics import median
from sys import intern
from typing import Literal, NamedTuple

import numpy as np

from scalemark.analysis import ceilings_as_limits
from scalemark.errors import FitError, SchemaError, StoreError
from scalemark.fit.changes import FALSE_ALARMS, Change, find_changes
from scalemark.fit.cost.coefficients import coefficient_units, time_coefficients
from scalemark.fit.cost_law import Limits, fit_time_law
from scalemark.model.ladder import BATCH, SEQ_LEN
from scalemark.record.baseline import creation_time
from scalemark.record.collection import Place, read_views
from scalemark.record.glance import CellGlance, SuiteGlance, as_cell, parse_glance
from scalemark.schema import (
    Accounting,
    Cell,
    ChangePoint,
    ContextChange,
    Estimate,
    Facts,
    History,
    HistorySeries,
    HistorySuite,
    Law,
    Level,
    Machine,
    MachineHistory,
    Move,
    PassedOver,
    Reference,
    Workload,
)

# A law of one suite takes about a tenth of a second.
MOST_LAWS = 400
# Suites whose intervals are so many times as wide as usual are called noisy.
NOISY_RATIO = 3.0
# Differs by a few pages from one start of a virtual machine to the next.
_UNSTEADY_FACTS = {"memory_total_bytes"}
_LAW_ATTEMPTS = 5


class Span(NamedTuple):
    """An estimate without the weight of a model: ten thousand suites have hundreds of thousands."""

    value: float
    low: float
    high: float

    def scaled(self, factor: float) -> "Span":
        return Span(self.value * factor, self.low * factor, self.high * factor)

    def as_estimate(self) -> Estimate:
        return Estimate(value=self.value, low=self.low, high=self.high)


@dataclass(frozen=True, slots=True)
class _Time:
    """A step's time as measured, and corrected, with how far it follows each reference kernel."""

    raw: Span
    corrected: Span | None
    coefficients: Mapping[Reference, float]

    def at(self, before_s: Mapping[Reference, float], shared_s: Mapping[Reference, float]) -> Span:
        """The corrected time at a moment when the kernels take `shared_s` and not `before_s`."""
        assert self.corrected is not None
        kernels = self.coefficients.keys() & before_s.keys() & shared_s.keys()
        exponent = sum(self.coefficients[kernel] * log(shared_s[kernel] / before_s[kernel]) for kernel in kernels)
        return self.corrected.scaled(float(np.exp(exponent)))


@dataclass(frozen=True, slots=True)
class _Record:
    """What is kept of one suite; the dictionaries are by the key of a workload."""

    id: str
    created: datetime
    created_text: str
    commit: str | None
    place: str
    marks: tuple[str, ...]
    seed: int
    device: str
    limits: Limits
    context: Facts
    references_s: Mapping[Reference, float]
    times: Mapping[str, _Time]
    allocated_bytes: Mapping[str, int]
    resident_bytes: Mapping[str, int]
    absent: Mapping[str, str]
    width: float | None


@dataclass
class _Log:
    """The suites of one machine, as they come."""

    machine: Machine
    records: dict[tuple[str, str], _Record] = field(default_factory=dict)
    workloads: dict[str, tuple[Workload, Accounting | None]] = field(default_factory=dict)
    duplicates: int = 0

    def add(self, place: Place, suite: SuiteGlance) -> None:
        """Keep what a history needs; a suite that was seen already, here or elsewhere, is counted."""
        identity = (suite.id, suite.created)
        if identity in self.records:
            self.duplicates += 1
            return
        self.machine = suite.machine
        self.records[identity] = self._record(place, suite)

    def _record(self, place: Place, suite: SuiteGlance) -> _Record:
        steps = {intern(cell.workload.key): cell for cell in suite.cells if cell.workload.phase == "step"}
        for key, cell in steps.items():
            if key not in self.workloads or self.workloads[key][1] is None:
                self.workloads[key] = cell.workload, cell.accounting
        times = {key: _time(cell) for key, cell in steps.items() if cell.status == "ok" and cell.time_s}
        control = next((cell.control for cell in steps.values() if cell.control), None)
        peaks = {key: cell.memory for key, cell in steps.items() if cell.status == "ok" and cell.memory}
        widths = [time.raw.high / time.raw.low for time in times.values()]
        return _Record(
            id=suite.id,
            created=creation_time(suite),
            created_text=suite.created,
            commit=suite.commit,
            place=str(place),
            marks=tuple(word for word, holds in (("interrupted", not suite.complete), ("fake", suite.fake)) if holds),
            seed=suite.settings.seed,
            device=suite.settings.device,
            limits=ceilings_as_limits(suite),
            context=self._shared(suite.machine.context),
            references_s=dict(control.references_s) if control else {},
            times=times,
            allocated_bytes={key: one.allocated_bytes for key, one in peaks.items() if one.allocated_bytes},
            resident_bytes={key: one.resident_bytes for key, one in peaks.items() if one.resident_bytes},
            absent={key: _why_absent(cell) for key, cell in steps.items() if key not in times},
            width=log(median(widths)) if widths else None,
        )

    def _shared(self, context: Facts) -> Facts:
        """One object for facts that did not change since the suite before."""
        last = next(reversed(self.records.values()), None)
        return last.context if last and last.context == context else context

    @property
    def ordered(self) -> list[_Record]:
        """By the time at which they were measured."""
        return sorted(self.records.values(), key=lambda record: (record.created, record.id))


def _time(cell: CellGlance) -> _Time:
    assert cell.time_s is not None
    corrected = _span(cell.corrected_s) if cell.corrected_s and cell.control else None
    return _Time(_span(cell.time_s), corrected, dict(cell.control.coefficients) if corrected and cell.control else {})


def _span(estimate: Estimate) -> Span:
    return Span(estimate.value, estimate.low, estimate.high)


def _why_absent(cell: CellGlance) -> str:
    return f"{cell.status}: {cell.reason}" if cell.reason else cell.status


def read_history(paths: Sequence[Path], seed: int = 0) -> History:
    """All suites of these files, collections and folders, by machine.

    What lies in a folder and is no suite is passed over, with its reason. Raises StoreError where nothing is left, or
    where a file that was named cannot be read.
    """
    passed_over: list[PassedOver] = []
    logs: dict[str, _Log] = {}
    for place, suite in read_views(paths, passed_over, parse_glance):
        try:
            logs.setdefault(suite.machine.id, _Log(suite.machine)).add(place, suite)
        except SchemaError as error:
            passed_over.append(PassedOver(place=str(place), reason=str(error)))
    kept = [log for log in logs.values() if log.records]
    if not kept:
        found = f", and {len(passed_over)} files that are none, as {passed_over[0].reason}" if passed_over else ""
        raise StoreError(f"there is no suite in {', '.join(map(str, paths))}{found}: run `pytest bench/` to make one")
    kept.sort(key=lambda log: log.ordered[0].created)
    machines = [_machine_history(log, kept[:index], seed) for index, log in enumerate(kept)]
    return History(machines=tuple(machines), passed_over=tuple(passed_over), false_alarms=FALSE_ALARMS)


def _machine_history(log: _Log, earlier: Sequence[_Log], seed: int) -> MachineHistory:
    records = log.ordered
    times = _times(log, records)
    laws = _coefficients(log, records, times)
    series = [*_time_series(log, records, times), *_memory_series(log, records), *laws.series]
    changes = find_changes(_logarithms(series, len(records)), [one.exact for one in series], seed=seed)
    return MachineHistory(
        machine=log.machine,
        suites=tuple(_suites(records)),
        series=tuple(_with_levels(one, index, changes) for index, one in enumerate(series)),
        changes=tuple(
            ChangePoint(
                index=change.index, moves=tuple(Move(series=one.series, ratio=one.ratio) for one in change.moved)
            )
            for change in changes
        ),
        context_changes=tuple(_context_changes(records)),
        succeeds=_succeeds(log.machine, [other.machine for other in earlier]),
        law_form=laws.form,
        n_laws=laws.count,
        no_law_reason=laws.reason,
        duplicates=log.duplicates,
    )


def _suites(records: Sequence[_Record]) -> Iterator[HistorySuite]:
    """With a note where the intervals are far wider than those of its neighbours."""
    usual = median([record.width for record in records if record.width is not None] or [0.0])
    for record in records:
        ratio = record.width / usual if record.width and usual else 1.0
        notes = [*record.marks, *([f"noisy: intervals {ratio:.1f} times as wide as usual"] * (ratio > NOISY_RATIO))]
        yield HistorySuite(
            id=record.id, created=record.created_text, commit=record.commit, place=record.place, notes=tuple(notes)
        )


# --- series -----------------------------------------------------------------------------------------------------------

_Columns = dict[str, list[Span | None]]


def _times(log: _Log, records: Sequence[_Record]) -> _Columns:
    """By workload, the time of each suite: corrected to one moment of the reference kernels where all of them are."""
    shared_s = _typical_references_s(records)
    found: _Columns = {}
    for key in _by_size(log):
        column = [(record, record.times.get(key)) for record in records]
        corrects = all(time.corrected for _, time in column if time)
        if any(time for _, time in column):
            found[key] = [
                None if time is None else time.at(record.references_s, shared_s) if corrects else time.raw
                for record, time in column
            ]
    return found


def _typical_references_s(records: Sequence[_Record]) -> dict[Reference, float]:
    kernels = {kernel for record in records for kernel in record.references_s}
    return {
        kernel: median(record.references_s[kernel] for record in records if kernel in record.references_s)
        for kernel in sorted(kernels)
    }


def _by_size(log: _Log) -> list[str]:
    def size(key: str) -> tuple[int, str]:
        accounting = log.workloads[key][1]
        return (accounting.params_total if accounting else 0, key)

    return sorted(log.workloads, key=size)


def _time_series(log: _Log, records: Sequence[_Record], times: _Columns) -> Iterator[HistorySeries]:
    for key, column in times.items():
        absent = {index: record.absent[key] for index, record in enumerate(records) if key in record.absent}
        yield _series(key, _label(log.workloads[key][0]), "time_s", "s", column, absent=absent)


def _memory_series(log: _Log, records: Sequence[_Record]) -> Iterator[HistorySeries]:
    """Allocated bytes, which repeat exactly, where any suite has them; of the process otherwise."""
    for key in _by_size(log):
        exact = any(key in record.allocated_bytes for record in records)
        peaks = [(record.allocated_bytes if exact else record.resident_bytes).get(key) for record in records]
        if any(peaks):
            column = [None if peak is None else Span(peak, peak, peak) for peak in peaks]
            yield _series(key, _label(log.workloads[key][0]), "memory_bytes", "bytes", column, exact)


def _series(
    subject: str,
    label: str,
    metric: Literal["time_s", "memory_bytes", "coefficient"],
    unit: str,
    column: Sequence[Span | None],
    exact: bool = False,
    absent: Mapping[int, str] | None = None,
) -> HistorySeries:
    return HistorySeries(
        subject=subject,
        label=label,
        metric=metric,
        unit=unit,
        exact=exact,
        values=tuple(span and span.value for span in column),
        lows=tuple(span and span.low for span in column),
        highs=tuple(span and span.high for span in column),
        absent=dict(absent or {}),
    )


def _label(workload: Workload) -> str:
    """'d4w256', with what departs from the ladder's float32 AdamW step."""
    usual = {"", f"{BATCH}x{SEQ_LEN}", "float32", "adamw", "step"}
    how = str(workload).removeprefix(workload.rung).split("-")
    return "-".join([workload.rung, *(part for part in how if part not in usual)])


def _logarithms(series: Sequence[HistorySeries], n_suites: int) -> np.ndarray:
    """Shape (series, suites), NaN where there is no value."""
    table = [[np.nan if value is None else value for value in one.values] for one in series]
    return np.asarray(np.log(np.array(table, dtype=float).reshape(len(series), n_suites)))


def _with_levels(series: HistorySeries, index: int, changes: Sequence[Change]) -> HistorySeries:
    """With its mean between the changes at which it moved, and its scatter about them."""
    at = [change.index for change in changes if index in {one.series for one in change.moved}]
    values = _logarithms([series], len(series.values))[0]
    levels, left = [], []
    for first, end in zip([0, *at], [*at, len(values)], strict=True):
        part = values[first:end][np.isfinite(values[first:end])]
        if len(part):
            levels.append(Level(first=first, value=float(np.exp(part.mean()))))
            left.append(part - part.mean())
    residuals = np.concatenate(left) if left else np.zeros(0)
    spare = len(residuals) - len(levels)
    scatter = float(np.sqrt(np.sum(residuals**2) / spare)) if spare > 0 else None
    return series.model_copy(update={"levels": tuple(levels), "scatter": scatter})


# --- coefficients of the law of step time -----------------------------------------------------------------------------


@dataclass(frozen=True)
class _Laws:
    """Series of the coefficients, or why there are none."""

    series: tuple[HistorySeries, ...] = ()
    form: str | None = None
    count: int = 0
    reason: str | None = None


def _coefficients(log: _Log, records: Sequence[_Record], times: _Columns) -> _Laws:
    """One form for all suites, that of the newest; of many suites, of some that are spread evenly."""

    def cells(index: int) -> list[Cell]:
        return _plain_cells(log, records[index], {key: column[index] for key, column in times.items()})

    like = _newest_law(records, cells)
    if isinstance(like, str):
        return _Laws(reason=like)
    law, at = like
    names = coefficient_units(law, cells(at))
    columns: _Columns = {name: [None] * len(records) for name in names}
    chosen = _evenly(len(records), MOST_LAWS)
    for index in chosen:
        for name, estimate in _told(cells(index), law, records[index]).items():
            columns[name][index] = _span(estimate)
    series = tuple(
        _series(name, meaning.partition(",")[0].partition(":")[0], "coefficient", unit, columns[name])
        for name, (unit, meaning) in names.items()
        if any(columns[name])
    )
    return _Laws(series, law.form, len(chosen))


def _newest_law(records: Sequence[_Record], cells: Callable[[int], list[Cell]]) -> tuple[Law, int] | str:
    """The newest law with the index of its suite, or why the newest suites have none."""
    reason = "no suite has timed steps"
    for index in list(range(len(records)))[: -_LAW_ATTEMPTS - 1 : -1]:
        try:
            return fit_time_law(cells(index), records[index].seed, records[index].limits), index
        except FitError as error:
            reason = str(error)
    return reason


def _told(cells: Sequence[Cell], law: Law, record: _Record) -> dict[str, Estimate]:
    try:
        return time_coefficients(cells, law, record.limits, record.seed)
    except FitError:
        return {}


def _plain_cells(log: _Log, record: _Record, times: Mapping[str, Span | None]) -> list[Cell]:
    """What cost laws are fitted to: see `analysis.law_cells`."""
    found = []
    for key, span in times.items():
        workload, accounting = log.workloads[key]
        if span and accounting and workload.is_plain_step and workload.device == record.device:
            found.append(as_cell(workload, accounting, span.as_estimate()))
    return found


def _evenly(count: int, most: int) -> list[int]:
    """At most so many indices, the first and the last among them."""
    return sorted({round(place) for place in np.linspace(0, count - 1, min(count, most))})


# --- the machine ------------------------------------------------------------------------------------------------------


def _context_changes(records: Sequence[_Record]) -> Iterator[ContextChange]:
    """Facts that both of two neighbours know and that differ."""
    for index, (before, after) in enumerate(pairwise(records), start=1):
        if before.context is after.context:
            continue
        for fact in sorted(before.context.keys() & after.context.keys() - _UNSTEADY_FACTS):
            if before.context[fact] != after.context[fact]:
                yield ContextChange(index=index, fact=fact, before=before.context[fact], after=after.context[fact])


def _succeeds(machine: Machine, earlier: Sequence[Machine]) -> str | None:
    """'amd-epyc-2c-1a2b3c4d: torch 2.12.0 → 2.13.0', of the last machine whose name differs in its digest alone."""
    same = [other for other in earlier if other.id.rpartition("-")[0] == machine.id.rpartition("-")[0]]
    if not same:
        return None
    before, now = same[-1].identity, machine.identity
    facts = [fact for fact in sorted(before.keys() | now.keys()) if before.get(fact) != now.get(fact)]
    differing = ", ".join(f"{fact} {before.get(fact)} → {now.get(fact)}" for fact in facts)
    return f"{same[-1].id}: {differing or 'its id'}"
