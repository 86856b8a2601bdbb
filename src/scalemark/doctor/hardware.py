"""Processor, caches, memory and GPU: what there is to measure on."""

import math
from functools import partial
from types import ModuleType

from scalemark.doctor.findings import Check
from scalemark.schema import Machine
from scalemark.units import format_bytes

_SMALL_MEMORY_BYTES = 4 * 2**30  # a step of the largest rung holds about 1 GiB, next to torch and the system
_FAST_BFLOAT16 = ("amx_bf16", "avx512_bf16", "bf16")
_WIDEST_VECTORS = ("avx512f", "avx2", "sve", "asimd")


def number(fact: str | int | float | None) -> float | None:
    """A fact that is a number, if it is."""
    return fact if isinstance(fact, int | float) else None


def check_cpu(machine: Machine) -> Check:
    """The processor, and whether it multiplies bfloat16 in hardware (AVX512-BF16, AMX or Arm BF16)."""
    flags = str(machine.context.get("instruction_set_flags") or "").split()
    bfloat16 = [flag for flag in _FAST_BFLOAT16 if flag in flags]
    vectors = bfloat16 or [flag for flag in _WIDEST_VECTORS if flag in flags]
    detail = ", ".join([_cpu_name(machine), _cores(machine), *vectors[:1]])
    if bfloat16:
        return Check(name="cpu", status="ok", detail=f"{detail}: bfloat16 is fast")
    advice = "bfloat16 is emulated here: stay with float32, the default"
    return Check(name="cpu", status="limited", detail=detail, advice=advice)


def _cpu_name(machine: Machine) -> str:
    """'AMD EPYC 25/17/1': family, model and stepping tell apart what clouds sell under one name."""
    facts = machine.identity
    name = str(facts.get("cpu") or facts.get("architecture") or "unknown").partition(" @")[0]
    name = name.replace("(R)", "").replace("(TM)", "")
    numbers = [facts.get(f"cpu_{part}") for part in ("family", "model", "stepping")]
    return f"{name} {'/'.join(map(str, numbers))}" if all(numbers) else name


def _cores(machine: Machine) -> str:
    """'2 cores of 2 threads, 2 NUMA nodes, virtual'."""
    facts = machine.identity
    threads, nodes = facts.get("threads_per_core"), facts.get("numa_nodes")
    parts = [
        f"{facts.get('cores') or 'unknown'} cores" + (f" of {threads} threads" if threads not in (None, 1) else ""),
        f"{nodes} NUMA nodes" if nodes not in (None, 1) else "",
        "virtual" if facts.get("hypervisor") == "yes" else "",
    ]
    return ", ".join(filter(None, parts))


def check_caches(machine: Machine) -> Check:
    """Bytes per level, as the first core sees them; virtual machines may hide them."""
    sizes = {level: number(machine.identity.get(f"cache_{level}_bytes")) for level in ("l1d", "l2", "l3")}
    detail = ", ".join(f"{level[0].upper()}{level[1:]} {format_bytes(size)}" for level, size in sizes.items() if size)
    return Check(name="caches", status="ok", detail=detail or "not told by this system")


def check_memory(machine: Machine) -> Check:
    """How much there is, how much of it a run can have now, and in which pages it comes."""
    total_bytes = number(machine.identity.get("memory_bytes"))
    limit_bytes = number(machine.context.get("memory_limit_bytes"))
    free_bytes = number(machine.state.get("memory_available_bytes"))
    swap_bytes, pages = number(machine.context.get("swap_total_bytes")), machine.context.get("transparent_hugepages")
    parts = [
        format_bytes(total_bytes),
        f"limited to {format_bytes(limit_bytes)}" if limit_bytes is not None else "",
        f"{format_bytes(free_bytes)} free" if free_bytes is not None else "",
        f"{format_bytes(swap_bytes)} swap" if swap_bytes else "no swap" if swap_bytes == 0 else "",
        f"huge pages: {pages}" if pages else "",
    ]
    check = partial(Check, name="memory", detail=", ".join(filter(None, parts)))
    if min(size for size in (free_bytes, limit_bytes, math.inf) if size is not None) >= _SMALL_MEMORY_BYTES:
        return check(status="ok")
    return check(status="limited", advice="close programs or raise the limit, or large rungs end as predicted_oom")


def check_gpu(torch: ModuleType | None, machine: Machine) -> Check:
    """The GPU that torch calls cuda:0, and what NVML tells of it. Everything also runs without one."""
    missing = partial(Check, name="gpu", status="missing")
    present = machine.identity.get("gpu")
    found = f"{present} is here, but " if present else ""
    if torch is None:
        return missing(detail=f"{found}unknown without torch", advice="install torch first")
    if torch.cuda.is_available():
        return Check(name="gpu", status="ok", detail=_describe_gpu(torch, machine))
    if torch.version.cuda is None:
        return missing(
            detail=f"{found}this torch has no CUDA", advice="for an NVIDIA GPU, install a CUDA build of torch"
        )
    advice = "for an NVIDIA GPU, install its driver, then try nvidia-smi"
    return missing(detail=f"{found}torch finds no CUDA device", advice=advice)


def _describe_gpu(torch: ModuleType, machine: Machine) -> str:
    board, facts = torch.cuda.get_device_properties(0), machine.identity
    count, limit_w, driver = facts.get("gpu_count"), facts.get("gpu_power_limit_w"), machine.context.get("gpu_driver")
    parts = [
        f"{count} × {board.name}" if count not in (None, 1) else board.name,
        format_bytes(board.total_memory),
        f"limit {limit_w} W" if limit_w else "",
        "MIG" if facts.get("gpu_mig") == "on" else "",
        f"CUDA {torch.version.cuda}",
        f"driver {driver}" if driver else "",
    ]
    return ", ".join(filter(None, parts))
