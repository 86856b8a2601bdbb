"""Fingerprint of the machine, in three tiers.

    identity   what a time may depend on and what stays: hashed into the id
    context    what a reader may want to know: never hashed
    state      what the machine was doing just then: never hashed

Two calls on one machine give one id, after a reboot or a kernel update too. Unknown is None, and hashed as null. Linux
is read from files, so a test passes a tree of its own; other systems tell less. What torch says of itself is handed in,
because reading a suite must not load torch.
"""

import json
import os
import platform
import re
import sys
from collections.abc import Callable, Mapping
from hashlib import sha256
from importlib import metadata
from pathlib import Path
from typing import Any, TypeVar

import psutil

from scalemark.schema import Machine

Fact = str | int | float | None
Facts = dict[str, Fact]
Answer = TypeVar("Answer")

_BYTES_PER_UNIT = {"K": 2**10, "M": 2**20, "G": 2**30}
_PACKAGE = "scalemark"
# Only what kernels are chosen by: the operating system adds and drops flags of its own from one release to the next.
_INSTRUCTION_SET = re.compile(r"s?sse|avx|amx|fma|f16c|bmi|asimd|sve|sme(?!p)|bf16|i8mm")
_SLUG_NOISE = re.compile(r"\((r|tm)\)|@.*$|\b(cpu|processor|with|graphics|\d+-core)\b", re.IGNORECASE)
_SLUG_LENGTH = 40


def fingerprint(torch_facts: Mapping[str, Fact], threads: int, root: Path = Path("/")) -> Machine:
    """The machine as it is now.

    torch_facts: what torch was built with and sees (BLAS, CUDA, …), part of the identity.
    threads: that the measurements run with. root: where /proc and /sys are.
    """
    identity: Facts = {
        **cpu_facts(root),
        **nvidia_facts(_load_nvml()),
        "python": f"{sys.version_info.major}.{sys.version_info.minor}",
        "torch": _version("torch"),
        "threads": threads,
        # As it is stored, so that the id can be had from the record again: JSON tells true from 1, the schema does not.
        **{name: int(fact) if isinstance(fact, bool) else fact for name, fact in torch_facts.items()},
    }
    return Machine(id=machine_id(identity), identity=identity, context=_context(root), state=_state(root))


def machine_id(identity: Facts) -> str:
    """'amd-epyc-2c-1a2b3c4d': a name for people and eight hexadecimal digits that change with any fact."""
    digest = sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:8]
    label = identity.get("gpu") or identity.get("cpu") or identity.get("architecture")
    count, unit = (identity.get("gpu_count"), "x") if identity.get("gpu") else (identity.get("cores"), "c")
    return "-".join([_slug(str(label or "unknown")), *([f"{count}{unit}"] if count else []), digest])


def _slug(label: str) -> str:
    words = re.sub(r"[^a-z0-9]+", "-", _SLUG_NOISE.sub(" ", label).lower()).strip("-")
    return words[:_SLUG_LENGTH].strip("-") or "unknown"


# --- identity ---------------------------------------------------------------------------------------------------------


def cpu_facts(root: Path) -> Facts:
    """Processor, caches and memory; from files where there is a /proc below `root`."""
    facts: Facts = {"architecture": platform.machine() or None, "system": platform.system() or None}
    return facts | (_linux_cpu(root) if (root / "proc/cpuinfo").exists() else _portable_cpu())


def _linux_cpu(root: Path) -> Facts:
    first = _colon_fields(_text(root / "proc/cpuinfo"))
    flags = (first.get("flags") or first.get("Features") or "").split()
    return {
        "cpu": first.get("model name"),
        "cpu_vendor": first.get("vendor_id") or first.get("CPU implementer"),
        "cpu_family": first.get("cpu family") or first.get("CPU architecture"),
        "cpu_model": first.get("model") or first.get("CPU part"),
        "cpu_stepping": first.get("stepping") or first.get("CPU revision"),
        "instruction_set": _digest_of_instruction_set(flags),
        "hypervisor": ("yes" if "hypervisor" in flags else "no") if "flags" in first else None,
        "cores": _linux_cores(root),
        "logical_cores": _linux_logical_cores(root),
        "cpu_quota_cores": _cpu_quota_cores(root),
        **_linux_caches(root),
        "memory_bytes": _stable_memory_bytes(_meminfo_bytes(root, "MemTotal")),
    }


