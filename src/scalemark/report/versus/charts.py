"""Charts of a comparison: a colour and a symbol for each contender, by the order in which they were named.

Colour and symbol of a contender are the same in every chart, also where another has nothing to show. Importing this
module loads altair, so the writers import it late.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import altair as alt

from scalemark.report.charts.figure import Figure
from scalemark.report.charts.layers import DASH, PARAMETERS_TITLE, Frame, ends_of, inline, layered, tooltip
from scalemark.report.charts.palette import GREY, MODEL_COLOURS, MODEL_SHAPES
from scalemark.report.numbers import Formatter, with_interval
from scalemark.report.series import Row, pieces_of
from scalemark.report.ticks import Axis, amount_axis, bytes_axis, ratio_axis, seconds_axis, usd_axis
from scalemark.report.versus.words import crossover_size, known, speedup, times, usd
from scalemark.schema import Contender, ContenderStep, Crossover, CurvePoint, Estimate, ShapeCompared, SuiteComparison
from scalemark.units import format_amount, format_bytes, format_seconds

_Read = Callable[[ContenderStep, ShapeCompared], Row | None]


def comparison_figures(comparison: SuiteComparison) -> tuple[Figure, ...]:
    """The charts that have something to show, in reading order."""
    drawn = (
        step_time_figure(comparison),
        speedup_figure(comparison),
        price_figure(comparison),
        memory_figure(comparison),
    )
    return tuple(figure for figure in drawn if figure is not None)


def step_time_figure(comparison: SuiteComparison) -> Figure | None:
    """Step time of all against model size; None where none was timed."""
    rows = _points(comparison, _time_row)
    lines = _lines({one.name: one.curves.get("step_time", ()) for one in comparison.contenders}, format_seconds)
    return _figure(
        comparison, "step-time", "Step time", rows, lines, seconds_axis, "time of one training step", _TIME_CAPTION
    )


_TIME_CAPTION = "Points: medians with 90 % intervals."


def price_figure(comparison: SuiteComparison) -> Figure | None:
    """US dollars per million tokens; None where no price was given."""
    rows, lines = _points(comparison, _usd_row), _lines(comparison.usd, usd)
    told = [_crossing_row(one, "is cheaper") for one in comparison.price_crossovers if one.is_told]
    title, y_title = "Cost of a million tokens", "US dollars per million tokens"
    figure = _figure(comparison, "price", title, rows, lines, usd_axis, y_title, "At the prices given.", crossings=told)
    return replace(figure, caption=f"{figure.caption}{_crossing_words(told)}") if figure else None


def memory_figure(comparison: SuiteComparison) -> Figure | None:
    """Peak memory of all, with each contender's own as a rule; None where none was measured."""
    rows = _points(comparison, _memory_row)
    lines = _lines({one.name: one.curves.get("memory", ()) for one in comparison.contenders}, format_bytes)
    limits = [row for one in comparison.contenders for row in _limit(one)]
    caption = "Points: measured peaks. Rules: the memory that each has." if limits else "Points: measured peaks."
    return _figure(
        comparison, "memory", "Memory", rows, lines, bytes_axis, "peak memory of one training step", caption, limits
    )


def speedup_figure(comparison: SuiteComparison) -> Figure | None:
    """How many times faster than the first each other is; None where nothing can be said."""
    rows, lines = _points(comparison, _speedup_row), _lines(comparison.speedups, times)
    if not rows and not lines:
        return None
    first = comparison.names[0]
    crossed = [one for one in comparison.crossovers if one.is_told and first in (one.below, one.above)]
    crossings = [_crossing_row(one, "wins") for one in crossed]
    x = amount_axis(ends_of("x", rows, lines))
    y = ratio_axis([1.0, *ends_of("y", rows, lines)])
    frame = Frame(x, y, PARAMETERS_TITLE, f"speed-up over {first}")
    even = inline([{"y": 1.0, "label": f"as fast as {first}"}])
    scales = _Scales(comparison.names)
    chart = layered(
        *_crossing_layers(frame, x, crossings),
        even.mark_rule(color=GREY, strokeWidth=1.5).encode(y=frame.y()),
        even.mark_text(align="left", baseline="bottom", dx=6, dy=-3, fontSize=12).encode(
            y=frame.y(), x=alt.value(0), text="label:N"
        ),
        *_series_layers(frame, scales, rows, lines),
    )
    caption = f"Time of {first} over that of the other; above 1 the other is faster.{_line_words(lines)}"
    return Figure("speed-up", "Speed-up", f"{caption}{_crossing_words(crossings)}", chart)


