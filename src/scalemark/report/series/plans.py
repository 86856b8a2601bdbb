"""The best loss for each training time, from the fronts of all plans."""

from scalemark.report.numbers import with_interval
from scalemark.report.series.laws import pieces_of
from scalemark.report.series.row import Row
from scalemark.schema import Analysis, CurvePoint, PlannedTraining
from scalemark.units import format_amount, format_hours, format_seconds


def front_rows(analysis: Analysis) -> list[Row]:
    """The front as a line with its band: x seconds, y validation loss; empty with fewer than two places."""
    places = {one.time_s.value: one for plan in analysis.plans for one in plan.front}
    points = [
        CurvePoint(x=seconds, y=one.loss, extrapolation=one.extrapolation) for seconds, one in sorted(places.items())
    ]
    return pieces_of(points, "loss") if len(points) > 1 else []


def plan_rows(analysis: Analysis) -> list[Row]:
    """One row per plan: x seconds, y validation loss with low and high."""
    return [
        {**_row(plan.best), "label": f"{format_hours(plan.amount)}: {plan.best.model.name}"} for plan in analysis.plans
    ]


def _row(one: PlannedTraining) -> Row:
    return {
        "x": one.time_s.value,
        "y": one.loss.value,
        "low": one.loss.low,
        "high": one.loss.high,
        "model": one.model.name,
        "tokens": format_amount(one.tokens),
        "time": with_interval(one.time_s, format_seconds),
        "validation loss": with_interval(one.loss, lambda loss: f"{loss:.3f}"),
    }
