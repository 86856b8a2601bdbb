"""What a group of ranks is asked to do, and what a rank says when it cannot go on. No torch here."""

from typing import Literal

from scalemark.measure.orders import CellOrder
from scalemark.schema import CellStatus, Collective, Frozen, Workload

# Sizes of messages: from where latency is all there is to where bandwidth is, a factor of 8 apart.
MESSAGE_BYTES = {
    "cpu": (2**12, 2**15, 2**18, 2**21, 2**24),
    "cuda": (2**12, 2**15, 2**18, 2**21, 2**24, 2**27),
}
# Where a rank finds its launcher: environment variables that hold a local port, and what both must know.
RELAY_PORT, RELAY_KEY = "SCALEMARK_RELAY_PORT", "SCALEMARK_RELAY_KEY"
# A pair is a whole step and one without communication.
WARMUP_PAIRS, PAIRS_AT_LEAST = 1, 3
COLLECTIVES: tuple[Collective, ...] = ("all_reduce", "all_gather", "reduce_scatter")


class CollectiveOrder(Frozen):
    """Time a collective operation among the first `world_size` ranks."""

    operation: Collective
    world_size: int
    message_bytes: int

    @property
    def key(self) -> str:
        """'all_reduce/2 ranks/4096 bytes'."""
        return f"{self.operation}/{self.world_size} ranks/{self.message_bytes} bytes"


class RankMemoryOrder(Frozen):
    """Read what each rank holds and needs at most in a step of this workload; nothing is timed any more."""

    kind: Literal["memory"] = "memory"  # tells it from a CellOrder
    workload: Workload

    @property
    def key(self) -> str:
        """The cell's own key with what is asked of it: a failure here does not end the cell."""
        return f"{self.workload.key}/memory"


GroupOrder = CellOrder | CollectiveOrder | RankMemoryOrder


class GroupJob(Frozen):
    """What one group of ranks does, in this order.

    threads: of each rank. affinity: CPUs of each rank; None where the system knows no such thing, or a scheduler has
    placed them. token_path: uint8 text; None where rank 0 hands it on. timeout_s: how long ranks wait for one another.
    """

    device: Literal["cpu", "cuda"]
    world_size: int
    threads: int
    affinity: tuple[tuple[int, ...], ...] | None = None
    seed: int
    token_path: str | None
    block_index: int = 0
    timeout_s: float
    orders: tuple[GroupOrder, ...] = ()


class RankFailed(Frozen):
    """A rank's last words. lost_peer: it was waiting for another rank, so the cause is elsewhere."""

    kind: Literal["rank_failed"] = "rank_failed"
    rank: int
    status: CellStatus
    reason: str
    lost_peer: bool


def world_sizes(orders: tuple[GroupOrder, ...]) -> list[int]:
    """Sizes of the groups that the orders need, smallest first."""
    sizes = {order.world_size if isinstance(order, CollectiveOrder) else order.workload.world_size for order in orders}
    return sorted(sizes)


def sweep(device: Literal["cpu", "cuda"], sizes: tuple[int, ...]) -> list[CollectiveOrder]:
    """All collectives on all message sizes, for every group of more than one rank."""
    return [
        CollectiveOrder(operation=operation, world_size=size, message_bytes=message_bytes)
        for size in sizes
        if size > 1
        for operation in COLLECTIVES
        for message_bytes in MESSAGE_BYTES[device]
    ]
