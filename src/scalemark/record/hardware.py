"""The hardware part of a machine's identity: processor, caches, memory, where the work may run, and the GPU.

Only facts that stay over a reboot, a kernel update and a busy hour. What cannot be had is None.
"""

import os
import platform
import re
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any, TypeVar

import psutil

from scalemark.schema import Facts
from scalemark.system import CPUS, cpu_numbers, cpu_quota_cores, meminfo_bytes, read_text, siblings

Answer = TypeVar("Answer")

_BYTES_PER_UNIT = {"K": 2**10, "M": 2**20, "G": 2**30}
# Only what kernels are chosen by: the operating system adds and drops flags of its own from one release to the next.
_INSTRUCTION_SET = re.compile(r"s?sse|avx|amx|fma|f16c|bmi|asimd|sve|sme(?!p)|bf16|i8mm")
# Linux names the CPUs of each kind of core of a hybrid x86 processor by its performance counters.
_HYBRID_KINDS = ("cpu_core", "cpu_atom", "cpu_lowpower")


def cpu_facts(root: Path) -> Facts:
    """Processor, caches and memory; from files where there is a /proc below `root`."""
    facts: Facts = {"architecture": platform.machine() or None, "system": platform.system() or None}
    return facts | (_linux_cpu(root) if (root / "proc/cpuinfo").exists() else _portable_cpu())


def _linux_cpu(root: Path) -> Facts:
    first = processors(root)[0]
    return {
        "cpu": first.get("model name"),
        "cpu_vendor": first.get("vendor_id") or first.get("CPU implementer"),
        "cpu_family": first.get("cpu family") or first.get("CPU architecture"),
        "cpu_model": first.get("model") or first.get("CPU part"),
        "cpu_stepping": first.get("stepping") or first.get("CPU revision"),
        "instruction_set": _digest(instruction_set(root)),
        **_hypervisor_facts(root, first),
        **_topology_facts(root),
        "cpu_quota_cores": cpu_quota_cores(root),
        **_linux_caches(root),
        "memory_bytes": _stable_memory_bytes(meminfo_bytes(root, "MemTotal")),
    }


def _portable_cpu() -> Facts:
    return {
        "cpu": platform.processor() or None,
        "cores": psutil.cpu_count(logical=False),
        "logical_cores": psutil.cpu_count(),
        "memory_bytes": _stable_memory_bytes(psutil.virtual_memory().total),
    }


def processors(root: Path) -> list[dict[str, str]]:
    """The 'key : value' lines of every processor in /proc/cpuinfo; never empty."""
    blocks = (read_text(root / "proc/cpuinfo") or "").split("\n\n")
    pairs = [[line.partition(":") for line in block.splitlines()] for block in blocks]
    return [{key.strip(): value.strip() for key, _, value in block if value.strip()} for block in pairs]


def instruction_set(root: Path) -> str | None:
    """The flags that kernels are chosen by, sorted: 'avx avx2 fma …'."""
    first = processors(root)[0]
    flags = (first.get("flags") or first.get("Features") or "").split()
    return " ".join(sorted({flag for flag in flags if _INSTRUCTION_SET.match(flag)})) or None


def _digest(text: str | None) -> str | None:
    return sha256(text.encode()).hexdigest()[:12] if text else None


def _hypervisor_facts(root: Path, first: Mapping[str, str]) -> Facts:
    """Whether there is one, and whose.

    Xen says so itself. Others fill the DMI tables of their guests with their own name and that of the kind of machine
    they sell. On a machine without hypervisor the same tables name the board, which moves no time: they are not read.
    """
    flags = first.get("flags")
    own_name = read_text(root / "sys/hypervisor/type")
    present = own_name is not None or ("hypervisor" in flags.split() if flags is not None else None)
    vendor = own_name or (dmi_name(root) if present else None)
    return {"hypervisor": None if present is None else "yes" if present else "no", "hypervisor_vendor": vendor}


def dmi_name(root: Path) -> str | None:
    """Vendor and product as the firmware states them: 'QEMU Standard PC', 'Amazon EC2 c7i.large'."""
    words = [read_text(root / "sys/class/dmi/id" / name) for name in ("sys_vendor", "product_name")]
    return " ".join(filter(None, words)) or None


def _topology_facts(root: Path) -> Facts:
    """cores: distinct pairs of package and core. threads_per_core: 2 where SMT is on."""
    folders = list((root / CPUS).glob("cpu[0-9]*/topology"))
    cores = {(read_text(folder / "physical_package_id"), read_text(folder / "core_id")) for folder in folders}
    threads = [len(cpu_numbers(read_text(folder / "thread_siblings_list"))) for folder in folders]
    return {
        "cores": len(cores) or None,
        "logical_cores": len(re.findall(r"^processor\s*:", read_text(root / "proc/cpuinfo") or "", re.M)) or None,
        "threads_per_core": max(threads, default=0) or None,
        "numa_nodes": len(list(_numa_folders(root))) or None,
    }


def _numa_folders(root: Path) -> list[Path]:
    return list((root / "sys/devices/system/node").glob("node[0-9]*"))


def _linux_caches(root: Path) -> Facts:
    """Bytes of each cache that the first core sees."""
    caches: Facts = {"cache_l1d_bytes": None, "cache_l2_bytes": None, "cache_l3_bytes": None}
    for folder in (root / CPUS / "cpu0/cache").glob("index[0-9]*"):
        suffix = "d" if read_text(folder / "type") == "Data" else ""
        name = f"cache_l{read_text(folder / 'level')}{suffix}_bytes"
        match = re.fullmatch(r"(\d+)([KMG])", read_text(folder / "size") or "")
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


