"""The plan: what more training time buys."""

from collections.abc import Sequence

import altair as alt

from scalemark.report.charts.figure import Figure, titled
from scalemark.report.charts.layers import Frame, ends_of, error_bars, inline, law_layers, layered, tooltip
from scalemark.report.charts.palette import BLUE, GREY
from scalemark.report.series import Row
from scalemark.report.series.plans import front_rows, plan_rows
from scalemark.report.ticks import loss_axis, seconds_axis
from scalemark.schema import Analysis


def plan_figure(analysis: Analysis) -> Figure | None:
    """The lowest loss against training time; None where there is no plan with a front."""
    line, rows = front_rows(analysis), plan_rows(analysis)
    if not line:
        return None
    x, y = seconds_axis(ends_of("x", line, rows)), loss_axis(ends_of("y", line, rows))
    frame = Frame(x, y, "training time", "validation loss (nats/token)")
    chart = layered(*law_layers(frame, line, GREY), error_bars(frame, rows), *_plans(frame, rows))
    caption = (
        "Line: the best model for each budget, with the 90 % band of its loss, dashed beyond what was measured. Points:"
        " the plans of the table."
    )
    return titled("plan", caption, chart)


def _plans(frame: Frame, rows: Sequence[Row]) -> list[alt.Chart]:
    marks = inline(rows).mark_point(size=80, filled=True, opacity=1, color=BLUE, clip=True)
    text = inline(rows).mark_text(align="right", baseline="top", dx=-8, dy=6, fontSize=12)
    return [marks.encode(**frame.xy(), tooltip=tooltip(rows)), text.encode(**frame.xy(), text="label:N")]
