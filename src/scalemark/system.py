"""What the operating system tells of itself: files under /proc and /sys, and what the machine is doing just now.

Nothing here is measured by running something, so every look is cheap and disturbs nobody. `root` is where /proc and
/sys are: a test passes a tree of its own. What cannot be read is None; systems other than Linux tell little.
"""

import os
import re
from collections.abc import Iterable
from pathlib import Path

from scalemark.schema import Facts

ROOT = Path("/")
CPUS = "sys/devices/system/cpu"
# A machine of 256 CPUs has as many files: a spread of them tells the clocks as well, in a sixteenth of the time.
_CPUS_LOOKED_AT = 16
# What control groups of the first version write for "no limit" is close to this, and no machine has as much memory.
_NO_LIMIT_BYTES = 2**60
# The package's own sensor, by driver: what Intel, AMD and Arm boards call it (Documentation/hwmon in the kernel tree).
_HWMON_NAMES = frozenset({"coretemp", "k10temp", "zenpower", "cpu_thermal"})
_THERMAL_TYPES = re.compile(r"x86_pkg_temp|cpu|soc", re.IGNORECASE)


# --- reading ----------------------------------------------------------------------------------------------------------


def read_text(path: Path) -> str | None:
    """The file's text without the space around it; None where it is empty or cannot be read."""
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip() or None
    except OSError:
        return None


def read_number(path: Path) -> int | None:
    """A file that holds one whole number."""
    text = read_text(path)
    return int(text) if text and re.fullmatch(r"-?\d+", text) else None


def meminfo_bytes(root: Path, name: str) -> int | None:
    """A line of /proc/meminfo, such as 'MemTotal'."""
    match = re.search(rf"^{name}:\s*(\d+) kB", read_text(root / "proc/meminfo") or "", re.MULTILINE)
    return int(match[1]) * 1024 if match else None


def cpu_numbers(text: str | None) -> tuple[int, ...]:
    """The kernel's way of writing sets: '0-2,8' is (0, 1, 2, 8)."""
    numbers: set[int] = set()
    for first, last in re.findall(r"(\d+)(?:-(\d+))?", text or ""):
        numbers.update(range(int(first), int(last or first) + 1))
    return tuple(sorted(numbers))


def cpu_ranges(numbers: Iterable[int]) -> str:
    """The other way: (0, 1, 2, 8) is '0-2,8'."""
    ranges: list[list[int]] = []
    for number in sorted(set(numbers)):
        if ranges and number == ranges[-1][1] + 1:
            ranges[-1][1] = number
        else:
            ranges.append([number, number])
    return ",".join(f"{first}-{last}" if last > first else f"{first}" for first, last in ranges)


def siblings(root: Path, cpu: int) -> str:
    """Logical CPUs of the physical core that this one belongs to, as the kernel writes them; itself where unknown."""
    return read_text(root / CPUS / f"cpu{cpu}/topology/thread_siblings_list") or str(cpu)


# --- control groups ---------------------------------------------------------------------------------------------------


def cpu_quota_cores(root: Path = ROOT) -> float | None:
    """Cores' worth of time that the control group gets; the strictest of its ancestors counts. None: no limit."""
    quotas = [quota for folder in cgroup_folders(root, "cpu") if (quota := _quota_cores(folder)) is not None]
    return min(quotas, default=None)


def _quota_cores(folder: Path) -> float | None:
    match = re.fullmatch(r"(\d+) (\d+)", read_text(folder / "cpu.max") or "")
    if match:
        return round(int(match[1]) / int(match[2]), 2)
    quota, period = read_number(folder / "cpu.cfs_quota_us"), read_number(folder / "cpu.cfs_period_us")
    return round(quota / period, 2) if quota and period and quota > 0 else None


def memory_limit_bytes(root: Path = ROOT) -> int | None:
    """What the control group may hold; the strictest of its ancestors counts. None: no limit."""
    folders = cgroup_folders(root, "memory")
    limits = [read_number(folder / name) for folder in folders for name in ("memory.max", "memory.limit_in_bytes")]
    return min((limit for limit in limits if limit is not None and limit < _NO_LIMIT_BYTES), default=None)


def throttled_s(root: Path = ROOT) -> float | None:
    """How long the control group and its ancestors have been stopped for having used up their quota, so far."""
    times = [time_s for folder in cgroup_folders(root, "cpu") if (time_s := _throttled_s(folder)) is not None]
    return sum(times) if times else None


def _throttled_s(folder: Path) -> float | None:
    """Microseconds in version 2, nanoseconds in version 1 (Documentation/admin-guide/cgroup-v2.rst)."""
    match = re.search(r"^throttled_(usec|time) (\d+)", read_text(folder / "cpu.stat") or "", re.MULTILINE)
    return int(match[2]) * (1e-6 if match[1] == "usec" else 1e-9) if match else None


