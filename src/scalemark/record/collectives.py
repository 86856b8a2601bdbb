"""Times of collective operations, from what each group of ranks measured."""

from collections.abc import Sequence

from scalemark.schema import CollectiveMeasured, CollectiveTime
from scalemark.stats import median_over_blocks


def collective_times(measured: Sequence[CollectiveMeasured]) -> tuple[CollectiveTime, ...]:
    """One per operation, group and message size, smallest first; several entries of one block are one block."""
    groups: dict[tuple[str, str, int, int, int], dict[int, list[float]]] = {}
    first: dict[tuple[str, str, int, int, int], CollectiveMeasured] = {}
    for one in measured:
        key = (one.operation, one.device, one.n_nodes, one.world_size, one.message_bytes)
        first.setdefault(key, one)
        groups.setdefault(key, {}).setdefault(one.block_index, []).extend(one.rounds_s)
    return tuple(
        _time(first[key], [tuple(groups[key][index]) for index in sorted(groups[key])]) for key in sorted(groups)
    )


def _time(one: CollectiveMeasured, blocks_s: Sequence[tuple[float, ...]]) -> CollectiveTime:
    return CollectiveTime(
        operation=one.operation,
        backend=one.backend,
        device=one.device,
        world_size=one.world_size,
        n_nodes=one.n_nodes,
        message_bytes=one.message_bytes,
        blocks_s=tuple(blocks_s),
        time_s=median_over_blocks(blocks_s),
    )
