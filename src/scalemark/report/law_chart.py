"""The chart of a law that was fitted to a table: its rows, and its line with the 90 % band.

Importing this module loads altair, so that it is imported late.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

import altair as alt
import numpy as np
import pandas as pd

from scalemark.errors import StoreError
from scalemark.report.charts.figure import Figure
from scalemark.report.charts.layers import Frame, ends_of, error_bars, inline, law_layers, layered, tooltip
from scalemark.report.charts.outputs import to_svg
from scalemark.report.charts.palette import BLUE, GREY
from scalemark.report.series import Row, pieces_of
from scalemark.report.ticks import flops_axis, loss_axis, seconds_axis
from scalemark.schema import CurvePoint
from scalemark.units import format_amount, format_count, format_seconds


def loss_law_chart(
    params: Sequence[float] | np.ndarray,
    tokens: Sequence[float] | np.ndarray,
    loss: Sequence[float] | np.ndarray,
    line: Sequence[CurvePoint],
) -> alt.LayerChart:
    """Measured losses against compute (6·N·D), and the lowest loss that the law expects at each."""
    rows = [_row(*values) for values in zip(params, tokens, loss, strict=True)]
    drawn = pieces_of(line, "loss")
    x, y = flops_axis(ends_of("x", rows, drawn)), loss_axis(ends_of("y", rows, drawn))
    frame = Frame(x, y, "training compute, 6·N·D", "loss (nats/token)")
    marks = inline(rows).mark_point(size=40, filled=True, opacity=0.7, color=BLUE, clip=True)
    return layered(*law_layers(frame, drawn, GREY), marks.encode(**frame.xy(), tooltip=tooltip(rows)))


def _row(params: float, tokens: float, loss: float) -> Row:
    compute = 6 * float(params) * float(tokens)
    return {
        "x": compute,
        "y": float(loss),
        "parameters": format_count(float(params)),
        "tokens": format_amount(float(tokens)),
        "compute": format_count(compute, "FLOP"),
        "loss": f"{loss:.4g} nats per token",
    }


def save_chart(chart: Callable[[], alt.LayerChart], path: Path) -> None:
    """Write a chart as SVG; raises StoreError where the file cannot be written."""
    figure = Figure(path.stem, path.stem, "", chart())
    try:
        path.write_text(to_svg(figure), encoding="utf-8")
    except OSError as error:
        raise StoreError(f"cannot write {path} ({error.strerror}): choose another file") from error


def cost_law_chart(params: np.ndarray, measured_s: np.ndarray, predicted: pd.DataFrame) -> alt.LayerChart:
    """Measured seconds per step against predicted, with the intervals of the predictions; on the line they agree.

    predicted: columns value, low and high, a row for each measurement.
    """
    columns = (params, measured_s, *(predicted[name].to_numpy(dtype=float) for name in ("value", "low", "high")))
    rows: list[Row] = [
        {
            "x": float(seconds),
            "y": float(value),
            "low": float(low),
            "high": float(high),
            "parameters": format_count(float(size)),
            "measured": format_seconds(float(seconds)),
            "predicted": format_seconds(float(value)),
        }
        for size, seconds, value, low, high in zip(*columns, strict=True)
    ]
    ends = [*ends_of("x", rows), *ends_of("y", rows)]
    axis = seconds_axis(ends)
    frame = Frame(axis, axis, "measured time of a step", "predicted time of a step")
    diagonal = inline([{"x": end, "y": end} for end in (axis.low, axis.high)])
    marks = inline(rows).mark_point(size=40, filled=True, opacity=0.8, color=BLUE, clip=True)
    return layered(
        diagonal.mark_line(color=GREY, strokeWidth=1.2, clip=True).encode(**frame.xy()),
        error_bars(frame, rows),
        marks.encode(**frame.xy(), tooltip=tooltip(rows)),
    )