def cgroup_folders(root: Path, controller: str) -> list[Path]:
    """This process's group and its ancestors, in the hierarchy of version 2 and in that of version 1."""
    mounts = {"": root / "sys/fs/cgroup", controller: root / "sys/fs/cgroup" / controller}
    paths = dict.fromkeys(mounts, "/")
    for line in (read_text(root / "proc/self/cgroup") or "").splitlines():
        _, controllers, path = line.split(":", 2)
        paths.update({name: path for name in controllers.split(",") if name in mounts})
    folders = []
    for name, mount in mounts.items():
        own = Path(paths[name].strip("/"))
        # A container may see the path that its host uses, below a mount that starts at its own group.
        folders += [mount / part for part in dict.fromkeys([own, *own.parents]) if (mount / part).is_dir()]
    return folders


# --- state ------------------------------------------------------------------------------------------------------------


def machine_state(root: Path = ROOT) -> Facts:
    """What the machine is doing just now, in a few milliseconds.

    *_pressure_10s_percent: share of the last ten seconds in which some task waited for it (Linux PSI). clock_*: over a
    spread of the CPUs. steal_s: what the hypervisor withheld of all CPUs since the start; throttled_s: for how long the
    control group was stopped for its quota; thermal_throttles: how often a core was slowed for heat.
    """
    sample = _sampled_cpus(root)
    return {
        "load_average_1min": _load_average(root),
        **{f"{name}_pressure_10s_percent": _pressure_percent(root, name) for name in ("cpu", "memory", "io")},
        "memory_available_bytes": meminfo_bytes(root, "MemAvailable"),
        **_clocks_mhz(root, sample),
        "clock_governor": read_text(root / CPUS / "cpu0/cpufreq/scaling_governor"),
        "clock_boost": _boost(root),
        "temperature_celsius": _temperature_celsius(root),
        "steal_s": _steal_s(root),
        "throttled_s": throttled_s(root),
        "thermal_throttles": _thermal_throttles(root, sample),
        "uptime_s": _first_number(root / "proc/uptime"),
    }


def _first_number(path: Path) -> float | None:
    text = read_text(path)
    return float(text.split()[0]) if text else None


def _load_average(root: Path) -> float | None:
    load = _first_number(root / "proc/loadavg")
    return os.getloadavg()[0] if load is None and hasattr(os, "getloadavg") else load


def _pressure_percent(root: Path, name: str) -> float | None:
    match = re.search(r"some avg10=([\d.]+)", read_text(root / "proc/pressure" / name) or "")
    return float(match[1]) if match else None


def _sampled_cpus(root: Path) -> list[int]:
    cpus = cpu_numbers(read_text(root / CPUS / "online"))
    return list(cpus[:: -(-len(cpus) // _CPUS_LOOKED_AT) or 1])


def _clocks_mhz(root: Path, cpus: list[int]) -> Facts:
    """Mean, lowest and highest; virtual machines have no cpufreq, and tell of the host's clock in /proc/cpuinfo."""
    khz = [read_number(root / CPUS / f"cpu{cpu}/cpufreq/scaling_cur_freq") for cpu in cpus]
    clocks = [value / 1000 for value in khz if value]
    if not clocks:
        lines = re.findall(r"^cpu MHz\s*:\s*([\d.]+)", read_text(root / "proc/cpuinfo") or "", re.MULTILINE)
        clocks = [float(line) for line in lines]
    if not clocks:
        return dict.fromkeys(["clock_mhz", "clock_min_mhz", "clock_max_mhz"])
    mean = sum(clocks) / len(clocks)
    return {"clock_mhz": round(mean), "clock_min_mhz": round(min(clocks)), "clock_max_mhz": round(max(clocks))}


def _boost(root: Path) -> str | None:
    """Whether the clock may rise above its nominal value: 'on' or 'off'."""
    boost, no_turbo = read_number(root / CPUS / "cpufreq/boost"), read_number(root / CPUS / "intel_pstate/no_turbo")
    allowed = boost if boost is not None else None if no_turbo is None else 1 - no_turbo
    return None if allowed is None else "on" if allowed else "off"


def _temperature_celsius(root: Path) -> float | None:
    """The hottest of the processor's own sensors; those of boards and disks, which can take long, are not asked."""
    hwmon = (root / "sys/class/hwmon").glob("hwmon*")
    zones = (root / "sys/class/thermal").glob("thermal_zone*")
    paths = [folder / "temp1_input" for folder in hwmon if read_text(folder / "name") in _HWMON_NAMES]
    paths = paths or [zone / "temp" for zone in zones if _THERMAL_TYPES.search(read_text(zone / "type") or "")]
    readings = [value / 1000 for path in paths if (value := read_number(path)) is not None]
    return max(readings, default=None)


def _steal_s(root: Path) -> float | None:
    """The eighth number of the first line of /proc/stat, in clock ticks (proc_stat(5))."""
    match = re.match(r"cpu +(?:\d+ +){7}(\d+)", read_text(root / "proc/stat") or "")
    return int(match[1]) / os.sysconf("SC_CLK_TCK") if match else None


def _thermal_throttles(root: Path, cpus: list[int]) -> int | None:
    counts = [read_number(root / CPUS / f"cpu{cpu}/thermal_throttle/core_throttle_count") for cpu in cpus]
    known = [count for count in counts if count is not None]
    return sum(known) if known else None
