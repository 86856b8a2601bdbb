"""Whether the machine is still enough to measure on: a second of fixed rounds, and what happened meanwhile.

    look ─> rounds of one matrix product for a second ─> look
            how much they vary                           what was stolen, waited for, throttled

The rounds are not those of a run, but they are of its kind: as many threads, the same library, some milliseconds each.
"""

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import ModuleType

from scalemark.doctor.findings import Check
from scalemark.doctor.hardware import number
from scalemark.measure.watch import Look, Watch
from scalemark.schema import Machine
from scalemark.system import ROOT
from scalemark.units import format_percent

_BUSY_SHARE = 0.2
_STOLEN_SHARE = 0.01
_NOISY_SHARE = 0.05
_WARM_UP_SHARE = 0.1
_SECONDS = 1.0
_SIZE = {"cpu": 512, "cuda": 4096}
_PRODUCTS_PER_ROUND = 4
# Governors that let the clock follow the load, so that a round pays for the pause before it.
_MOVING_GOVERNORS = frozenset({"powersave", "ondemand", "conservative", "schedutil", "userspace"})


@dataclass(frozen=True)
class Watched:
    """Rounds of fixed work, and what the machine's counters gained meanwhile. n_cpus: that the system has."""

    rounds_s: tuple[float, ...]
    seconds: float
    n_cpus: int
    gained: Look

    @property
    def variation(self) -> float:
        """Half the distance in which nine of ten rounds lie, over their median; the first ones warm up."""
        ordered = sorted(self.rounds_s[int(len(self.rounds_s) * _WARM_UP_SHARE) :])
        last = len(ordered) - 1
        low, middle, high = (ordered[round(share * last)] for share in (0.05, 0.5, 0.95))
        return (high - low) / 2 / middle

    @property
    def stolen_share(self) -> float | None:
        """Of all CPU time, what the hypervisor gave to others."""
        steal_s = self.gained.steal_s
        return None if steal_s is None else steal_s / (self.seconds * self.n_cpus)

    @property
    def waited_share(self) -> float | None:
        """Of the time, in how much some task waited for a CPU."""
        return None if self.gained.pressure_s is None else min(1.0, self.gained.pressure_s / self.seconds)


def watch_rounds(torch: ModuleType | None, threads: int, root: Path = ROOT, seconds: float = _SECONDS) -> Watched:
    """Rounds on the device that a run would take, for about `seconds`. root: where /proc and /sys are."""
    run_round = _numpy_round() if torch is None else _torch_round(torch)
    before_threads = torch.get_num_threads() if torch else 0
    if torch:
        torch.set_num_threads(threads)
    try:
        return observe(run_round, seconds, root)
    finally:
        if torch:
            torch.set_num_threads(before_threads)


def observe(run_round: Callable[[], object], seconds: float, root: Path = ROOT) -> Watched:
    """At least ten rounds, back to back, between two looks at the machine."""
    rounds_s: list[float] = []
    with Watch(root) as watch:
        before, start_s = watch.look(), time.perf_counter()
        end_s = start_s
        while len(rounds_s) < 10 or end_s - start_s < seconds:
            begin_s = time.perf_counter()
            run_round()
            end_s = time.perf_counter()
            rounds_s.append(end_s - begin_s)
        gained = watch.look().since(before)
    return Watched(tuple(rounds_s), end_s - start_s, os.cpu_count() or 1, gained)


def _torch_round(torch: ModuleType) -> Callable[[], object]:
    device = "cuda" if torch.cuda.is_available() else "cpu"
    a, b = (torch.ones(_SIZE[device], _SIZE[device], device=device) for _ in range(2))
    c = torch.empty_like(a)

    def run_round() -> None:
        for _ in range(_PRODUCTS_PER_ROUND):
            torch.mm(a, b, out=c)
        if device == "cuda":
            torch.cuda.synchronize()

    run_round()
    return run_round