def _figure(
    comparison: SuiteComparison,
    name: str,
    title: str,
    rows: Sequence[Row],
    lines: Sequence[Row],
    axis: Callable[[list[float]], Axis],
    y_title: str,
    caption: str,
    limits: Sequence[Row] = (),
    crossings: Sequence[Row] = (),
) -> Figure | None:
    if not rows and not lines:
        return None
    x, y = amount_axis(ends_of("x", rows, lines)), axis(ends_of("y", rows, lines, limits))
    frame, scales = Frame(x, y, PARAMETERS_TITLE, y_title), _Scales(comparison.names)
    behind = [*_crossing_layers(frame, x, crossings), *_limit_layers(frame, scales, limits)]
    chart = layered(*behind, *_series_layers(frame, scales, rows, lines))
    return Figure(name, title, f"{caption}{_line_words(lines)}".strip(), chart)


def _line_words(lines: Sequence[Row]) -> str:
    if not lines:
        return ""
    far = any(row["part"] == "extrapolated" for row in lines)
    return " Lines: fitted laws with their 90 % bands" + (", dashed beyond the fitted range." if far else ".")


# --- rows -------------------------------------------------------------------------------------------------------------


def _points(comparison: SuiteComparison, read: _Read) -> list[Row]:
    """What was measured, of the growing model; of all shapes, where it was not measured."""
    on_line = [shape for shape in comparison.shapes if shape.on_line and any(step.measured for step in shape.steps)]
    return [
        row
        for shape in on_line or comparison.shapes
        for step in shape.steps
        if step.measured and (row := read(step, shape))
    ]


def _row(step: ContenderStep, shape: ShapeCompared) -> Row:
    return {
        "x": float(shape.params_non_embedding),
        "series": step.contender,
        "on": step.contender,
        "model": shape.name,
        "parameters": f"{format_amount(shape.params_non_embedding)} non-embedding",
    }


def _time_row(step: ContenderStep, shape: ShapeCompared) -> Row:
    seconds = step.seconds
    told = {"step time": known(step, seconds, format_seconds)}
    return {**_row(step, shape), "y": seconds.value, "low": seconds.low, "high": seconds.high, **told}


def _usd_row(step: ContenderStep, shape: ShapeCompared) -> Row | None:
    if step.usd is None:
        return None
    cost = step.usd.scaled(1e6 / shape.items)
    told = {"per million tokens": known(step, cost, usd)}
    return {**_row(step, shape), "y": cost.value, "low": cost.low, "high": cost.high, **told}


def _memory_row(step: ContenderStep, shape: ShapeCompared) -> Row | None:
    if step.memory_bytes is None:
        return None
    size = step.memory_bytes.value
    return {**_row(step, shape), "y": size, "low": size, "high": size, "peak memory": format_bytes(size)}


def _speedup_row(step: ContenderStep, shape: ShapeCompared) -> Row | None:
    ratio = step.speedup
    if ratio is None or not all(other.measured for other in shape.steps):
        return None
    told = {"speed-up": speedup(ratio)}
    return {**_row(step, shape), "y": ratio.value, "low": ratio.low, "high": ratio.high, **told}


def _lines(curves: Mapping[str, Sequence[CurvePoint]], write: Formatter) -> list[Row]:
    """Each contender's law with its band, in pieces that meet."""
    return [
        {**row, "series": name, "on": name, "piece": f"{name}, {row['piece']}", "law": _said(row, write)}
        for name, curve in curves.items()
        for row in pieces_of(curve, "step_time")
    ]