def _portable_cpu() -> Facts:
    return {
        "cpu": platform.processor() or None,
        "cores": psutil.cpu_count(logical=False),
        "logical_cores": psutil.cpu_count(),
        "memory_bytes": _stable_memory_bytes(psutil.virtual_memory().total),
    }


def _digest_of_instruction_set(flags: list[str]) -> str | None:
    relevant = sorted({flag for flag in flags if _INSTRUCTION_SET.match(flag)})
    return sha256(" ".join(relevant).encode()).hexdigest()[:12] if relevant else None


def _linux_cores(root: Path) -> int | None:
    """Physical cores: distinct pairs of package and core."""
    folders = (root / "sys/devices/system/cpu").glob("cpu[0-9]*/topology")
    cores = {(_text(folder / "physical_package_id"), _text(folder / "core_id")) for folder in folders}
    return len(cores) or None


def _linux_logical_cores(root: Path) -> int | None:
    return len(re.findall(r"^processor\s*:", _text(root / "proc/cpuinfo") or "", re.MULTILINE)) or None


def _cpu_quota_cores(root: Path) -> float | None:
    """Cores that the control group may use; None where it has no limit."""
    match = re.match(r"(\d+) (\d+)", _text(root / "sys/fs/cgroup/cpu.max") or "")
    return round(int(match[1]) / int(match[2]), 2) if match else None


def _linux_caches(root: Path) -> Facts:
    """Bytes of each cache that the first core sees."""
    caches: Facts = {"cache_l1d_bytes": None, "cache_l2_bytes": None, "cache_l3_bytes": None}
    for folder in (root / "sys/devices/system/cpu/cpu0/cache").glob("index[0-9]*"):
        suffix = "d" if _text(folder / "type") == "Data" else ""
        name = f"cache_l{_text(folder / 'level')}{suffix}_bytes"
        match = re.fullmatch(r"(\d+)([KMG])", _text(folder / "size") or "")
        if name in caches and match:
            caches[name] = int(match[1]) * _BYTES_PER_UNIT[match[2]]
    return caches


