"""Laws as lines with their bands, and what the measurements miss of them."""

from collections.abc import Sequence

from scalemark.report.numbers import LAW_WRITERS, change, distance, reading, with_interval
from scalemark.report.series.row import Row
from scalemark.schema import Analysis, CurvePoint, LawKind, Residual
from scalemark.units import format_amount, format_count

# Residuals below this are none: the law meets every measurement, as that of memory can.
LEAST_RESIDUAL = 1e-3


def law_rows(analysis: Analysis, kind: LawKind) -> list[Row]:
    """A law's line with its band, as `pieces_of` it."""
    return pieces_of(analysis.curves.get(kind, ()), kind)


def pieces_of(curve: Sequence[CurvePoint], kind: LawKind) -> list[Row]:
    """A line with its band, in pieces that meet: `part` is 'fitted' or 'extrapolated'."""
    points = sorted(curve, key=lambda point: point.x)
    inside = [index for index, point in enumerate(points) if point.extrapolation <= 1]
    if not inside:
        return [_law_row(point, kind, "extrapolated", "beyond") for point in points]
    first, last = inside[0], inside[-1]
    pieces = (
        ("extrapolated", "below", points[: first + 1]),
        ("fitted", "inside", points[first : last + 1]),
        ("extrapolated", "beyond", points[last:]),
    )
    return [_law_row(point, kind, part, piece) for part, piece, run in pieces if len(run) > 1 for point in run]


def _law_row(point: CurvePoint, kind: LawKind, part: str, piece: str) -> Row:
    return {
        "x": point.x,
        "y": point.y.value,
        "low": point.y.low,
        "high": point.y.high,
        "part": part,
        "piece": piece,
        "law": with_interval(point.y, LAW_WRITERS[kind]),
        "distance": distance(point.extrapolation),
    }


def residual_rows(analysis: Analysis, kind: LawKind) -> list[Row]:
    """One row per measurement: x size or compute, y measured over predicted less 1, with low and high.

    Empty where no measurement differs from the law.
    """
    rows = [_residual_row(one, kind) for one in analysis.residuals.get(kind, ())]
    return rows if any(abs(float(row["y"])) >= LEAST_RESIDUAL for row in rows) else []


def _residual_row(one: Residual, kind: LawKind) -> Row:
    ratio = one.ratio
    return {
        **_subject(one, kind),
        "y": ratio.value - 1,
        "low": ratio.low - 1,
        "high": ratio.high - 1,
        "predicted": with_interval(one.predicted, LAW_WRITERS[kind]),
        "measured less predicted": change(ratio.value - 1),
    }


def hidden_rows(analysis: Analysis, kind: LawKind) -> list[Row]:
    """The same for what was hidden, against what was foretold; its ends hold 0 where the foretold interval held it."""
    return [
        {
            **_subject(one, kind),
            "y": one.measured.value / told.value - 1,
            "low": one.measured.value / told.high - 1,
            "high": one.measured.value / told.low - 1,
            "foretold while hidden": with_interval(told, LAW_WRITERS[kind]),
            "measured less foretold": change(one.measured.value / told.value - 1),
        }
        for one in analysis.residuals.get(kind, ())
        if (told := one.foretold)
    ]


def _subject(one: Residual, kind: LawKind) -> Row:
    size = format_count(one.x, "FLOP") if kind == "loss" else f"{format_amount(one.x)} non-embedding"
    return {"x": one.x, "subject": one.subject, "size": size, "measured": reading(one.measured, LAW_WRITERS[kind])}