def _said(row: Row, write: Formatter) -> str:
    value, low, high = (float(row[end]) for end in ("y", "low", "high"))
    return with_interval(Estimate(value=value, low=low, high=high), write)


def _limit(contender: Contender) -> list[Row]:
    limit = contender.suite.memory_limit_bytes
    label = f"{contender.name}: {format_bytes(limit)}"
    return [{"y": limit, "series": contender.name, "label": label}] if limit else []


def _crossing_words(crossings: Sequence[Row]) -> str:
    return f" Grey: {'; '.join(str(row['label']) for row in crossings)}." if crossings else ""


def _crossing_row(crossover: Crossover, verb: str) -> Row:
    """Its interval, without an end that is open."""
    row: Row = {"x": crossover.params, "label": f"{crossover.above} {verb} above {crossover_size(crossover)}"}
    if crossover.low:
        row["low"] = crossover.low
    if crossover.high:
        row["high"] = crossover.high
    return row


# --- layers -----------------------------------------------------------------------------------------------------------


class _Scales:
    """Colour and symbol by contender: all names in every chart, so that none takes another's place."""

    def __init__(self, names: Sequence[str]) -> None:
        n = len(MODEL_COLOURS)
        colours = [MODEL_COLOURS[index % n] for index in range(len(names))]
        symbols = [MODEL_SHAPES[(index + index // n) % n] for index in range(len(names))]
        legend = alt.Legend(title=None, symbolOpacity=1)
        self.colour = alt.Color("series:N", scale=alt.Scale(domain=list(names), range=colours), legend=legend)
        self.shape = alt.Shape("series:N", scale=alt.Scale(domain=list(names), range=symbols), legend=legend)


def _series_layers(frame: Frame, scales: _Scales, rows: Sequence[Row], lines: Sequence[Row]) -> list[alt.Chart]:
    """Bands, lines, intervals and points, the points on top."""
    layers = []
    if lines:
        dash = alt.condition("datum.part === 'extrapolated'", alt.value(DASH), alt.value([1, 0]))
        band = inline(lines).mark_area(opacity=0.15, clip=True)
        stroke = inline(lines).mark_line(strokeWidth=2, clip=True)
        layers.append(band.encode(**frame.interval(), color=scales.colour, detail="piece:N"))
        layers.append(
            stroke.encode(**frame.xy(), color=scales.colour, detail="piece:N", strokeDash=dash, tooltip=tooltip(lines))
        )
    if rows:
        bars = inline(rows).mark_rule(strokeWidth=1.5, clip=True)
        points = inline(rows).mark_point(size=64, filled=True, opacity=1, clip=True)
        layers.append(bars.encode(**frame.interval(), color=scales.colour))
        layers.append(points.encode(**frame.xy(), color=scales.colour, shape=scales.shape, tooltip=tooltip(rows)))
    return layers


def _limit_layers(frame: Frame, scales: _Scales, limits: Sequence[Row]) -> list[alt.Chart]:
    if not limits:
        return []
    rule = inline(limits).mark_rule(strokeWidth=1.5, strokeDash=[2, 3]).encode(y=frame.y(), color=scales.colour)
    text = inline(limits).mark_text(align="left", baseline="top", dx=6, dy=6, fontSize=12)
    return [rule, text.encode(y=frame.y(), x=alt.value(0), text="label:N")]


def _crossing_layers(frame: Frame, x_axis: Axis, crossings: Sequence[Row]) -> list[alt.Chart]:
    """A rule at each crossover, over the band of its interval."""
    if not crossings:
        return []
    ends = [{**row, "low": row.get("low", x_axis.low), "high": row.get("high", x_axis.high)} for row in crossings]
    band = inline(ends).mark_rect(color=GREY, opacity=0.18, clip=True)
    rule = inline(ends).mark_rule(color=GREY, strokeWidth=1.5, strokeDash=[2, 3], clip=True)
    return [band.encode(x=frame.x("low"), x2="high:Q"), rule.encode(x=frame.x())]
