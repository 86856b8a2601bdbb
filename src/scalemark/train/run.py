"""Train one model on D tokens and say what loss it reached.

The clock runs over the training loop alone. Validation and set-up are in the total. Same configuration, machine and
threads: the same loss to the last bit.
"""

import math
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from scalemark.model.accounting import account
from scalemark.model.task import Batch, Task, load_task, make_optimizer
from scalemark.model.transformer import Transformer, next_token_loss
from scalemark.schema import LossPoint, TrainingConfig, TrainingRun
from scalemark.train.corpus import epoch_order, open_tokens, spread_windows, windows
from scalemark.train.schedule import warmup_stable_decay

CURVE_POINTS = 40
VALIDATION_WINDOWS = 512
VALIDATION_BATCH = 64
GRADIENT_NORM_LIMIT = 1.0

Report = Callable[[float, str], None]
BatchAt = Callable[[int], Batch]


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
    tokens = open_tokens(train_path)
    n_steps = 2 if smoke else config.n_steps
    batch_at = _shuffled_batches(tokens, config)
    task = Task(model, optimizer, next_token_loss, batch_at(0), batch_size=config.batch)
    curve, seconds = _loop(task, batch_at, n_steps, report, config, schedule=warmup_stable_decay)
    held_out = spread_windows(
        open_tokens(validation_path), VALIDATION_BATCH if smoke else VALIDATION_WINDOWS, config.seq_len
    )
    loss, accuracy = evaluate(task, (held_out[0].to(config.device), held_out[1].to(config.device)))
    return _finished(config, n_steps, curve, seconds, started, loss, accuracy, held_out[1].numel())


def train_task(config: TrainingConfig, report: Report, smoke: bool = False) -> TrainingRun:
    """Train a user's own task as it is: its optimizer, its batches, no schedule and no clipping."""
    assert config.task
    started = time.perf_counter()
    task = load_task(config.task, config.seed).to(config.device)
    n_steps = 2 if smoke else max(1, round(config.tokens / task.batch_size))
    curve, seconds = _loop(task, task.batch, n_steps, report, config.model_copy(update={"batch": task.batch_size}))
    loss, accuracy = evaluate(task, task.validation) if task.validation else (None, None)
    items = task.validation[1].numel() if task.validation else None
    return _finished(config, n_steps, curve, seconds, started, loss, accuracy, items)


def _finished(
    config: TrainingConfig,
    n_steps: int,
    curve: list[LossPoint],
    seconds: float,
    started: float,
    loss: float | None,
    accuracy: float | None,
    items: int | None,
) -> TrainingRun:
    cut_short = not curve or curve[-1].step < n_steps
    diverged = cut_short or (loss is not None and not math.isfinite(loss))
    is_language_model = config.model is not None
    return TrainingRun(
        config=config,
        status="diverged" if diverged else "ok",
        reason="the loss stopped being finite: lower the learning rate" if diverged else None,
        accounting=account(config.model, config.batch or 1, config.seq_len, config.dtype, config.optimizer)
        if config.model
        else None,
        curve=tuple(curve),
        validation_loss=None if diverged else loss,
        validation_accuracy=None if diverged else accuracy,
        validation_items=items,
        bits_per_byte=loss / math.log(2) if is_language_model and loss is not None and not diverged else None,
        seconds=seconds,
        total_seconds=time.perf_counter() - started,
    )


def _shuffled_batches(tokens: "object", config: TrainingConfig) -> BatchAt:
    """Batches of one shuffled epoch after another, reshuffled each time; no token twice within an epoch."""
    import numpy as np

    assert isinstance(tokens, np.ndarray) and config.batch
    batch_size = config.batch
    orders: dict[int, np.ndarray] = {}

    def batch_at(step: int) -> Batch:
        per_epoch = (len(tokens) - config.seq_len - 1) // config.seq_len // batch_size
        epoch, place = divmod(step, per_epoch)
        if epoch not in orders:
            orders.clear()
            orders[epoch] = epoch_order(len(tokens), config.seq_len, config.seed + epoch)
        starts = orders[epoch][place * batch_size : (place + 1) * batch_size]
        inputs, targets = windows(tokens, starts, config.seq_len)
        return inputs.to(config.device), targets.to(config.device)

    return batch_at


def _loop(
    task: Task,
    batch_at: BatchAt,
    n_steps: int,
    report: Report,
    config: TrainingConfig,
    schedule: Callable[[int, int], float] | None = None,
) -> tuple[list[LossPoint], float]:
    """Train for n_steps; (loss curve, seconds). The curve ends early, at its last finite point, on divergence."""
    curve: list[LossPoint] = []
    marks = {round(n_steps * (index + 1) / CURVE_POINTS) for index in range(CURVE_POINTS)} | {n_steps}
    pending: list[Tensor] = []
    started = time.perf_counter()
    for step in range(n_steps):
        if schedule:
            _set_learning_rate(task, (config.learning_rate or 0.0) * schedule(step, n_steps))
        pending.append(
            _train_step(task, batch_at(step), clip=schedule is not None, bfloat16=config.dtype == "bfloat16")
        )
        if step + 1 in marks:
            loss = torch.stack(pending).mean().item()
            pending.clear()
            if not math.isfinite(loss):
                return curve, time.perf_counter() - started
            curve.append(
                LossPoint(step=step + 1, tokens=(step + 1) * (config.batch or 1) * config.seq_len, train_loss=loss)
            )
            report((step + 1) / n_steps, f"loss {loss:.3f}")
    return curve, time.perf_counter() - started


def _train_step(task: Task, batch: Batch, clip: bool, bfloat16: bool) -> Tensor:
    inputs, targets = batch
    task.optimizer.zero_grad(set_to_none=True)
    with torch.autocast(inputs.device.type, torch.bfloat16, enabled=bfloat16):
        loss = task.loss(task.model(inputs), targets)
    loss.backward()  # type: ignore[no-untyped-call]
    if clip:
        torch.nn.utils.clip_grad_norm_(task.model.parameters(), GRADIENT_NORM_LIMIT)
    task.optimizer.step()
    return loss.detach()


def _set_learning_rate(task: Task, learning_rate: float) -> None:
    for group in task.optimizer.param_groups:
        group["lr"] = learning_rate


@torch.inference_mode()
def evaluate(task: Task, held_out: Batch, batch_size: int = VALIDATION_BATCH) -> tuple[float, float | None]:
    """(mean loss, share of targets predicted right) over all of `held_out`; no share where targets are not classes."""
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
    return total_loss / held_out[1].numel(), right / held_out[1].numel() if has_classes else None
