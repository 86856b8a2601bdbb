"""A machine of known power whose clock only moves when told, and the counter that watches it."""

from collections.abc import Callable
from dataclasses import dataclass
from math import floor


@dataclass
class SimulatedMachine:
    """Its counter shows what was drawn up to its last update, in whole quanta. Reading takes time, as it does in life.

    distorted: what the counter makes of the joules that it should show.
    """

    period_s: float = 0.001
    quantum_j: float = 1e-4
    idle_w: float = 10.0
    reading_s: float = 3e-5
    now_s: float = 100.0
    drawn_j: float = 0.0
    distorted: Callable[[float], float | None] = lambda joules: joules
    source: str = "made up"
    domain: str = "simulated package"
    fake: bool = True
    reason: str | None = None
    _shown_j: float = 0.0

    def clock(self) -> float:
        return self.now_s

    def draw(self, seconds: float, power_w: float) -> None:
        """Let time pass at this power."""
        end_s = self.now_s + seconds
        last_update_s = floor(end_s / self.period_s) * self.period_s
        if last_update_s > self.now_s:
            self._shown_j = self.drawn_j + power_w * (last_update_s - self.now_s)
        self.drawn_j += power_w * seconds
        self.now_s = end_s

    def working(self, seconds: float, power_w: float) -> Callable[[], None]:
        """Work of this length at this power."""
        return lambda: self.draw(seconds, power_w)

    def sleep(self, seconds: float) -> None:
        self.draw(seconds, self.idle_w)

    def read_j(self) -> float | None:
        self.draw(self.reading_s, self.idle_w)
        return self.distorted(floor(self._shown_j / self.quantum_j) * self.quantum_j)
