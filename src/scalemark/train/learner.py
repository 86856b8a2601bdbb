"""A model in training: it takes steps, and what its next step depends on can be kept and put back.

The clock runs over the steps alone; whoever looks at the learner now and then does so off the clock. On one machine
and number of threads the same steps give the same weights to the last bit, whether or not they were interrupted.
"""

import copy
import math
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from scalemark.model.task import Batch, Task
from scalemark.schema import LossPoint

GRADIENT_NORM_LIMIT = 1.0
LOOK_EVERY_S = 1.0
# Points of a loss curve: each 15 % after the one before, the same whatever the run's length.
MARKS = frozenset(math.ceil(1.15**power) for power in range(200))

State = dict[str, Any]
BatchAt = Callable[[int], Batch]
Rate = Callable[[int], float]


class DivergedError(Exception):
    """The loss came apart. step: the last one whose loss was still sound."""

    def __init__(self, step: int) -> None:
        super().__init__(f"the loss blew up after step {step}")
        self.step = step


class Learner:
    """One task and its data, at some step.

    highest_loss: with a mean loss above it a model does worse than guessing evenly, and has come apart. clip: whether
    gradients are clipped to a norm of `GRADIENT_NORM_LIMIT`.
    """

    def __init__(
        self,
        task: Task,
        batch_at: BatchAt,
        items_per_step: int,
        highest_loss: float = math.inf,
        clip: bool = False,
        bfloat16: bool = False,
    ) -> None:
        self.task, self._batch_at, self._items_per_step = task, batch_at, items_per_step
        self._highest_loss, self._clip, self._bfloat16 = highest_loss, clip, bfloat16
        self.step = 0
        self.seconds = 0.0
        self.curve: list[LossPoint] = []
        self._losses: list[float] = []  # since the last point of the curve, up to the last look …
        self._pending: list[Tensor] = []  # … and since then, where the device may still be computing them

    @property
    def last_loss(self) -> float:
        """Mean training loss since the last point of the curve."""
        return math.fsum(self._losses) / len(self._losses) if self._losses else self.curve[-1].train_loss

    def advance(self, until: int, rate: Rate | None, look: Callable[["Learner"], None]) -> None:
        """Train up to step `until`, each step at `rate(step)` times its group's `scale`; `look` about once a second.

        Raises DivergedError, and whatever `look` raises.
        """
        looked = started = time.perf_counter()
        while self.step < until:
            self._pending.append(self._take_step(rate))
            self.step += 1
            now = time.perf_counter()
            if self.step in MARKS or self.step == until or now - looked >= LOOK_EVERY_S:
                self._read_losses()
                self.seconds += time.perf_counter() - started
                if self.step in MARKS:
                    self._judge()
                    self.mark()
                look(self)
                looked = started = time.perf_counter()

    def mark(self) -> None:
        """Add the mean loss since the last point to the curve; nothing where no step was taken since."""
        if self._losses:
            items = self.step * self._items_per_step
            self.curve.append(LossPoint(step=self.step, tokens=items, train_loss=self.last_loss))
            self._losses.clear()

    def state(self) -> State:
        """Everything that the next step depends on, and the record so far; its tensors are the learner's own."""
        assert not self._pending, "a learner is looked at, or at rest"
        return {
            "model": self.task.model.state_dict(),
            "optimizer": self.task.optimizer.state_dict(),
            "step": self.step,
            "seconds": self.seconds,
            "curve": [[point.step, point.tokens, point.train_loss] for point in self.curve],
            "losses": list(self._losses),
        }

    def snapshot(self) -> State:
        """The state with tensors of its own, which further steps leave alone."""
        return copy.deepcopy(self.state())

    def restore(self, state: State) -> None:
        """Go back, or forth, to this state."""
        self.task.model.load_state_dict(state["model"])
        self.task.optimizer.load_state_dict(copy.deepcopy(state["optimizer"]))  # it would go on with these very tensors
        self.step, self.seconds = state["step"], state["seconds"]
        self.curve = [LossPoint(step=step, tokens=tokens, train_loss=loss) for step, tokens, loss in state["curve"]]
        self._losses, self._pending = list(state["losses"]), []

    def _take_step(self, rate: Rate | None) -> Tensor:
        inputs, targets = self._batch_at(self.step)
        optimizer = self.task.optimizer
        if rate:
            for group in optimizer.param_groups:
                group["lr"] = rate(self.step) * group.get("scale", 1.0)
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast(inputs.device.type, torch.bfloat16, enabled=self._bfloat16):
            loss = self.task.loss(self.task.model(inputs), targets)
        loss.backward()
        if self._clip:
            torch.nn.utils.clip_grad_norm_(self.task.model.parameters(), GRADIENT_NORM_LIMIT)
        optimizer.step()
        return loss.detach()

    def _read_losses(self) -> None:
        """Raises DivergedError at the first loss that is no number."""
        losses = torch.stack(self._pending).tolist() if self._pending else []
        self._pending.clear()
        for index, loss in enumerate(losses):
            if not math.isfinite(loss):
                raise DivergedError(self.step - len(losses) + index)
            self._losses.append(loss)

    def _judge(self) -> None:
        """At marks alone, so that a run's fate does not depend on when it is looked at. Raises DivergedError."""
        if self.last_loss > self._highest_loss:
            raise DivergedError(self.step)
