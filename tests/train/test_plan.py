"""A plan fits its time, loses nothing, and spends the time where it tells most about the law."""

import itertools
import math
from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scalemark.schema import Accounting, TaskRef, TrainingConfig
from scalemark.train.candidate import OVERHEAD_S, TASK_S, Candidate, by_trunk, costs_s, makespan_s
from scalemark.train.design import targets_beyond, uncertainty
from scalemark.train.grid import grid_shape, repeated_grid, training_grid
from scalemark.train.plan import PLANNED_SHARE, WORKER_START_S, GridPlan, plan_grid

GRID = training_grid()
TASK = TrainingConfig(task=TaskRef(path="bench_mine.py", function="mine"), tokens=100)
TARGETS = targets_beyond([Candidate.of(config, lambda _: 1.0) for config in GRID])


def step_s(accounting: Accounting) -> float:
    return 0.004 + accounting.flops.model_flops("step") / 3e10


def same_step_s(_: Accounting) -> float:
    return 0.01


@cache
def planned(budget_s: float, slots: int = 2, trained: frozenset[str] = frozenset()) -> GridPlan:
    return plan_grid(GRID, step_s, budget_s, slots, trained)


def told(configs: list[TrainingConfig]) -> float:
    """How uncertain the loss of larger models is after these runs: lower tells more."""
    return uncertainty([Candidate.of(config, step_s) for config in configs], TARGETS)


# What fits


@pytest.mark.parametrize("budget_s", [40, 100, 240, 1200])
@pytest.mark.parametrize("slots", [1, 2])
def test_a_plan_fits_its_budget_whatever_the_slots(budget_s: float, slots: int) -> None:
    plan = planned(budget_s, slots)
    assert plan.orders
    assert plan.expected_s <= WORKER_START_S + PLANNED_SHARE * (budget_s - WORKER_START_S) + 1e-9


def test_a_task_of_a_user_may_take_all_of_the_time() -> None:
    """How long it takes nobody knows; a share of it would cut one off that takes longer than was guessed."""
    plan = plan_grid([TASK, *GRID], step_s, 240.0, 2)
    budgets_s = {trunk.orders[0].key: trunk.budget_s for trunk in plan.trunks}
    assert budgets_s.pop(TASK.key) == 240 - WORKER_START_S
    assert budgets_s and max(budgets_s.values()) < 240 - WORKER_START_S


def test_the_time_of_a_plan_is_used() -> None:
    plan = planned(240)
    assert plan.expected_s > 0.75 * 240


def test_no_configuration_is_lost_or_taken_twice() -> None:
    plan = planned(240)
    keys = [order.key for order in (*plan.orders, *plan.left_out)]
    assert sorted(keys) == sorted(config.key for config in GRID)


def test_a_budget_that_holds_everything_leaves_nothing_out() -> None:
    plan = planned(math.inf)
    assert not plan.left_out and len(plan.orders) == len(GRID)


def test_a_budget_that_holds_nothing_takes_no_time() -> None:
    plan = planned(WORKER_START_S)
    assert not plan.orders and plan.expected_s == 0


def test_two_slots_train_more_than_one() -> None:
    assert len(planned(240, slots=2).orders) > len(planned(240, slots=1).orders)


# Trunks and their costs


def test_branches_of_one_trunk_share_what_they_have_in_common() -> None:
    """Two runs of 100 and 200 steps with a decay of 20 %: 80 + 20 + (160 - 80) + 40 steps, and two validations."""
    runs = [
        Candidate.of(config.model_copy(update={"decay_share": 0.2}), same_step_s)
        for config in training_grid([16], [51_200, 102_400])
    ]
    apart_s = sum(run.added_s(0) for run in runs)
    together_s = sum(costs_s(runs))
    assert together_s - sum(run.fixed_s for run in runs) == pytest.approx(0.01 * (80 + 20 + 80 + 40))
    assert apart_s - together_s == pytest.approx(0.01 * 80)


def test_a_grid_of_doublings_costs_about_half_of_separate_runs() -> None:
    runs = [Candidate.of(config, same_step_s) for config in training_grid([32])]
    assert sum(costs_s(runs)) < 0.65 * sum(run.added_s(0) for run in runs)


def test_the_runs_of_a_trunk_come_together_fewest_tokens_first() -> None:
    for trunk in planned(240).trunks:
        assert len({order.config.trunk for order in trunk.orders}) == 1
        tokens = [order.config.tokens for order in trunk.orders]
        assert tokens == sorted(tokens)


def test_the_longest_trunk_is_begun_first() -> None:
    expected = [trunk.expected_s for trunk in planned(240).trunks]
    assert expected == sorted(expected, reverse=True)


def test_every_trunk_has_its_share_of_the_slack() -> None:
    plan = planned(240)
    shares = [trunk.budget_s / trunk.expected_s for trunk in plan.trunks]
    assert shares == pytest.approx([shares[0]] * len(shares))
    assert makespan_s([trunk.budget_s for trunk in plan.trunks], 2) <= 240 - WORKER_START_S + 1e-6
    assert shares[0] > 1


