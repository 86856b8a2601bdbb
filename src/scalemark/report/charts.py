"""Every chart of a report, defined once and drawn twice: as an SVG to commit, and as Vega-Lite for the HTML report.

    Analysis ─> figures ─> Figure ─┬─> to_svg          Markdown, README
                                   └─> to_vega_lite    HTML, interactive

What is measured is a point, what is fitted a line with its 90 % band, what lies beyond the fitted range is dashed.
A chart with nothing to draw is left out. Importing this module loads altair, so the writers import it late.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import altair as alt
import vl_convert

from scalemark.report.series import (
    GROWING,
    OTHER,
    Row,
    law_rows,
    loss_rows,
    machine_memory_bytes,
    memory_rows,
    step_time_rows,
    training_curve_rows,
)
from scalemark.report.ticks import (
    Axis,
    amount_axis,
    bytes_axis,
    flops_axis,
    label_expression,
    loss_axis,
    seconds_axis,
)
from scalemark.schema import Analysis, Suite
from scalemark.units import format_bytes

# Okabe and Ito 2008, without the yellow and the black: they vanish on a white or a dark page.
BLUE, VERMILLION, GREEN, PURPLE, ORANGE, SKY = "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9"
MODEL_COLOURS = (BLUE, VERMILLION, GREEN, PURPLE, ORANGE, SKY)
MODEL_SHAPES = ("circle", "square", "diamond", "triangle-up", "triangle-down", "cross")
GREY = "#888888"
FIGURE_NAMES = ("step-time", "memory", "loss", "training-loss", "scaling", "bandwidth")
WIDTH, HEIGHT = 620, 340
DASH = [7, 5]
_CLIP_PATH = re.compile(r"\bclip\d+\b")
VEGA_LITE = ".".join(alt.SCHEMA_VERSION.removeprefix("v").split(".")[:2])
_FONT = "DejaVu Sans, Verdana, Helvetica, Arial, sans-serif"
_PARAMETERS = "non-embedding parameters"
_WORDLESS = {"x", "y", "low", "high", "part", "piece", "series", "shape", "run"}


@dataclass(frozen=True)
class Figure:
    """A chart with its words. name: stem of its file. caption: how to read it, for every reader."""

    name: str
    title: str
    caption: str
    chart: alt.LayerChart


def figures(analysis: Analysis) -> tuple[Figure, ...]:
    """The charts that have something to show, in reading order."""
    from scalemark.report.scaling_charts import bandwidth_figure, efficiency_figure  # it draws with what is below

    drawn = (
        step_time_figure(analysis),
        memory_figure(analysis),
        loss_figure(analysis),
        training_curve_figure(analysis.suite),
        efficiency_figure(analysis),
        bandwidth_figure(analysis),
    )
    return tuple(figure for figure in drawn if figure is not None)


def step_time_figure(analysis: Analysis) -> Figure | None:
    """Step time against model size; None where no step was timed."""
    rows, line = step_time_rows(analysis.suite), law_rows(analysis, "step_time")
    if not rows:
        return None
    x, y = amount_axis(_ends("x", rows, line)), seconds_axis(_ends("y", rows, line))
    frame = Frame(x, y, _PARAMETERS, "time of one training step")
    chart = _chart(*_law_layers(frame, line), _error_bars(frame, rows), _points(frame, rows))
    return Figure("step-time", "Step time", f"Points: medians with 90 % intervals.{_line_words(line)}", chart)


def memory_figure(analysis: Analysis) -> Figure | None:
    """Peak memory against model size, with the machine's memory as a rule; None where none was measured."""
    rows, line = memory_rows(analysis.suite), law_rows(analysis, "memory")
    if not rows:
        return None
    limit = _limit_rows(analysis.suite)
    x, y = amount_axis(_ends("x", rows, line)), bytes_axis(_ends("y", rows, line, limit))
    frame = Frame(x, y, _PARAMETERS, "peak memory of one training step")
    chart = _chart(*_law_layers(frame, line), _points(frame, rows), *_limit_layers(frame, limit))
    return Figure("memory", "Memory", f"Points: measured peaks.{_line_words(line)}", chart)


def loss_figure(analysis: Analysis) -> Figure | None:
    """Validation loss against training compute with the frontier; None where nothing was trained."""
    rows, line = loss_rows(analysis.suite), law_rows(analysis, "loss")
    if not rows:
        return None
    x, y = flops_axis(_ends("x", rows, line)), loss_axis(_ends("y", rows, line))
    frame = Frame(x, y, "training compute, 6·N·D", "validation loss (nats/token)")
    frontier = " Grey: the lowest loss that a compute budget is expected to reach." if line else ""
    caption = f"Points: training runs, joined where the model is the same.{frontier}{_line_words(line)}"
    chart = _chart(*_law_layers(frame, line, GREY), *_model_layers(frame, rows))
    return Figure("loss", "Loss against compute", caption, chart)


