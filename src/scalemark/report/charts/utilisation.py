"""How much of the machine a step uses: MFU against size, and the roofline."""

from collections.abc import Sequence

import altair as alt

from scalemark.report.charts.figure import Figure, titled
from scalemark.report.charts.layers import PARAMETERS_TITLE, Frame, ends_of, inline, layered, tooltip
from scalemark.report.charts.palette import DTYPE_COLOURS, GREY
from scalemark.report.series import Row
from scalemark.report.series.roofline import ceiling_rows, ridges, roof_rows, roofline_rows
from scalemark.report.series.steps import mfu_rows
from scalemark.report.tables.cost import FLOP_CONVENTION
from scalemark.report.ticks import Axis, amount_axis, flops_rate_axis, number_axis, share_axis
from scalemark.schema import Analysis, Suite

# Above a roof, on a logarithmic axis.
ROOM_FOR_WORDS = 1.25


def mfu_figure(analysis: Analysis) -> Figure | None:
    """MFU against model size; None where no step has a ceiling."""
    rows = mfu_rows(analysis.suite)
    if not rows:
        return None
    x, y = amount_axis(ends_of("x", rows)), share_axis([float(row["high"]) for row in rows])
    frame = Frame(x, y, PARAMETERS_TITLE, f"MFU (vs GEMM, {FLOP_CONVENTION})")
    caption = (
        "Model FLOP/s of a training step over what the best matrix product of the same dtype reached in this run. Bars:"
        " 90 % intervals of the step time; the ceiling's own stands in the first line."
    )
    return titled("mfu", caption, layered(*_by_dtype(frame, rows, _dtype_colour(rows))))


def roofline_figure(analysis: Analysis) -> Figure | None:
    """FLOP/s against FLOPs per byte; None where no operators were counted, or no ceiling was measured."""
    rows = roofline_rows(analysis.suite)
    if not rows:
        return None
    intensities = [*ends_of("x", rows), *ridges(analysis.suite)]
    x = number_axis(intensities)
    roofs = roof_rows(analysis.suite, x.low, x.high)
    y = flops_rate_axis([*ends_of("y", rows), *(ROOM_FOR_WORDS * flops for flops in ends_of("y", roofs))])
    frame = Frame(x, y, "model FLOPs per byte that operators take and give", f"FLOP/s ({FLOP_CONVENTION})")
    lines = inline(roofs).mark_line(strokeWidth=2, clip=True)
    colour = _dtype_colour([*roofs, *rows])
    roof = lines.encode(**frame.xy(), color=colour, tooltip=tooltip(roofs))
    caption = (
        "Lines: the most that this machine reached in this run, the triad's bandwidth times the intensity up to the"
        " best matrix product. Points: training steps. Bytes are those of every operator's tensors, each once per call;"
        " what a cache keeps never comes from memory, so a point may lie above the slope."
    )
    return titled(
        "roofline", caption, layered(roof, *_ceilings(frame, analysis.suite, x), *_by_dtype(frame, rows, colour))
    )


def _ceilings(frame: Frame, suite: Suite, axis: Axis) -> list[alt.Chart]:
    """Each roof's name: a product's at its right end, the triad's at the foot of the slope."""
    products, triads = ceiling_rows(suite, axis.low, axis.high)
    at_end = inline(products).mark_text(align="right", baseline="bottom", dx=-4, dy=-4, fontSize=12)
    at_foot = inline(triads).mark_text(align="left", baseline="top", dx=8, dy=6, fontSize=12)
    return [one.encode(**frame.xy(), text="label:N") for one in (at_end, at_foot)]


def _by_dtype(frame: Frame, rows: Sequence[Row], colour: alt.Color) -> list[alt.Chart]:
    bars = inline(rows).mark_rule(strokeWidth=1.5, clip=True)
    marks = inline(rows).mark_point(size=64, filled=True, opacity=1, clip=True)
    return [
        bars.encode(**frame.interval(), color=colour),
        marks.encode(**frame.xy(), color=colour, tooltip=tooltip(rows)),
    ]


def _dtype_colour(rows: Sequence[Row]) -> alt.Color:
    dtypes = sorted({str(row["series"]) for row in rows}, reverse=True)
    scale = alt.Scale(domain=dtypes, range=[DTYPE_COLOURS.get(dtype, GREY) for dtype in dtypes])
    return alt.Color("series:N", scale=scale, title="dtype")
