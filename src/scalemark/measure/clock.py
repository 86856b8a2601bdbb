"""Time one round: prepare untimed, wait for the device, run, wait again. Nothing else is inside."""

import time
from collections.abc import Callable
from dataclasses import dataclass

from scalemark.measure.device import Device, synchronise


@dataclass(frozen=True)
class Round:
    """What is run in one round. prepare: before the clock starts; timed: between its two readings."""

    prepare: Callable[[], None]
    timed: Callable[[], None]


def time_round_s(one: Round, device: Device) -> float:
    """Seconds of one round on the monotonic clock, the device idle before both readings."""
    one.prepare()
    synchronise(device)
    start = time.perf_counter()
    one.timed()
    synchronise(device)
    return time.perf_counter() - start


def time_rounds_s(one: Round, device: Device, budget_s: float, at_least: int, at_most: int) -> tuple[float, ...]:
    """Rounds until the budget is spent, what is untimed included, but no fewer and no more than said."""
    deadline = time.perf_counter() + budget_s
    samples: list[float] = []
    while len(samples) < at_least or (len(samples) < at_most and time.perf_counter() < deadline):
        samples.append(time_round_s(one, device))
    return tuple(samples)
