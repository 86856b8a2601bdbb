"""Which runs fit the time, and in which order: decided before anything is trained.

Costs come from a measured pace (`step_s`); which runs are worth theirs is decided in `scalemark.train.design`.
"""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace

from scalemark.schema import TrainingConfig
from scalemark.train.candidate import Candidate, StepSeconds, by_trunk, costs_s, makespan_s
from scalemark.train.design import choose
from scalemark.train.jobs import RunOrder

WORKER_START_S = 4.0
# Of the time: machines have slow minutes, and what is begun should be ended.
PLANNED_SHARE = 0.88
# What a baseline trained fitted its time: it fits, though this run's first look at the pace may say by a little that it
# does not.
WANTED_SLACK = 1.1


@dataclass(frozen=True)
class TrunkPlan:
    """The runs of one trunk, fewest tokens first. budget_s: what they may take together."""

    orders: tuple[RunOrder, ...]
    budget_s: float

    @property
    def expected_s(self) -> float:
        return sum(order.expected_s for order in self.orders)


@dataclass(frozen=True)
class GridPlan:
    """Trunks in the order in which they are begun, the longest first, and the runs that the time does not hold.

    slots: how many are trained at a time. expected_s: seconds until the last of them is done.
    """

    trunks: tuple[TrunkPlan, ...]
    left_out: tuple[RunOrder, ...]
    slots: int = 1

    @property
    def orders(self) -> tuple[RunOrder, ...]:
        """All runs that take part."""
        return tuple(order for trunk in self.trunks for order in trunk.orders)

    @property
    def expected_s(self) -> float:
        if not self.trunks:
            return 0.0
        return WORKER_START_S + makespan_s([trunk.expected_s for trunk in self.trunks], self.slots)

    @property
    def needed_s(self) -> float:
        """The budget that all of it fits into, with what is kept back for slow minutes and a bit for rounding."""
        if not self.trunks:
            return 0.0
        return WORKER_START_S + (1 + 1e-9) * (self.expected_s - WORKER_START_S) / PLANNED_SHARE


def plan_grid(
    configs: Iterable[TrainingConfig],
    step_s: StepSeconds,
    budget_s: float,
    slots: int = 1,
    trained: Collection[str] = (),
    wanted: Collection[str] = (),
) -> GridPlan:
    """Choose the runs that tell most about the loss law for their time.

    A user's own tasks come first. With runs that repeat text among the configurations, all are taken from the cheapest
    up: what they tell about repetition has no design yet. trained: keys of runs that are there already: they cost
    nothing and tell what they tell. wanted: keys of runs that a baseline has: they come next, where there is time for
    all of them, so that losses can be compared.
    """
    everything = [Candidate.of(config, step_s) for config in configs]
    done = [candidate for candidate in everything if candidate.config.key in trained]
    new = [candidate for candidate in everything if candidate not in done]
    time_s = PLANNED_SHARE * (budget_s - WORKER_START_S)
    repeats = any(candidate.config.unique_tokens for candidate in everything)
    taken = _cheapest([candidate for candidate in new if repeats or candidate.config.task], time_s, slots)
    known = [candidate for candidate in done if candidate.is_plain]
    plain = [candidate for candidate in new if candidate.is_plain and candidate not in taken]
    asked = [candidate for candidate in plain if candidate.config.key in wanted]
    asked = asked if _time_s([*taken, *asked], slots) <= WANTED_SLACK * time_s else []
    taken += choose(plain, taken, known, time_s, slots, asked)
    left_out = sorted((candidate for candidate in new if candidate not in taken), key=lambda one: one.added_s(0))
    trunks = [orders for branches in by_trunk([*done, *taken]) if (orders := _orders(branches, done))]
    return GridPlan(
        _with_budgets(trunks, budget_s - WORKER_START_S, slots),
        tuple(order for candidate in left_out for order in _orders([candidate], ())),
        slots,
    )


def _cheapest(candidates: Sequence[Candidate], time_s: float, slots: int) -> list[Candidate]:
    """The longest run of candidates, from the cheapest up, that the time holds."""
    taken: list[Candidate] = []
    for candidate in sorted(candidates, key=lambda candidate: candidate.added_s(0)):
        if _time_s([*taken, candidate], slots) > time_s:
            break
        taken.append(candidate)
    return taken


def _time_s(candidates: Sequence[Candidate], slots: int) -> float:
    return makespan_s([sum(costs_s(trunk)) for trunk in by_trunk(candidates)], slots)


def _orders(branches: Sequence[Candidate], done: Collection[Candidate]) -> tuple[RunOrder, ...]:
    """The orders of one trunk, for what is not there already."""
    costs = zip(branches, costs_s(branches, done), strict=True)
    return tuple(RunOrder(config=branch.config, expected_s=cost_s) for branch, cost_s in costs if branch not in done)


def _with_budgets(trunks: Sequence[Sequence[RunOrder]], budget_s: float, slots: int) -> tuple[TrunkPlan, ...]:
    """The trunks, each with its share of the whole budget, so that a slow machine costs each its longest run.

    How long a user's own task takes nobody knows before: it may take all of it.
    """
    plans = sorted((TrunkPlan(tuple(orders), 0.0) for orders in trunks), key=lambda plan: -plan.expected_s)
    whole_s = makespan_s([plan.expected_s for plan in plans], slots)
    slack = budget_s / whole_s if whole_s else 1.0
    shares = [budget_s if plan.orders[0].config.task else slack * plan.expected_s for plan in plans]
    return tuple(replace(plan, budget_s=share_s) for plan, share_s in zip(plans, shares, strict=True))