def _numpy_round() -> Callable[[], object]:
    import numpy as np

    square = np.ones((_SIZE["cpu"], _SIZE["cpu"]), dtype=np.float32)
    return lambda: [square @ square for _ in range(_PRODUCTS_PER_ROUND)]


def check_noise(watched: Watched) -> Check:
    """How much rounds of the same work differ, back to back."""
    share = watched.variation
    detail = f"{len(watched.rounds_s)} rounds of a matrix product vary by ± {format_percent(share)}"
    if share <= _NOISY_SHARE:
        return Check(name="noise", status="ok", detail=detail)
    advice = "end other programs, or give --scale-budget more time: intervals will be wide"
    return Check(name="noise", status="limited", detail=detail, advice=advice)


def check_pressure(watched: Watched) -> Check:
    """Who took CPU time during the rounds: the hypervisor (steal), or other tasks here (Linux PSI)."""
    stolen, waited = watched.stolen_share, watched.waited_share
    check = partial(Check, name="pressure")
    if stolen is None and waited is None:
        advice = "needs Linux; without it, noise shows in the samples alone"
        return check(status="limited", detail="not reported by this system", advice=advice)
    parts = [
        "steal is not told" if stolen is None else f"{format_percent(stolen)} of CPU time stolen",
        "waiting is not told (psi=1)" if waited is None else f"some task waited {format_percent(waited)} of the time",
    ]
    detail = "meanwhile " + ", ".join(parts)
    if (stolen or 0) > _STOLEN_SHARE:
        return check(status="limited", detail=detail, advice="use a machine with dedicated cores, or a quieter hour")
    if (waited or 0) > _BUSY_SHARE:
        return check(status="limited", detail=detail, advice="end other programs, or give this container more CPU time")
    return check(status="ok", detail=detail)


def check_load(seconds: float = 0.2) -> Check:
    """How busy the processors are with other work during `seconds` in which this process sleeps."""
    import psutil

    busy = psutil.cpu_percent(interval=seconds) / 100
    detail = f"other work takes {format_percent(busy)} of the CPUs"
    if busy <= _BUSY_SHARE:
        return Check(name="load", status="ok", detail=detail)
    advice = "end other programs before measuring, or expect wide intervals"
    return Check(name="load", status="limited", detail=detail, advice=advice)


def check_throttling(machine: Machine, watched: Watched) -> Check:
    """Whether a quota or heat holds the cores back: seen during the rounds, or to be expected."""
    quota, threads = number(machine.identity.get("cpu_quota_cores")), number(machine.identity.get("affinity_cpus"))
    heat = number(machine.state.get("temperature_celsius"))
    parts = [
        "no CPU quota" if quota is None else f"a quota of {quota:g} cores",
        "temperature not told" if heat is None else f"{heat:.0f} °C",
        "held back during a second of load" if watched.gained.throttled else "not held back during a second of load",
    ]
    check = partial(Check, name="throttling", detail=", ".join(parts))
    if quota is not None and threads is not None and quota < threads:
        return check(status="limited", advice="give the container whole cores (a CPU set) in place of a quota")
    if watched.gained.throttled:
        return check(status="limited", advice="let it cool, and look after its fans, before measuring")
    return check(status="ok")


def check_clock(machine: Machine) -> Check:
    """The processor's clock: what it is now, and who moves it."""
    state = machine.state
    mean, governor, boost = number(state.get("clock_mhz")), state.get("clock_governor"), state.get("clock_boost")
    parts = [
        f"{mean / 1000:.2f} GHz now" if mean is not None else "not told by this system",
        f"governor {governor}" if governor else "set by the host" if mean is not None else "",
        f"boost {boost}" if boost else "",
    ]
    check = partial(Check, name="clock", detail=", ".join(filter(None, parts)))
    if governor in _MOVING_GOVERNORS:
        return check(status="limited", advice="for steadier times: sudo cpupower frequency-set -g performance")
    return check(status="ok")
