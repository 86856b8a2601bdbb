"""The order of the examination: first what is going on here, and only then what makes work itself."""

import os
from pathlib import Path
from types import ModuleType

from scalemark.doctor.counters import check_cpu_energy, check_gpu_energy, check_resident_peak, check_timer
from scalemark.doctor.findings import Check, Doctor
from scalemark.doctor.hardware import check_caches, check_cpu, check_gpu, check_memory
from scalemark.doctor.quiet import (
    Watched,
    check_clock,
    check_load,
    check_noise,
    check_pressure,
    check_throttling,
    watch_rounds,
)
from scalemark.doctor.software import (
    check_compiler,
    check_corpus,
    check_packages,
    check_results,
    check_threads,
    check_torch,
    import_torch,
)
from scalemark.process import default_affinity, default_threads
from scalemark.record.machine import fingerprint, machine_state
from scalemark.schema import Facts, Machine
from scalemark.system import ROOT


def examine(results_root: Path = Path("results"), root: Path = ROOT) -> Doctor:
    """Look at this machine. results_root: where suites are to be written. root: where /proc and /sys are."""
    state = machine_state(root)  # before anything runs, so that our work is not mistaken for other people's
    load = check_load()
    torch = import_torch()
    machine = _machine(torch, root).model_copy(update={"state": state})
    watched = watch_rounds(torch, default_threads(), root)
    checks = (*_hardware(machine, torch), *_observers(torch, root), *_quiet(machine, load, watched))
    return Doctor(machine=machine, checks=(*checks, *_software(machine, torch, results_root)))


def _machine(torch: ModuleType | None, root: Path) -> Machine:
    """As a run records it: the same torch facts, threads and CPUs, so the same id. Without torch none can be made."""
    facts: Facts = {}
    if torch is not None:
        from scalemark.measure.device import torch_facts

        facts = torch_facts("cuda" if torch.cuda.is_available() else "cpu")
    return fingerprint(facts, default_threads(), root, default_affinity(root))


def _hardware(machine: Machine, torch: ModuleType | None) -> tuple[Check, ...]:
    return check_cpu(machine), check_caches(machine), check_memory(machine), check_gpu(torch, machine)


def _observers(torch: ModuleType | None, root: Path) -> tuple[Check, ...]:
    has_gpu = torch is not None and torch.cuda.is_available()
    return (
        check_cpu_energy(root / "sys/class/powercap"),
        *([check_gpu_energy()] if has_gpu else []),
        check_resident_peak(root / "proc/self/clear_refs"),
        check_timer(),
    )


def _quiet(machine: Machine, load: Check, watched: Watched) -> tuple[Check, ...]:
    return (
        check_clock(machine),
        check_throttling(machine, watched),
        load,
        check_noise(watched),
        check_pressure(watched),
    )


def _software(machine: Machine, torch: ModuleType | None, results_root: Path) -> tuple[Check, ...]:
    return (
        check_torch(torch, machine),
        check_threads(machine, os.environ),
        check_compiler(os.environ),
        check_packages("packages", ("altair", "vl_convert", "jinja2", "typer", "rich")),
        check_corpus(),
        check_results(results_root),
    )
