"""Where the time of a step goes: shares of each model as bars, and the terms of the law as lines over size."""

from collections.abc import Sequence

import altair as alt

from scalemark.report.charts.figure import Figure, titled
from scalemark.report.charts.layers import (
    DASH,
    PARAMETERS_TITLE,
    Frame,
    ends_of,
    inline,
    layered,
    tooltip,
)
from scalemark.report.charts.palette import GREY, TERM_COLOURS
from scalemark.report.series import GROWING, Row, step_time_rows
from scalemark.report.series.split import measured_rows, split_rows, term_rows
from scalemark.report.tables.splits import term_labels
from scalemark.report.ticks import Axis, amount_axis, label_expression, seconds_axis
from scalemark.schema import Analysis

BAR_HEIGHT = 24
# Whiskers are cut here, and the words of each model stand beyond the longest.
MOST_SHARE = 1.6
GAP, ROOM_FOR_WORDS = 0.05, 0.36


def split_figure(analysis: Analysis) -> Figure | None:
    """The terms of the law stacked, a bar for each model; None where there is no law of step time."""
    rows = split_rows(analysis)
    if not rows:
        return None
    models = list(dict.fromkeys(str(row["model"]) for row in rows))
    totals = measured_rows(analysis)
    y, x = _y(models), _shares(rows, totals)
    chart = layered(_bars(analysis, rows, x, y), *_medians(totals, x, y), _words(totals, x, y))
    chart = chart.properties(height=BAR_HEIGHT * len(models))
    beyond = " Faint: priced and not measured, as a share of the prediction." if _is_priced(rows) else ""
    caption = (
        "By the step time law, as a share of the measured median, which stands at 100 % with its 90 % interval."
        f"{beyond} How sure each part is stands in the table."
    )
    return titled("where-time-goes", caption, chart)


def _is_priced(rows: Sequence[Row]) -> bool:
    return any(row["part"] == "extrapolated" for row in rows)


def _y(models: Sequence[str]) -> alt.Y:
    return alt.Y("model:N", title=None, sort=list(models), axis=alt.Axis(labelLimit=190, grid=False))


def _shares(rows: Sequence[Row], totals: Sequence[Row]) -> Axis:
    """From nothing to beyond the longest bar or whisker, with room for words."""
    ends = [float(row[name]) for row in (*rows, *totals) for name in ("end", "high") if name in row]
    words_at = min(max(ends), MOST_SHARE) + GAP
    labels = ("0", "25 %", "50 %", "75 %", "100 %")
    return Axis(0.0, words_at + ROOM_FOR_WORDS, (0.0, 0.25, 0.5, 0.75, 1.0), labels, is_log=False)


def _x(field: str, axis: Axis) -> alt.X:
    marks = alt.Axis(values=list(axis.values), labelExpr=label_expression(axis))
    scale = alt.Scale(domain=[axis.low, axis.high], nice=False)
    return alt.X(f"{field}:Q", title="share of the measured step time", scale=scale, axis=marks)


def _term_colour(labels: dict[str, str], symbol: str) -> alt.Color:
    """labels: of the terms that are drawn, by name."""
    scale = alt.Scale(domain=list(labels.values()), range=[TERM_COLOURS.get(name, GREY) for name in labels])
    return alt.Color("term:N", scale=scale, title=None, legend=alt.Legend(columns=3, symbolType=symbol))


def _bars(analysis: Analysis, rows: Sequence[Row], x: Axis, y: alt.Y) -> alt.Chart:
    opacity = alt.condition("datum.part === 'measured'", alt.value(1), alt.value(0.55))
    bars = inline(rows).mark_bar(height=BAR_HEIGHT - 7, clip=True)
    places = {"x": _x("start", x), "x2": "end:Q", "y": y}
    colour = _term_colour(term_labels(analysis), "square")
    drawn: alt.Chart = bars.encode(**places, color=colour, opacity=opacity, tooltip=tooltip(rows))
    return drawn


def _medians(totals: Sequence[Row], x: Axis, y: alt.Y) -> list[alt.Chart]:
    """What was measured: a tick at 100 % and its interval. A rule of two colours is seen on any bar and either page."""
    measured = [{**row, "high": min(float(row["high"]), MOST_SHARE)} for row in totals if "middle" in row]
    if not measured:
        return []
    wide = inline(measured).mark_rule(color="white", strokeWidth=3.5, opacity=0.9, clip=True)
    thin = inline(measured).mark_rule(color="black", strokeWidth=1.5, clip=True)
    frame = inline(measured).mark_tick(color="white", thickness=4, size=BAR_HEIGHT - 7, opacity=0.9, clip=True)
    tick = inline(measured).mark_tick(color="black", thickness=2, size=BAR_HEIGHT - 9, clip=True)
    ends, middle = {"x": _x("low", x), "x2": "high:Q", "y": y}, {"x": _x("middle", x), "y": y}
    return [
        wide.encode(**ends),
        frame.encode(**middle),
        thin.encode(**ends),
        tick.encode(**middle, tooltip=tooltip(measured)),
    ]


def _words(totals: Sequence[Row], x: Axis, y: alt.Y) -> alt.Chart:
    placed: list[Row] = [{**row, "at": x.high - ROOM_FOR_WORDS} for row in totals]
    words: alt.Chart = inline(placed).mark_text(align="left", fontSize=12).encode(x=_x("at", x), y=y, text="label:N")
    return words


def term_figure(analysis: Analysis) -> Figure | None:
    """Seconds of each term against size, beside the measured medians; None where there is no law of step time."""
    lines, rows = term_rows(analysis), step_time_rows(analysis.suite)
    if not (lines and rows):
        return None
    x, y = amount_axis(ends_of("x", rows, lines)), seconds_axis(ends_of("y", rows, lines))
    frame = Frame(x, y, PARAMETERS_TITLE, "time of one training step")
    dash = alt.condition("datum.part === 'extrapolated'", alt.value(DASH), alt.value([1, 0]))
    strokes = inline(lines).mark_line(strokeWidth=2, clip=True)
    drawn = {row["term"] for row in lines}
    labels = {name: label for name, label in term_labels(analysis).items() if label in drawn}
    colour = _term_colour(labels, "stroke")
    terms = strokes.encode(**frame.xy(), color=colour, detail="piece:N", strokeDash=dash, tooltip=tooltip(lines))
    caption = (
        "Lines: what each term of the law takes, dashed beyond the fitted range; terms below a thousandth of the step"
        " are left out. Open circles: measured medians of the whole step, for models of the same proportions."
    )
    return titled("time-terms", caption, layered(terms, *_whole_steps(frame, rows)))


def _whole_steps(frame: Frame, rows: Sequence[Row]) -> list[alt.Chart]:
    """Only of the family that the lines are drawn for."""
    growing = [row for row in rows if row["shape"] == GROWING]
    bars = inline(growing).mark_rule(color=GREY, strokeWidth=1.5, clip=True)
    marks = inline(growing).mark_point(size=60, color=GREY, strokeWidth=2, opacity=1, clip=True)
    return [bars.encode(**frame.interval()), marks.encode(**frame.xy(), tooltip=tooltip(growing))]
