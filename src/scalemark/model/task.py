"""What can be timed and trained: a module with its loss, its optimizer and its data.

A rung of the ladder becomes one of these, and so does a user's own model: a factory returns a `Task`, and everything
after that is the same for both.
"""

import importlib.util
import sys
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn

from scalemark.errors import InputError
from scalemark.model.transformer import Transformer, next_token_loss
from scalemark.schema import Optimizer, OptimizerKernels, TaskRef, Workload

Batch = tuple[Tensor, Tensor]
PEAK_LEARNING_RATE = 1e-3


@dataclass(frozen=True)
class Task:
    """A module, and how it learns.

    loss: (outputs, targets) -> scalar mean loss. train and validation: (inputs, targets), first dimension samples;
    batches of `batch_size` are taken from `train` in order, starting over at its end.
    """

    model: nn.Module
    optimizer: torch.optim.Optimizer
    loss: Callable[[Tensor, Tensor], Tensor]
    train: Batch
    validation: Batch | None = None
    batch_size: int = 64

    def __post_init__(self) -> None:
        for inputs, targets in filter(None, (self.train, self.validation)):
            if len(inputs) != len(targets):
                raise InputError(f"a task has {len(inputs)} inputs and {len(targets)} targets: give one per input")
        samples = len(self.train[0])
        if self.batch_size < 1:
            raise InputError(f"a batch of {self.batch_size} holds nothing: give a batch_size of at least 1")
        if samples < self.batch_size:
            raise InputError(f"a batch of {self.batch_size} cannot be taken from {samples} samples: lower batch_size")

    def batch(self, index: int) -> Batch:
        """The index-th training batch; a remainder shorter than a batch is never used."""
        start = index % (len(self.train[0]) // self.batch_size) * self.batch_size
        inputs, targets = self.train
        return inputs[start : start + self.batch_size], targets[start : start + self.batch_size]

    def to(self, device: str) -> "Task":
        """The same task with module and data on `device`. The optimizer must not have stepped yet."""
        if device == "cpu":
            return self
        self.model.to(device)
        train = (self.train[0].to(device), self.train[1].to(device))
        validation = self.validation and (self.validation[0].to(device), self.validation[1].to(device))
        return Task(self.model, self.optimizer, self.loss, train, validation, self.batch_size)


def make_optimizer(
    name: Optimizer,
    model: nn.Module | list[dict[str, Any]],
    learning_rate: float = PEAK_LEARNING_RATE,
    weight_decay: float = 0.0,
    kernels: OptimizerKernels | None = None,
) -> torch.optim.Optimizer:
    """Plain AdamW (Loshchilov & Hutter 2019; β₂ = 0.95 as usual for language models) or plain SGD.

    model: all of its parameters are updated alike; or groups of parameters, as torch's optimizers take them. AdamW is
    the fused one, which goes through its tensors once: a step of a small model takes 3 to 12 % less (docs/notes.md).
    kernels: an operator at a time instead, over all tensors (foreach) or over one after the other (for_loop).
    """
    parameters = model.parameters() if isinstance(model, nn.Module) else model
    if name == "sgd":
        return torch.optim.SGD(parameters, lr=learning_rate)
    how = {"foreach": kernels == "foreach"} if kernels else {"fused": True}
    return torch.optim.AdamW(parameters, lr=learning_rate, betas=(0.9, 0.95), weight_decay=weight_decay, **how)


def language_model_task(workload: Workload, windows: Batch, seed: int = 0) -> Task:
    """A rung with real tokens and the workload's options; windows are (inputs, targets), each (samples, seq_len) int64.

    The same seed gives the same parameters whatever the options are.
    """
    assert workload.model and workload.batch
    torch.manual_seed(seed)
    model = Transformer(workload.model, windows[0].shape[1], workload.checkpointed)
    optimizer = make_optimizer(workload.optimizer or "sgd", model, kernels=workload.optimizer_kernels)
    return Task(model, optimizer, next_token_loss, windows, batch_size=workload.batch)


def load_task(reference: TaskRef, seed: int = 0) -> Task:
    """Import the factory's file and call it; raises InputError where it does not give a Task."""
    torch.manual_seed(seed)
    path = Path(reference.path)
    factory = getattr(_module_at(path), reference.function, None)
    if factory is None:
        raise InputError(f"{path.name} has no {reference.function}: define the factory at the top of the file")
    task = factory(**dict(reference.arguments))
    if not isinstance(task, Task):
        raise InputError(f"{reference.function} in {path.name} must return a scalemark.Task")
    return task


def _module_at(path: Path) -> ModuleType:
    """The module in this file, imported once per process under a name of its own."""
    name = f"scalemark_task_{path.stem}_{sha256(str(path.resolve()).encode()).hexdigest()[:12]}"
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, path)
        if spec is None or spec.loader is None or not path.is_file():
            raise InputError(f"cannot import {path}: keep the factory in a Python file")
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        try:
            spec.loader.exec_module(module)
        except BaseException:
            del sys.modules[name]  # half a module must not pass for a whole one the next time
            raise
    return sys.modules[name]
