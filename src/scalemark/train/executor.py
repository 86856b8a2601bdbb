"""Run the training grid in a worker process, cheapest run first, within a budget.

One worker trains one model after another with all threads, so the times are those of an otherwise idle machine. A run
that the budget no longer holds is skipped and says so; a worker that dies costs the run it was on.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from scalemark.errors import DeviceError
from scalemark.model.accounting import account
from scalemark.process import Began, Message, Progress, Refused, Worker, work_through, worker_environment
from scalemark.schema import Accounting, Frozen, JournalEntry, RunTrained, TrainingConfig, TrainingRun
from scalemark.train.corpus import Corpus
from scalemark.train.grid import expected_run_s

WORKER_MODULE = "scalemark.train.worker"
WORKER_START_S = 4.0
SILENCE_S = 300.0


class RunOrder(Frozen):
    """Train this, if the time that is left holds it. expected_s: what it should take."""

    config: TrainingConfig
    expected_s: float

    @property
    def key(self) -> str:
        """What the worker says when it begins on it."""
        return self.config.key


class TrainJob(Frozen):
    """What one worker trains, in this order, and the seconds it may take."""

    device: Literal["cpu", "cuda"]
    threads: int
    affinity: tuple[int, ...] | None = None
    train_path: str
    validation_path: str
    budget_s: float
    orders: tuple[RunOrder, ...]


@dataclass(frozen=True)
class GridPlan:
    """Runs that fit the budget, cheapest first, and those that do not."""

    orders: tuple[RunOrder, ...]
    left_out: tuple[RunOrder, ...]
    budget_s: float

    @property
    def expected_s(self) -> float:
        return WORKER_START_S + sum(order.expected_s for order in self.orders) if self.orders else 0.0


def plan_grid(configs: Sequence[TrainingConfig], step_s: Callable[[Accounting], float], budget_s: float) -> GridPlan:
    """Take runs from the cheapest up while the budget holds them."""
    orders = sorted((_order(config, step_s) for config in configs), key=lambda order: order.expected_s)
    left_s = budget_s - WORKER_START_S
    taken: list[RunOrder] = []
    for order in orders:
        left_s -= order.expected_s
        if left_s < 0:
            break
        taken.append(order)
    return GridPlan(tuple(taken), tuple(orders[len(taken) :]), budget_s)


def _order(config: TrainingConfig, step_s: Callable[[Accounting], float]) -> RunOrder:
    accounting = None
    if config.model and config.batch:
        accounting = account(config.model, config.batch, config.seq_len, config.dtype, config.optimizer)
    return RunOrder(config=config, expected_s=expected_run_s(config, accounting, step_s))


@dataclass(frozen=True)
class Place:
    """Where runs are trained: the device, threads and CPUs of a worker, and where its log goes."""

    device: Literal["cpu", "cuda"]
    threads: int
    affinity: tuple[int, ...] | None
    log_path: Path


def run_grid(
    plan: GridPlan,
    corpus: Corpus,
    place: Place,
    record: Callable[[JournalEntry], None],
    tell: Callable[[str], None],
) -> None:
    """Train all that the plan holds, and of what it left out whatever a machine faster than expected has time for.

    Every configuration ends as one recorded run, whatever became of it.
    """
    orders = (*plan.orders, *plan.left_out)
    pending = list(orders)
    deadline_s = time.monotonic() + plan.budget_s
    names = {order.key: str(order.config) for order in pending}

    def start(left: list[RunOrder]) -> Worker:
        job = TrainJob(
            device=place.device,
            threads=place.threads,
            affinity=place.affinity,
            train_path=str(corpus.train_path),
            validation_path=str(corpus.validation_path),
            budget_s=deadline_s - time.monotonic(),
            orders=tuple(left),
        )
        return Worker(WORKER_MODULE, job, worker_environment(place.threads), place.log_path)

    def take(message: Message) -> None:
        if isinstance(message, Refused):
            raise DeviceError(message.reason)
        if isinstance(message, Progress):
            done = len(orders) - len(pending)
            far = f"{names[message.key]}, {message.fraction:.0%}, {message.note}"
            tell(f"training run {done} of {len(plan.orders)}: {far}")
        elif not isinstance(message, Began):
            record(message)

    for death in work_through(pending, start, take, lambda _: SILENCE_S):
        config = next(order.config for order in orders if order.key == death.key)
        record(RunTrained(run=TrainingRun(config=config, status="failed", reason=death.reason)))
