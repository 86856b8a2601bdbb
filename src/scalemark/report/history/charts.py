"""The charts of a history: each series over its first level, so that a change of a tenth is seen at any size.

Points are single suites (of many suites, medians of neighbours), lines the levels between change points. Importing this
module loads altair, so the writers import it late.
"""

import re
from collections.abc import Sequence
from math import ceil
from statistics import median
from typing import Any

import altair as alt

from scalemark.report.charts.figure import Figure
from scalemark.report.charts.layers import HEIGHT, inline, layered
from scalemark.report.charts.palette import MODEL_COLOURS, PURPLE, VERMILLION, ramp
from scalemark.report.history.tables import day, ratio_text, writer
from scalemark.report.numbers import interval
from scalemark.report.sampled import evenly, some_of
from scalemark.schema import Estimate, HistorySeries, MachineHistory

Row = dict[str, Any]

_TITLES = {"time_s": "Step time", "memory_bytes": "Peak memory", "coefficient": "Coefficients of step time"}
_NAMES = {"time_s": "step-time", "memory_bytes": "memory", "coefficient": "coefficients"}
MOST_SERIES, MOST_MOMENTS = 8, 120
# Below so many suites each is drawn with its interval.
_FEW_SUITES = 60
_PERCENT = "(datum.value > 1 ? '+' : '') + format((datum.value - 1) * 100, '.3~r') + ' %'"


def machine_figures(machine: MachineHistory, moments: int = MOST_MOMENTS) -> tuple[Figure, ...]:
    """Step times, peaks of memory and coefficients, where there are any. moments: most points of a series."""
    drawn = (_figure(machine, metric, moments) for metric in _TITLES)
    return tuple(figure for figure in drawn if figure is not None)


def _figure(machine: MachineHistory, metric: str, moments: int) -> Figure | None:
    there = [series for series in machine.series if series.metric == metric and series.levels]
    if not there or len(machine.suites) < 2:
        return None
    shown = evenly(there, MOST_SERIES)
    chart = layered(
        *_rule_layers(machine, [index for index, series in enumerate(machine.series) if series.metric == metric]),
        *_series_layers(machine, shown, moments),
        *_absent_layers(machine, shown),
    )
    caption = (
        f"Over the first level of each. Points: {_point_words(len(machine.suites), moments)}; lines: levels between"
        " change points; dashed: change points; dotted: the machine itself changed; crosses at the bottom: a step has"
        f" no time there.{some_of(len(shown), len(there), 'series', 'size')}"
    )
    return Figure(_name(machine.machine.id, metric), _TITLES[metric], caption, chart)


def _name(machine_id: str, metric: str) -> str:
    """'history-amd-epyc-2c-1a2b3c4d-step-time': the stem of a file, whatever a machine is called."""
    return f"history-{re.sub(r'[^A-Za-z0-9._-]+', '-', machine_id)}-{_NAMES[metric]}"


def _point_words(n_suites: int, moments: int) -> str:
    if n_suites <= moments:
        return "suites, hollow where something is to be known of them"
    return f"medians of {ceil(n_suites / moments)} neighbouring suites"


def _series_layers(machine: MachineHistory, shown: Sequence[HistorySeries], moments: int) -> list[alt.Chart]:
    names = [series.label for series in shown]
    colours = list(MODEL_COLOURS[: len(names)]) if len(names) <= len(MODEL_COLOURS) else ramp(len(names))
    colour = alt.Color("series:N", scale=alt.Scale(domain=names, range=colours), title=None)
    x, points = _x(machine), [row for series in shown for row in _points(machine, series, moments)]
    words = [alt.Tooltip(name, type="nominal") for name in ("series", "suite", "measured", "value", "note")]
    hollow = alt.condition("datum.note === ''", alt.value(1), alt.value(0))
    marks = inline(points).mark_point(size=22, strokeWidth=1, opacity=0.7, filled=True, clip=True)
    layers = [marks.encode(x=x, y=_y(), color=colour, fillOpacity=hollow, stroke=colour, tooltip=words)]
    if len(machine.suites) <= _FEW_SUITES:
        bars = inline(points).mark_rule(strokeWidth=1, opacity=0.35, clip=True)
        layers.insert(0, bars.encode(x=x, y=_y("low"), y2="high:Q", color=colour))
    levels = [row for series in shown for row in _levels(machine, series)]
    lines = inline(levels).mark_rule(strokeWidth=2.5, clip=True)
    level_words = [alt.Tooltip(name, type="nominal") for name in ("series", "level", "from")]
    return [*layers, lines.encode(x=x, x2="end:Q", y=_y(), color=colour, tooltip=level_words)]