# --- where the work may run -------------------------------------------------------------------------------------------


def own_affinity(root: Path) -> tuple[int, ...] | None:
    """CPUs that this process may use; None where the system does not tell."""
    match = re.search(r"^Cpus_allowed_list:\s*(\S+)", read_text(root / "proc/self/status") or "", re.MULTILINE)
    return cpu_numbers(match[1]) if match else None


def affinity_facts(root: Path, affinity: Collection[int] | None) -> Facts:
    """How many CPUs, of how many cores, of which kinds, on how many NUMA nodes; all None where `affinity` is.

    Which CPUs they are is not part of the identity: a scheduler hands out other ones each time, and on CPUs that are
    alike they take the same time. What differs is hashed: two threads of one core are not two cores, an efficiency core
    is not a performance core, and eight cores of one NUMA node have half the memory bandwidth of four and four.
    """
    names = ["affinity_cpus", "affinity_cores", "affinity_kinds", "affinity_numa_nodes"]
    if affinity is None:
        return dict.fromkeys(names)
    cores = {siblings(root, cpu) for cpu in affinity}
    nodes = [set(cpu_numbers(read_text(folder / "cpulist"))) for folder in _numa_folders(root)]
    touched = sum(not node.isdisjoint(affinity) for node in nodes)
    return dict(zip(names, [len(affinity), len(cores), _kinds(root, affinity), touched or None], strict=True))


def _kinds(root: Path, affinity: Collection[int]) -> str | None:
    """'6 cpu_core, 4 cpu_atom'; None where the system does not tell kinds apart, as where all are alike."""
    kind_of = {
        cpu: kind for kind in _HYBRID_KINDS for cpu in cpu_numbers(read_text(root / "sys/devices" / kind / "cpus"))
    }
    if not kind_of:  # Arm gives each kind of core its own part number
        kind_of = {
            int(block.get("processor", -1)): part for block in processors(root) if (part := block.get("CPU part"))
        }
    counts = Counter(kind_of[cpu] for cpu in affinity if cpu in kind_of)
    return ", ".join(f"{count} {kind}" for kind, count in sorted(counts.items())) or None


# --- GPU --------------------------------------------------------------------------------------------------------------


def nvidia_facts(nvml: Any, environment: Mapping[str, str] = os.environ) -> Facts:
    """NVIDIA devices, described by the first visible one; all None where `nvml` is None or answers nothing.

    nvml: the `pynvml` module, already initialised. environment: CUDA_VISIBLE_DEVICES is heeded; where it hides all,
    the machine still has its first one. The driver's version is no part of the identity: kernels come with torch's
    CUDA, and an id has to outlive a driver update as it outlives a kernel update.
    """
    names = ["gpu", "gpu_count", "gpu_memory_bytes", "gpu_power_limit_w", "gpu_mig", "gpu_compute_capability"]
    facts: Facts = dict.fromkeys(names)
    count = ask(lambda: int(nvml.nvmlDeviceGetCount())) if nvml else None
    if not count:
        return facts
    device = _first_visible(nvml, environment)
    return {
        "gpu": ask(lambda: decoded(nvml.nvmlDeviceGetName(device))),
        "gpu_count": count,
        "gpu_memory_bytes": ask(lambda: int(nvml.nvmlDeviceGetMemoryInfo(device).total)),
        "gpu_power_limit_w": ask(lambda: round(nvml.nvmlDeviceGetPowerManagementLimit(device) / 1000)),
        "gpu_mig": ask(lambda: "on" if nvml.nvmlDeviceGetMigMode(device)[0] else "off"),
        "gpu_compute_capability": ask(lambda: ".".join(map(str, nvml.nvmlDeviceGetCudaComputeCapability(device)))),
    }


def _first_visible(nvml: Any, environment: Mapping[str, str]) -> Any:
    """Handle of the first board in CUDA_VISIBLE_DEVICES, given there by number or by UUID."""
    first = environment.get("CUDA_VISIBLE_DEVICES", "0").split(",")[0].strip()
    by_name = nvml.nvmlDeviceGetHandleByIndex if first.isdigit() else getattr(nvml, "nvmlDeviceGetHandleByUUID", None)
    visible = ask(lambda: by_name(int(first) if first.isdigit() else first)) if by_name else None
    return visible or ask(lambda: nvml.nvmlDeviceGetHandleByIndex(0))


def gpu_driver(nvml: Any) -> str | None:
    """Version of the driver: '550.54.15'."""
    return ask(lambda: decoded(nvml.nvmlSystemGetDriverVersion())) if nvml else None


def load_nvml() -> Any:
    """The `pynvml` module, initialised; None where there is no package, no driver, or one that refuses."""
    try:
        import pynvml

        pynvml.nvmlInit()
    except Exception:  # whatever it is, then nothing is known of GPUs
        return None
    return pynvml


def ask(question: Callable[[], Answer]) -> Answer | None:
    """NVML's answer, or None: each question may be unsupported on its own."""
    try:
        return question()
    except Exception:
        return None


def decoded(name: str | bytes) -> str:
    """Text, which older bindings give as bytes."""
    return name.decode() if isinstance(name, bytes) else name
