"""Where the time of a step goes: the terms of the step time law, as bars of each model and as lines over size."""

from scalemark.report.numbers import distance, with_interval
from scalemark.report.series.laws import pieces_of
from scalemark.report.series.row import Row
from scalemark.report.tables.splits import term_labels
from scalemark.schema import Analysis, TimeSplit
from scalemark.units import format_amount, format_percent, format_seconds

# Of the whole step: below it a term is no line on a logarithmic axis.
LEAST_SHARE = 1e-3


def split_rows(analysis: Analysis) -> list[Row]:
    """One row per model and term: from low to high of the measured time; of the predicted, where none was measured."""
    labels = term_labels(analysis)
    return [row for split in analysis.splits for row in _rows_of(split, labels)]


def _rows_of(split: TimeSplit, labels: dict[str, str]) -> list[Row]:
    whole_s = split.measured_s.value if split.measured_s else split.predicted_s
    rows: list[Row] = []
    start_s = 0.0
    for term in split.terms:
        rows.append(
            {
                "model": split_label(split),
                "term": labels[term.name],
                "start": start_s / whole_s,
                "end": (start_s + term.seconds.value) / whole_s,
                "part": "measured" if split.measured_s else "extrapolated",
                "time": with_interval(term.seconds, format_seconds),
                "of the step": with_interval(term.share, format_percent),
                "distance": distance(split.extrapolation),
            }
        )
        start_s += term.seconds.value
    return rows


def split_label(split: TimeSplit) -> str:
    """'d4w256, 3.15 M'."""
    return f"{split.model.name}, {format_amount(split.params_non_embedding)}"


def measured_rows(analysis: Analysis) -> list[Row]:
    """One row per model: its time in words, and for those measured the interval as shares of the median."""
    return [_measured_row(split) for split in analysis.splits]


def _measured_row(split: TimeSplit) -> Row:
    row: Row = {"model": split_label(split), "by the law": format_seconds(split.predicted_s)}
    if split.measured_s is None:
        return {**row, "label": f"{format_seconds(split.predicted_s)} predicted"}
    measured = split.measured_s
    return {
        **row,
        "label": format_seconds(measured.value),
        "measured": with_interval(measured, format_seconds),
        "middle": 1.0,
        "low": measured.low / measured.value,
        "high": measured.high / measured.value,
    }


def term_rows(analysis: Analysis) -> list[Row]:
    """Each term of the law as a line over size, in pieces, where it is more than a thousandth of the step."""
    step_s = {point.x: point.y.value for point in analysis.curves.get("step_time", ())}
    labels = term_labels(analysis)
    return [
        {
            "x": row["x"],
            "y": row["y"],
            "part": row["part"],
            "piece": row["piece"],
            "term": labels[name],
            "time": row["law"],
            "of the step": format_percent(float(row["y"]) / step_s[float(row["x"])]),
            "distance": row["distance"],
        }
        for name, curve in analysis.term_curves.items()
        if name in labels
        for row in pieces_of(curve, "step_time")
        if float(row["y"]) >= LEAST_SHARE * step_s[float(row["x"])]
    ]