def _x(machine: MachineHistory) -> alt.X:
    scale = alt.Scale(domain=[0.5, len(machine.suites) + 0.5], nice=False)
    return alt.X("x:Q", title="suite, oldest first", scale=scale, axis=alt.Axis(tickMinStep=1, format="d"))


def _y(field: str = "y") -> alt.Y:
    scale = alt.Scale(zero=False, nice=True)
    return alt.Y(f"{field}:Q", title="change since the first level", scale=scale, axis=alt.Axis(labelExpr=_PERCENT))


def _points(machine: MachineHistory, series: HistorySeries, moments: int) -> list[Row]:
    """A point per suite, or per run of neighbours with the range of their values."""
    width = ceil(len(machine.suites) / moments)
    starts = range(0, len(machine.suites), width)
    rows = (_point(machine, series, start, min(start + width, len(machine.suites))) for start in starts)
    return [row for row in rows if row is not None]


def _point(machine: MachineHistory, series: HistorySeries, start: int, end: int) -> Row | None:
    values = [value for value in series.values[start:end] if value is not None]
    if not values:
        return None
    first, write = series.levels[0].value, writer(series)
    suite, last = machine.suites[start], machine.suites[end - 1]
    lows = [low for low in series.lows[start:end] if low is not None] if end - start == 1 else values
    highs = [high for high in series.highs[start:end] if high is not None] if end - start == 1 else values
    middle = Estimate(value=median(values), low=min(lows), high=max(highs))
    single = end - start == 1
    return {
        "x": (start + 1 + end) / 2,
        "y": _short(middle.value / first),
        "low": _short(middle.low / first),
        "high": _short(middle.high / first),
        "series": series.label,
        "suite": suite.name if single else f"{suite.name} to {last.name}",
        "measured": day(suite.created) if single else f"{day(suite.created)} to {day(last.created)}",
        "value": f"{write(middle.value)} ({interval(middle, write)})",
        "note": "; ".join(suite.notes) if single else "",
    }


def _short(ratio: float) -> float:
    """As many digits as a chart shows."""
    return float(f"{ratio:.5g}")


def _levels(machine: MachineHistory, series: HistorySeries) -> list[Row]:
    ends = [*(level.first for level in series.levels[1:]), len(machine.suites)]
    first, write = series.levels[0].value, writer(series)
    return [
        {
            "x": level.first + 0.5,
            "end": end + 0.5,
            "y": _short(level.value / first),
            "series": series.label,
            "level": write(level.value),
            "from": machine.suites[level.first].name,
        }
        for level, end in zip(series.levels, ends, strict=True)
    ]


def _rule_layers(machine: MachineHistory, indices: Sequence[int]) -> list[alt.Chart]:
    """Change points at which one of these series moved, and where the machine's context changed."""
    changes: list[Row] = [
        {
            "x": point.index + 0.5,
            "from": machine.suites[point.index].name,
            "moved": "; ".join(
                f"{machine.series[move.series].label} {ratio_text(move)}" for move in moved[:MOST_SERIES]
            ),
        }
        for point in machine.changes
        if (moved := [move for move in point.moves if move.series in indices])
    ]
    contexts: list[Row] = [
        {
            "x": one.index + 0.5,
            "from": machine.suites[one.index].name,
            "fact": f"{one.fact}: {one.before} → {one.after}",
        }
        for one in evenly(machine.context_changes, MOST_MOMENTS)
    ]
    layers = []
    for rows, dash, colour, words in (
        (evenly(changes, MOST_MOMENTS), [6, 4], VERMILLION, ("from", "moved")),
        (contexts, [1, 3], PURPLE, ("from", "fact")),
    ):
        if rows:
            marks = inline(rows).mark_rule(color=colour, strokeWidth=1.2, strokeDash=dash, clip=True)
            tooltips = [alt.Tooltip(name, type="nominal") for name in words]
            layers.append(marks.encode(x=_x(machine), tooltip=tooltips))
    return layers


def _absent_layers(machine: MachineHistory, shown: Sequence[HistorySeries]) -> list[alt.Chart]:
    found: list[Row] = [
        {"x": index + 1.0, "suite": machine.suites[index].name, "missing": f"{series.label} {reason}"}
        for series in shown
        for index, reason in series.absent.items()
    ]
    if not found:
        return []
    marks = inline(evenly(found, MOST_MOMENTS)).mark_point(shape="cross", size=40, color=VERMILLION, filled=True)
    words = [alt.Tooltip(name, type="nominal") for name in ("suite", "missing")]
    return [marks.encode(x=_x(machine), y=alt.value(HEIGHT - 6), tooltip=words)]
