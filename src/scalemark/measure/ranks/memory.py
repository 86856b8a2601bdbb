"""What each rank holds and needs at most, after everything of the group was timed.

State is counted on the tensors themselves, a shard where there are shards: it is the same on every run. The peak is the
allocator's on CUDA and the resident set's on a CPU, where tensors that are gathered and freed inside of collectives
cannot be followed one by one.
"""

import gc
from collections.abc import Iterator

import numpy as np
from torch import Tensor
from torch.distributed.tensor import DTensor

from scalemark.measure.clock import Round
from scalemark.measure.device import Device, release
from scalemark.measure.memory import cuda_memory, resident_peak
from scalemark.measure.ranks.group import Group
from scalemark.measure.ranks.spread import spread
from scalemark.model.sharding import replicated_state_bytes, state_bytes
from scalemark.model.task import Task
from scalemark.schema import Memory, RankMemory, Workload


def memory_of_ranks(workload: Workload, group: Group, tokens: np.ndarray, seed: int) -> Memory | None:
    """Of the rank that needs most, with the state of all, on rank 0; None on the others."""
    mine = spread(workload, tokens, seed, group)
    mine.whole.timed()  # makes the optimizer's state and the buckets
    held_bytes = sum(map(_local_bytes, _states(mine.steps.task)))
    gc.collect()
    group.meet()
    collected = group.collect((held_bytes, _peak(mine.whole, workload.device)))
    release()
    if not group.leads:
        return None
    largest = max((memory for _, memory in collected), key=_size)
    ranks = RankMemory(
        state_bytes=tuple(held for held, _ in collected),
        predicted_state_bytes=tuple(state_bytes(workload, rank) for rank in range(group.size)),
        replicated_state_bytes=replicated_state_bytes(workload),
    )
    method = f"{largest.method}, largest of {group.size} ranks"
    found: Memory = largest.model_copy(update={"ranks": ranks, "method": method})
    return found


def _peak(one: Round, device: Device) -> Memory:
    if device == "cuda":
        return cuda_memory(one)
    return resident_peak(lambda: one.timed())


def _size(memory: Memory) -> int:
    return memory.allocated_bytes or memory.resident_bytes or 0


def _states(task: Task) -> Iterator[Tensor]:
    """Parameters, gradients, and optimizer states that are as large as a parameter."""
    for parameter in task.model.parameters():
        yield parameter
        if parameter.grad is not None:
            yield parameter.grad
    for state in task.optimizer.state.values():
        yield from (value for value in state.values() if isinstance(value, Tensor) and value.dim())


def _local_bytes(tensor: Tensor) -> int:
    local = tensor.to_local() if isinstance(tensor, DTensor) else tensor
    return local.numel() * local.element_size()
