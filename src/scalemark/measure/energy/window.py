"""One window: rounds run back to back between two readings of a counter."""

from collections.abc import Callable
from dataclasses import dataclass

from scalemark.measure.energy.counter import Clock, EnergyCounter, Unavailable

# Wider than any machine: an idle package draws about a watt, eight sockets or one board stay far below 20 kW.
PLAUSIBLE_W = (0.1, 20_000.0)


@dataclass(frozen=True)
class Window:
    """What a counter gained while rounds ran."""

    gained_j: float
    seconds: float
    rounds: int

    @property
    def power_w(self) -> float:
        return self.gained_j / self.seconds

    @property
    def joules_per_round(self) -> float:
        return self.gained_j / self.rounds


def run_window(
    counter: EnergyCounter, run_round: Callable[[], object], at_least_s: float, clock: Clock
) -> Window | Unavailable:
    """A window of at least one round and at least `at_least_s`, or why the counter cannot be believed.

    run_round: ends only when the device is done.
    """
    start_j = counter.read_j()
    if start_j is None:
        return Unavailable(counter.reason or f"{counter.source} cannot be read: measure without energy")
    seconds, rounds = _repeat(run_round, at_least_s, clock)
    end_j = counter.read_j()
    if end_j is None:
        return Unavailable(counter.reason or f"{counter.source} stopped answering: run again")
    return _believed(counter.source, Window(gained_j=end_j - start_j, seconds=seconds, rounds=rounds))


def _repeat(run_round: Callable[[], object], at_least_s: float, clock: Clock) -> tuple[float, int]:
    start_s = clock()
    rounds = 0
    while True:
        run_round()
        rounds += 1
        seconds = clock() - start_s
        if seconds >= at_least_s:
            return seconds, rounds


def _believed(source: str, window: Window) -> Window | Unavailable:
    """The window, unless its counter stood still, stepped back or claims a power that no machine has."""
    if window.gained_j <= 0:
        how = "did not advance" if window.gained_j == 0 else "ran backwards"
        return Unavailable(f"{source} {how} in {window.seconds:.2g} s: measure energy on another machine")
    lowest_w, highest_w = PLAUSIBLE_W
    if not lowest_w <= window.power_w <= highest_w:
        return Unavailable(f"{source} claims {window.power_w:.3g} W: measure energy on a physical machine")
    return window
