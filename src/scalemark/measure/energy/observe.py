"""Joules of one round of a phase, and watts at rest.

    direct             |round|round|round| … |                    the phase needs no preparation
    by subtraction     |prep+round| … |  |prep|prep| … |          what both take, less what preparing takes

A counter moves in updates, so each edge of a window is uncertain by one update's energy. Windows are so long that both
edges are at most `EDGE_SHARE` of one, as far as the time for a cell allows; windows of the two kinds alternate, so that
a drift of the machine falls on both. An interval holds both edges, the quantum and, where there are several windows,
their spread. Idle power is never taken off: it is paid for, and reported apart. No other observer runs meanwhile.
"""

import time
from collections.abc import Callable, Sequence
from math import hypot, sqrt
from statistics import stdev
from typing import TYPE_CHECKING

from scalemark.measure.energy.cadence import Cadence, Probed
from scalemark.measure.energy.counter import Clock, Unavailable
from scalemark.measure.energy.window import Window, run_window
from scalemark.schema import INTERVAL_LEVEL, Energy, Estimate

if TYPE_CHECKING:  # both load torch
    from scalemark.measure.clock import Round
    from scalemark.measure.device import Device

# Seconds for the windows of one cell: with a counter that is fine enough for several windows, and with a coarse one.
CELL_S, COARSE_CELL_S = 1.2, 2.0
WINDOWS = 3
EDGE_SHARE = 0.02
# A preparation that takes less than this share of a round when it is repeated is no work worth a window, and counted
# in: dropping the last graph before a forward pass, which alone has nothing to drop.
NEGLIGIBLE_SHARE = 0.01
# Student's t at 95 %, by degrees of freedom: a two-sided interval at INTERVAL_LEVEL.
_T_95 = {1: 6.314, 2: 2.920}
_SETTLE_S = 0.3

RunRound = Callable[[], object]


def measure_energy(
    counter: Probed | Unavailable,
    one: "Round",
    device: "Device",
    idle_w: Estimate | None = None,
    clock: Clock = time.perf_counter,
) -> Energy:
    """Energy of one round's timed part; without a counter no round is run.

    idle_w: as `measure_idle` gave it, passed on. One round runs before the windows: it warms up, and shows whether
    preparing is work.
    """
    if isinstance(counter, Unavailable):
        return Energy(status="unavailable", reason=counter.reason, fake=counter.fake)
    parts = _parts(one, device, clock)
    done = _run_windows(counter, parts, clock)
    if isinstance(done, Unavailable):
        return _unavailable(counter, done.reason)
    value_j, half_j = _difference(done, counter.cadence)
    if value_j <= 0:
        return _unavailable(
            counter, f"lost in its preparation ({value_j:.2g} ± {half_j:.2g} J): give it a larger batch"
        )
    longest = max(done[0], key=lambda window: window.seconds)
    return Energy(
        status="ok",
        joules_per_round=_estimate(value_j, half_j),
        source=counter.source,
        domain=counter.domain,
        method="direct" if len(parts) == 1 else "by subtraction",
        window_s=longest.seconds,
        rounds=longest.rounds,
        update_period_s=counter.cadence.update_period_s,
        quantum_j=counter.cadence.quantum_j,
        idle_w=idle_w,
        fake=counter.fake,
    )


def _unavailable(counter: Probed, reason: str) -> Energy:
    return Energy(status="unavailable", reason=reason, source=counter.source, domain=counter.domain, fake=counter.fake)


def measure_idle(
    counter: Probed | Unavailable,
    seconds: float = 1.0,
    sleep: Callable[[float], object] = time.sleep,
    clock: Clock = time.perf_counter,
) -> Estimate | None:
    """Watts while this process sleeps for about `seconds`; None where no counter tells.

    The device is as it is in this process: a GPU with a context and raised clocks rests higher than an unused one.
    """
    if isinstance(counter, Unavailable):
        return None
    sleep(_SETTLE_S)
    count, window_s = plan_windows(counter.cadence.update_period_s, 1, seconds, seconds)
    windows = [run_window(counter, lambda: sleep(window_s), 0.0, clock) for _ in range(count)]
    believed = [window for window in windows if isinstance(window, Window)]
    if len(believed) < count:
        return None
    value_j, half_j = _per_round(believed, counter.cadence)
    return _estimate(value_j, half_j).scaled(count / sum(window.seconds for window in believed))


def plan_windows(
    update_period_s: float, kinds: int, fine_s: float = CELL_S, coarse_s: float = COARSE_CELL_S
) -> tuple[int, float]:
    """How many windows of each kind, and how long: several where their edges are small, else one as long as allowed."""
    enough_s = 2 * update_period_s / EDGE_SHARE
    if enough_s <= fine_s / (WINDOWS * kinds):
        return WINDOWS, fine_s / (WINDOWS * kinds)
    return 1, min(max(enough_s, fine_s / kinds), coarse_s / kinds)


def _parts(one: "Round", device: "Device", clock: Clock) -> tuple[RunRound, ...]:
    """What to run in windows: the whole round, and its preparation alone where that is work."""
    from scalemark.measure.device import synchronise
    from scalemark.measure.phases import nothing

    def prepare() -> None:
        one.prepare()
        synchronise(device)

    def whole() -> None:
        prepare()
        one.timed()
        synchronise(device)

    prepare()  # what is repeated alone may have less to do than what follows a round
    start_s = clock()
    prepare()
    prepared_s = clock()
    one.timed()
    synchronise(device)
    is_work = one.prepare is not nothing and prepared_s - start_s > NEGLIGIBLE_SHARE * (clock() - start_s)
    return (whole, prepare) if is_work else (whole,)


def _run_windows(counter: Probed, parts: Sequence[RunRound], clock: Clock) -> tuple[list[Window], ...] | Unavailable:
    """The windows of each part, alternating. Where rounds are so long that time runs out, at least one of each."""
    count, window_s = plan_windows(counter.cadence.update_period_s, len(parts))
    done: tuple[list[Window], ...] = tuple([] for _ in parts)
    deadline = clock() + count * window_s * len(parts)
    while len(done[0]) < count and (not done[0] or clock() < deadline):
        for part, windows in zip(parts, done, strict=True):
            window = run_window(counter, part, window_s, clock)
            if isinstance(window, Unavailable):
                return window
            windows.append(window)
    return done


def _difference(done: Sequence[Sequence[Window]], cadence: Cadence) -> tuple[float, float]:
    """Joules per round of the first part less those of the others, and half the interval: the errors add as squares."""
    (first_j, first_half_j), *others = [_per_round(windows, cadence) for windows in done]
    return first_j - sum(j for j, _ in others), hypot(first_half_j, *(half_j for _, half_j in others))


def _per_round(windows: Sequence[Window], cadence: Cadence) -> tuple[float, float]:
    """Joules per round over all windows, and half the interval.

    A reading is late by up to one update, at either edge, and cut to a quantum: the difference of two is off by no more
    than one update's energy and one quantum.
    """
    rounds = sum(window.rounds for window in windows)
    bounds_j = [window.power_w * cadence.update_period_s + cadence.quantum_j for window in windows]
    n = len(windows)
    spread_j = _T_95[n - 1] * stdev(window.joules_per_round for window in windows) / sqrt(n) if n > 1 else 0.0
    return sum(window.gained_j for window in windows) / rounds, hypot(hypot(*bounds_j) / rounds, spread_j)


def _estimate(value: float, half: float) -> Estimate:
    """Energy is not negative, whatever the error."""
    return Estimate(value=value, low=max(0.0, value - half), high=value + half, level=INTERVAL_LEVEL)
