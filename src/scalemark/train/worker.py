"""The worker process of the grid: trains what each job says, run by run, and reports each as it is done.

Run as `python -m scalemark.train.worker`; see `scalemark.process` for the way in and out.
"""

import time
from collections.abc import Callable, Iterator
from itertools import groupby
from pathlib import Path

import torch
from pydantic import BaseModel

from scalemark.process import Began, Progress, Refused, keep_to, serve
from scalemark.schema import RunTrained, TrainingConfig, TrainingRun
from scalemark.train.checkpoint import Checkpoints
from scalemark.train.jobs import RunOrder, TrunkJob
from scalemark.train.trunk import train_trunk
from scalemark.train.user_task import train_task

# Short runs that went fast promise little for long ones.
SLOWNESS_AT_LEAST = 0.5
# How far past its budget a run that was begun may go: what is nearly done is worth ending.
OVERTIME = 1.1
NOT_BEGUN = "no time was left to begin it: raise the budget"

Emit = Callable[[BaseModel], None]


class OutOfTimeError(Exception):
    """The budget holds no more of this job."""


def work(job: TrunkJob, emit: Emit) -> None:
    """Train the runs of the job that its time holds; each ends as one reported run.

    What `emit` raises on a report of progress ends the job with its state kept, where that is no `Exception`.
    """
    keep_to(job.affinity)  # before torch starts its threads, which inherit it
    torch.set_num_threads(job.threads)
    if job.device == "cuda" and not torch.cuda.is_available():
        emit(Refused(reason="cannot train on cuda: no CUDA device was found; choose cpu"))
        return
    left = list(job.orders)
    for run in _attempt(job, Budget(job), emit):
        left = [order for order in left if order.key != run.config.key]
        emit(RunTrained(run=run.model_copy(update={"shared": job.shared})))
    assert not left


class Budget:
    """The time of one job: what its runs are expected to take, and how much slower than that the first ones were."""

    def __init__(self, job: TrunkJob) -> None:
        self._job, self._started, self._done_s = job, time.monotonic(), 0.0
        self._begun: RunOrder | None = None

    @property
    def _elapsed_s(self) -> float:
        return time.monotonic() - self._started

    def begin(self, order: RunOrder) -> None:
        """Raises OutOfTimeError where the time left does not hold this run."""
        self._done_s += self._begun.expected_s if self._begun else 0.0
        self._begun = order
        slowness = max(self._elapsed_s / self._done_s, SLOWNESS_AT_LEAST) if self._done_s else 1.0
        if self._elapsed_s + order.expected_s * slowness > self._job.budget_s:
            expected_s = order.expected_s * slowness
            raise OutOfTimeError(f"takes about {expected_s:.0f} s, more than is left: raise the budget")

    def check(self, fraction: float) -> None:
        """Raises OutOfTimeError where a run that was begun has gone too far past the time."""
        if self._elapsed_s > OVERTIME * self._job.budget_s:
            raise OutOfTimeError(f"the time was over at {fraction:.0%} of it: raise the budget")


def _attempt(job: TrunkJob, budget: Budget, emit: Emit) -> Iterator[TrainingRun]:
    """The job's runs as they are done; what does not fit is skipped, and an error ends the trunk, not the grid."""
    left = list(job.orders)

    def begin(_: TrainingConfig) -> None:
        budget.begin(left[0])

    def report(config: TrainingConfig, fraction: float, loss: float) -> None:
        emit(Progress(key=config.key, fraction=fraction, note=f"loss {loss:.3f}"))
        budget.check(fraction)

    emit(Began(key=left[0].key))  # before its model is made, which may be what ends this process
    try:
        for run in _train(job, begin, report):
            left.pop(0)
            yield run
            if left:
                emit(Began(key=left[0].key))
    except OutOfTimeError as error:
        reasons = [str(error), *[NOT_BEGUN] * (len(left) - 1)]
        for order, reason in zip(left, reasons, strict=True):
            yield TrainingRun(config=order.config, status="skipped", reason=reason)
    except Exception as error:  # whatever a user's own model raises
        first_line = (str(error).splitlines() or [""])[0]
        reason = f"{type(error).__name__}: {first_line}"
        yield from (TrainingRun(config=order.config, status="failed", reason=reason) for order in left)


def _train(
    job: TrunkJob,
    begin: Callable[[TrainingConfig], None],
    report: Callable[[TrainingConfig, float, float], None],
) -> Iterator[TrainingRun]:
    checkpoints = Checkpoints(Path(job.checkpoints) if job.checkpoints else None)
    for _, orders in groupby(job.orders, key=lambda order: order.config.trunk):
        configs = [order.config for order in orders]
        if configs[0].task:
            for config in configs:
                begin(config)
                yield train_task(config, report)
        else:
            yield from train_trunk(configs, job.files, report, checkpoints, begin, job.validation_windows)


if __name__ == "__main__":
    serve(TrunkJob, work)
