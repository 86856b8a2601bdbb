"""A network of known speed: what collectives take on it, by algorithm and link, with noise and congestion.

inside a node    ring over NVLink-like links: `inside`
between nodes    a flat ring over all ranks crosses the slow link once per node and step, so that all steps go at its
                 speed; or hierarchical, as NCCL does: reduce-scatter inside, all-reduce between ranks of the same
                 number on all nodes, all-gather inside
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from scalemark.schema import Collective, CollectiveTime, Estimate

OPERATIONS: tuple[Collective, ...] = ("all_reduce", "all_gather", "reduce_scatter")
# Quantile of the normal distribution, and the standard deviation of a median over that of a mean.
_NORMAL_90, _MEDIAN_SD = 1.645, 1.253
_PASSES = {"all_reduce": 2, "all_gather": 1, "reduce_scatter": 1}


@dataclass(frozen=True)
class Link:
    """Seconds of a message's first byte, and bytes per second of a rank's share of it."""

    latency_s: float
    bytes_per_s: float


@dataclass(frozen=True)
class Network:
    """Ranks on nodes. overhead_s: of any call. noise: standard deviation of a round's logarithm.

    congestion: by what share the link between nodes loses bandwidth at each doubling of nodes beyond `uncongested`.
    """

    inside: Link
    between: Link
    per_node: int = 8
    overhead_s: float = 0.0
    hierarchical: bool = True
    noise: float = 0.0
    congestion: float = 0.0
    uncongested: int = 2

    def nodes(self, world_size: int) -> int:
        return -(-world_size // self.per_node)

    def seconds(self, operation: Collective, world_size: int, size_bytes: float) -> float:
        """What a call takes without noise."""
        passes, nodes = _PASSES[operation], self.nodes(world_size)
        if nodes == 1:
            return self.overhead_s + _ring(passes, world_size, size_bytes, self.inside)
        outside = self._between(nodes)
        if not self.hierarchical:
            return self.overhead_s + _ring(passes, world_size, size_bytes, outside)
        within = _ring(passes, self.per_node, size_bytes, self.inside)
        return self.overhead_s + within + _ring(passes, nodes, size_bytes / self.per_node, outside)

    def _between(self, nodes: int) -> Link:
        doublings = max(0.0, np.log2(nodes / self.uncongested))
        return Link(self.between.latency_s, self.between.bytes_per_s * (1 - self.congestion) ** doublings)


def _ring(passes: int, ranks: int, size_bytes: float, link: Link) -> float:
    return passes * (ranks - 1) * (link.latency_s + size_bytes / ranks / link.bytes_per_s)


def measured(
    network: Network, world_sizes: Sequence[int], sizes_bytes: Sequence[int], seed: int = 0
) -> list[CollectiveTime]:
    """What a suite would have: three blocks of ten rounds for each operation, size and group."""
    rng = np.random.default_rng(seed)
    return [
        _measured(network, operation, world_size, size_bytes, rng)
        for operation in OPERATIONS
        for world_size in world_sizes
        for size_bytes in sizes_bytes
    ]


def _measured(
    network: Network, operation: Collective, world_size: int, size_bytes: int, rng: np.random.Generator
) -> CollectiveTime:
    true_s = network.seconds(operation, world_size, size_bytes)
    blocks = tuple(tuple(true_s * np.exp(network.noise * row)) for row in rng.standard_normal((3, 10)))
    median_s = float(np.median(blocks))
    factor = float(np.exp(_NORMAL_90 * _MEDIAN_SD * network.noise / np.sqrt(30)))
    return CollectiveTime(
        operation=operation,
        backend="nccl",
        device="cuda",
        world_size=world_size,
        n_nodes=network.nodes(world_size),
        message_bytes=size_bytes,
        blocks_s=blocks,
        time_s=Estimate(value=median_s, low=median_s / factor, high=median_s * factor),
    )
