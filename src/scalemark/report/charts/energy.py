"""What a token costs in energy, against model size."""

from scalemark.report.charts.figure import Figure, titled
from scalemark.report.charts.layers import (
    PARAMETERS_TITLE,
    Frame,
    ends_of,
    error_bars,
    law_layers,
    layered,
    line_words,
    points,
)
from scalemark.report.numbers import joules
from scalemark.report.series import law_rows
from scalemark.report.series.row import Row
from scalemark.report.series.steps import energy_rows, items_per_step
from scalemark.report.ticks import amount_axis, joules_axis
from scalemark.schema import Analysis


def energy_figure(analysis: Analysis) -> Figure | None:
    """Joules per token; None where no counter told any."""
    rows, line = energy_rows(analysis.suite), _line(analysis)
    if not rows:
        return None
    x, y = amount_axis(ends_of("x", rows, line)), joules_axis(ends_of("y", rows, line))
    frame = Frame(x, y, PARAMETERS_TITLE, "energy per token, training")
    chart = layered(*law_layers(frame, line), error_bars(frame, rows), points(frame, rows))
    caption = f"Points: counted, idle power included, with 90 % intervals.{line_words(line)}"
    return titled("energy", caption, chart)


def _line(analysis: Analysis) -> list[Row]:
    """The law of a step's energy, for each of its tokens."""
    items = items_per_step(analysis.suite)
    rows = law_rows(analysis, "energy") if items else []
    return [_per_token(row, items) for row in rows if items]


def _per_token(row: Row, items: int) -> Row:
    shares = {name: float(row[name]) / items for name in ("y", "low", "high")}
    return {**row, **shares, "law": f"{joules(shares['y'])} ({joules(shares['low'])} to {joules(shares['high'])})"}
