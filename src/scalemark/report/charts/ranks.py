"""Charts of steps on several ranks: efficiency against the number of ranks, and bandwidth against message size."""

from collections.abc import Sequence

import altair as alt

from scalemark.report.charts.figure import Figure, titled
from scalemark.report.charts.layers import DASH, Frame, ends_of, inline, layered, tooltip
from scalemark.report.charts.palette import GREY, MODEL_COLOURS, MODEL_SHAPES
from scalemark.report.series.ranks import FORETOLD, bandwidth_rows, efficiency_rows
from scalemark.report.series.row import Row
from scalemark.report.ticks import bytes_axis, bytes_rate_axis
from scalemark.schema import Analysis

# Room above 100 %, where an interval may end.
_HEADROOM = 1.1


def efficiency_figure(analysis: Analysis) -> Figure | None:
    """Weak-scaling efficiency against ranks, the next world size foretold; None where nothing ran on several."""
    rows = efficiency_rows(analysis.scaling)
    if not rows:
        return None
    y = alt.Y("y:Q", title="weak-scaling efficiency", scale=_share_scale(rows), axis=alt.Axis(format="%"))
    x = alt.X("ranks:O", title="ranks, each with as much to do", axis=alt.Axis(labelAngle=0))
    colour, shape = _series(rows)
    dash = alt.condition(f"datum.part === '{FORETOLD}'", alt.value(DASH), alt.value([1, 0]))
    whole = alt.Chart(alt.InlineData(values=[{"y": 1.0}])).mark_rule(color=GREY, strokeDash=[2, 3]).encode(y="y:Q")
    lines = inline(rows).mark_line(strokeWidth=1.5)
    bars = inline([row for row in rows if "low" in row]).mark_rule(strokeWidth=1.5)
    points = inline(rows).mark_point(size=64, filled=True, opacity=1)
    chart = layered(
        whole,
        lines.encode(x=x, y=y, color=colour, detail="piece:N", strokeDash=dash),
        bars.encode(x=x, y=alt.Y("low:Q", title="weak-scaling efficiency"), y2="high:Q", color=colour),
        points.encode(x=x, y=y, color=colour, shape=shape, tooltip=tooltip(rows)),
    )
    caption = (
        "One rank against several, each with the same batch; bars are 90 % intervals. Dashed: foretold by the law of"
        " communication, as if the next ranks were linked like these."
    )
    return titled("scaling", caption, chart)


def _share_scale(rows: Sequence[Row]) -> alt.Scale:
    top = max(float(row.get("high", row["y"])) for row in rows)
    return alt.Scale(domain=[0, max(_HEADROOM, top)], nice=False)


def bandwidth_figure(analysis: Analysis) -> Figure | None:
    """Bus bandwidth against message size for each collective; None where none was measured."""
    rows = bandwidth_rows(analysis.suite)
    if not rows:
        return None
    frame = Frame(bytes_axis(ends_of("x", rows)), bytes_rate_axis(ends_of("y", rows)), "message", "bus bandwidth")
    colour, shape = _series(rows)
    lines = inline(rows).mark_line(strokeWidth=1.2, clip=True)
    bars = inline(rows).mark_rule(strokeWidth=1.5, clip=True)
    points = inline(rows).mark_point(size=55, filled=True, opacity=1, clip=True)
    chart = layered(
        lines.encode(**frame.xy(), color=colour),
        bars.encode(**frame.interval(), color=colour),
        points.encode(**frame.xy(), color=colour, shape=shape, tooltip=tooltip(rows)),
    )
    caption = "Medians with 90 % intervals, as nccl-tests states them: small messages tell latency, large the link."
    return titled("bandwidth", caption, chart)


def _series(rows: Sequence[Row]) -> tuple[alt.Color, alt.Shape]:
    """A colour and a shape of its own for each series, again from the first where there are more."""
    names = list(dict.fromkeys(str(row["series"]) for row in rows))
    colours, shapes = (
        [values[index % len(values)] for index in range(len(names))] for values in (MODEL_COLOURS, MODEL_SHAPES)
    )
    colour = alt.Color("series:N", scale=alt.Scale(domain=names, range=colours), title=None)
    return colour, alt.Shape("series:N", scale=alt.Scale(domain=names, range=shapes), title=None)
