"""The tables of a history: changes, levels, the machine's context, and suites and files to know about."""

from collections.abc import Sequence
from math import exp, log
from statistics import fmean

from scalemark.report.numbers import Formatter, change, interval, parameter_writer
from scalemark.report.sampled import MOST_ROWS, evenly, some_of
from scalemark.report.tables import Column, Table
from scalemark.schema import ChangePoint, History, HistorySeries, MachineHistory, Move
from scalemark.units import MISSING, format_bytes, format_percent, format_seconds

TITLES = {"time_s": "step time", "memory_bytes": "peak memory", "coefficient": "coefficient of step time"}
# Moves that are named one by one; more of one kind are summed up.
_MOST_NAMED = 3


def headline(history: History) -> str:
    """'110 suites of 2 machines, 1 change point; 3 files passed over.'"""
    suites = sum(len(machine.suites) for machine in history.machines)
    changes = sum(len(machine.changes) for machine in history.machines)
    passed = f"; {_count(len(history.passed_over), 'file')} passed over" if history.passed_over else ""
    machines = _count(len(history.machines), "machine")
    return f"{_count(suites, 'suite')} of {machines}, {_count(changes, 'change point')}{passed}."


def machine_title(machine: MachineHistory) -> str:
    return f"{machine.machine.id}: {_count(len(machine.suites), 'suite')}"


def machine_line(machine: MachineHistory) -> str:
    """The hardware, the span of time, and which machine came before it."""
    first, last = machine.suites[0], machine.suites[-1]
    parts = [
        f"{machine.machine.summary}; {day(first.created)} to {day(last.created)}.",
        f"It follows {machine.succeeds}: another machine as far as times go, so its suites are apart."
        if machine.succeeds
        else "",
        f"{_count(machine.duplicates, 'suite')} found twice and counted once." if machine.duplicates else "",
    ]
    return " ".join(filter(None, parts))


def machine_tables(machine: MachineHistory, false_alarms: float) -> tuple[Table, ...]:
    """All that have something to say, in reading order."""
    tables = (
        change_table(machine, false_alarms),
        level_table(machine),
        context_table(machine),
        note_table(machine),
    )
    return tuple(table for table in tables if table.rows or table.note)


def change_table(machine: MachineHistory, false_alarms: float) -> Table:
    """Each change point, with what moved at it; several moves of one kind in a row."""
    columns = (
        Column("from suite"),
        Column("measured", "text", 1),
        Column("what", "prose"),
        Column("change", "prose"),
    )
    rows = [row for point in machine.changes for row in _change_rows(machine, point)]
    shown = evenly(rows, MOST_ROWS)
    note = (
        f"A change point is the first suite at a new level. Of histories without a change, at most"
        f" {format_percent(false_alarms, 0)} have any mark, if suites err independently; a machine that drifts is"
        f" marked as well. 90 % intervals.{some_of(len(shown), len(rows), 'rows', 'time')}"
        if rows
        else f"No change point in {_count(len(machine.suites), 'suite')}."
        + (" A change shows once three suites stand on either side of it." if len(machine.suites) < 6 else "")
    )
    return Table("Change points", columns, tuple(shown), note)


def _change_rows(machine: MachineHistory, point: ChangePoint) -> list[tuple[str, ...]]:
    suite = machine.suites[point.index]
    rows = []
    for metric, title in TITLES.items():
        moves = [move for move in point.moves if machine.series[move.series].metric == metric]
        if not moves:
            continue
        if len(moves) > _MOST_NAMED:
            rows.append((f"{len(moves)} {_plural(title)}", _range(moves, machine)))
        else:
            rows += [(f"{title} {machine.series[move.series].label}", ratio_text(move)) for move in moves]
    return [(suite.name, day(suite.created), *row) for row in rows]


def _plural(title: str) -> str:
    return {"step time": "step times", "peak memory": "peaks of memory"}.get(title, "coefficients of step time")


def _range(moves: Sequence[Move], machine: MachineHistory) -> str:
    """'+9.1 % to +11.2 %, mean +10.0 %; most in d4w256: +11.2 % (+10.1 % to +12.3 %)'."""
    ratios = sorted(move.ratio.value for move in moves)
    most = max(moves, key=lambda move: abs(log(move.ratio.value)))
    mean = exp(fmean(map(log, ratios)))
    return (
        f"{change(ratios[0] - 1)} to {change(ratios[-1] - 1)}, mean {change(mean - 1)};"
        f" most in {machine.series[most.series].label}: {ratio_text(most)}"
    )


