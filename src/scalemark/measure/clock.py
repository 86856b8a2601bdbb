"""Time one round: prepare untimed, run between two readings, wait for the device once. Nothing else is inside.

    CPU   prepare ─> read ─> run ─> read
    CUDA  prepare ─> event ─> run (the host only asks for it) ─> event ─> wait: the device's own time between the events

On CUDA the host's time to ask is kept beside the device's: where it is as long, the device waited for its orders.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass

import torch

from scalemark.measure.device import Device
from scalemark.measure.watch import Usage, usage


@dataclass(frozen=True)
class Round:
    """What is run in one round. prepare: before the clock starts; timed: between its two readings."""

    prepare: Callable[[], None]
    timed: Callable[[], None]


@dataclass(frozen=True, slots=True)
class Timed:
    """One round: its seconds, and what the process used meanwhile, read just outside the clock.

    host_s: on CUDA, until the host had asked for everything.
    """

    seconds: float
    used: Usage
    host_s: float | None = None


def time_round(one: Round, device: Device) -> Timed:
    """One round on the monotonic clock, or on CUDA between two events of the stream that it runs in."""
    return _time_on_cuda(one) if device == "cuda" else _time_on_cpu(one)


def _time_on_cpu(one: Round) -> Timed:
    one.prepare()
    before = usage()
    start = time.perf_counter()
    one.timed()
    end = time.perf_counter()
    return Timed(end - start, usage().since(before))


def _time_on_cuda(one: Round) -> Timed:
    """What was prepared may still run as the clock starts: events keep the stream's order, so it is not timed."""
    begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    one.prepare()
    before = usage()
    begin.record()
    start = time.perf_counter()
    one.timed()
    host_s = time.perf_counter() - start
    end.record()
    end.synchronize()
    return Timed(begin.elapsed_time(end) / 1e3, usage().since(before), host_s)


def time_rounds_s(one: Round, device: Device, budget_s: float, at_least: int, at_most: int) -> tuple[float, ...]:
    """Rounds until the budget is spent, what is untimed included, but no fewer and no more than said."""
    deadline = time.perf_counter() + budget_s
    samples: list[float] = []
    while len(samples) < at_least or (len(samples) < at_most and time.perf_counter() < deadline):
        samples.append(time_round(one, device).seconds)
    return tuple(samples)
