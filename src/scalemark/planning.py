"""From a suite to a plan: which model to train for a budget, or what a loss takes. No torch.

    suite ─> loss law, prices of steps, memory ─> Field of candidate models ─> optimum ─> TrainingPlan

The joint between fit, model and plan: the one place that picks what each of them is told.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import log
from pathlib import Path
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from scalemark.analysis import TOKENS_PER_PARAMETER, ceilings_as_limits, law_cells
from scalemark.errors import BudgetError, FitError, InputError, ScalemarkError, TooFarError
from scalemark.fit.cost_law import Limits, distance
from scalemark.fit.forms import form_of
from scalemark.fit.loss_law import fit_loss_law, loss_extrapolation
from scalemark.fit.prediction import predict_with_scatter
from scalemark.fit.repeated import fit_repeated_law
from scalemark.plan.front import FACTORS, front
from scalemark.plan.grounds import Grounds
from scalemark.plan.notes import notes
from scalemark.plan.optimum import (
    Array,
    Field,
    Losses,
    best_index,
    budget_draws_to_reach,
    cheapest,
    near_optimal,
    nearest_ratio,
    optimal_params,
    regret,
)
from scalemark.plan.prices import MemoryPrice, Prices, price_energy, price_time, scatter_of
from scalemark.plan.shapes import MOST_WIDTH_PER_LAYER, Recipe, candidate_shapes, named_shape
from scalemark.record.store import load_suite
from scalemark.schema import (
    Accounting,
    Estimate,
    Goal,
    Law,
    LawKind,
    ModelConfig,
    PlannedTraining,
    Range,
    Suite,
    TrainingPlan,
    TrainingRun,
)
from scalemark.stats import percentile_interval
from scalemark.units import format_amount, format_bytes, format_hours, format_seconds, significant

REPLICATES = 500
NEAR_OPTIMAL_EXCESS = 0.005
# The rule's grain: of models within 10 % of 20 tokens per parameter, the best shape stands for it.
RULE_WITHIN = 1.1
REFUSED_BEYOND = 100.0
# How far beyond the largest model that was trained candidates reach. Past what is refused, so that a refusal says how
# far the optimum is, and does not stop at the edge.
_MOST_SIZE_RATIO = 1e4
# R_D* of Muennighoff et al. 2023 (section 5), on other text and larger models: half or twice as much is allowed for.
REPEATS_WORTH, REPEATS_LOG_SD = 15.4, log(2) / 1.645
# Of the replicates: where more never reach a loss, the time to it has no upper end at 90 %.
_LEAST_REACHING = 0.95
_JOULES_PER_KWH, _SECONDS_PER_HOUR = 3.6e6, 3600.0


def plan(
    suite: Suite | Path | str | Grounds,
    *,
    hours: float | None = None,
    usd: float | None = None,
    kwh: float | None = None,
    loss: float | None = None,
    usd_per_hour: float | None = None,
    sizes: Sequence[str] = (),
    memory_gib: float | None = None,
    force: bool = False,
) -> TrainingPlan:
    """The model that reaches the lowest loss for a budget, or that reaches a loss for the least time.

    Give one of hours, usd (with usd_per_hour), kwh and loss (nats per token). suite: also a path to one, or what
    `survey` made of it, for many plans from one suite. sizes: models whose regret to say, such as 'd6w384'. memory_gib:
    in place of the suite's own limit. force: plan even past 100 times the fitted range.

    Raises InputError for arguments that cannot be used, a budget that holds no training and a loss that cannot be
    reached, and FitError where the suite tells no loss law or no cost.
    """
    goal, amount = _goal(hours, usd, kwh, loss, usd_per_hour)
    grounds = suite if isinstance(suite, Grounds) else survey(suite)
    choice = _choice(grounds, goal, sizes, _limit_bytes(grounds.suite, memory_gib), usd_per_hour, force)
    return _plan(choice, goal, amount, sizes)


def _plan(choice: "_Choice", goal: Goal, amount: float, sizes: Sequence[str] = ()) -> TrainingPlan:
    grounds = choice.grounds
    index, steps, budget = _answer(choice, goal, amount)
    best = _planned(choice, index, steps, budget)
    _refuse_far(best, choice.force)
    return TrainingPlan(
        suite_id=grounds.suite.id,
        machine=grounds.suite.machine.summary,
        device=grounds.suite.settings.device,
        threads=grounds.time.threads,
        shared=grounds.time.shared,
        goal=goal,
        amount=amount,
        usd_per_hour=choice.usd_per_hour,
        best=best,
        time_to_loss_s=_time_to_loss(choice, index, steps, amount) if goal == "loss" else None,
        optimal_params=_optimal_params(choice, index, budget),
        near_optimal=_near_optimal(choice, budget),
        near_optimal_excess=NEAR_OPTIMAL_EXCESS,
        named=tuple(_named(choice, name, budget) for name in sizes),
        rule=_rule(choice, budget),
        rule_tokens_per_parameter=TOKENS_PER_PARAMETER,
        front=_front(choice, budget),
        memory_limit_bytes=choice.limit_bytes,
        energy_reason=grounds.energy_reason,
        notes=notes(grounds, best),
    )


def plan_hours(
    suite: Suite, budgets_h: Sequence[float], laws: Mapping[LawKind, Law] = MappingProxyType({})
) -> tuple[tuple[TrainingPlan, ...], dict[str, str]]:
    """A plan for each budget that has one, and for the others the reason, by budget: '8 h', '10 min'.

    laws: of this suite, where they are fitted already.
    """
    try:
        grounds = survey(suite, laws)
    except ScalemarkError as error:
        return (), {format_hours(hours): str(error) for hours in budgets_h}
    choice = _choice(grounds, "hours", (), suite.memory_limit_bytes, None, False)
    plans: list[TrainingPlan] = []
    missing: dict[str, str] = {}
    for hours in budgets_h:
        try:
            plans.append(_plan(choice, "hours", hours))
        except ScalemarkError as error:
            missing[format_hours(hours)] = str(error)
    return tuple(plans), missing


# --- what is asked ----------------------------------------------------------------------------------------------------


def _goal(
    hours: float | None, usd: float | None, kwh: float | None, loss: float | None, usd_per_hour: float | None
) -> tuple[Goal, float]:
    """The one goal that is given and its amount; raises InputError for none, two, or one that makes no sense."""
    goals: dict[Goal, float | None] = {"hours": hours, "usd": usd, "kwh": kwh, "loss": loss}
    given = [(goal, amount) for goal, amount in goals.items() if amount is not None]
    if len(given) != 1:
        named = " and ".join(goal for goal, _ in given) or "none"
        raise InputError(f"a plan has one goal, and here it has {named}: give one of --hours, --usd, --kwh and --loss")
    goal, amount = given[0]
    for name, value in ((goal, amount), ("usd_per_hour", usd_per_hour)):
        if value is not None and not 0 < value < float("inf"):
            raise InputError(f"{value:g} {name.replace('_', ' ')} make no plan: give a positive number")
    if goal == "usd" and usd_per_hour is None:
        raise InputError(f"what {amount:g} USD buy is not known: say what an hour costs with --usd-per-hour")
    return goal, amount


def _limit_bytes(suite: Suite, memory_gib: float | None) -> float | None:
    if memory_gib is None:
        return suite.memory_limit_bytes
    if not 0 < memory_gib < float("inf"):
        raise InputError(f"{memory_gib:g} GiB hold no model: give --memory-gib a positive number")
    return memory_gib * 2**30


def _answer(choice: "_Choice", goal: Goal, amount: float) -> tuple[int, int, float]:
    """(model, steps, budget in the unit of the field): of a loss, the budget is what reaching it takes."""
    field = choice.field
    if not field.fits.any():
        limit = format_bytes(choice.limit_bytes)
        raise InputError(
            f"no model trains within {limit} of memory: give more with --memory-gib, or measure another machine"
        )
    if goal == "loss":
        return _reach(choice, amount)
    budget = amount * _JOULES_PER_KWH if goal == "kwh" else amount * _SECONDS_PER_HOUR
    budget /= choice.usd_per_hour if goal == "usd" and choice.usd_per_hour else 1.0
    index = best_index(field, budget)
    if index is None:
        share = field.least_budget / budget * amount
        raise BudgetError(f"{amount:g} {goal} hold no training past its warm-up: give at least {significant(share, 2)}")
    return index, int(field.steps(budget)[index]), budget


def _reach(choice: "_Choice", loss: float) -> tuple[int, int, float]:
    found = cheapest(choice.field, loss)
    if found is None:
        raise InputError(
            f"a loss of {loss:g} is not reachable: {_floor(choice.grounds.loss_law)}: ask for a higher one"
        )
    index, steps = found
    return index, steps, choice.field.budget(index, steps)


def _floor(law: Law) -> str:
    """What the law says that no model goes below."""
    floor = next((parameter for parameter in law.parameters if parameter.name == "E"), None)
    if floor is None:
        return "no model that fits gets so far"
    told = "" if floor.identified else ", which these runs hardly tell"
    estimate = floor.estimate
    return f"the law's E is {estimate.value:.3g} ({estimate.low:.3g} to {estimate.high:.3g}{told})"


def _refuse_far(planned: PlannedTraining, force: bool) -> None:
    if planned.extrapolation > REFUSED_BEYOND and not force:
        raise TooFarError(
            f"{planned.model.name} on {format_amount(planned.tokens)} tokens lies "
            f"{significant(planned.extrapolation, 2)} times beyond what was measured: past {REFUSED_BEYOND:.0f} times "
            "no law holds, so ask for less, or measure and train larger models"
        )


# --- what the suite tells ---------------------------------------------------------------------------------------------


def survey(suite: Suite | Path | str, laws: Mapping[LawKind, Law] = MappingProxyType({})) -> Grounds:
    """Fit all that plans need; raises FitError where the suite tells no loss law or no cost.

    laws: of this suite, where they are fitted already.
    """
    suite = suite if isinstance(suite, Suite) else load_suite(Path(suite))
    loss_law, trained = _loss_law(suite, laws.get("loss"))
    recipe = Counter(Recipe.of(run) for run in trained).most_common(1)[0][0]
    cells = law_cells(suite)
    limits = ceilings_as_limits(suite)
    replicates = min(REPLICATES, len(loss_law.draws))
    time = price_time(cells, trained, suite.settings, replicates, limits, laws.get("step_time"))
    energy, energy_reason = _energy(suite, time, limits, laws.get("energy"))
    losses, repeats_are_told = _losses(suite, loss_law, len(time.loop_draws))
    return Grounds(
        suite=suite,
        loss_law=loss_law,
        losses=losses,
        repeats_are_told=repeats_are_told,
        trained=trained,
        recipe=recipe,
        time=time,
        energy=energy,
        energy_reason=energy_reason,
        memory=MemoryPrice.of(cells, recipe, suite.settings.seed, laws.get("memory")),
    )


@dataclass(frozen=True)
class _Choice:
    """The candidates on these grounds. counted: one step of each. field: in joules for a goal of energy, else seconds.

    usd_per_hour: what an hour costs, where the user said so; force: whether to plan past what is refused.
    """

    grounds: Grounds
    models: tuple[ModelConfig, ...]
    counted: tuple[Accounting, ...]
    field: Field
    limit_bytes: float | None
    usd_per_hour: float | None = None
    force: bool = False


def _choice(
    grounds: Grounds,
    goal: Goal,
    sizes: Sequence[str],
    limit_bytes: float | None,
    usd_per_hour: float | None,
    force: bool,
) -> _Choice:
    prices = grounds.time
    if goal == "kwh":
        if grounds.energy is None:
            reason = grounds.energy_reason
            raise InputError(f"energy is unavailable ({reason}): give --hours, or --usd with --usd-per-hour")
        prices = grounds.energy
    models = _models(grounds, sizes)
    counted = tuple(grounds.recipe.account(model) for model in models)
    field = _field(grounds, prices, counted, grounds.memory.fits(models, limit_bytes))
    return _Choice(grounds, models, counted, field, limit_bytes, usd_per_hour, force)


def _loss_law(suite: Suite, law: Law | None) -> tuple[Law, tuple[TrainingRun, ...]]:
    """The law, if it is not known yet, and the runs that it is fitted to; raises FitError."""
    trained = tuple(
        run for run in suite.training_runs if run.status == "ok" and run.config.model and not run.config.unique_tokens
    )
    try:
        return law or fit_loss_law(suite.training_runs, suite.settings.seed), trained
    except FitError as error:
        raise FitError(
            f"no plan without a loss law ({error}): `scalemark train --budget 20m` trains for one"
        ) from error


def _models(grounds: Grounds, sizes: Sequence[str]) -> tuple[ModelConfig, ...]:
    """The candidates, and those that a user names; raises InputError for one that the loss law says nothing of."""
    most = _MOST_SIZE_RATIO * grounds.loss_law.domain["params_non_embedding"].high
    named = [named_shape(name, grounds.shapes) for name in sizes]
    for model in named:
        _check_shape(model, grounds.shapes)
    return tuple(dict.fromkeys([*candidate_shapes(grounds.shapes, most), *named]))


def _check_shape(model: ModelConfig, trained: Sequence[ModelConfig]) -> None:
    """Raises InputError for a shape unlike any candidate: a law that knows only its size would flatter it."""
    shallowest = min(shape.n_layer for shape in trained)
    if model.n_layer < shallowest:
        raise InputError(
            f"the loss law was fitted to models of {shallowest} layers or more and tells nothing of {model.name}: "
            "name a deeper one"
        )
    if model.d_model > MOST_WIDTH_PER_LAYER * model.n_layer:
        raise InputError(
            f"{model.name} is wider for its depth than models are, and the loss law tells nothing of it: "
            f"name one of at most {MOST_WIDTH_PER_LAYER} per layer"
        )


def _losses(suite: Suite, law: Law, replicates: int) -> tuple[Losses, bool]:
    """The loss law, with what repeated text is worth: as this suite tells it, or as it was published."""
    constant, draws, is_told = _repeats(suite, replicates)
    unique = suite.corpus.train_tokens if suite.corpus else None
    form, values = form_of(law.coefficients, law.form), np.array(law.coefficients)
    return Losses(form, values, np.array(law.draws)[:replicates], unique, constant, draws), is_told


def _repeats(suite: Suite, replicates: int) -> tuple[float, Array, bool]:
    """R_D*, its replicates, and whether the suite's own runs tell it."""
    rng = np.random.default_rng(suite.settings.seed)
    try:
        law = fit_repeated_law(suite.training_runs, suite.settings.seed)
        told = next(parameter for parameter in law.parameters if parameter.name == "R_D*")
    except FitError:
        told = None
    if told is None or not told.identified:
        return REPEATS_WORTH, REPEATS_WORTH * np.exp(REPEATS_LOG_SD * rng.standard_normal(replicates)), False
    place = [parameter.name for parameter in law.parameters].index("R_D*")
    return told.estimate.value, rng.choice(np.array(law.draws)[:, place], size=replicates), True


