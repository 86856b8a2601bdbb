"""Carry out a plan: hand its trunks to an executor, record each run as it is done, and tell how far it is."""

import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from scalemark.process import Death, Message
from scalemark.schema import (
    JournalEntry,
    MeasurementWarning,
    RunTrained,
    TrainingConfig,
    TrainingRun,
    WarningRaised,
)
from scalemark.train.candidate import StepSeconds
from scalemark.train.executors.pool import Pool
from scalemark.train.jobs import RunOrder, TokenFiles, TrunkJob
from scalemark.train.pace import Pace, measure_pace
from scalemark.train.placement import LOCAL, Placement
from scalemark.train.plan import GridPlan, plan_grid
from scalemark.train.progress import GridProgress


@dataclass(frozen=True)
class Workshop:
    """Where runs are trained: how many at a time, on how many threads and which CPUs each, and where their log goes.

    checkpoints: the folder of states that an interrupted run goes on from; None where nothing is kept.
    """

    device: Literal["cpu", "cuda"]
    slots: int
    threads: int
    affinity: tuple[int, ...] | None
    files: TokenFiles
    log_path: Path
    checkpoints: Path | None = None
    placement: Placement = LOCAL

    def executor(self, hear: Callable[[Message], None]) -> Pool:
        """Whoever trains, with nothing to do yet."""
        return self.placement.open_pool(self, hear)

    def job(self, orders: tuple[RunOrder, ...] = (), budget_s: float = 0.0) -> TrunkJob:
        """The job of training these runs of one trunk here."""
        return TrunkJob(
            orders=orders,
            files=self.files,
            device=self.device,
            threads=self.threads,
            budget_s=budget_s,
            checkpoints=str(self.checkpoints) if self.checkpoints else None,
            shared=self.slots > 1,
        )


def find_pace(workshop: Workshop) -> Pace:
    """How fast training goes here with all slots at work; raises DeviceError where the device is not there."""
    # Slurm's jobs wait in a queue, and run on nodes of their own or beside strangers: one tells as much as many.
    slots = 1 if workshop.placement.executor == "slurm" else workshop.slots
    return measure_pace(lambda jobs: _execute(workshop, jobs), slots, workshop.job())


def _execute(workshop: Workshop, jobs: Sequence[TrunkJob]) -> list[TrainingRun]:
    runs: list[TrainingRun] = []

    def hear(message: Message) -> None:
        if isinstance(message, RunTrained):
            runs.append(message.run)

    with workshop.executor(hear) as executor:
        _submit_all(executor, jobs)
        for _ in executor.as_completed():
            pass
    return runs


def train_within(
    budget_s: float,
    configs: Sequence[TrainingConfig],
    trained: Collection[str],
    pace: Pace | None,
    workshop: Workshop,
    record: Callable[[JournalEntry], None],
    tell: Callable[[GridProgress], None],
) -> None:
    """Plan and train, and again while there is time and something to train: what a slow moment cut off goes on.

    Every configuration that is not in `trained` ends as a recorded run, whatever became of it.
    """
    deadline_s, slowness = time.monotonic() + budget_s, 1.0
    settled = set(trained)
    while True:
        plan = plan_grid(
            configs, _step_s(pace, slowness), deadline_s - time.monotonic(), workshop.slots, frozenset(settled)
        )
        progress = run_grid(plan, workshop, record, tell)
        new = {run.config.key for run in progress.runs if run.status != "skipped"}
        if not new:
            break
        settled |= new
        slowness *= progress.slowness
    for order in plan.left_out:
        record(RunTrained(run=_left_out(order)))


def _step_s(pace: Pace | None, slowness: float) -> StepSeconds:
    return lambda accounting: slowness * pace.step_s(accounting) if pace else 0.0


def run_grid(
    plan: GridPlan,
    workshop: Workshop,
    record: Callable[[JournalEntry], None],
    tell: Callable[[GridProgress], None],
) -> GridProgress:
    """Train all that the plan holds. record: gets each run as it is done; tell: hears about once a second how far."""
    progress = GridProgress(plan)
    warned: set[MeasurementWarning] = set()

    def hear(message: Message) -> None:
        if isinstance(message, RunTrained):
            record(message)
        elif isinstance(message, WarningRaised) and message.warning not in warned:
            warned.add(message.warning)
            record(message)
        progress.take(message)
        tell(progress)

    with workshop.executor(hear) as executor:
        _submit_all(executor, [workshop.job(trunk.orders, trunk.budget_s) for trunk in plan.trunks])
        for ended in executor.as_completed():
            if ended.death:
                for order in ended.left:
                    hear(RunTrained(run=_failed(order, ended.death)))
    return progress


def _submit_all(executor: Pool, jobs: Sequence[TrunkJob]) -> None:
    for job in jobs:
        executor.submit(job)


def _left_out(order: RunOrder) -> TrainingRun:
    reason = f"takes about {order.expected_s:.0f} s; others tell more for the time: raise the budget"
    return TrainingRun(config=order.config, status="skipped", reason=reason)


def _failed(order: RunOrder, death: Death) -> TrainingRun:
    return TrainingRun(config=order.config, status="failed", reason=death.reason)
