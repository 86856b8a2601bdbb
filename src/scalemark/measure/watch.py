"""What disturbs a measurement, read from counters that only grow: before and after, never inside the timed region.

    steal        CPU time that the hypervisor gave to others        /proc/stat
    pressure     time in which some task waited for a CPU           /proc/pressure/cpu (PSI)
    throttled    times that a quota or heat held the cores back     cpu.stat of the control group, thermal_throttle
    usage        CPU time of this process, and CPUs taken from it   getrusage

A look costs some tens of microseconds (a file each), usage about one: so a round is bracketed by usage, and a turn of
rounds by looks. What the system does not tell is None.
"""

import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from scalemark.system import ROOT, cgroup_folders

try:
    import resource
except ImportError:  # not on Windows
    resource = None  # type: ignore[assignment]

_STEAL_FIELD = 8  # 'cpu  user nice system idle iowait irq softirq steal guest guest_nice' (proc(5))
_READ_BYTES = 4096


@dataclass(frozen=True, slots=True)
class Look:
    """Counters of the whole machine, since some start."""

    steal_s: float | None = None
    pressure_s: float | None = None
    throttled: float | None = None

    def since(self, before: "Look") -> "Look":
        """What was counted since `before`."""
        return Look(
            _gain(before.steal_s, self.steal_s),
            _gain(before.pressure_s, self.pressure_s),
            _gain(before.throttled, self.throttled),
        )


@dataclass(frozen=True, slots=True)
class Usage:
    """Counters of this process, since its start. switches: involuntary ones."""

    cpu_s: float = 0.0
    switches: int = 0

    def since(self, before: "Usage") -> "Usage":
        """What was used since `before`."""
        return Usage(self.cpu_s - before.cpu_s, self.switches - before.switches)


class Watch:
    """Keeps the files open, so that a look is one read each. Use as a context manager."""

    def __init__(self, root: Path = ROOT) -> None:
        thermal = sorted((root / "sys/devices/system/cpu").glob("cpu[0-9]*/thermal_throttle/core_throttle_count"))
        self._stat = _open(root / "proc/stat")
        self._pressure = _open(root / "proc/pressure/cpu")
        groups = [folder / "cpu.stat" for folder in cgroup_folders(root, "cpu")]
        self._throttles = [file for path in (*groups, *thermal) if (file := _open(path)) is not None]
        self._ticks_per_s = os.sysconf("SC_CLK_TCK") if hasattr(os, "sysconf") else 100

    def __enter__(self) -> "Watch":
        return self

    def __exit__(self, *_: object) -> None:
        for file in (self._stat, self._pressure, *self._throttles):
            if file is not None:
                os.close(file)

    def look(self) -> Look:
        """The machine's counters now."""
        steal = _number(self._stat, lambda text: int(text.split(maxsplit=_STEAL_FIELD + 1)[_STEAL_FIELD]))
        pressure = _number(self._pressure, lambda text: int(text.split("total=", 1)[1].split(maxsplit=1)[0]))
        throttles = [count for file in self._throttles if (count := _number(file, _throttle_count)) is not None]
        return Look(
            steal_s=None if steal is None else steal / self._ticks_per_s,
            pressure_s=None if pressure is None else pressure / 1e6,
            throttled=sum(throttles) if throttles else None,
        )


def usage() -> Usage:
    """This process's counters now; zeros where the system does not tell, as `knows_usage` says."""
    if resource is None:
        return Usage()
    now = resource.getrusage(resource.RUSAGE_SELF)
    return Usage(now.ru_utime + now.ru_stime, now.ru_nivcsw)


def knows_usage() -> bool:
    """Whether this system counts the CPU time and the switches of a process."""
    return resource is not None


def _gain(before: float | None, after: float | None) -> float | None:
    """None where one side is unknown; 0 for a counter that stepped back, as steal does when a guest is moved."""
    return None if before is None or after is None else max(after - before, 0)


def _throttle_count(text: str) -> int:
    """A bare number (thermal_throttle), or the line 'nr_throttled n' (cpu.stat)."""
    if text.strip().isdigit():
        return int(text)
    match = re.search(r"^nr_throttled (\d+)", text, re.MULTILINE)
    return int(match[1]) if match else 0


def _open(path: Path) -> int | None:
    try:
        return os.open(path, os.O_RDONLY)
    except OSError:
        return None


def _number(file: int | None, parse: Callable[[str], int]) -> int | None:
    """What the file says now; None where there is none, or it says something else."""
    if file is None:
        return None
    try:
        return parse(os.pread(file, _READ_BYTES, 0).decode("ascii", "replace"))
    except (OSError, ValueError, IndexError):
        return None