def _energy(suite: Suite, time: Prices, limits: Limits, law: Law | None) -> tuple[Prices | None, str | None]:
    """Joules of training, or why they are not known."""
    cells = law_cells(suite)
    if not cells:
        return None, "no step was timed, and so no energy counted"
    try:
        return price_energy(cells, time, suite.settings.seed, limits, law), None
    except FitError as error:
        return None, str(error)


def _field(grounds: Grounds, prices: Prices, counted: Sequence[Accounting], fits: NDArray[np.bool_]) -> Field:
    return Field(
        params=np.array([accounting.params_non_embedding for accounting in counted], dtype=float),
        fits=fits,
        losses=grounds.losses,
        cost=prices.steps(counted),
        cost_draws=prices.steps_draws(counted),
        tokens_per_step=grounds.recipe.tokens_per_step,
        extra_steps=prices.extra_steps,
        extra_draws=prices.extra_draws,
        least_steps=grounds.recipe.least_steps,
    )


# --- the answer -------------------------------------------------------------------------------------------------------


def _planned(choice: _Choice, index: int, steps: int, budget: float) -> PlannedTraining:
    """One model trained for so many steps: what it costs and reaches, and what is lost against the budget's best."""
    model, accounting = choice.models[index], choice.counted[index]
    tokens = steps * choice.grounds.recipe.tokens_per_step
    time_s = choice.grounds.time.of_run(accounting, steps)
    unique = choice.field.losses.unique
    value, draws = regret(choice.field, budget, index)
    finite = draws[np.isfinite(draws)]
    return PlannedTraining(
        model=model,
        batch=choice.grounds.recipe.batch,
        seq_len=choice.grounds.recipe.seq_len,
        params_total=accounting.params_total,
        params_non_embedding=accounting.params_non_embedding,
        tokens=tokens,
        n_steps=steps,
        epochs=tokens / unique if unique else None,
        loss=_loss(choice, accounting.params_non_embedding, tokens),
        time_s=time_s,
        energy_j=choice.grounds.energy.of_run(accounting, steps) if choice.grounds.energy else None,
        usd=time_s.scaled(choice.usd_per_hour / _SECONDS_PER_HOUR) if choice.usd_per_hour else None,
        memory_bytes=choice.grounds.memory.peak_bytes(model),
        regret=percentile_interval(finite if len(finite) else [value], max(0.0, value)),
        loss_extrapolation=loss_extrapolation(choice.grounds.loss_law, accounting.params_non_embedding, tokens),
        cost_extrapolation=distance(choice.grounds.time.law, accounting),
    )