def ratio_text(move: Move) -> str:
    """'+10.1 % (+9.2 % to +11.0 %)'; of what is exact, the change alone."""
    ratio = move.ratio
    if ratio.low == ratio.high:
        return change(ratio.value - 1)
    return f"{change(ratio.value - 1)} ({interval(ratio, lambda end: change(end - 1))})"


def level_table(machine: MachineHistory) -> Table:
    """Every series: where it began, where it is now, and how much single suites scatter."""
    columns = (
        Column("what"),
        Column("of", "prose"),
        Column("at first", "number", 1),
        Column("now", "number"),
        Column("change", "number"),
        Column("changes", "number", 2),
        Column("scatter", "number", 3),
        Column("suites", "number", 4),
    )
    rows = evenly([_level_row(series) for series in machine.series if series.levels], MOST_ROWS)
    law = (
        f"Coefficients are of: {machine.law_form}; refitted to {_count(machine.n_laws, 'suite')}"
        f"{', spread evenly' if machine.n_laws < len(machine.suites) else ''}, and left out where one does not tell."
        if machine.law_form
        else f"No coefficients: {machine.no_law_reason}."
    )
    note = (
        "Levels are geometric means between change points; scatter is the standard deviation of single suites about"
        f" them. {law}{some_of(len(rows), len(machine.series), 'series', 'size')}"
    )
    return Table("Levels", columns, tuple(rows), note if rows else "")


def _level_row(series: HistorySeries) -> tuple[str, ...]:
    write = writer(series)
    first, last = series.levels[0].value, series.levels[-1].value
    return (
        TITLES[series.metric],
        series.label,
        write(first),
        write(last),
        change(last / first - 1) if len(series.levels) > 1 else MISSING,
        str(len(series.levels) - 1),
        "exact" if series.exact else format_percent(series.scatter),
        str(sum(value is not None for value in series.values)),
    )


def context_table(machine: MachineHistory) -> Table:
    """Facts of the machine that changed under it: not its identity, but times may follow them."""
    columns = (Column("from suite"), Column("measured", "text", 1), Column("fact"), Column("change", "prose"))
    changes = machine.context_changes
    shown = evenly(changes, MOST_ROWS)
    rows = tuple(
        (
            machine.suites[one.index].name,
            day(machine.suites[one.index].created),
            one.fact.replace("_", " "),
            f"{_known(one.before)} → {_known(one.after)}",
        )
        for one in shown
    )
    note = f"A time that moves here may be the machine's.{some_of(len(shown), len(changes), 'changes', 'time')}"
    return Table("The machine itself changed", columns, rows, note * bool(rows))


def _known(value: str | int | float | None) -> str:
    return "unknown" if value is None else str(value)


def note_table(machine: MachineHistory) -> Table:
    """Suites that were interrupted, noisy or made up, and those that lack a step."""
    columns = (Column("suite"), Column("measured", "text", 1), Column("note", "prose"), Column("file", "prose", 2))
    notes: dict[int, list[str]] = {
        index: list(suite.notes) for index, suite in enumerate(machine.suites) if suite.notes
    }
    for series in machine.series:
        for index, reason in series.absent.items():
            notes.setdefault(index, []).append(f"{series.label} {reason}")
    found = sorted(notes.items())
    shown = evenly(found, MOST_ROWS)
    rows = tuple(
        (
            machine.suites[index].name,
            day(machine.suites[index].created),
            "; ".join(words[:_MOST_NAMED] + [f"and {len(words) - _MOST_NAMED} more"] * (len(words) > _MOST_NAMED)),
            machine.suites[index].place,
        )
        for index, words in shown
    )
    return Table("Suites to know about", columns, rows, some_of(len(shown), len(found), "suites", "time").strip())


def passed_over_table(history: History) -> Table:
    """Files that hold no suite, each with the reason."""
    found = history.passed_over
    shown = evenly(found, MOST_ROWS)
    rows = tuple((one.place, one.reason.removeprefix(f"{one.place} ")) for one in shown)
    note = f"{_count(len(found), 'file')} passed over.{some_of(len(shown), len(found), 'files', 'their names')}"
    return Table("Passed over", (Column("file", "prose"), Column("why", "prose")), rows, note * bool(rows))


def writer(series: HistorySeries) -> Formatter:
    """How a value of this series is written."""
    return {"s": format_seconds, "bytes": format_bytes}.get(series.unit) or parameter_writer(series.unit)


def day(created: str) -> str:
    """'2026-01-31' of a time."""
    return created[:10]


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