def training_curve_figure(suite: Suite) -> Figure | None:
    """Training loss as tokens are seen, one line per run; None where no run kept its curve."""
    rows = training_curve_rows(suite)
    if not rows:
        return None
    x, y = amount_axis(_ends("x", rows)), loss_axis(_ends("y", rows))
    frame = Frame(x, y, "training tokens seen", "training loss (nats/token)")
    lines = _data(rows).mark_line(strokeWidth=1.5, opacity=0.8, clip=True)
    chart = _chart(lines.encode(**frame.xy(), color=_model_colour(rows), detail="run:N", tooltip=_words(rows)))
    caption = "One line per training run, coloured by model. A point averages the losses since the point before."
    return Figure("training-loss", "Training loss", caption, chart)


def _line_words(line: Sequence[Row]) -> str:
    if not line:
        return ""
    beyond = any(row["part"] == "extrapolated" for row in line)
    return " Line: fitted law with its 90 % band" + (", dashed beyond the fitted range." if beyond else ".")


# Layers


@dataclass(frozen=True)
class Frame:
    """Both axes of a chart, given to each of its layers so that they agree."""

    x_axis: Axis
    y_axis: Axis
    x_title: str
    y_title: str

    def x(self) -> alt.X:
        return alt.X("x:Q", title=self.x_title, scale=_log(self.x_axis), axis=_marked(self.x_axis))

    def y(self, field: str = "y") -> alt.Y:
        return alt.Y(f"{field}:Q", title=self.y_title, scale=_log(self.y_axis), axis=_marked(self.y_axis))

    def xy(self) -> dict[str, Any]:
        return {"x": self.x(), "y": self.y()}

    def interval(self) -> dict[str, Any]:
        return {"x": self.x(), "y": self.y("low"), "y2": "high:Q"}


def _log(axis: Axis) -> alt.Scale:
    return alt.Scale(type="log", domain=[axis.low, axis.high], nice=False)


def _marked(axis: Axis) -> alt.Axis:
    return alt.Axis(values=list(axis.values), labelExpr=label_expression(axis))


def _ends(name: str, *tables: Sequence[Row]) -> list[float]:
    """Values that an axis must hold: every point, every line, every measured interval; a law's band may leave it."""
    rows = [row for table in tables for row in table]
    names = [[name] if "part" in row or name == "x" else [name, "low", "high"] for row in rows]
    return [float(row[end]) for row, ends in zip(rows, names, strict=True) for end in ends if end in row]


def _chart(*layers: alt.Chart) -> alt.LayerChart:
    return alt.LayerChart(layer=list(layers), width=WIDTH, height=HEIGHT)


def _data(rows: Sequence[Row]) -> alt.Chart:
    return alt.Chart(alt.InlineData(values=list(rows)))


def _words(rows: Sequence[Row]) -> list[alt.Tooltip]:
    return [alt.Tooltip(name, type="nominal") for name in rows[0] if name not in _WORDLESS]


def _law_layers(frame: Frame, line: Sequence[Row], colour: str = VERMILLION) -> list[alt.Chart]:
    """Band, solid line and dashed line. Each piece is its own line, so that the dashes start where the law ends."""
    if not line:
        return []
    band = _data(line).mark_area(color=colour, opacity=0.18, clip=True)
    stroke = _data(line).mark_line(color=colour, strokeWidth=2, clip=True)
    dash = alt.condition("datum.part === 'extrapolated'", alt.value(DASH), alt.value([1, 0]))
    return [
        band.encode(**frame.interval(), detail="piece:N"),
        stroke.encode(**frame.xy(), detail="piece:N", strokeDash=dash, tooltip=_words(line)),
    ]


def _error_bars(frame: Frame, rows: Sequence[Row]) -> alt.Chart:
    bars: alt.Chart = _data(rows).mark_rule(color=BLUE, strokeWidth=1.5, clip=True).encode(**frame.interval())
    return bars


def _points(frame: Frame, rows: Sequence[Row]) -> alt.Chart:
    """Filled where the law's line should pass, hollow for other shapes: the line is drawn for one family."""
    kinds = [kind for kind in (GROWING, OTHER) if any(row["shape"] == kind for row in rows)]
    symbols = {GROWING: "circle", OTHER: "diamond"}
    fills = {GROWING: BLUE, OTHER: "transparent"}
    legend = alt.Legend(title=None) if len(kinds) > 1 else None
    shape = alt.Shape("shape:N", scale=alt.Scale(domain=kinds, range=[symbols[kind] for kind in kinds]), legend=legend)
    fill = alt.Fill("shape:N", scale=alt.Scale(domain=kinds, range=[fills[kind] for kind in kinds]), legend=legend)
    marks = _data(rows).mark_point(size=64, stroke=BLUE, strokeWidth=1.8, opacity=1, clip=True)
    points: alt.Chart = marks.encode(**frame.xy(), shape=shape, fill=fill, tooltip=_words(rows))
    return points