def _loss(choice: _Choice, params: float, tokens: float) -> Estimate:
    """Validation loss of a new training run."""
    losses, law = choice.field.losses, choice.grounds.loss_law
    scatter = scatter_of(law, loss_extrapolation(law, params, tokens))
    log_draws = np.log(losses.draws_at(params, np.array([tokens]))[:, 0])
    return predict_with_scatter(float(np.log(losses.at(params, tokens))), log_draws, scatter)


def _time_to_loss(choice: _Choice, index: int, steps: int, loss: float) -> Estimate | None:
    """Seconds until a new run of this model reaches the loss, both laws drawn in pairs and a run's scatter added.

    None where fewer than 95 % of the replicates ever reach it: then the time has no upper end.
    """
    accounting = choice.counted[index]
    tokens = steps * choice.grounds.recipe.tokens_per_step
    beyond = loss_extrapolation(choice.grounds.loss_law, accounting.params_non_embedding, tokens)
    of_time = scatter_of(choice.grounds.time.law, distance(choice.grounds.time.law, accounting))
    moved = np.random.default_rng(choice.grounds.suite.settings.seed).standard_normal(
        (2, len(choice.field.extra_draws))
    )
    losses = loss * np.exp(scatter_of(choice.grounds.loss_law, beyond) * moved[0])
    draws = budget_draws_to_reach(choice.field, losses, index) * np.exp(of_time * moved[1])
    if np.mean(np.isfinite(draws)) < _LEAST_REACHING:
        return None
    # Those that never reach it count as slower than all others, which a quantile below them does not see.
    value = choice.field.budget(index, steps)
    return percentile_interval(np.where(np.isfinite(draws), draws, np.finfo(float).max), value)


