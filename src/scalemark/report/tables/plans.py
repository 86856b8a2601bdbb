"""What to train here in ten minutes, in one hour, in eight, in a day."""

from scalemark.report.numbers import MARKED_BEYOND, distance, with_interval
from scalemark.report.tables.table import Column, Table
from scalemark.schema import Analysis, TrainingPlan
from scalemark.units import format_amount, format_bytes, format_hours, format_seconds

PLAN_TITLE = "What to train here"


def plan_table(analysis: Analysis) -> Table:
    """One row per budget that has a plan; the note says why others have none."""
    columns = (
        Column("budget"),
        Column("model"),
        Column("parameters", "number", 2),
        Column("tokens", "number"),
        Column("validation loss", "number"),
        Column("time", "number", 4),
        Column("memory", "number", 5),
        Column("sizes nearly as good", "number", 3),
        Column("fitted range"),
    )
    return Table(PLAN_TITLE, columns, tuple(map(_row, analysis.plans)), _note(analysis))


def _row(plan: TrainingPlan) -> tuple[str, ...]:
    best, near = plan.best, plan.near_optimal
    return (
        format_hours(plan.amount),
        best.model.name,
        format_amount(best.params_total),
        format_amount(best.tokens),
        with_interval(best.loss, lambda loss: f"{loss:.3f}"),
        with_interval(best.time_s, format_seconds),
        with_interval(best.memory_bytes, format_bytes),
        f"{format_amount(near.low)} to {format_amount(near.high)}",
        _reach(best.extrapolation),
    )


def _reach(extrapolation: float) -> str:
    """'4.0× beyond', marked where it is a guess."""
    words = distance(extrapolation).removesuffix(" the fitted range")
    return f"{words} (!)" if extrapolation > MARKED_BEYOND else words


def _note(analysis: Analysis) -> str:
    how = (
        "The model that reaches the lowest loss in that time, by the loss law and the measured cost, with 90 %"
        " intervals of a new run; sizes without embeddings whose loss is within half a percent. What lies more than"
        f" {MARKED_BEYOND:.0f} times beyond what was measured is marked (!): a guess. `scalemark plan` says what a plan"
        " takes for granted, and plans for money, energy or a loss."
        if analysis.plans
        else ""
    )
    return " ".join(filter(None, [how, missing_plans_note(analysis)]))


def missing_plans_note(analysis: Analysis) -> str:
    """Why some budgets have no plan, budgets of one advice together; empty where all have one."""
    by_advice: dict[str, dict[str, list[str]]] = {}
    for budget, reason in analysis.missing_plans.items():
        what, _, advice = reason.rstrip(".").partition(": ")
        by_advice.setdefault(advice, {}).setdefault(what, []).append(budget)
    return " ".join(_sentence(advice, reasons) for advice, reasons in by_advice.items())


def _sentence(advice: str, reasons: dict[str, list[str]]) -> str:
    """'No plan for 8 h (…) and 24 h (…): measure larger models.'"""
    each = " and ".join(f"{', '.join(budgets)} ({what})" for what, budgets in reasons.items())
    return f"No plan for {each}{f': {advice}' if advice else ''}."
