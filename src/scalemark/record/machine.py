"""Fingerprint of the machine, in three tiers.

    identity   what a time may depend on and what stays: hashed into the id
    context    what a reader may want to know: never hashed
    state      what the machine was doing just then: never hashed

Two calls on one machine give one id, after a reboot, a kernel or a driver update too. Unknown is None, and hashed as
null. Linux is read from files, so a test passes a tree of its own; other systems tell less. What torch says of itself
is handed in, because reading a suite must not load torch.
"""

import json
import os
import platform
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Collection
from hashlib import sha256
from importlib import metadata
from pathlib import Path
from typing import Any

import psutil

from scalemark.record.hardware import (
    affinity_facts,
    cpu_facts,
    dmi_name,
    gpu_driver,
    instruction_set,
    load_nvml,
    nvidia_facts,
    own_affinity,
    processors,
)
from scalemark.schema import Facts, Machine
from scalemark.system import CPUS, ROOT, cpu_ranges, machine_state, meminfo_bytes, memory_limit_bytes, read_text

__all__ = ["fingerprint", "machine_id", "machine_state"]

_PACKAGE = "scalemark"
_SLUG_NOISE = re.compile(r"\((r|tm)\)|@.*$|\b(cpu|processor|with|graphics|\d+-core)\b", re.IGNORECASE)
_SLUG_LENGTH = 40
# What clouds write into the firmware tables of their machines. Source: cloud-init, tools/ds-identify.
_CLOUDS = {
    "Amazon EC2": "Amazon EC2",
    "Google Compute Engine": "Google Compute Engine",
    "7783-7084-3265-9085-8269-3286-77": "Microsoft Azure",
    "OracleCloud.com": "Oracle Cloud",
    "Alibaba Cloud": "Alibaba Cloud",
    "DigitalOcean": "DigitalOcean",
    "Hetzner": "Hetzner",
    "Scaleway": "Scaleway",
    "Vultr": "Vultr",
    "Akamai": "Akamai",
    "OpenStack": "OpenStack",
}


def fingerprint(
    torch_facts: Facts,
    threads: int,
    root: Path = ROOT,
    affinity: Collection[int] | None = None,
    find_nvml: Callable[[], Any] = load_nvml,
) -> Machine:
    """The machine as it is now.

    torch_facts: what torch was built with, sees and is set to (BLAS, CUDA, precision, …), part of the identity.
    threads: that the measurements run with. root: where /proc and /sys are. affinity: CPUs that the measuring process
    may use; by default those of this process. find_nvml: gives `pynvml`, initialised; None where there is none.
    """
    nvml = find_nvml()
    cpus = own_affinity(root) if affinity is None else affinity
    identity: Facts = {
        **cpu_facts(root),
        **nvidia_facts(nvml),
        "python": f"{sys.version_info.major}.{sys.version_info.minor}",
        "torch": _version("torch"),
        "threads": threads,
        **affinity_facts(root, cpus),
        # As it is stored, so that the id can be had from the record again: JSON tells true from 1, the schema does not.
        **{name: int(fact) if isinstance(fact, bool) else fact for name, fact in torch_facts.items()},
    }
    context = {**_context(root), "affinity": cpu_ranges(cpus) if cpus else None, "gpu_driver": gpu_driver(nvml)}
    return Machine(id=machine_id(identity), identity=identity, context=context, state=machine_state(root))


def machine_id(identity: Facts) -> str:
    """'amd-epyc-2c-1a2b3c4d': a name for people and eight hexadecimal digits that change with any fact."""
    digest = sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:8]
    label = identity.get("gpu") or identity.get("cpu") or identity.get("architecture")
    count, unit = (identity.get("gpu_count"), "x") if identity.get("gpu") else (identity.get("cores"), "c")
    return "-".join([_slug(str(label or "unknown")), *([f"{count}{unit}"] if count else []), digest])


def _slug(label: str) -> str:
    words = re.sub(r"[^a-z0-9]+", "-", _SLUG_NOISE.sub(" ", label).lower()).strip("-")
    return words[:_SLUG_LENGTH].strip("-") or "unknown"


