"""Train a user's own task as it is: its optimizer, its batches, no schedule and no clipping."""

import math
import time

import torch

from scalemark.model.task import load_task
from scalemark.schema import TrainingConfig, TrainingRun
from scalemark.train.learner import DivergedError, Learner
from scalemark.train.trunk import Report, diverged
from scalemark.train.validation import Validation, validate


def train_task(config: TrainingConfig, report: Report) -> TrainingRun:
    """Train on `config.tokens` samples and validate, where the task has something to validate on."""
    assert config.task
    started = time.perf_counter()
    task = load_task(config.task, config.seed).to(config.device)
    n_steps = max(1, round(config.tokens / task.batch_size))
    learner = Learner(task, task.batch, task.batch_size)
    try:
        learner.advance(n_steps, None, lambda learner: report(config, learner.step / n_steps, learner.last_loss))
        learner.mark()
    except DivergedError as error:
        return diverged(config, learner, error)
    validation = validate(task, task.validation) if task.validation else None
    if validation and not math.isfinite(validation.loss):
        return diverged(config, learner, DivergedError(n_steps))
    return _finished(config, learner, validation, time.perf_counter() - started)


def _finished(
    config: TrainingConfig, learner: Learner, validation: Validation | None, total_seconds: float
) -> TrainingRun:
    return TrainingRun(
        config=config,
        status="ok",
        curve=tuple(learner.curve),
        validation_loss=validation.loss if validation else None,
        validation_accuracy=validation.accuracy if validation else None,
        validation_items=validation.items if validation else None,
        seconds=learner.seconds,
        total_seconds=total_seconds,
        threads=torch.get_num_threads(),
    )
