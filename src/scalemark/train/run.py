"""Train one model on D tokens and say what loss it reached.

The clock runs over the training loop alone. Validation and set-up are in the total. Same configuration, machine and
threads: the same loss to the last bit.
"""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from scalemark.errors import InputError
from scalemark.model.accounting import account
from scalemark.model.task import Batch, Task, load_task, make_optimizer
from scalemark.model.transformer import Transformer, next_token_loss
from scalemark.schema import Accounting, LossPoint, TrainingConfig, TrainingRun
from scalemark.train.corpus import epoch_order, open_tokens, spread_windows, windows
from scalemark.train.schedule import warmup_stable_decay

CURVE_POINTS = 40
VALIDATION_WINDOWS = 512
VALIDATION_BATCH = 64
GRADIENT_NORM_LIMIT = 1.0

# A language model that guesses evenly has a loss of ln(vocabulary); one this far above it has come apart.
DIVERGED_MARGIN = 1.0

Report = Callable[[float, str], None]
BatchAt = Callable[[int], Batch]


@dataclass(frozen=True)
class Loop:
    """What the training loop left: the loss curve, its seconds, and whether it came to its end."""

    curve: tuple[LossPoint, ...]
    seconds: float
    whole: bool


@dataclass(frozen=True)
class Validation:
    """Mean loss, share of targets predicted right (None where targets are not classes), number of targets."""

    loss: float
    accuracy: float | None
    items: int


def train_language_model(
    config: TrainingConfig, train_path: Path, validation_path: Path, report: Report, smoke: bool = False
) -> TrainingRun:
    """Train a rung-shaped model on a token file; `report(fraction, note)` is called now and then.

    smoke: two steps and one validation batch, to show that it runs.
    """
    assert config.model and config.batch and config.learning_rate and config.optimizer
    started = time.perf_counter()
    torch.manual_seed(config.seed)
    model = Transformer(config.model, config.seq_len).to(config.device)
    optimizer = make_optimizer(config.optimizer, model, config.learning_rate)
    batch_at = TextBatches(open_tokens(train_path), config)
    task = Task(model, optimizer, next_token_loss, batch_at(0), batch_size=config.batch)
    loop = _loop(task, batch_at, 2 if smoke else config.n_steps, report, config, schedule=warmup_stable_decay)
    n_windows = VALIDATION_BATCH if smoke else VALIDATION_WINDOWS
    inputs, targets = spread_windows(open_tokens(validation_path), n_windows, config.seq_len)
    validation = validate(task, (inputs.to(config.device), targets.to(config.device)))
    return _finished(config, loop, validation, time.perf_counter() - started)


def train_task(config: TrainingConfig, report: Report, smoke: bool = False) -> TrainingRun:
    """Train a user's own task as it is: its optimizer, its batches, no schedule and no clipping."""
    assert config.task
    started = time.perf_counter()
    task = load_task(config.task, config.seed).to(config.device)
    n_steps = 2 if smoke else max(1, round(config.tokens / task.batch_size))
    loop = _loop(task, task.batch, n_steps, report, config.model_copy(update={"batch": task.batch_size}))
    validation = validate(task, task.validation) if task.validation else None
    return _finished(config, loop, validation, time.perf_counter() - started)


def _finished(config: TrainingConfig, loop: Loop, validation: Validation | None, total_seconds: float) -> TrainingRun:
    diverged = not loop.whole or (validation is not None and not _is_sane(validation.loss, config))
    reached = None if diverged else validation
    return TrainingRun(
        config=config,
        status="diverged" if diverged else "ok",
        reason=f"the loss blew up after step {_last_step(loop)}: lower the learning rate" if diverged else None,
        accounting=_accounting(config),
        curve=loop.curve,
        validation_loss=reached.loss if reached else None,
        validation_accuracy=reached.accuracy if reached else None,
        validation_items=validation.items if validation else None,
        bits_per_byte=reached.loss / math.log(2) if reached and config.model else None,
        seconds=loop.seconds,
        total_seconds=total_seconds,
    )


def _is_sane(loss: float, config: TrainingConfig) -> bool:
    highest = math.log(config.model.vocab_size) + DIVERGED_MARGIN if config.model else math.inf
    return math.isfinite(loss) and loss < highest