@settings(max_examples=50)
@given(st.lists(st.integers(1, 40), max_size=9), st.integers(1, 4))
def test_the_makespan_is_within_four_thirds_of_the_best_there_is(costs: list[int], slots: int) -> None:
    """Graham 1969; the bound is on the best schedule, which is at least the mean and the longest job."""
    ends = makespan_s([float(cost) for cost in costs], slots)
    least = max(sum(costs) / slots, max(costs, default=0))
    assert least - 1e-9 <= ends
    if len(costs) <= 6:
        best = min(
            (
                max(sum(c for c, s in zip(costs, places, strict=True) if s == slot) for slot in range(slots))
                for places in itertools.product(range(slots), repeat=len(costs))
            ),
            default=0,
        )
        assert ends <= (4 / 3 - 1 / (3 * slots)) * best + 1e-9


# A user's own tasks, repeated text, and runs that are there already


def test_a_task_is_a_trunk_of_its_own_and_taken_first() -> None:
    plan = plan_grid([*GRID, TASK], step_s, 20, 2)
    (order,) = [order for order in plan.orders if order.config.task]
    assert order.expected_s == TASK_S
    alone = Candidate.of(TASK, step_s)
    assert (alone.is_plain, alone.added_s(0)) == (False, TASK_S)


def test_runs_on_repeated_text_are_taken_from_the_cheapest_up() -> None:
    plan = plan_grid(repeated_grid(), step_s, 120, 2)
    assert plan.orders and plan.left_out
    costs = {config.key: Candidate.of(config, step_s).added_s(0) for config in repeated_grid()}
    assert max(costs[order.key] for order in plan.orders) <= min(costs[order.key] for order in plan.left_out)


def test_what_is_trained_already_costs_nothing_and_makes_room_for_more() -> None:
    first = planned(120)
    trained = frozenset(order.key for order in first.orders)
    second = planned(120, trained=trained)
    assert not trained & {order.key for order in (*second.orders, *second.left_out)}
    assert len(second.orders) + len(second.left_out) + len(trained) == len(GRID)
    assert second.orders


# What it is worth


def test_what_a_baseline_trained_is_trained_again_though_a_faster_machine_would_choose_others() -> None:
    baseline = {order.key for order in planned(240.0).orders}
    faster = plan_grid(GRID, lambda accounting: 0.8 * step_s(accounting), 240.0, 2)
    assert not baseline <= {order.key for order in faster.orders}, "nothing to choose"
    again = plan_grid(GRID, lambda accounting: 0.8 * step_s(accounting), 240.0, 2, wanted=baseline)
    assert baseline <= {order.key for order in again.orders}
    assert len(again.orders) > len(baseline), "what time is left goes to others"
    little_slower = plan_grid(GRID, lambda accounting: 1.05 * step_s(accounting), 240.0, 2, wanted=baseline)
    assert baseline == {order.key for order in little_slower.orders}
    half_the_time = plan_grid(GRID, step_s, 120.0, 2, wanted=baseline)
    assert half_the_time == plan_grid(GRID, step_s, 120.0, 2)


def test_a_larger_budget_tells_more() -> None:
    after = [told([order.config for order in planned(budget_s).orders]) for budget_s in (60, 240, 960)]
    assert after == sorted(after, reverse=True) and after[0] > after[-1]


def test_the_chosen_runs_tell_more_than_the_cheapest_ones_in_the_same_time() -> None:
    chosen = [order.config for order in planned(240).orders]
    cheapest: list[TrainingConfig] = []
    for config in sorted(GRID, key=lambda config: Candidate.of(config, step_s).added_s(0)):
        trunks = by_trunk(Candidate.of(one, step_s) for one in [*cheapest, config])
        if makespan_s([sum(costs_s(trunk)) for trunk in trunks], 2) > PLANNED_SHARE * (240 - WORKER_START_S):
            break
        cheapest.append(config)
    assert told(chosen) < told(cheapest)


@pytest.mark.parametrize("budget_s", [240, 1200])
def test_hiding_the_largest_runs_leaves_a_fit_that_must_reach_far(budget_s: float) -> None:
    runs = [Candidate.of(order.config, step_s) for order in planned(budget_s).orders]
    runs.sort(key=lambda run: run.compute)
    hidden, kept = runs[-(len(runs) // 4) :], runs[: -(len(runs) // 4)]
    assert hidden[-1].compute > 3.5 * kept[-1].compute, "four times, but for what left-over time went to"


def test_time_that_nothing_small_can_use_goes_to_larger_runs() -> None:
    """With two sizes of which one is much larger, both are trained, though the smaller reaches beyond a quarter."""
    sizes = training_grid([64, 80], [2**20])
    plan = plan_grid(sizes, step_s, 2000, 2)
    assert len(plan.orders) == 2


def test_a_second_size_tells_more_than_a_second_branch() -> None:
    """Branches share their trunk's error: of six runs, three sizes with two each tell more than one size with six."""
    one_size = list(training_grid([32], [2**power for power in range(18, 24)]))
    three_sizes = list(training_grid([16, 32, 64], [2**19, 2**21]))
    assert told(three_sizes) < told(one_size)


def test_more_runs_never_tell_less() -> None:
    configs = list(training_grid([16, 32, 64], [2**19, 2**20]))
    after = [told(configs[:count]) for count in range(1, len(configs) + 1)]
    assert after == sorted(after, reverse=True)


def test_a_run_costs_its_steps_its_validation_and_an_overhead() -> None:
    run = Candidate.of(training_grid([16], [51_200])[0], same_step_s)
    assert run.added_s(0) == pytest.approx(100 * 0.01 + (1024 + 256) / 4 / 3 * 0.01 + OVERHEAD_S)
    assert run.params == 4 * (12 * 16**2 + 2 * 16) + 16
    assert grid_shape(16).n_layer == 4
