"""What an energy counter is, and what stands in for one where there is none."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

Clock = Callable[[], float]


class EnergyCounter(Protocol):
    """A running total of joules.

    source: 'powercap', 'nvml'. domain: which part of the machine it counts. fake: whether a test made it up.
    reason: why there is none; None while there is one.
    """

    @property
    def source(self) -> str: ...

    @property
    def domain(self) -> str: ...

    @property
    def fake(self) -> bool: ...

    @property
    def reason(self) -> str | None: ...

    def read_j(self) -> float | None:
        """Joules since an arbitrary start; None where the counter cannot be trusted (any more)."""
        ...


@dataclass(frozen=True)
class Unavailable:
    """No counter. It answers like one, so nobody needs to ask first."""

    reason: str
    source: str = "none"
    domain: str = "none"
    fake: bool = False

    def read_j(self) -> None:
        return None