def _last_step(loop: Loop) -> int:
    return loop.curve[-1].step if loop.curve else 0


def _accounting(config: TrainingConfig) -> Accounting | None:
    if config.model is None or config.batch is None:
        return None
    return account(config.model, config.batch, config.seq_len, config.dtype, config.optimizer)


class TextBatches:
    """Batches of one shuffled epoch after another, each in a new order; no token twice within an epoch."""

    def __init__(self, tokens: np.ndarray, config: TrainingConfig) -> None:
        assert config.batch
        self._tokens, self._config, self._batch_size = tokens, config, config.batch
        self._per_epoch = (len(tokens) - 1) // config.seq_len // config.batch
        if self._per_epoch == 0:
            raise InputError(
                f"a text of {len(tokens)} tokens is shorter than one batch of {config.batch} × {config.seq_len}: "
                "use a longer text or a smaller batch"
            )
        self._epoch, self._order = -1, np.empty(0, dtype=np.int64)

    def __call__(self, step: int) -> Batch:
        epoch, place = divmod(step, self._per_epoch)
        if epoch != self._epoch:
            self._epoch = epoch
            self._order = epoch_order(len(self._tokens), self._config.seq_len, [self._config.seed, epoch])
        starts = self._order[place * self._batch_size : (place + 1) * self._batch_size]
        inputs, targets = windows(self._tokens, starts, self._config.seq_len)
        return inputs.to(self._config.device), targets.to(self._config.device)


def _loop(
    task: Task,
    batch_at: BatchAt,
    n_steps: int,
    report: Report,
    config: TrainingConfig,
    schedule: Callable[[int, int], float] | None = None,
) -> Loop:
    """Train for n_steps. On divergence it ends early, its curve at the last finite point."""
    curve: list[LossPoint] = []
    marks = {round(n_steps * (index + 1) / CURVE_POINTS) for index in range(CURVE_POINTS)} | {n_steps}
    tokens_per_step = (config.batch or 1) * config.seq_len
    pending: list[Tensor] = []
    started = time.perf_counter()
    for step in range(1, n_steps + 1):
        if schedule:
            _set_learning_rate(task, (config.learning_rate or 0.0) * schedule(step - 1, n_steps))
        bfloat16 = config.dtype == "bfloat16"
        pending.append(_train_step(task, batch_at(step - 1), clip=schedule is not None, bfloat16=bfloat16))
        if step in marks:
            loss = torch.stack(pending).mean().item()
            pending.clear()
            if not math.isfinite(loss):
                break
            curve.append(LossPoint(step=step, tokens=step * tokens_per_step, train_loss=loss))
            report(step / n_steps, f"loss {loss:.3f}")
    seconds = time.perf_counter() - started
    return Loop(tuple(curve), seconds, whole=bool(curve) and curve[-1].step == n_steps)


def _train_step(task: Task, batch: Batch, clip: bool, bfloat16: bool) -> Tensor:
    inputs, targets = batch
    task.optimizer.zero_grad(set_to_none=True)
    with torch.autocast(inputs.device.type, torch.bfloat16, enabled=bfloat16):
        loss = task.loss(task.model(inputs), targets)
    loss.backward()
    if clip:
        torch.nn.utils.clip_grad_norm_(task.model.parameters(), GRADIENT_NORM_LIMIT)
    task.optimizer.step()
    return loss.detach()


def _set_learning_rate(task: Task, learning_rate: float) -> None:
    for group in task.optimizer.param_groups:
        group["lr"] = learning_rate


@torch.inference_mode()
def validate(task: Task, held_out: Batch, batch_size: int = VALIDATION_BATCH) -> Validation:
    """Loss and accuracy over all of `held_out`, each target weighing the same."""
    task.model.eval()
    total_loss, right = 0.0, 0
    has_classes = True
    for inputs, targets in zip(*(torch.split(part, batch_size) for part in held_out), strict=True):
        outputs = task.model(inputs)
        total_loss += task.loss(outputs, targets).item() * targets.numel()
        predicted = outputs.argmax(-1)
        has_classes = has_classes and predicted.shape == targets.shape and not targets.is_floating_point()
        right += int((predicted == targets).sum()) if has_classes else 0
    task.model.train()
    items = held_out[1].numel()
    return Validation(total_loss / items, right / items if has_classes else None, items)
