"""What can be observed here: energy, the peak of resident memory, and time itself."""

import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

from scalemark.doctor.findings import Check
from scalemark.measure.energy import POWERCAP_ROOT, Unavailable, find_counter, probe
from scalemark.units import format_seconds

# A round of the smallest rung takes about a millisecond: a thousandth of that is as coarse as a clock may be.
_COARSE_TICK_NS = 1000
_READINGS = 20_000


def check_cpu_energy(powercap_root: Path = POWERCAP_ROOT) -> Check:
    """The processor's energy counter, under load."""
    import numpy as np

    square = np.ones((512, 512), dtype=np.float32)
    counter = probe(find_counter("cpu", powercap_root), lambda: np.dot(square, square))
    if isinstance(counter, Unavailable):
        return _no_energy("energy (cpu)", counter.reason)
    detail = f"{counter.source} {counter.domain}, moves every {format_seconds(counter.cadence.update_period_s)}"
    return Check(name="energy (cpu)", status="ok", detail=detail + " (made up)" * counter.fake)


def check_gpu_energy() -> Check:
    """The GPU's energy counter as it stands: it also counts at rest."""
    counter = find_counter("cuda")
    if counter.reason is not None:
        return _no_energy("energy (gpu)", counter.reason)
    detail = f"{counter.source} {counter.domain}" + " (made up)" * counter.fake
    return Check(name="energy (gpu)", status="ok", detail=detail)


def _no_energy(name: str, reason: str) -> Check:
    """reason: 'what is wrong: what to do', as measure/energy words it."""
    detail, _, advice = reason.partition(": ")
    return Check(name=name, status="missing", detail=detail, advice=advice or None)


def check_resident_peak(clear_refs: Path = Path("/proc/self/clear_refs")) -> Check:
    """Whether Linux lets a process reset its own resident peak (VmHWM), done here on this one."""
    try:
        clear_refs.write_text("5")
    except OSError:
        advice = "needs Linux and its /proc; the bytes of tensors are counted all the same"
        return Check(name="resident peak", status="limited", detail="cannot be reset", advice=advice)
    return Check(name="resident peak", status="ok", detail="can be reset before each measurement")


def check_timer(read_ns: Callable[[], int] = time.perf_counter_ns) -> Check:
    """How finely time is told, and what asking costs. read_ns: the clock that rounds are timed with."""
    readings = [read_ns() for _ in range(_READINGS)]
    steps = [later - earlier for earlier, later in pairwise(readings) if later > earlier]
    tick_ns, cost_ns = min(steps, default=None), (readings[-1] - readings[0]) / (_READINGS - 1)
    if tick_ns is None or tick_ns > _COARSE_TICK_NS:
        seen = "stands still" if tick_ns is None else f"moves by {tick_ns / 1000:.0f} µs at a time"
        return Check(name="timer", status="limited", detail=seen, advice="boot Linux with clocksource=tsc")
    return Check(name="timer", status="ok", detail=f"steps of {tick_ns} ns seen, a reading takes {cost_ns:.0f} ns")