# --- context ----------------------------------------------------------------------------------------------------------


def _context(root: Path) -> Facts:
    return {
        "hostname": read_text(root / "proc/sys/kernel/hostname") or platform.node() or None,
        "cloud": _cloud(root),
        "hardware": dmi_name(root),
        "container": _container(root),
        "memory_total_bytes": meminfo_bytes(root, "MemTotal") or psutil.virtual_memory().total,
        "memory_limit_bytes": memory_limit_bytes(root),
        "swap_total_bytes": meminfo_bytes(root, "SwapTotal"),
        "instruction_set_flags": instruction_set(root),
        "microcode": processors(root)[0].get("microcode"),
        **_kernel_facts(root),
        **_software_facts(root),
    }


def _kernel_facts(root: Path) -> Facts:
    """What the kernel is and is set to, as far as times depend on it."""
    return {
        "kernel": read_text(root / "proc/sys/kernel/osrelease") or platform.release() or None,
        "transparent_hugepages": _chosen(read_text(root / "sys/kernel/mm/transparent_hugepage/enabled")),
        "mitigations": _mitigations(root),
        "clock_source": read_text(root / "sys/devices/system/clocksource/clocksource0/current_clocksource"),
        "clock_driver": read_text(root / CPUS / "cpu0/cpufreq/scaling_driver"),
        "isolated_cpus": read_text(root / CPUS / "isolated"),
        "numa_balancing": read_text(root / "proc/sys/kernel/numa_balancing"),
    }


def _software_facts(root: Path) -> Facts:
    return {
        "os": _operating_system(root),
        "libc": " ".join(platform.libc_ver()).strip() or None,
        "compiler": _compiler(),
        "python_version": platform.python_version(),
        **{f"version_{name}": _version(name) for name in _dependencies()},
    }


def _cloud(root: Path) -> str | None:
    """Whose machine this is, where the firmware tells."""
    names = ("sys_vendor", "product_name", "chassis_asset_tag", "bios_vendor")
    words = " ".join(filter(None, (read_text(root / "sys/class/dmi/id" / name) for name in names)))
    return next((name for mark, name in _CLOUDS.items() if mark in words), None)


def _container(root: Path) -> str | None:
    """Which kind of container this is, by the file that its engine leaves; None where there is no such file."""
    marks = {"docker": ".dockerenv", "podman": "run/.containerenv", "kubernetes": "var/run/secrets/kubernetes.io"}
    return next((name for name, mark in marks.items() if (root / mark).exists()), None)


def _chosen(text: str | None) -> str | None:
    """'madvise' of 'always [madvise] never', as the kernel shows a choice."""
    match = re.search(r"\[(\w+)\]", text or "")
    return match[1] if match else None


def _mitigations(root: Path) -> str | None:
    """How the kernel answers the processor's known weaknesses: '2 mitigated, 1 vulnerable, 16 not affected'."""
    words = {"Mitigation": "mitigated", "Vulnerable": "vulnerable", "Not affected": "not affected"}
    texts = [read_text(path) or "" for path in (root / CPUS / "vulnerabilities").glob("*")]
    counts = Counter(word for text in texts for start, word in words.items() if text.startswith(start))
    return ", ".join(f"{counts[word]} {word}" for word in words.values() if counts[word]) or None


def _operating_system(root: Path) -> str | None:
    match = re.search(r'^PRETTY_NAME="?([^"\n]+)', read_text(root / "etc/os-release") or "", re.MULTILINE)
    return match[1] if match else platform.platform(terse=True) or None


def _compiler() -> str | None:
    """First line that the C++ compiler says of itself: the one that torch.compile calls."""
    command = [os.environ.get("CXX", "g++"), "--version"]
    try:
        output = subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout
    except (OSError, subprocess.SubprocessError):
        return None
    return output.partition("\n")[0].strip() or None


def _dependencies() -> list[str]:
    try:
        requirements = metadata.requires(_PACKAGE) or []
    except metadata.PackageNotFoundError:
        return []
    return sorted(re.split(r"[^\w-]", line)[0] for line in requirements if "extra ==" not in line)


def _version(distribution: str) -> str | None:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None
