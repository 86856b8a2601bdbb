"""Groups of ranks: the whole world of a job, and its first p ranks as a group of their own.

Every size is a part of one launch, so that one rank and two are measured side by side, in the same processes and the
same minute. A rank that is not of a group waits for the next order. Each group has two channels: one of the backend
that is measured, and gloo on the CPU for agreements, which must not disturb what is measured.
"""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch.distributed.distributed_c10d import PrefixStore
from torch.distributed.rendezvous import rendezvous

from scalemark.measure.device import Device
from scalemark.schema import Backend

BACKENDS: dict[Device, Backend] = {"cpu": "gloo", "cuda": "nccl"}


@dataclass(frozen=True)
class Group:
    """The first `size` ranks. channel: for what is measured; control: for agreements, on the CPU."""

    rank: int
    size: int
    n_nodes: int
    backend: Backend
    channel: dist.ProcessGroup
    control: dist.ProcessGroup

    @property
    def leads(self) -> bool:
        """Whether this is the rank that decides and reports."""
        return self.rank == 0

    def meet(self) -> None:
        """Go on together: returns when all ranks of the group are here."""
        dist.all_reduce(torch.zeros(1), group=self.control)

    def agree(self, leader_says: bool) -> bool:
        """What rank 0 says, on every rank; all are here then."""
        said = torch.tensor([float(leader_says and self.leads)])
        dist.all_reduce(said, group=self.control)
        return bool(said.item())

    def collect(self, mine: Any) -> list[Any]:
        """What every rank has, by rank; empty but on rank 0."""
        return _collect(mine, self.rank, self.size, self.control)


@dataclass(frozen=True)
class World:
    """All ranks of a job, and this one's place among them. groups: of their first ranks; None where it is not one."""

    rank: int
    size: int
    groups: dict[int, Group | None]

    def meet(self) -> None:
        """Returns when all ranks are here."""
        dist.all_reduce(torch.zeros(1))

    def collect(self, mine: Any) -> list[Any]:
        """What every rank has, by rank; empty but on rank 0."""
        return _collect(mine, self.rank, self.size, None)

    def hand_on(self, thing: Any) -> Any:
        """What rank 0 has, on every rank."""
        box = [thing]
        dist.broadcast_object_list(box, src=0)
        return box[0]


def _collect(mine: Any, rank: int, size: int, group: dist.ProcessGroup | None) -> list[Any]:
    found: list[Any] = [None] * size
    dist.gather_object(mine, found if rank == 0 else None, dst=0, group=group)
    return found if rank == 0 else []


@contextmanager
def joined(device: Device, sizes: Sequence[int], timeout_s: float) -> Iterator[World]:
    """Meet the other ranks, as the launcher's environment says (RANK, WORLD_SIZE, MASTER_ADDR, MASTER_PORT).

    sizes: of the groups that will be measured. timeout_s: after which a rank gives up waiting for another.
    """
    if device == "cuda":
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    backend = "gloo" if device == "cpu" else "cpu:gloo,cuda:nccl"
    timeout = timedelta(seconds=timeout_s)
    store, rank, size = next(rendezvous("env://", timeout=timeout))
    # torchrun's agent keeps one store for all its restarts, in which the ports of ranks that died are found again.
    store = PrefixStore(f"attempt_{os.environ.get('TORCHELASTIC_RESTART_COUNT', '0')}", store)
    dist.init_process_group(backend, store=store, rank=rank, world_size=size, timeout=timeout)
    try:
        yield World(rank, size, {each: _group(rank, each, device, timeout_s) for each in sizes if each <= size})
    finally:
        dist.destroy_process_group()


def _group(rank: int, size: int, device: Device, timeout_s: float) -> Group | None:
    """The group of the first ranks; None on a rank that is not of it, which must all the same help to make it."""
    members, timeout = list(range(size)), timedelta(seconds=timeout_s)
    channel, control = (dist.new_group(members, timeout, name) for name in (BACKENDS[device], "gloo"))
    if rank >= size:
        return None
    per_node = int(os.environ.get("LOCAL_WORLD_SIZE", size))
    return Group(rank, size, -(-size // per_node), BACKENDS[device], channel, control)
