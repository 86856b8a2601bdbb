"""The loss law as a map over model size and tokens."""

from collections.abc import Sequence

import altair as alt

from scalemark.report.charts.figure import Figure, titled
from scalemark.report.charts.layers import DASH, PARAMETERS_TITLE, Frame, ends_of, inline, layered, tooltip
from scalemark.report.charts.palette import GREY, RAMP
from scalemark.report.sampled import some_of
from scalemark.report.series import Row
from scalemark.report.series.isoloss import contour_ends, contour_rows, mapped_runs, optimal_rows, run_rows
from scalemark.report.ticks import amount_axis
from scalemark.schema import Analysis


def isoloss_figure(analysis: Analysis) -> Figure | None:
    """Contours of equal loss with the compute-optimal line and the runs; None where the loss law cannot be used."""
    contours, runs, optimal = contour_rows(analysis), run_rows(analysis), optimal_rows(analysis)
    if not (contours and runs):
        return None
    x, y = (amount_axis(ends_of(name, contours, runs, optimal)) for name in ("x", "y"))
    frame = Frame(x, y, PARAMETERS_TITLE, "training tokens")
    layers = [*_lines(frame, contours), *_labels(frame, contour_ends(analysis)), *_optimal(frame, optimal)]
    caption = (
        "Lines: where the law says one validation loss (nats/token) is reached. Grey: the size and tokens of the lowest"
        " loss for their compute, 6·N·D. Both dashed and faint beyond the runs. Points: the runs, coloured by the loss"
        f" that they reached.{some_of(len(runs), len(mapped_runs(analysis)), 'runs', 'their order')}"
    )
    return titled("isoloss", caption, layered(*layers, _runs(frame, runs)))


def _colour() -> alt.Color:
    legend = alt.Legend(title="validation loss (nats/token)", type="gradient", gradientLength=220, format=".2f")
    scale = alt.Scale(range=list(RAMP), interpolate="rgb", nice=False, zero=False)
    return alt.Color("loss:Q", scale=scale, legend=legend)


def _by_part() -> dict[str, object]:
    beyond = "datum.part === 'extrapolated'"
    return {
        "strokeDash": alt.condition(beyond, alt.value(DASH), alt.value([1, 0])),
        "opacity": alt.condition(beyond, alt.value(0.7), alt.value(1)),
    }


def _lines(frame: Frame, rows: Sequence[Row]) -> list[alt.Chart]:
    lines = inline(rows).mark_line(strokeWidth=2, clip=True)
    return [lines.encode(**frame.xy(), color=_colour(), detail="piece:N", tooltip=tooltip(rows), **_by_part())]


def _labels(frame: Frame, rows: Sequence[Row]) -> list[alt.Chart]:
    text = inline(rows).mark_text(align="right", baseline="bottom", dx=-2, dy=-3, fontSize=11, clip=True)
    return [text.encode(**frame.xy(), text="label:N")]


def _optimal(frame: Frame, rows: Sequence[Row]) -> list[alt.Chart]:
    if not rows:
        return []
    line = inline(rows).mark_line(strokeWidth=3, color=GREY, clip=True)
    return [line.encode(**frame.xy(), detail="piece:N", tooltip=tooltip(rows), **_by_part())]


def _runs(frame: Frame, rows: Sequence[Row]) -> alt.Chart:
    marks = inline(rows).mark_point(size=70, filled=True, opacity=1, stroke=GREY, strokeWidth=1, clip=True)
    drawn: alt.Chart = marks.encode(**frame.xy(), color=_colour(), tooltip=tooltip(rows))
    return drawn
