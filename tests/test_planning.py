"""From a suite to a plan: what it must hold, what the truth does to it, and what is refused."""

import math
import subprocess
import sys
from dataclasses import replace
from functools import cache
from itertools import pairwise

import factories
import numpy as np
import pytest

import scalemark
from scalemark.errors import BudgetError, FitError, InputError, ScalemarkError, TooFarError
from scalemark.model.accounting import account
from scalemark.model.memory import predict_memory
from scalemark.planning import REFUSED_BEYOND, Grounds, plan, plan_hours, survey
from scalemark.schema import CorpusFacts, Energy, ModelConfig, PlannedTraining, Suite, TrainingPlan, TrainingRun

BATCH, SEQ_LEN, THREADS = 8, 128, 2
EXTRA_STEPS = 40
WIDTHS, TOKENS = (16, 32, 48, 64, 96), (250_000, 500_000, 1_000_000, 2_000_000)
HOURS = 0.02
POWER_W = 80.0


def timed(run: TrainingRun, rng: np.random.Generator) -> TrainingRun:
    """Alone on all threads, at the true pace with 3 % of scatter."""
    assert run.config.model
    step_s = factories.true_step_s(run.config.model, BATCH, SEQ_LEN) * float(np.exp(0.03 * rng.standard_normal()))
    seconds = step_s * run.config.n_steps
    changes = {"seconds": seconds, "total_seconds": seconds + EXTRA_STEPS * step_s, "threads": THREADS}
    return run.model_copy(update=changes)


