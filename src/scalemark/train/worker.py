"""The worker process of the grid: trains what one job says, run by run, and reports each as it is done.

Run as `python -m scalemark.train.worker`; see `scalemark.process` for the way in and out.
"""

import time
from collections.abc import Callable
from pathlib import Path

import torch
from pydantic import BaseModel

from scalemark.process import Began, Progress, Refused, keep_to, serve
from scalemark.schema import RunTrained, TrainingConfig, TrainingRun
from scalemark.train.executor import TrainJob
from scalemark.train.run import Report, train_language_model, train_task

# Short runs that went fast promise little for long ones.
SLOWNESS_AT_LEAST = 0.5


def work(job: TrainJob, emit: Callable[[BaseModel], None]) -> None:
    """Train every order of the job that the time still holds."""
    keep_to(job.affinity)  # before torch starts its threads, which inherit it
    torch.set_num_threads(job.threads)
    if job.device == "cuda" and not torch.cuda.is_available():
        emit(Refused(reason="cannot train on cuda: no CUDA device was found; use --scale-device cpu"))
        return
    started, expected_s = time.monotonic(), 0.0
    for order in job.orders:
        elapsed_s = time.monotonic() - started
        slowness = max(elapsed_s / expected_s, SLOWNESS_AT_LEAST) if expected_s else 1.0
        emit(Began(key=order.key))
        if elapsed_s + order.expected_s * slowness > job.budget_s:
            reason = f"takes about {order.expected_s * slowness:.0f} s, more than is left: raise --scale-budget"
            emit(RunTrained(run=TrainingRun(config=order.config, status="skipped", reason=reason)))
            continue
        emit(RunTrained(run=_attempt(order.config, job, emit)))
        expected_s += order.expected_s


def _attempt(config: TrainingConfig, job: TrainJob, emit: Callable[[BaseModel], None]) -> TrainingRun:
    """Train one configuration; an error ends that run, not the grid."""

    def report(fraction: float, note: str) -> None:
        emit(Progress(key=config.key, fraction=fraction, note=note))

    try:
        return train(config, Path(job.train_path), Path(job.validation_path), report)
    except Exception as error:  # whatever a user's own model raises
        first_line = (str(error).splitlines() or [""])[0]
        return TrainingRun(config=config, status="failed", reason=f"{type(error).__name__}: {first_line}")


def train(
    config: TrainingConfig, train_path: Path, validation_path: Path, report: Report, smoke: bool = False
) -> TrainingRun:
    """Train a language model on the token files, or a user's own task on its own data."""
    if config.task:
        return train_task(config, report, smoke)
    return train_language_model(config, train_path, validation_path, report, smoke)


if __name__ == "__main__":
    serve(TrainJob, work)
