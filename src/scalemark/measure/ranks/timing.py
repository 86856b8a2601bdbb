"""Time steps and collectives on the ranks of a group.

    pair:  meet ─> whole step ─> meet ─> step without communication      in an order drawn for each pair
           └ every rank reads its own clock ┘

The clock of a rank starts when all have met, and the slowest rank is the step: it includes the wait for the others.
Rank 0 decides when it is enough and tells the others before the next pair.
"""

import random
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor

from scalemark.measure.clock import Round, time_round
from scalemark.measure.device import Device, synchronise
from scalemark.measure.orders import ROUNDS_AT_MOST, CellOrder
from scalemark.measure.phases import nothing
from scalemark.measure.ranks.group import Group
from scalemark.measure.ranks.orders import PAIRS_AT_LEAST, WARMUP_PAIRS, CollectiveOrder
from scalemark.measure.ranks.spread import Spread, spread
from scalemark.measure.rounds import is_steady
from scalemark.schema import Block, CollectiveMeasured, RankTimes

# Of a collective: rounds that are left out, rounds that count at the most, and how long they may take together.
WARMUP_CALLS, CALLS_AT_MOST, CALLS_S = 2, 25, 0.15
CALLS_AT_LEAST = 5


@dataclass
class _Pairs:
    """Seconds on this rank: whole steps and steps without communication."""

    whole_s: list[float] = field(default_factory=list)
    compute_s: list[float] = field(default_factory=list)


def time_cell(order: CellOrder, group: Group, tokens: np.ndarray, seed: int, block_index: int) -> Block | None:
    """The cell's share of one block, on rank 0; None on the others."""
    started = time.perf_counter()
    mine = spread(order.workload, tokens, seed, group)
    synchronise(order.workload.device)
    setup_s = time.perf_counter() - started
    warmup = _pairs(mine, order, group, 0.0, WARMUP_PAIRS)
    timed = _pairs(mine, order, group, order.budget_s, PAIRS_AT_LEAST)
    collected = group.collect((warmup.whole_s, timed.whole_s, timed.compute_s))
    if not group.leads:
        return None
    warmup_s, steps_s, compute_s = ([_to_the_ns(rank) for rank in ranks] for ranks in zip(*collected, strict=True))
    rounds_s = _slowest(steps_s)
    return Block(
        index=block_index,
        warmup_s=_slowest(warmup_s),
        rounds_s=rounds_s,
        setup_s=setup_s,
        steady=is_steady(_slowest(warmup_s), rounds_s),
        ranks=RankTimes(
            backend=group.backend,
            n_nodes=group.n_nodes,
            threads=torch.get_num_threads(),
            steps_s=tuple(steps_s),
            compute_s=tuple(compute_s),
        ),
    )


def _pairs(mine: Spread, order: CellOrder, group: Group, budget_s: float, at_least: int) -> _Pairs:
    """Pairs until the budget is spent. One rank alone has nothing to leave out: its steps are compute."""
    found, deadline = _Pairs(), time.perf_counter() + budget_s
    draw = random.Random(order.key)  # the same on every rank
    while group.agree(_goes_on(len(found.whole_s), at_least, deadline)):
        kinds = [(mine.whole, found.whole_s)]
        if mine.compute:
            kinds.append((mine.compute, found.compute_s))
        for one, seconds in (
            draw.sample(kinds, len(kinds)) if found.whole_s else kinds
        ):  # gradients come from a whole one
            seconds.append(_time_together(one, order.workload.device, group))
    mine.whole.prepare()
    return found


def _goes_on(done: int, at_least: int, deadline: float) -> bool:
    return done < at_least or (done < ROUNDS_AT_MOST and time.perf_counter() < deadline)


def _time_together(one: Round, device: Device, group: Group) -> float:
    """Seconds on this rank; what is prepared may communicate, so it comes before all meet."""
    one.prepare()
    synchronise(device)
    group.meet()
    return time_round(Round(nothing, one.timed), device).seconds


def time_collective(
    order: CollectiveOrder, group: Group, device: Device, block_index: int
) -> CollectiveMeasured | None:
    """Rounds of one collective on one message size, on rank 0; None on the others."""
    one = Round(nothing, _Call(order, group, device))
    for _ in range(WARMUP_CALLS):
        _time_together(one, device, group)
    seconds: list[float] = []
    deadline = time.perf_counter() + CALLS_S
    while group.agree(_calls_on(len(seconds), deadline)):
        seconds.append(_time_together(one, device, group))
    collected = group.collect(seconds)
    if not group.leads:
        return None
    return CollectiveMeasured(
        operation=order.operation,
        backend=group.backend,
        device=device,
        world_size=group.size,
        n_nodes=group.n_nodes,
        message_bytes=order.message_bytes,
        block_index=block_index,
        rounds_s=_slowest([_to_the_ns(rank) for rank in collected]),
    )


def _calls_on(done: int, deadline: float) -> bool:
    return done < CALLS_AT_LEAST or (done < CALLS_AT_MOST and time.perf_counter() < deadline)


class _Call:
    """A collective on float32 tensors that are made once. whole: message_bytes; part: a rank's share of it."""

    def __init__(self, order: CollectiveOrder, group: Group, device: Device) -> None:
        self._group, self._operation = group.channel, order.operation
        elements = max(1, order.message_bytes // 4 // group.size)
        self._whole: Tensor = torch.zeros(elements * group.size, device=device)
        self._part: Tensor = torch.zeros(elements, device=device)

    def __call__(self) -> None:
        if self._operation == "all_reduce":
            dist.all_reduce(self._whole, group=self._group)
        elif self._operation == "all_gather":
            dist.all_gather_into_tensor(self._whole, self._part, group=self._group)
        else:
            dist.reduce_scatter_tensor(self._part, self._whole, group=self._group)


def _slowest(ranks: Sequence[Sequence[float]]) -> tuple[float, ...]:
    """Of each round, the rank that took longest."""
    return tuple(max(round_s) for round_s in zip(*ranks, strict=True))


def _to_the_ns(seconds: Sequence[float]) -> tuple[float, ...]:
    return tuple(round(second, 9) for second in seconds)
