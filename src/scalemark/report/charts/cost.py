"""Charts of what a training step costs: its time and its memory against model size."""

from collections.abc import Sequence

import altair as alt

from scalemark.report.charts.figure import Figure, titled
from scalemark.report.charts.layers import (
    PARAMETERS_TITLE,
    Frame,
    ends_of,
    error_bars,
    hidden_layers,
    inline,
    law_layers,
    layered,
    line_words,
    points,
)
from scalemark.report.charts.palette import PURPLE
from scalemark.report.series import Row, law_rows, memory_rows, step_time_rows
from scalemark.report.series.steps import foretold_rows
from scalemark.report.ticks import amount_axis, bytes_axis, seconds_axis
from scalemark.schema import Analysis, Suite
from scalemark.units import format_bytes


def step_time_figure(analysis: Analysis) -> Figure | None:
    """Step time against model size; None where no step was timed."""
    rows, line, hidden = step_time_rows(analysis.suite), law_rows(analysis, "step_time"), foretold_rows(analysis)
    if not rows:
        return None
    x, y = amount_axis(ends_of("x", rows, line)), seconds_axis(ends_of("y", rows, line))
    frame = Frame(x, y, PARAMETERS_TITLE, "time of one training step")
    measured = (error_bars(frame, rows), points(frame, rows))
    chart = layered(*law_layers(frame, line), *measured, *hidden_layers(frame, hidden))
    caption = f"Points: medians with 90 % intervals.{line_words(line)}{_hidden_words(hidden)}"
    return titled("step-time", caption, chart)


def _hidden_words(hidden: Sequence[Row]) -> str:
    if not hidden:
        return ""
    return " Open squares: what the law foretold of the largest models while they were hidden from it."


def memory_figure(analysis: Analysis) -> Figure | None:
    """Peak memory against model size, with the machine's memory as a rule; None where none was measured."""
    rows, line = memory_rows(analysis.suite), law_rows(analysis, "memory")
    if not rows:
        return None
    limit = _limit_rows(analysis.suite)
    x, y = amount_axis(ends_of("x", rows, line)), bytes_axis(ends_of("y", rows, line, limit))
    frame = Frame(x, y, PARAMETERS_TITLE, "peak memory of one training step")
    chart = layered(*law_layers(frame, line), points(frame, rows), *_limit_layers(frame, limit))
    return titled("memory", f"Points: measured peaks.{line_words(line)}", chart)


def _limit_rows(suite: Suite) -> list[Row]:
    limit = suite.memory_limit_bytes
    return [{"y": limit, "label": f"memory of this machine: {format_bytes(limit)}"}] if limit else []


def _limit_layers(frame: Frame, limit: Sequence[Row]) -> list[alt.Chart]:
    if not limit:
        return []
    rule = inline(limit).mark_rule(color=PURPLE, strokeWidth=2).encode(y=frame.y())
    text = inline(limit).mark_text(align="left", baseline="top", dx=6, dy=6, fontSize=12)
    return [rule, text.encode(y=frame.y(), x=alt.value(0), text="label:N")]