def _stable_memory_bytes(total_bytes: int | None) -> int | None:
    """Installed memory, about: up to the next sixteenth of a power of two.

    The kernel reports a few per cent less than is installed, and how much less changes from one kernel to the next.
    """
    if not total_bytes:
        return None
    step_bytes = (1 << (total_bytes - 1).bit_length()) // 16
    return -(-total_bytes // step_bytes) * step_bytes


def nvidia_facts(nvml: Any) -> Facts:
    """NVIDIA devices, named after the first one; all None where `nvml` is None or answers nothing.

    nvml: the `pynvml` module, already initialised.
    """
    facts: Facts = dict.fromkeys(["gpu", "gpu_count", "gpu_memory_bytes", "gpu_power_limit_w", "gpu_mig"])
    count = _ask(lambda: int(nvml.nvmlDeviceGetCount())) if nvml else None
    if not count:
        return facts
    device = _ask(lambda: nvml.nvmlDeviceGetHandleByIndex(0))
    return {
        "gpu": _ask(lambda: _decoded(nvml.nvmlDeviceGetName(device))),
        "gpu_count": count,
        "gpu_memory_bytes": _ask(lambda: int(nvml.nvmlDeviceGetMemoryInfo(device).total)),
        "gpu_power_limit_w": _ask(lambda: round(nvml.nvmlDeviceGetPowerManagementLimit(device) / 1000)),
        "gpu_mig": _ask(lambda: "on" if nvml.nvmlDeviceGetMigMode(device)[0] else "off"),
    }


def _load_nvml() -> Any:
    try:
        import pynvml

        pynvml.nvmlInit()
    except Exception:  # no package, no driver, or a driver that refuses: then nothing is known of GPUs
        return None
    return pynvml


def _ask(question: Callable[[], Answer]) -> Answer | None:
    try:
        return question()
    except Exception:  # each NVML question may be unsupported on its own
        return None


def _decoded(name: str | bytes) -> str:
    return name.decode() if isinstance(name, bytes) else name


# --- context and state ------------------------------------------------------------------------------------------------


def _context(root: Path) -> Facts:
    return {
        "hostname": _text(root / "proc/sys/kernel/hostname") or platform.node() or None,
        "kernel": _text(root / "proc/sys/kernel/osrelease") or platform.release() or None,
        "os": _operating_system(root),
        "python_version": platform.python_version(),
        "container": _container(root),
        "memory_total_bytes": _meminfo_bytes(root, "MemTotal") or psutil.virtual_memory().total,
        "memory_limit_bytes": _whole_number(_text(root / "sys/fs/cgroup/memory.max")),
        **{f"version_{name}": _version(name) for name in _dependencies()},
    }


def _operating_system(root: Path) -> str | None:
    match = re.search(r'^PRETTY_NAME="?([^"\n]+)', _text(root / "etc/os-release") or "", re.MULTILINE)
    return match[1] if match else platform.platform(terse=True) or None


def _container(root: Path) -> str | None:
    """Which kind of container this is, by the file that its engine leaves; None where there is no such file."""
    marks = {"docker": ".dockerenv", "podman": "run/.containerenv", "kubernetes": "var/run/secrets/kubernetes.io"}
    return next((name for name, mark in marks.items() if (root / mark).exists()), None)


def _dependencies() -> list[str]:
    try:
        requirements = metadata.requires(_PACKAGE) or []
    except metadata.PackageNotFoundError:
        return []
    return sorted(re.split(r"[^\w-]", line)[0] for line in requirements if "extra ==" not in line)


def _state(root: Path) -> Facts:
    frequencies = re.findall(r"^cpu MHz\s*:\s*([\d.]+)", _text(root / "proc/cpuinfo") or "", re.MULTILINE)
    pressure = re.search(r"some avg10=([\d.]+)", _text(root / "proc/pressure/cpu") or "")
    return {
        "load_average_1min": _load_average(root),
        "cpu_pressure_10s_percent": float(pressure[1]) if pressure else None,
        "memory_available_bytes": _meminfo_bytes(root, "MemAvailable"),
        "clock_mhz": round(sum(map(float, frequencies)) / len(frequencies)) if frequencies else None,
        "clock_governor": _text(root / "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"),
    }


def _load_average(root: Path) -> float | None:
    text = _text(root / "proc/loadavg")
    if text:
        return float(text.split()[0])
    return os.getloadavg()[0] if hasattr(os, "getloadavg") else None


# --- reading files ----------------------------------------------------------------------------------------------------


def _text(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip() or None
    except OSError:
        return None


def _colon_fields(text: str | None) -> dict[str, str]:
    """'key : value' lines up to the first empty one: the first processor of /proc/cpuinfo."""
    lines = (text or "").split("\n\n")[0].splitlines()
    pairs = (line.partition(":") for line in lines)
    return {key.strip(): value.strip() for key, _, value in pairs if value.strip()}


def _meminfo_bytes(root: Path, name: str) -> int | None:
    match = re.search(rf"^{name}:\s*(\d+) kB", _text(root / "proc/meminfo") or "", re.MULTILINE)
    return int(match[1]) * 1024 if match else None


def _whole_number(text: str | None) -> int | None:
    return int(text) if text and text.isdigit() else None


def _version(distribution: str) -> str | None:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None
