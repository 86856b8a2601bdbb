"""Losses of a few first steps, in a pass of its own: what an option does to them beside what another seed does.

Everything random follows from the seed: parameters are drawn on the CPU, and batches from the text. So the losses of a
seed are the same on every run of one build of torch, and what differs between options is how they compute.
"""

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from scalemark.measure.orders import LOSS_SEEDS, LOSS_STEPS
from scalemark.measure.phases import make_round
from scalemark.model.task import Task
from scalemark.schema import ShortLosses, Workload

Loss = Callable[[Tensor, Tensor], Tensor]


def short_losses(workload: Workload, build: Callable[[int], Task], first_seed: int) -> ShortLosses:
    """Train anew from each seed. workload: a whole step; build: the workload's task from a seed."""
    seeds = tuple(range(first_seed, first_seed + LOSS_SEEDS))
    return ShortLosses(seeds=seeds, losses=tuple(_losses(workload, build(seed)) for seed in seeds))


def _losses(workload: Workload, task: Task) -> tuple[float, ...]:
    """The loss of each step: of several micro-batches, which are of one size, their mean."""
    noted: list[Tensor] = []
    one = make_round(replace(task, loss=_noting(task.loss, noted)), workload)
    for _ in range(LOSS_STEPS):
        one.prepare()
        one.timed()
    steps = torch.stack(noted).double().view(LOSS_STEPS, workload.micro_batches).mean(dim=1)
    return tuple(steps.tolist())


def _noting(loss: Loss, noted: list[Tensor]) -> Loss:
    """The same loss, which is also noted down, without its graph."""

    def note(outputs: Tensor, targets: Tensor) -> Tensor:
        value = loss(outputs, targets)
        noted.append(value.detach())
        return value

    return note
