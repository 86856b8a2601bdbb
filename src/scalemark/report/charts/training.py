"""Charts of training runs: the loss that they reach, and how it falls."""

from collections.abc import Sequence

import altair as alt

from scalemark.report.charts.figure import Figure, titled
from scalemark.report.charts.layers import Frame, ends_of, inline, law_layers, layered, line_words, tooltip
from scalemark.report.charts.palette import GREY, MODEL_COLOURS, MODEL_SHAPES, ramp
from scalemark.report.sampled import some_of
from scalemark.report.series import Row, law_rows, loss_rows, training_curve_rows
from scalemark.report.series.training import runs_with_curve, runs_with_loss
from scalemark.report.ticks import amount_axis, flops_axis, loss_axis
from scalemark.schema import Analysis, Suite


def loss_figure(analysis: Analysis) -> Figure | None:
    """Validation loss against training compute with the frontier; None where nothing was trained."""
    rows, line = loss_rows(analysis.suite), law_rows(analysis, "loss")
    if not rows:
        return None
    x, y = flops_axis(ends_of("x", rows, line)), loss_axis(ends_of("y", rows, line))
    frame = Frame(x, y, "training compute, 6·N·D", "validation loss (nats/token)")
    frontier = " Grey: the lowest loss that a compute budget is expected to reach." if line else ""
    some = some_of(len(rows), len(runs_with_loss(analysis.suite)), "runs", "size and tokens")
    caption = f"Points: training runs, joined where the model is the same.{frontier}{line_words(line)}{some}"
    chart = layered(*law_layers(frame, line, GREY), *_model_layers(frame, rows))
    return titled("loss", caption, chart)


def training_curve_figure(suite: Suite) -> Figure | None:
    """Training loss as tokens are seen, one line per run; None where no run kept its curve."""
    rows = training_curve_rows(suite)
    if not rows:
        return None
    x, y = amount_axis(ends_of("x", rows)), loss_axis(ends_of("y", rows))
    frame = Frame(x, y, "training tokens seen", "training loss (nats/token)")
    lines = inline(rows).mark_line(strokeWidth=1.5, opacity=0.8, clip=True)
    chart = layered(lines.encode(**frame.xy(), color=_model_colour(rows), detail="run:N", tooltip=tooltip(rows)))
    drawn = len({row["run"] for row in rows})
    some = some_of(drawn, len(runs_with_curve(suite)), "runs", "size and tokens")
    caption = f"One line per training run, coloured by model. A point is the mean of the steps just before it.{some}"
    return titled("training-loss", caption, chart)


def _model_layers(frame: Frame, rows: Sequence[Row]) -> list[alt.Chart]:
    colour = _model_colour(rows)
    series = _series(rows)
    shape = alt.Shape("series:N", scale=alt.Scale(domain=series, range=_cycled(MODEL_SHAPES, len(series))))
    lines = inline(rows).mark_line(strokeWidth=1.2, clip=True)
    points = inline(rows).mark_point(size=55, filled=True, opacity=1, clip=True)
    return [
        lines.encode(**frame.xy(), color=colour),
        points.encode(**frame.xy(), color=colour, shape=shape, tooltip=tooltip(rows)),
    ]


def _series(rows: Sequence[Row]) -> list[str]:
    return list(dict.fromkeys(str(row["series"]) for row in rows))


def _cycled(values: Sequence[str], count: int) -> list[str]:
    return [values[index % len(values)] for index in range(count)]


def _model_colour(rows: Sequence[Row]) -> alt.Color:
    """One colour per model; a gradient where there are more models than colours that can be told apart."""
    series = _series(rows)
    colours = list(MODEL_COLOURS[: len(series)]) if len(series) <= len(MODEL_COLOURS) else ramp(len(series))
    scale = alt.Scale(domain=series, range=colours)
    return alt.Color("series:N", scale=scale, title="model, non-embedding parameters")
