"""Whether a counter counts, how often it moves and in which steps: seen, not looked up.

    load for a while ──> plausible power? ──> poll without a pause ──> period and quantum, or Unavailable

Some virtual machines expose a counter that always reads 0, so a counter counts only once it was seen to. Its update
period is watched just after the load, from this thread: a counter that slows down at rest shows a period that is too
long, which makes windows longer and intervals wider, never narrower.
"""

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

from scalemark.measure.energy.counter import Clock, EnergyCounter, Unavailable
from scalemark.measure.energy.window import run_window

# Ten steps are a median's worth; NVML boards that update every 100 ms show them within the limit.
_MOVES = 11
_FEWEST_MOVES = 3
_WATCH_AT_MOST_S = 1.5
# Both kinds of counter speak in whole microjoules or more: anything finer is rounding of binary fractions.
_FINEST_J = 0.5e-6


@dataclass(frozen=True)
class Cadence:
    """How a counter moves: every so many seconds, by steps that are seen to differ by no less than a quantum."""

    update_period_s: float
    quantum_j: float


@dataclass(frozen=True)
class Probed:
    """A counter that was seen to count, and how. It answers like the counter itself."""

    counter: EnergyCounter
    cadence: Cadence

    @property
    def source(self) -> str:
        return self.counter.source

    @property
    def domain(self) -> str:
        return self.counter.domain

    @property
    def fake(self) -> bool:
        return self.counter.fake

    @property
    def reason(self) -> str | None:
        return self.counter.reason

    def read_j(self) -> float | None:
        return self.counter.read_j()


def probe(
    counter: EnergyCounter, load: Callable[[], object], seconds: float = 0.3, clock: Clock = time.perf_counter
) -> Probed | Unavailable:
    """The counter, if `load` repeated for `seconds` moves it by a plausible power and it moves often enough."""
    window = run_window(counter, load, seconds, clock)
    if isinstance(window, Unavailable):
        return window
    cadence = _watch(counter, clock)
    return cadence if isinstance(cadence, Unavailable) else Probed(counter, cadence)


def _watch(counter: EnergyCounter, clock: Clock) -> Cadence | Unavailable:
    """Poll until the counter has moved `_MOVES` times, or the time is up."""
    moves: list[tuple[float, float]] = []
    deadline = clock() + _WATCH_AT_MOST_S
    last_j = counter.read_j()
    while last_j is not None and len(moves) < _MOVES and clock() < deadline:
        now_j = counter.read_j()
        if now_j is not None and now_j != last_j:
            moves.append((clock(), now_j))
        last_j = now_j
    if last_j is None:
        return Unavailable(counter.reason or f"{counter.source} stopped answering: run again")
    if len(moves) < _FEWEST_MOVES:
        return Unavailable(f"{counter.source} moves too seldom to time a window: measure energy on another machine")
    times, totals = zip(*moves, strict=True)
    period_s = statistics.median(after - before for before, after in pairwise(times))
    return Cadence(
        update_period_s=period_s, quantum_j=_quantum_j([after - before for before, after in pairwise(totals)])
    )


def _quantum_j(steps_j: list[float]) -> float:
    """The smallest step, or the smallest difference between two steps: the counter's unit is no coarser than that."""
    ordered = sorted(map(abs, steps_j))
    finer = [after - before for before, after in pairwise(ordered)]
    return min(j for j in (*ordered, *finer) if j > _FINEST_J)