def _optimal_params(choice: _Choice, index: int, budget: float) -> Estimate:
    return percentile_interval(optimal_params(choice.field, budget), float(choice.field.params[index]))


def _near_optimal(choice: _Choice, budget: float) -> Range:
    low, high = near_optimal(choice.field, budget, NEAR_OPTIMAL_EXCESS)
    return Range(low=low, high=high)


def _named(choice: _Choice, name: str, budget: float) -> PlannedTraining:
    """The model that a user names, trained for the same budget; raises InputError where it cannot be."""
    index = choice.models.index(named_shape(name, choice.grounds.shapes))
    if not choice.field.fits[index]:
        needed = format_bytes(choice.grounds.memory.peak_bytes(choice.models[index]).value)
        limit = format_bytes(choice.limit_bytes)
        raise InputError(
            f"{name} takes {needed} to train and there are {limit}: name a smaller one, or give more with --memory-gib"
        )
    steps = int(choice.field.steps(budget)[index])
    if not steps:
        least_s = choice.grounds.time.of_run(choice.counted[index], choice.field.least_steps).value
        raise BudgetError(
            f"the budget holds no training of {name}, whose warm-up alone takes {format_seconds(least_s)}: "
            "name a smaller one, or give more"
        )
    planned = _planned(choice, index, steps, budget)
    _refuse_far(planned, choice.force)
    return planned


def _rule(choice: _Choice, budget: float) -> PlannedTraining | None:
    """What 20 tokens per parameter give for the budget; None where that lies too far from what was measured."""
    totals = np.array([accounting.params_total for accounting in choice.counted], dtype=float)
    index = nearest_ratio(choice.field, budget, totals, TOKENS_PER_PARAMETER, RULE_WITHIN)
    if index is None:
        return None
    planned = _planned(choice, index, int(choice.field.steps(budget)[index]), budget)
    return planned if choice.force or planned.extrapolation <= REFUSED_BEYOND else None


def _front(choice: _Choice, budget: float) -> tuple[PlannedTraining, ...]:
    points = front(choice.field, [factor * budget for factor in FACTORS])
    planned = [_planned(choice, index, steps, at) for at, index, steps in points]
    return tuple(one for one in planned if choice.force or one.extrapolation <= REFUSED_BEYOND)
