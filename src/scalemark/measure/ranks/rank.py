"""One rank of a group: meet the others, do what the job says, report.

Run as `python -m scalemark.measure.ranks.rank` by the launcher, whose address it finds in its environment. Only rank 0
reports results; any rank says why it cannot go on. A rank ends when its launcher does, so none is left behind.
"""

import ctypes
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Client, Connection

import numpy as np
import torch
import torch.distributed as dist
from pydantic import BaseModel

from scalemark.measure.device import release
from scalemark.measure.orders import CellOrder
from scalemark.measure.ranks.group import Group, World, joined
from scalemark.measure.ranks.memory import memory_of_ranks
from scalemark.measure.ranks.orders import (
    RELAY_KEY,
    RELAY_PORT,
    CollectiveOrder,
    GroupJob,
    GroupOrder,
    RankFailed,
    world_sizes,
)
from scalemark.measure.ranks.timing import time_cell, time_collective
from scalemark.measure.worker import quiet_collector, status_of, worker_started
from scalemark.process import Began, keep_to
from scalemark.schema import BlockMeasured, MemoryMeasured

Emit = Callable[[BaseModel], None]

# How long a rank that lost another waits before it ends, so that the launcher sees first who died.
GRACE_S = 2.0
_PR_SET_PDEATHSIG = 1  # <linux/prctl.h>
_LOST_WORDS = ("gloo", "nccl", "connection", "timed out", "timeout", "peer", "rendezvous", "socket")


def main() -> None:
    """As the launcher starts it."""
    end_with(os.getppid())
    with Client(("localhost", int(os.environ[RELAY_PORT])), authkey=bytes.fromhex(os.environ[RELAY_KEY])) as relay:
        job = GroupJob.model_validate_json(relay.recv_bytes())
        try:
            take_part(job, _emit_to(relay))
        except Exception as error:  # whatever a model, a driver or a lost peer raises
            failed = failure(error)
            _emit_to(relay)(failed)
            if failed.lost_peer:
                time.sleep(GRACE_S)
            print(f"rank {failed.rank}: {failed.reason}", file=sys.stderr, flush=True)
            os._exit(1)  # an ordinary end would wait for a group that is no longer there


def _emit_to(relay: Connection) -> Emit:
    return lambda message: relay.send_bytes(message.model_dump_json().encode())


def end_with(parent: int) -> None:
    """Let this process be killed when its parent ends, even while it hangs or is stopped (Linux); else watch for it."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # it ended before we asked
            os._exit(1)
        return
    threading.Thread(target=_watch, args=(parent,), daemon=True).start()


def _watch(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(0.5)
    os._exit(1)


def failure(error: Exception) -> RankFailed:
    """What an error on this rank says, and whether it is only that another rank is gone."""
    first_line = (str(error).splitlines() or [""])[0]
    lost = isinstance(error, dist.DistError) or any(word in str(error).lower() for word in _LOST_WORDS)
    return RankFailed(
        rank=int(os.environ.get("RANK", 0)),
        status=status_of(error),
        reason=f"{type(error).__name__}: {first_line}",
        lost_peer=lost and not isinstance(error, torch.OutOfMemoryError),
    )


def take_part(job: GroupJob, emit: Emit) -> None:
    """Do the whole job as one of its ranks."""
    assert job.token_path is not None
    rank = int(os.environ["RANK"])
    keep_to(job.affinity[rank] if job.affinity else None)
    torch.set_num_threads(job.threads)
    with joined(job.device, world_sizes(job.orders), job.timeout_s) as world:
        carry_out(job, world, np.fromfile(job.token_path, dtype=np.uint8), emit)


def carry_out(job: GroupJob, world: World, tokens: np.ndarray, emit: Emit) -> None:
    """The job's orders, with ranks that have met. tokens: uint8 text, the same on all ranks. emit: used on rank 0."""
    quiet_collector()
    bench = _Bench(job, world, tokens, emit if world.rank == 0 else _nothing)
    for started in world.collect(worker_started("time", job.block_index, world.rank)):
        emit(started)
    for order in job.orders:
        bench.attempt(order)
        release()


@dataclass(frozen=True)
class _Bench:
    """What the orders of one job share on this rank."""

    job: GroupJob
    world: World
    tokens: np.ndarray
    emit: Emit

    def attempt(self, order: GroupOrder) -> None:
        """One order, begun by all ranks together; those that are not of its group wait here for the next.

        It is said before they meet: a rank that does not come takes this order with it, and not the same one forever.
        """
        self.emit(Began(key=order.key))
        self.world.meet()
        group = self.world.groups[_size(order)]
        if group is not None:
            self._carry_out(order, group)

    def _carry_out(self, order: GroupOrder, group: Group) -> None:
        job = self.job
        if isinstance(order, CollectiveOrder):
            if collective := time_collective(order, group, job.device, job.block_index):
                self.emit(collective)
        elif isinstance(order, CellOrder):
            if block := time_cell(order, group, self.tokens, job.seed, job.block_index):
                self.emit(BlockMeasured(key=order.workload.key, block=block))
        elif memory := memory_of_ranks(order.workload, group, self.tokens, job.seed):
            self.emit(MemoryMeasured(key=order.workload.key, memory=memory))


def _size(order: GroupOrder) -> int:
    return order.world_size if isinstance(order, CollectiveOrder) else order.workload.world_size


def _nothing(_: BaseModel) -> None:
    """What a rank other than 0 reports."""


if __name__ == "__main__":
    main()
