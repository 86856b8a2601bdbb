"""How far each measurement lies from its law, and from what the law foretold of it."""

import altair as alt

from scalemark.report.charts.figure import Figure, titled
from scalemark.report.charts.layers import (
    PARAMETERS_TITLE,
    Frame,
    ends_of,
    hidden_layers,
    inline,
    layered,
    tooltip,
)
from scalemark.report.charts.palette import BLUE, GREY
from scalemark.report.sampled import some_of
from scalemark.report.series import Row
from scalemark.report.series.laws import hidden_rows, residual_rows
from scalemark.report.ticks import Axis, amount_axis, difference_axis, flops_axis
from scalemark.schema import Analysis, LawKind

# 90 % of a normal scatter lies within so many standard deviations.
_NORMAL_90 = 1.645


def residual_figure(analysis: Analysis, kind: LawKind) -> Figure | None:
    """Measured less predicted; None without the law, or where it meets every measurement."""
    rows, hidden, law = residual_rows(analysis, kind), hidden_rows(analysis, kind), analysis.law(kind)
    if not rows or law is None:
        return None
    places = [float(row["x"]) for row in rows]
    x = flops_axis(places) if kind == "loss" else amount_axis(places)
    y = difference_axis([*ends_of("y", rows, hidden), -_NORMAL_90 * law.residual_sd, _NORMAL_90 * law.residual_sd])
    size = "training compute, 6·N·D" if kind == "loss" else PARAMETERS_TITLE
    frame = Frame(x, y, size, "measured less predicted")
    bars = inline(rows).mark_rule(color=BLUE, strokeWidth=1.5, clip=True).encode(**frame.interval())
    marks = inline(rows).mark_point(size=60, filled=True, opacity=1, color=BLUE, clip=True)
    points = marks.encode(**frame.xy(), tooltip=tooltip(rows))
    chart = layered(*_scatter(frame, y, law.residual_sd), bars, points, *hidden_layers(frame, hidden))
    caption = f"{_caption(bool(hidden))}{some_of(len(rows), law.n, 'runs', 'their order')}"
    return titled(f"residuals-{kind.replace('_', '-')}", caption, chart)


def _scatter(frame: Frame, axis: Axis, residual_sd: float) -> list[alt.Chart]:
    band: list[Row] = [{"y": 0.0, "low": max(axis.low, -_NORMAL_90 * residual_sd), "high": _NORMAL_90 * residual_sd}]
    area = inline(band).mark_rect(color=GREY, opacity=0.18)
    zero = inline(band).mark_rule(color=GREY, strokeWidth=1.5)
    return [area.encode(y=frame.y("low"), y2="high:Q"), zero.encode(y=frame.y())]


def _caption(has_hidden: bool) -> str:
    hidden = (
        " Open squares: against what was foretold while the measurement was hidden; the bar holds zero where the 90 %"
        " interval held the measurement."
        if has_hidden
        else ""
    )
    return (
        "Points: measured over predicted, less 1, with the interval of the measurement where it has one. Grey: where"
        f" 90 % of the scatter about the law lies.{hidden}"
    )
