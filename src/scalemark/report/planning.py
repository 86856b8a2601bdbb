"""A plan as text and tables: what to train, what it costs and reaches, and what else the same budget gives.

    headline   what to train, and what that is predicted to cost and to reach
    tables     this budget's models side by side; the front of loss against time
    notes      what the plan takes for granted

A prediction stands with its interval and its distance from what was measured; past `MARKED_BEYOND` that is marked.
"""

from textwrap import wrap

from scalemark.report.numbers import MARKED_BEYOND, interval, with_interval
from scalemark.report.tables import UNAVAILABLE, Column, Table
from scalemark.report.terminal import table_lines
from scalemark.schema import Estimate, Goal, PlannedTraining, Range, TrainingPlan
from scalemark.units import MISSING, format_amount, format_bytes, format_percent, format_seconds, significant

_JOULES_PER_KWH = 3.6e6
_GOALS: dict[Goal, str] = {
    "hours": "For {amount} h of training",
    "usd": "For {amount} USD of training at {price} USD per hour",
    "kwh": "For {amount} kWh of training",
    "loss": "For a loss of {amount} nats per token",
}


def plan_lines(plan: TrainingPlan, width: int = 100) -> list[str]:
    """The whole plan for a terminal of so many columns."""
    lines = [line for text in headline(plan) for line in wrap(text, width)]
    for table in plan_tables(plan):
        lines += ["", *table_lines(table, width)]
    return [*lines, "", *(line for note in plan.notes for line in wrap(f"- {note}", width, subsequent_indent="  "))]


def plan_tables(plan: TrainingPlan) -> tuple[Table, Table]:
    """The models of this budget, and the front."""
    return budget_table(plan), front_table(plan)


def headline(plan: TrainingPlan) -> list[str]:
    """Sentences, the answer first."""
    best = plan.best
    goal = _GOALS[plan.goal].format(amount=f"{plan.amount:.4g}", price=f"{plan.usd_per_hour or 0:.4g}")
    return [
        f"{goal} on {plan.machine}: train {describe_model(best)} on {format_amount(best.tokens)} tokens, "
        f"{best.n_steps:,} steps of {best.batch} × {best.seq_len}.",
        f"It reaches a validation loss of {_loss(best.loss)} nats per token and takes {_between(best.time_s)}; "
        f"{_energy_sentence(plan)}. 90 % intervals; {_distance(best)}.",
        *([_reaching(plan)] if plan.goal == "loss" else []),
        f"{_sizes(plan.near_optimal)} parameters (without embeddings) cost less than "
        f"{format_percent(plan.near_optimal_excess)} more loss for the same budget. The best size itself is "
        f"{_size(plan.optimal_params)}.",
        _rule_sentence(plan),
        *(f"{one.model.name} instead: {_regret_sentence(one)}." for one in plan.named),
    ]


def describe_model(planned: PlannedTraining) -> str:
    """'d4w96 (4 layers of width 96, 6 heads, 492 k parameters)'."""
    model = planned.model
    heads = f"{model.n_head} head{'s' if model.n_head > 1 else ''}"
    parameters = format_amount(planned.params_total)
    return f"{model.name} ({model.n_layer} layers of width {model.d_model}, {heads}, {parameters} parameters)"


def budget_table(plan: TrainingPlan) -> Table:
    """The plan, the models that the user named, and what the rule of 20 gives, all for the same budget."""
    rows = [("plan", plan.best), *(("named", one) for one in plan.named)]
    if plan.rule:
        rows.append((f"{plan.rule_tokens_per_parameter:.0f} tokens/parameter", plan.rule))
    columns = (
        Column("what"),
        Column("model"),
        Column("parameters", "number", 3),
        Column("tokens", "number", 2),
        Column("tokens/parameter", "number", 6),
        Column("loss", "number"),
        Column("above the best", "number", 1),
        Column("time", "number"),
        Column("energy", "number", 5),
        Column("USD", "number", 4),
        Column("memory", "number", 7),
        Column("beyond", "number"),
    )
    note = (
        "Above the best: how much more loss than the lowest for the same budget; its interval is over pairs of "
        "replicates of both laws, each against its own best model. Beyond: how many times outside what the loss law "
        f"and the cost law were fitted to, in this order; from {MARKED_BEYOND:.0f} on marked (!), a guess."
    )
    return Table("The same budget, spent otherwise", columns, tuple(_budget_row(what, one) for what, one in rows), note)


