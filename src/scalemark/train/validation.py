"""How well a model does on text that it has not seen."""

from dataclasses import dataclass

import torch

from scalemark.model.task import Batch, Task

VALIDATION_BATCH = 64


@dataclass(frozen=True)
class Validation:
    """Mean loss, share of targets predicted right (None where targets are not classes), number of targets."""

    loss: float
    accuracy: float | None
    items: int


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