def _limit_rows(suite: Suite) -> list[Row]:
    limit = machine_memory_bytes(suite)
    return [{"y": limit, "label": f"memory of this machine: {format_bytes(limit)}"}] if limit else []


def _limit_layers(frame: Frame, limit: Sequence[Row]) -> list[alt.Chart]:
    if not limit:
        return []
    rule = _data(limit).mark_rule(color=PURPLE, strokeWidth=2).encode(y=frame.y())
    text = _data(limit).mark_text(align="left", baseline="top", dx=6, dy=6, fontSize=12)
    return [rule, text.encode(y=frame.y(), x=alt.value(0), text="label:N")]


def _model_layers(frame: Frame, rows: Sequence[Row]) -> list[alt.Chart]:
    colour = _model_colour(rows)
    series = _series(rows)
    shape = alt.Shape("series:N", scale=alt.Scale(domain=series, range=_cycled(MODEL_SHAPES, len(series))))
    lines = _data(rows).mark_line(strokeWidth=1.2, clip=True)
    points = _data(rows).mark_point(size=55, filled=True, opacity=1, clip=True)
    return [
        lines.encode(**frame.xy(), color=colour),
        points.encode(**frame.xy(), color=colour, shape=shape, tooltip=_words(rows)),
    ]


def _series(rows: Sequence[Row]) -> list[str]:
    return list(dict.fromkeys(str(row["series"]) for row in rows))


def _cycled(values: Sequence[str], count: int) -> list[str]:
    return [values[index % len(values)] for index in range(count)]


def _model_colour(rows: Sequence[Row]) -> alt.Color:
    """One colour per model; a gradient where there are more models than colours that can be told apart."""
    series = _series(rows)
    few = len(series) <= len(MODEL_COLOURS)
    scale = alt.Scale(domain=series, range=MODEL_COLOURS[: len(series)]) if few else _gradient(series)
    return alt.Color("series:N", scale=scale, title="model, non-embedding parameters")


def _gradient(series: Sequence[str]) -> alt.Scale:
    return alt.Scale(domain=list(series), scheme="viridis")


# Outputs


def to_vega_lite(figure: Figure) -> dict[str, Any]:
    """The chart as Vega-Lite, as wide as the box it stands in. Colours of the page are the page's business."""
    specification: dict[str, Any] = figure.chart.to_dict()
    specification.pop("config", None)
    return {**specification, "width": "container", "autosize": {"type": "fit-x", "contains": "padding"}}


def to_svg(figure: Figure) -> str:
    """The chart as SVG on white; the same figure gives the same text."""
    drawn = vl_convert.vegalite_to_svg(_printed(figure), vl_version=VEGA_LITE, config=theme())
    return _renumbered(str(drawn))


def _renumbered(svg: str) -> str:
    """Clip paths counted from 1: the renderer goes on counting from one chart to the next."""
    order = {name: f"clip{place}" for place, name in enumerate(dict.fromkeys(_CLIP_PATH.findall(svg)), start=1)}
    return _CLIP_PATH.sub(lambda found: order[found.group()], svg)


def to_png(figure: Figure, scale: float = 2.0) -> bytes:
    """The chart as PNG on white, for places that take no SVG."""
    return bytes(vl_convert.vegalite_to_png(_printed(figure), vl_version=VEGA_LITE, config=theme(), scale=scale))


def _printed(figure: Figure) -> dict[str, Any]:
    specification: dict[str, Any] = figure.chart.to_dict()
    specification.pop("config", None)
    return {**specification, "title": figure.title}


def theme(ink: str = "#24292f", faint: str = "#e3e6ea", background: str = "#ffffff") -> dict[str, Any]:
    """Vega-Lite configuration: quiet axes, words large enough to read, legend above the plot."""
    words = {
        "labelColor": ink,
        "titleColor": ink,
        "labelFontSize": 12,
        "titleFontSize": 13,
        "titleFontWeight": "normal",
    }
    return {
        "background": background,
        "font": _FONT,
        "padding": 12,
        "view": {"stroke": "transparent"},
        "axis": {**words, "gridColor": faint, "domainColor": ink, "tickColor": ink, "titlePadding": 10},
        "legend": {
            **words,
            "orient": "top",
            "columns": 4,
            "symbolStrokeWidth": 2,
            "labelLimit": 260,
            "titleLimit": 400,
        },
        "text": {"color": ink},
        "title": {"anchor": "start", "color": ink, "fontSize": 16, "offset": 12},
    }