def _budget_row(what: str, one: PlannedTraining) -> tuple[str, ...]:
    return (
        what,
        one.model.name,
        format_amount(one.params_total),
        format_amount(one.tokens),
        significant(one.tokens_per_parameter, 2),
        with_interval(one.loss, significant),
        f"{_percent(one.regret.value)} ({_percent(one.regret.low)} to {_percent(one.regret.high)})",
        with_interval(one.time_s, format_seconds),
        _energy(one.energy_j),
        with_interval(one.usd, significant) if one.usd else "",
        format_bytes(one.memory_bytes.value) if one.memory_bytes else MISSING,
        f"{_times(one.loss_extrapolation)}, {_times(one.cost_extrapolation)}",
    )


def front_table(plan: TrainingPlan) -> Table:
    """The best model of smaller and larger budgets: what more time buys."""
    columns = (
        Column("time", "number"),
        Column("model"),
        Column("parameters", "number", 3),
        Column("tokens", "number", 1),
        Column("loss", "number"),
        Column("energy", "number", 5),
        Column("USD", "number", 4),
        Column("beyond", "number"),
    )
    rows = tuple(_front_row(one) for one in plan.front)
    note = (
        "The best model for each budget; budgets that lead too far from what was measured are left out. Beyond: of the "
        "loss law and of the cost law."
    )
    return Table("Loss against time", columns, rows, note)


def _front_row(one: PlannedTraining) -> tuple[str, ...]:
    return (
        with_interval(one.time_s, format_seconds),
        one.model.name,
        format_amount(one.params_total),
        format_amount(one.tokens),
        with_interval(one.loss, significant),
        _energy(one.energy_j),
        with_interval(one.usd, significant) if one.usd else "",
        f"{_times(one.loss_extrapolation)}, {_times(one.cost_extrapolation)}",
    )


# --- sentences --------------------------------------------------------------------------------------------------------


def _energy_sentence(plan: TrainingPlan) -> str:
    money = f"{_usd(plan.best.usd)}; " if plan.best.usd else ""
    if plan.best.energy_j is None:
        return f"{money}energy {UNAVAILABLE}: {plan.energy_reason or 'not measured'}"
    return f"{money}{_kwh(plan.best.energy_j)}"


def _reaching(plan: TrainingPlan) -> str:
    if plan.time_to_loss_s is None:
        return (
            f"How long {plan.best.model.name} may need to reach that loss has no upper end: by more than one in twenty "
            "replicates of the laws it never does."
        )
    return f"To reach that loss it may need {interval(plan.time_to_loss_s, format_seconds)}, whatever its tokens."


def _rule_sentence(plan: TrainingPlan) -> str:
    rule, ratio = plan.rule, f"{plan.rule_tokens_per_parameter:.0f} tokens per parameter"
    if rule is None:
        return f"What {ratio} would give lies too far from what was measured."
    return f"The rule of {ratio} would train {rule.model.name}: {_regret_sentence(rule)}."


def _regret_sentence(one: PlannedTraining) -> str:
    return (
        f"a loss of {_loss(one.loss)} after {format_amount(one.tokens)} tokens, {_percent(one.regret.value)} "
        f"({_percent(one.regret.low)} to {_percent(one.regret.high)}) above the best for the same budget; "
        f"{_distance(one)}"
    )


def _distance(one: PlannedTraining) -> str:
    parts = [("the loss law", one.loss_extrapolation), ("the cost law", one.cost_extrapolation)]
    beyond = [f"{_times(times)} beyond the fitted range of {law}" for law, times in parts if times > 1]
    return " and ".join(beyond) or "within what was measured"


def _times(extrapolation: float) -> str:
    if extrapolation <= 1:
        return "within"
    return f"{significant(extrapolation, 2)}×{' (!)' if extrapolation > MARKED_BEYOND else ''}"


def _loss(loss: Estimate) -> str:
    return f"{significant(loss.value)} ({significant(loss.low)} to {significant(loss.high)})"


def _between(time_s: Estimate) -> str:
    return f"{format_seconds(time_s.value)} ({interval(time_s, format_seconds)})"


def _usd(usd: Estimate | None) -> str:
    return MISSING if usd is None else f"{significant(usd.value)} USD ({interval(usd, significant)})"


def _kwh(energy_j: Estimate) -> str:
    kwh = energy_j.scaled(1 / _JOULES_PER_KWH)
    return f"{significant(kwh.value)} kWh ({interval(kwh, significant)})"


def _energy(energy_j: Estimate | None) -> str:
    if energy_j is None:
        return UNAVAILABLE
    return with_interval(energy_j.scaled(1 / _JOULES_PER_KWH), lambda kwh: f"{significant(kwh)} kWh")


def _percent(fraction: float) -> str:
    return format_percent(fraction, 1 if fraction < 0.1 else 0)


def _sizes(span: Range) -> str:
    if span.low == span.high:
        return f"Only {format_amount(span.low)}"
    return f"{format_amount(span.low)} to {format_amount(span.high)}"


def _size(params: Estimate) -> str:
    return f"{format_amount(params.value)} ({interval(params, format_amount)})"