def make_suite(seed: int = 0) -> Suite:
    """Cells and runs of a known truth: steps of `true_step_s`, losses of `true_loss`, 80 W."""
    suite = factories.make_suite(seed=seed)
    rng = np.random.default_rng(seed)
    shapes = [ModelConfig(n_layer=2, d_model=width, n_head=width // 16) for width in WIDTHS]
    runs = [timed(factories.make_training_run(model, count, seed=seed), rng) for model in shapes for count in TOKENS]
    cells = [
        cell.model_copy(
            update={
                "energy": Energy(
                    status="ok", joules_per_round=cell.time_s.scaled(POWER_W) if cell.time_s else None, method="made up"
                ),
                "predicted_memory": predict_memory(cell.workload),
            }
        )
        for cell in suite.cells
        if cell.workload.phase == "step"
    ]
    return suite.model_copy(update={"training_runs": tuple(runs), "cells": tuple(cells)})


@cache
def grounds() -> Grounds:
    return survey(make_suite())


@cache
def made(**goal: float) -> TrainingPlan:
    return plan(grounds(), usd_per_hour=3.0, sizes=("d4w64", "d3w192"), **(goal or {"hours": HOURS}))  # type: ignore[arg-type]


def true_time_s(planned: PlannedTraining) -> float:
    return (planned.n_steps + EXTRA_STEPS) * factories.true_step_s(planned.model, BATCH, SEQ_LEN)


def true_loss(planned: PlannedTraining) -> float:
    return factories.true_loss(planned.params_non_embedding, planned.tokens)


# --- what a plan says -------------------------------------------------------------------------------------------------


def test_the_plan_is_a_model_that_can_be_trained_for_the_budget() -> None:
    best = made().best
    assert best.tokens == best.n_steps * BATCH * SEQ_LEN
    assert best.params_total == account(best.model, BATCH, SEQ_LEN).params_total
    step_s = best.time_s.value / (best.n_steps + EXTRA_STEPS)
    assert 3600 * HOURS - step_s <= best.time_s.value <= 3600 * HOURS * (1 + 1e-9)


def test_money_is_the_price_of_its_time_and_energy_that_of_its_power() -> None:
    best = made().best
    assert best.usd is not None and best.energy_j is not None
    assert best.usd.value == pytest.approx(3 * best.time_s.value / 3600)
    assert best.energy_j.value == pytest.approx(POWER_W * best.time_s.value, rel=0.02)


@pytest.mark.parametrize("goal", ["usd", "kwh"])
def test_the_same_budget_in_money_or_energy_gives_the_same_plan(goal: str) -> None:
    amount = {"usd": 3.0 * HOURS, "kwh": POWER_W * HOURS / 1000}[goal]
    other = made(**{goal: amount}).best
    assert math.log(other.params_total / made().best.params_total) == pytest.approx(0, abs=0.15)
    assert other.time_s.value == pytest.approx(made().best.time_s.value, rel=0.03)


def test_no_other_model_of_the_plan_beats_the_best() -> None:
    found = made()
    assert found.best.regret.value == 0.0
    assert found.rule is not None
    for other in (*found.named, found.rule):
        assert other.loss.value >= found.best.loss.value
        assert other.regret.value == pytest.approx(other.loss.value / found.best.loss.value - 1, abs=1e-9)
        assert other.regret.low >= 0


def test_the_rule_trains_twenty_tokens_for_each_parameter() -> None:
    rule = made().rule
    assert rule is not None
    assert rule.tokens_per_parameter == pytest.approx(20, rel=0.25)


def test_the_best_size_lies_in_the_near_optimal_range() -> None:
    found = made()
    assert found.near_optimal.low <= found.best.params_non_embedding <= found.near_optimal.high
    assert found.optimal_params.low <= found.best.params_non_embedding <= found.optimal_params.high


def test_more_time_never_costs_loss() -> None:
    front = made().front
    assert len(front) >= 4
    for earlier, later in pairwise(front):
        assert later.time_s.value > earlier.time_s.value
        assert later.loss.value < earlier.loss.value


def test_what_a_loss_takes_is_the_time_whose_plan_reaches_it() -> None:
    best = made().best
    back = made(loss=best.loss.value)
    assert back.best.time_s.value == pytest.approx(best.time_s.value, rel=0.01)
    assert back.best.loss.value == pytest.approx(best.loss.value, rel=1e-3)
    assert back.time_to_loss_s is not None
    assert back.time_to_loss_s.low < best.time_s.value < back.time_to_loss_s.high


def test_what_is_taken_for_granted_is_said() -> None:
    notes = " ".join(made().notes)
    assert "8 × 128" in notes
    assert "2 threads, alone" in notes


def test_where_layers_are_dear_it_says_that_the_shape_is_at_its_limit() -> None:
    """A step that costs its layers and nothing else asks for ever wider ones."""
    law = grounds().time.law
    names = [parameter.name for parameter in law.parameters]
    only_layers = tuple(1e-3 if name == "per_layer_s" else 0.0 for name in names)
    dear = law.model_copy(update={"coefficients": only_layers, "draws": (only_layers,) * len(law.draws)})
    found = plan(replace(grounds(), time=replace(grounds().time, law=dear)), hours=HOURS, force=True)
    assert found.best.model.d_model == 128 * found.best.model.n_layer
    assert any("as wide for its depth" in note for note in found.notes)
    assert not any("as wide for its depth" in note for note in made().notes)


def test_intervals_hold_the_truth() -> None:
    """Of nine truths by three suites, 90 % intervals hold fewer than six once in 1,000 times by chance (binomial)."""
    surveys = [survey(make_suite(seed)) for seed in (1, 2, 3)]
    plans = [plan(surveyed, hours=hours).best for surveyed in surveys for hours in (0.01, 0.02, 0.05)]
    assert sum(one.time_s.low <= true_time_s(one) <= one.time_s.high for one in plans) >= 6
    assert sum(one.loss.low <= true_loss(one) <= one.loss.high for one in plans) >= 6
    assert max(one.loss.relative_half_width for one in plans) < 0.15
    # What attention scores cost is told by the heads of 64 alone, and the plan's are of 16.
    assert max(one.time_s.relative_half_width for one in plans) < 0.2


# --- text that is too short -------------------------------------------------------------------------------------------


def test_text_that_must_be_seen_again_costs_loss_and_is_said() -> None:
    losses = grounds().losses
    enough, little = (
        plan(replace(grounds(), losses=replace(losses, unique=tokens, repeats=15.4)), hours=HOURS)
        for tokens in (1e9, 250e3)
    )
    assert little.best.epochs is not None and little.best.epochs > 1
    assert little.best.loss.value > enough.best.loss.value
    assert any("R_D*" in note for note in little.notes)
    assert not any("R_D*" in note for note in enough.notes)


def test_the_text_of_the_suite_is_what_there_is_to_see() -> None:
    corpus = CorpusFacts(identity="made up", train_tokens=250_000, validation_tokens=1000, documents=1)
    losses = survey(make_suite().model_copy(update={"corpus": corpus})).losses
    assert losses.unique == 250_000
    assert losses.repeats == pytest.approx(15.4)


# --- what is refused --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ({}, "one goal"),
        ({"hours": 1.0, "loss": 2.0}, "hours and loss"),
        ({"hours": 0.0}, "positive"),
        ({"hours": math.nan}, "positive"),
        ({"usd": -3.0, "usd_per_hour": 1.0}, "positive"),
        ({"usd": 3.0}, "--usd-per-hour"),
        ({"hours": 1.0, "usd_per_hour": 0.0}, "positive"),
        ({"hours": HOURS, "memory_gib": 0.0}, "positive"),
        ({"hours": HOURS, "memory_gib": 1e-6}, "no model trains within"),
        ({"hours": HOURS, "sizes": ["huge"]}, "d6w384"),
        ({"hours": HOURS, "sizes": ["d1w64"]}, "deeper"),
        ({"hours": HOURS, "sizes": ["d2w512"]}, "at most 128 per layer"),
        ({"hours": HOURS, "sizes": ["d24w1536"]}, "smaller"),
        ({"hours": HOURS, "sizes": ["d4w64"], "memory_gib": 0.004}, "--memory-gib"),
        ({"loss": 0.5}, "not reachable"),
    ],
)
def test_what_makes_no_plan_is_refused_with_what_to_do(arguments: dict[str, float], match: str) -> None:
    with pytest.raises(InputError, match=match):
        plan(grounds(), **arguments)  # type: ignore[arg-type]


