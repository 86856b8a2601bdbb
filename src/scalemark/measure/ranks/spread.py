"""A training step spread over ranks, and the same step without communication.

    ddp    replicas; gradients are averaged in buckets while the backward pass goes on (Li et al. 2020)
    fsdp   parameters, gradients and optimizer states in shards; each block's parameters are gathered before it is used
           and its gradients scattered after (ZeRO stage 3, Rajbhandari et al. 2020; torch's fully_shard)

Each rank takes its part of the same global batch, so that a step on p ranks is the step on one. One rank is left as it
is: a plain module. Without communication: ddp keeps its gradients to itself; fsdp works on parameters that were
gathered beforehand and lets the gradients lie. Both update as many parameters as the whole step does.
"""

from dataclasses import dataclass, replace

import numpy as np
from torch import nn
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.nn.parallel import DistributedDataParallel

from scalemark.measure.clock import Round
from scalemark.measure.phases import Steps, nothing, random_windows
from scalemark.measure.ranks.group import Group
from scalemark.model.task import Batch, Task, language_model_task, make_optimizer
from scalemark.schema import Workload


@dataclass(frozen=True)
class Spread:
    """A rank's part of a step. whole: as it is trained; compute: without communication, None on one rank."""

    steps: Steps
    whole: Round
    compute: Round | None


def spread(workload: Workload, tokens: np.ndarray, seed: int, group: Group) -> Spread:
    """This rank's part of the workload, equal weights on all ranks. tokens: uint8 text, the same on all ranks."""
    assert workload.model and workload.rank_batch
    windows = rank_windows(random_windows(workload, tokens, seed), group.rank, group.size, workload.rank_batch)
    mine = workload.model_copy(update={"batch": workload.rank_batch})
    task = language_model_task(mine, windows, seed)
    if group.size == 1:
        steps = Steps(task.to(workload.device), workload)
        return Spread(steps, Round(nothing, steps.step), None)
    return (_replicated if workload.parallelism == "ddp" else _sharded)(task, workload, group)


def rank_windows(windows: Batch, rank: int, size: int, rank_batch: int) -> Batch:
    """The rank's rows of every global batch, so that the ranks' n-th batches together are the n-th batch of one."""
    inputs, targets = (
        part.unflatten(0, (-1, size, rank_batch))[:, rank].flatten(0, 1).contiguous() for part in windows
    )
    return inputs, targets


def _replicated(task: Task, workload: Workload, group: Group) -> Spread:
    task = task.to(workload.device)
    model = DistributedDataParallel(task.model, process_group=group.channel, gradient_as_bucket_view=True)
    steps = Steps(replace(task, model=model), workload)

    def alone() -> None:
        with model.no_sync():
            steps.step()

    return Spread(steps, Round(nothing, steps.step), Round(nothing, alone))


def _sharded(task: Task, workload: Workload, group: Group) -> Spread:
    mesh = DeviceMesh.from_group(group.channel, workload.device)
    for block in task.model.blocks:  # type: ignore[union-attr]
        fully_shard(block, mesh=mesh)
    fully_shard(task.model, mesh=mesh)  # what no block holds: table, last gain and head
    optimizer = make_optimizer(workload.optimizer or "sgd", task.model)  # anew: its parameters are shards now
    shards = _Shards(Steps(_on_device(replace(task, optimizer=optimizer), workload.device), workload))
    return Spread(shards.steps, Round(shards.let_go, shards.steps.step), Round(shards.gather_all, shards.step_alone))


def _on_device(task: Task, device: str) -> Task:
    """Data and buffers; shards are where their mesh is."""
    return task if device == "cpu" else task.to(device)


class _Shards:
    """A sharded model between two states: shards alone, as it is trained, or everything gathered beforehand."""

    def __init__(self, steps: Steps) -> None:
        self.steps = steps
        self._modules = [module for module in steps.task.model.modules() if isinstance(module, FSDPModule)]
        self._is_gathered = False

    @property
    def _root(self) -> nn.Module:
        return self.steps.task.model

    def gather_all(self) -> None:
        """Every parameter whole on this rank until `let_go`: a step then finds nothing to communicate."""
        self._communicate(False)
        for module in self._modules:
            module.unshard()
        self._is_gathered = True

    def step_alone(self) -> None:
        """Forward and backward on gathered parameters; the update takes the gradients of the whole step before."""
        self.steps.forward()
        self.steps.backward()
        self.steps.update()

    def let_go(self) -> None:
        """Back to shards, without the gradients that were not scattered."""
        if self._is_gathered:
            self._root.zero_grad(set_to_none=True)
            for module in self._modules:
                module.reshard()
            self._communicate(True)
            self._is_gathered = False

    def _communicate(self, wanted: bool) -> None:
        for module in self._modules:
            module.set_requires_gradient_sync(wanted, recurse=False)
            module.set_reshard_after_backward(wanted, recurse=False)
            module.set_reshard_after_forward(wanted and module is not self._root, recurse=False)
