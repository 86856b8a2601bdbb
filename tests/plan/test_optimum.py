"""The optimum under a budget: closed forms where there are any, and what must hold of any plan."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from scalemark.fit.forms import CHINCHILLA
from scalemark.plan.front import front
from scalemark.plan.optimum import (
    Field,
    Losses,
    best_index,
    budget_draws_to_reach,
    cheapest,
    near_optimal,
    nearest_ratio,
    optimal_params,
    regret,
    steps_to_reach,
)

# E, A, B, alpha, beta of Hoffmann et al. 2022 as refitted by Besiroglu et al. 2024.
TRUTH = np.array([1.82, 482.0, 2085.0, 0.348, 0.366])
SIZES = np.geomspace(1e6, 1e10, 4001)
BUDGET_FLOPS = 1e19


def some_draws(replicates: int = 40, spread: float = 0.03) -> np.ndarray:
    return TRUTH * np.exp(spread * np.random.default_rng(0).standard_normal((replicates, len(TRUTH))))


def flops_field(values: np.ndarray = TRUTH, replicates: int = 40) -> Field:
    """Dense sizes that cost 6·N FLOPs per token, one token a step, and nothing else."""
    cost = 6 * SIZES
    noise = np.exp(0.05 * np.random.default_rng(1).standard_normal((replicates, 1)))
    return Field(
        params=SIZES,
        fits=np.ones(len(SIZES), dtype=bool),
        losses=Losses(CHINCHILLA, values, some_draws(replicates)),
        cost=cost,
        cost_draws=cost * noise,
        tokens_per_step=1,
        extra_steps=0.0,
        extra_draws=np.zeros(replicates),
    )


def closed_form_size(values: np.ndarray, flops: float) -> float:
    """G·(C/6)^a (Hoffmann et al. 2022, equation 4)."""
    _, a, b, alpha, beta = values
    return float((alpha * a / (beta * b)) ** (1 / (alpha + beta)) * (flops / 6) ** (beta / (alpha + beta)))


@pytest.mark.parametrize("flops", [1e17, BUDGET_FLOPS, 3e20])
def test_where_cost_is_6nd_the_optimum_is_the_closed_form(flops: float) -> None:
    index = best_index(flops_field(), flops)
    assert index is not None
    assert SIZES[index] == pytest.approx(closed_form_size(TRUTH, flops), rel=0.003)


def test_each_replicate_has_the_closed_form_of_its_own_laws() -> None:
    field = flops_field()
    slower = field.cost_draws[:, 0] / field.cost[0]
    expected = [
        closed_form_size(values, BUDGET_FLOPS / times) for values, times in zip(field.losses.draws, slower, strict=True)
    ]
    assert optimal_params(field, BUDGET_FLOPS) == pytest.approx(np.array(expected), rel=0.004)


def test_a_fixed_cost_per_step_moves_the_optimum_to_larger_models() -> None:
    """Small models are then dearer than 6ND says, so the same budget is better spent on a larger one."""
    field = flops_field()
    dear = replace(field, cost=field.cost + 6e8)
    index, moved = best_index(field, BUDGET_FLOPS), best_index(dear, BUDGET_FLOPS)
    assert index is not None and moved is not None
    assert SIZES[moved] > 1.2 * SIZES[index]


def test_the_budget_is_met_to_within_one_step() -> None:
    field = replace(flops_field(), tokens_per_step=1000, cost=6000 * SIZES, extra_steps=50.0)
    steps = field.steps(BUDGET_FLOPS)
    spent = (steps + 50) * field.cost
    assert np.all(spent <= BUDGET_FLOPS * (1 + 1e-9))
    assert np.all(spent + field.cost > BUDGET_FLOPS)


def test_training_shorter_than_the_least_is_no_training() -> None:
    field = replace(flops_field(), least_steps=1000)
    losses = field.loss(6 * SIZES[2000] * 1000)
    assert np.isfinite(losses[:2001]).all() and np.isinf(losses[2001:]).all()


def test_no_model_is_best_where_the_budget_or_the_memory_holds_none() -> None:
    field = flops_field()
    assert best_index(field, 1.0) is None
    assert best_index(replace(field, fits=np.zeros(len(SIZES), dtype=bool)), BUDGET_FLOPS) is None
    assert field.least_budget == pytest.approx(6 * SIZES[0])


def test_memory_bounds_the_size() -> None:
    field = flops_field()
    free = best_index(field, BUDGET_FLOPS)
    bound = best_index(replace(field, fits=closed_form_size(TRUTH, BUDGET_FLOPS) / 2 > SIZES), BUDGET_FLOPS)
    assert free is not None and bound is not None
    assert SIZES[bound] == pytest.approx(SIZES[free] / 2, rel=0.01)


def test_regret_is_nought_at_the_optimum_and_what_the_law_says_elsewhere() -> None:
    field = flops_field()
    best = best_index(field, BUDGET_FLOPS)
    assert best is not None
    assert regret(field, BUDGET_FLOPS, best)[0] == 0.0
    other = int(np.searchsorted(SIZES, 3 * SIZES[best]))
    value, draws = regret(field, BUDGET_FLOPS, other)
    expected = CHINCHILLA.predict(TRUTH, SIZES[other], BUDGET_FLOPS / 6 / SIZES[other]) / CHINCHILLA.predict(
        TRUTH, SIZES[best], BUDGET_FLOPS / 6 / SIZES[best]
    )
    assert value == pytest.approx(float(expected) - 1, rel=1e-3)
    assert (draws >= 0).all() and draws.shape == (40,)


def test_the_near_optimal_range_ends_where_the_loss_passes_the_excess() -> None:
    field = flops_field()
    best = best_index(field, BUDGET_FLOPS)
    assert best is not None
    low, high = near_optimal(field, BUDGET_FLOPS, 0.005)
    assert low < SIZES[best] < high
    losses = field.loss(BUDGET_FLOPS)
    inside = (low <= SIZES) & (high >= SIZES)
    assert (losses[inside] <= 1.005 * losses[best]).all() and (losses[~inside] > 1.005 * losses[best]).all()


def test_the_rule_of_twenty_finds_that_ratio() -> None:
    field = flops_field()
    index = nearest_ratio(field, BUDGET_FLOPS, SIZES, 20.0, 1.0)
    assert index is not None
    assert SIZES[index] == pytest.approx((BUDGET_FLOPS / 120) ** 0.5, rel=0.003)


def test_losses_never_rise_along_the_front() -> None:
    field = flops_field()
    points = front(field, [BUDGET_FLOPS * factor for factor in (5, 0.1, 1, 2, 1e-30)])
    losses = [float(field.losses.at(SIZES[index], steps)) for _, index, steps in points]
    assert [budget for budget, _, _ in points] == sorted(budget for budget, _, _ in points)
    assert len(points) == 4
    assert all(later < earlier for earlier, later in pairwise(losses))


# --- the other way round ----------------------------------------------------------------------------------------------


def test_what_a_loss_takes_is_the_budget_that_reaches_it() -> None:
    field = flops_field()
    best = best_index(field, BUDGET_FLOPS)
    assert best is not None
    found = cheapest(field, float(field.loss(BUDGET_FLOPS)[best]))
    assert found is not None
    assert field.budget(*found) == pytest.approx(BUDGET_FLOPS, rel=1e-4)
    assert SIZES[found[0]] == pytest.approx(SIZES[best], rel=0.05)


def test_steps_to_a_loss_are_the_fewest_that_reach_it() -> None:
    field = replace(flops_field(), tokens_per_step=1000)
    steps = steps_to_reach(field, 2.5)
    reached = np.isfinite(steps)
    assert reached.any() and not reached.all()
    assert (field.losses.at(SIZES[reached], steps[reached] * 1000) <= 2.5 * (1 + 1e-9)).all()
    assert (field.losses.at(SIZES[reached], (steps[reached] - 1) * 1000) > 2.5 * (1 - 1e-9)).all()


def test_a_loss_below_the_floor_is_reached_by_nothing() -> None:
    assert cheapest(flops_field(), 1.8) is None


def test_what_a_loss_takes_in_a_replicate_follows_that_replicates_laws() -> None:
    field = flops_field()
    index = int(np.searchsorted(SIZES, 3e9))
    draws = budget_draws_to_reach(field, np.full(40, 2.3), index)
    for values, cost, budget in zip(field.losses.draws, field.cost_draws[:, index], draws, strict=True):
        e, a, b, alpha, beta = values
        left = 2.3 - e - a / SIZES[index] ** alpha
        expected = cost * (b / left) ** (1 / beta) if left > 0 else np.inf
        assert budget == pytest.approx(expected, rel=1e-6)


# --- repeated text ----------------------------------------------------------------------------------------------------


def test_text_seen_again_is_worth_less_and_text_seen_once_is_not_touched() -> None:
    plain, little = (
        Losses(CHINCHILLA, TRUTH, some_draws()),
        Losses(CHINCHILLA, TRUTH, some_draws(), unique=1e8, repeats=15.4),
    )
    assert little.at(1e8, 0.5e8) == pytest.approx(float(plain.at(1e8, 0.5e8)))
    assert little.at(1e8, 1e9) > plain.at(1e8, 1e9)
    worth = 1e8 * (1 + 15.4 * (1 - np.exp(-9 / 15.4)))  # Muennighoff et al. 2023, equation 5
    assert little.at(1e8, 1e9) == pytest.approx(float(plain.at(1e8, worth)))


def test_little_text_favours_larger_models() -> None:
    field = flops_field()
    little = replace(field, losses=Losses(CHINCHILLA, TRUTH, some_draws(), unique=1e8, repeats=15.4))
    index, moved = best_index(field, BUDGET_FLOPS), best_index(little, BUDGET_FLOPS)
    assert index is not None and moved is not None
    assert SIZES[moved] > 1.2 * SIZES[index]