def test_a_budget_too_small_for_any_training_says_how_much_is_enough() -> None:
    with pytest.raises(BudgetError, match="at least") as caught:
        plan(grounds(), hours=1e-6)
    enough = float(str(caught.value).rsplit(" ", 1)[1])
    assert plan(grounds(), hours=1.01 * enough).best.n_steps > 0


def test_no_energy_counter_is_a_reason_and_not_a_nought() -> None:
    suite = factories.make_suite().model_copy(update={"training_runs": make_suite().training_runs})
    blind = survey(suite)
    found = plan(blind, hours=HOURS)
    assert found.best.energy_j is None
    assert found.energy_reason and "no energy counter" in found.energy_reason
    with pytest.raises(InputError, match="no energy counter"):
        plan(blind, kwh=1.0)


def test_past_a_hundred_times_what_was_measured_it_takes_force() -> None:
    with pytest.raises(TooFarError, match="past 100 times no law holds"):
        plan(grounds(), hours=1000)
    forced = plan(grounds(), hours=1000, force=True)
    assert forced.best.extrapolation > REFUSED_BEYOND
    assert any("guess" in note for note in forced.notes)


def test_without_training_runs_it_says_how_to_get_a_loss_law() -> None:
    with pytest.raises(FitError, match="scalemark train"):
        plan(make_suite().model_copy(update={"training_runs": ()}), hours=HOURS)


def test_without_timed_steps_it_prices_the_grid_and_says_how_to_time_steps() -> None:
    found = plan(make_suite().model_copy(update={"cells": ()}), hours=HOURS)
    assert found.best.time_s.value == pytest.approx(true_time_s(found.best), rel=0.1)
    assert any("pytest bench/" in note for note in found.notes)
    assert found.best.energy_j is None


# --- from a notebook --------------------------------------------------------------------------------------------------


def test_the_package_offers_plan_before_and_after_its_modules_are_imported() -> None:
    """The function and the folder have one name: neither hides the other."""
    import scalemark.plan.optimum as _  # noqa: F401

    assert scalemark.plan(grounds(), hours=HOURS).best == plan(grounds(), hours=HOURS).best


def test_planning_does_not_load_torch() -> None:
    program = "import scalemark, sys; scalemark.plan; import scalemark.planning; assert 'torch' not in sys.modules"
    finished = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stderr


def test_errors_are_of_the_one_tree() -> None:
    with pytest.raises(ScalemarkError):
        plan("/nowhere/suite.json", hours=1.0)


# --- several budgets --------------------------------------------------------------------------------------------------


def test_each_budget_of_several_has_the_plan_that_it_has_alone() -> None:
    """With laws that were fitted before, as without: nothing hangs on who fitted them."""
    laws = {law.kind: law for law in (grounds().loss_law, grounds().time.law)}
    plans, missing = plan_hours(make_suite(), (HOURS, 2 * HOURS), laws)
    assert missing == {}
    assert plans == (plan(grounds(), hours=HOURS), plan(grounds(), hours=2 * HOURS))


def test_a_budget_that_leads_too_far_has_a_reason_and_the_others_their_plans() -> None:
    laws = {law.kind: law for law in (grounds().loss_law, grounds().time.law)}
    plans, missing = plan_hours(make_suite(), (HOURS, 1e6), laws)
    assert [one.amount for one in plans] == [HOURS]
    assert set(missing) == {"1e+06 h"}
    assert "beyond what was measured" in missing["1e+06 h"]


def test_a_suite_without_a_loss_law_has_one_reason_for_all_budgets() -> None:
    untrained = make_suite().model_copy(update={"training_runs": ()})
    plans, missing = plan_hours(untrained, (1.0, 8.0))
    assert plans == ()
    assert set(missing) == {"1 h", "8 h"}
    assert len(set(missing.values())) == 1
