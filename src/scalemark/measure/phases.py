"""The phases of a training step, each as a round that can be timed alone.

phase      before the clock            on the clock
forward    drop the last graph         model and loss, graph kept
backward   gradients away, forward     gradients
optimizer  (gradients are there)       update of the parameters
step       –                           gradients away, forward, backward, update: as a training loop runs them
eval       –                           model and loss, no graph

A step in micro-batches goes forward and backward over one part of its batch after the other, then updates once.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from scalemark.measure.clock import Round
from scalemark.model.ladder import N_BATCHES
from scalemark.model.task import Batch, Task, language_model_task, load_task
from scalemark.schema import AttentionBackend, Workload

_BACKENDS: dict[AttentionBackend, SDPBackend] = {
    "math": SDPBackend.MATH,
    "flash": SDPBackend.FLASH_ATTENTION,
    "efficient": SDPBackend.EFFICIENT_ATTENTION,
}


def build_task(workload: Workload, tokens: np.ndarray, seed: int) -> Task:
    """The workload's task on its device: a rung with random windows of real text, or the user's own.

    tokens: uint8 text, longer than a window.
    """
    task = _eager_task(workload, tokens, seed)
    return replace(task, model=compiled(task.model)) if workload.compiled else task


def compiled(model: nn.Module) -> nn.Module:
    """The module under torch.compile, which works only when it is first called: the first round pays for it."""
    module: nn.Module = torch.compile(model)  # type: ignore[assignment]
    return module


def _eager_task(workload: Workload, tokens: np.ndarray, seed: int) -> Task:
    if workload.task:
        return load_task(workload.task, seed).to(workload.device)
    assert workload.model and workload.batch
    return language_model_task(workload, random_windows(workload, tokens, seed), seed).to(workload.device)


def random_windows(workload: Workload, tokens: np.ndarray, seed: int) -> Batch:
    """Inputs and targets of the batches that rounds go through, each (samples, seq_len), drawn from the text."""
    assert workload.batch and workload.seq_len
    starts = np.random.default_rng(seed).integers(len(tokens) - workload.seq_len - 1, size=N_BATCHES * workload.batch)
    rows = torch.from_numpy(tokens[starts[:, None] + np.arange(workload.seq_len + 1)].astype(np.int64))
    return rows[:, :-1].contiguous(), rows[:, 1:].contiguous()


class Steps:
    """A task that is being stepped through: which batch is next, and the graph of the last forward pass."""

    def __init__(self, task: Task, workload: Workload) -> None:
        self.task, self.workload = task, workload
        self.index = 0
        self.loss: Tensor | None = None

    def drop_graph(self) -> None:
        self.loss = None

    def drop_gradients(self) -> None:
        self.task.optimizer.zero_grad(set_to_none=True)

    def forward(self) -> None:
        self._forward_over(self._next_batch())

    def _next_batch(self) -> Batch:
        self.index += 1
        return self.task.batch(self.index - 1)

    def _forward_over(self, batch: Batch) -> None:
        inputs, targets = batch
        bfloat16 = self.workload.dtype == "bfloat16"
        with torch.autocast(self.workload.device, torch.bfloat16, enabled=bfloat16):
            self.loss = self.task.loss(self.task.model(inputs), targets)

    def backward(self) -> None:
        """Each of several parts has its share of the gradient of the whole batch's mean loss."""
        assert self.loss is not None
        parts = self.workload.micro_batches
        self.loss.backward(torch.full_like(self.loss, 1 / parts) if parts > 1 else None)

    def update(self) -> None:
        self.task.optimizer.step()

    def forward_anew(self) -> None:
        self.drop_gradients()
        self.forward()

    def step(self) -> None:
        self.drop_gradients()
        for part in self._parts():
            self._forward_over(part)
            self.backward()
        self.update()

    def _parts(self) -> Sequence[Batch]:
        """The next batch, cut into the workload's micro-batches."""
        inputs, targets = self._next_batch()
        parts = self.workload.micro_batches
        return [(inputs, targets)] if parts == 1 else [*zip(inputs.chunk(parts), targets.chunk(parts), strict=True)]

    @torch.inference_mode()
    def evaluate(self) -> None:
        self.forward()


def nothing() -> None:
    """Preparation of a phase that needs none."""


def make_round(task: Task, workload: Workload) -> Round:
    """The workload's phase on this task, ready to be timed again and again."""
    steps = Steps(task, workload)
    if workload.phase == "optimizer":
        steps.forward()
        steps.backward()
        steps.drop_graph()
    rounds: dict[str, tuple[Callable[[], None], Callable[[], None]]] = {
        "forward": (steps.drop_graph, steps.forward),
        "backward": (steps.forward_anew, steps.backward),
        "optimizer": (nothing, steps.update),
        "step": (nothing, steps.step),
        "eval": (nothing, steps.evaluate),
    }
    prepare, timed = rounds[workload.phase]
    if workload.attention is None:
        return Round(prepare, timed)
    return Round(_with_attention(workload.attention, prepare), _with_attention(workload.attention, timed))


def _with_attention(backend: AttentionBackend, run: Callable[[], None]) -> Callable[[], None]:
    """Chosen once around the whole run, not in each layer: what checkpointing repeats must take it too."""

    def chosen() -> None:
        with sdpa_kernel(_BACKENDS[backend]):
            run()

    return chosen
