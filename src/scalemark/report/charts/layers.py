"""What charts are made of: both axes, a law's line and band, points and their intervals."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import altair as alt

from scalemark.report.charts.palette import BLUE, VERMILLION
from scalemark.report.series import GROWING, OTHER, Row
from scalemark.report.ticks import Axis, label_expression

WIDTH, HEIGHT = 620, 340
DASH = [7, 5]
# Coordinates and groups: no reading for a tooltip.
_WORDLESS = frozenset(["x", "y", "low", "high", "part", "piece", "series", "shape", "run"])
_WORDLESS |= {"start", "middle", "end", "label", "loss"}
PARAMETERS_TITLE = "non-embedding parameters"


@dataclass(frozen=True)
class Frame:
    """Both axes of a chart, given to each of its layers so that they agree."""

    x_axis: Axis
    y_axis: Axis
    x_title: str
    y_title: str

    def x(self, field: str = "x") -> alt.X:
        return alt.X(f"{field}:Q", title=self.x_title, scale=_scale(self.x_axis), axis=_marked(self.x_axis))

    def y(self, field: str = "y") -> alt.Y:
        return alt.Y(f"{field}:Q", title=self.y_title, scale=_scale(self.y_axis), axis=_marked(self.y_axis))

    def xy(self) -> dict[str, Any]:
        return {"x": self.x(), "y": self.y()}

    def interval(self) -> dict[str, Any]:
        return {"x": self.x(), "y": self.y("low"), "y2": "high:Q"}


def _scale(axis: Axis) -> alt.Scale:
    return alt.Scale(type="log" if axis.is_log else "linear", domain=[axis.low, axis.high], nice=False)


def _marked(axis: Axis) -> alt.Axis:
    return alt.Axis(values=list(axis.values), labelExpr=label_expression(axis))


def ends_of(name: str, *tables: Sequence[Row]) -> list[float]:
    """Values that an axis must hold: every point, every line, every measured interval; a law's band may leave it."""
    rows = [row for table in tables for row in table]
    names = [[name] if "part" in row or name == "x" else [name, "low", "high"] for row in rows]
    return [float(row[end]) for row, ends in zip(rows, names, strict=True) for end in ends if end in row]


def layered(*layers: alt.Chart) -> alt.LayerChart:
    """Layers over one another, the first at the back."""
    return alt.LayerChart(layer=list(layers), width=WIDTH, height=HEIGHT)


def inline(rows: Sequence[Row]) -> alt.Chart:
    """A chart of these rows, which travel inside it."""
    return alt.Chart(alt.InlineData(values=list(rows)))


def tooltip(rows: Sequence[Row]) -> list[alt.Tooltip]:
    """The columns of words; those of coordinates and groups are no reading."""
    return [alt.Tooltip(name, type="nominal") for name in rows[0] if name not in _WORDLESS]


def law_layers(frame: Frame, line: Sequence[Row], colour: str = VERMILLION) -> list[alt.Chart]:
    """Band, solid line and dashed line. Each piece is its own line, so that the dashes start where the law ends."""
    if not line:
        return []
    band = inline(line).mark_area(color=colour, opacity=0.18, clip=True)
    stroke = inline(line).mark_line(color=colour, strokeWidth=2, clip=True)
    dash = alt.condition("datum.part === 'extrapolated'", alt.value(DASH), alt.value([1, 0]))
    return [
        band.encode(**frame.interval(), detail="piece:N"),
        stroke.encode(**frame.xy(), detail="piece:N", strokeDash=dash, tooltip=tooltip(line)),
    ]


def line_words(line: Sequence[Row]) -> str:
    """How to read a law's line, as the end of a caption; empty where there is none."""
    if not line:
        return ""
    beyond = any(row["part"] == "extrapolated" for row in line)
    return " Line: fitted law with its 90 % band" + (", dashed beyond the fitted range." if beyond else ".")


def error_bars(frame: Frame, rows: Sequence[Row]) -> alt.Chart:
    """From low to high of each row."""
    bars: alt.Chart = inline(rows).mark_rule(color=BLUE, strokeWidth=1.5, clip=True).encode(**frame.interval())
    return bars


def hidden_layers(frame: Frame, rows: Sequence[Row]) -> list[alt.Chart]:
    """What was foretold while it was hidden: open squares with their intervals; nothing where nothing was hidden."""
    if not rows:
        return []
    bars = inline(rows).mark_rule(color=VERMILLION, strokeWidth=1.5, clip=True)
    squares = inline(rows).mark_point(shape="square", size=190, color=VERMILLION, strokeWidth=1.8, opacity=1, clip=True)
    return [bars.encode(**frame.interval()), squares.encode(**frame.xy(), tooltip=tooltip(rows))]


def points(frame: Frame, rows: Sequence[Row]) -> alt.Chart:
    """Filled where the law's line should pass, hollow for other shapes: the line is drawn for one family."""
    kinds = [kind for kind in (GROWING, OTHER) if any(row["shape"] == kind for row in rows)]
    symbols = {GROWING: "circle", OTHER: "diamond"}
    fills = {GROWING: BLUE, OTHER: "transparent"}
    legend = alt.Legend(title=None) if len(kinds) > 1 else None
    shape = alt.Shape("shape:N", scale=alt.Scale(domain=kinds, range=[symbols[kind] for kind in kinds]), legend=legend)
    fill = alt.Fill("shape:N", scale=alt.Scale(domain=kinds, range=[fills[kind] for kind in kinds]), legend=legend)
    marks = inline(rows).mark_point(size=64, stroke=BLUE, strokeWidth=1.8, opacity=1, clip=True)
    drawn: alt.Chart = marks.encode(**frame.xy(), shape=shape, fill=fill, tooltip=tooltip(rows))
    return drawn
