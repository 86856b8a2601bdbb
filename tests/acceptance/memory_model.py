"""The memory model against the allocator, for every cell that `bench/` declares, and the eval phase of each rung.

    python tests/acceptance/memory_model.py                 every rung that fits the memory
    python tests/acceptance/memory_model.py d1w64 d2w128    only these

Each cell is measured in a process of its own, as the memory pass does. The table also has the growth of the resident
set, which the model does not predict: it is there to see how much comes on top of tensors.
"""

import argparse
import importlib.util
import os
import subprocess
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

import numpy as np
import psutil

from scalemark.benchmarks import ladder
from scalemark.measure.memory import measure_memory
from scalemark.measure.phases import build_task, make_round
from scalemark.measure.selection import needed_bytes
from scalemark.model.ladder import RUNGS
from scalemark.model.memory import predict_memory
from scalemark.process import worker_environment
from scalemark.schema import Memory, Workload

BENCH = Path(__file__).parents[2] / "bench"
TOLERANCE = 0.02


class Row(NamedTuple):
    """One cell. measured: None where it not measured the memory, or is compiled and cannot be followed.

    growth: of the resident set in one round. error: predicted/measured - 1.
    """

    workload: Workload
    predicted_bytes: int
    measured_bytes: int | None = None
    growth_bytes: int | None = None

    @property
    def error(self) -> float | None:
        return self.predicted_bytes / self.measured_bytes - 1 if self.measured_bytes else None


def memory_model_errors(rungs: Sequence[str] = tuple(RUNGS)) -> Iterator[Row]:
    """A row for each cell of these rungs, one at a time, smallest first."""
    workloads = [workload for workload in bench_workloads() if workload.rung in rungs]
    predicted = {workload: predict_memory(workload) for workload in workloads}
    for workload, memory in sorted(predicted.items(), key=lambda item: item[1].peak_bytes):
        if needed_bytes(memory) > psutil.virtual_memory().available:
            yield Row(workload, memory.peak_bytes)
        else:
            measured = measure_in_a_fresh_process(workload)
            growth_bytes = measured.resident_bytes and measured.resident_bytes - measured.resident_before_bytes
            yield Row(workload, memory.peak_bytes, measured.allocated_bytes, growth_bytes)


def bench_workloads() -> list[Workload]:
    """Every workload with a rung that a bench function is parametrised with, and each rung's eval phase."""
    found = [
        workload
        for path in sorted(BENCH.glob("bench_*.py"))
        for function in vars(load(path)).values()
        for mark in getattr(function, "pytestmark", [])
        for workload in mark.args[1]
        if isinstance(workload, Workload) and workload.model
    ]
    evaluated = [ladder("eval", rungs=RUNGS.values(), dtype=dtype) for dtype in ("float32", "bfloat16")]
    return list(dict.fromkeys([*found, *evaluated[0], *evaluated[1]]))


def load(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"acceptance_{path.stem}", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def measure_in_a_fresh_process(workload: Workload) -> Memory:
    output = subprocess.run(
        [sys.executable, __file__, "--cell", workload.model_dump_json()],
        env={**os.environ, **worker_environment(1, for_memory=True)},
        stdout=subprocess.PIPE,
        check=True,
    ).stdout
    return Memory.model_validate_json(output)


def measure(workload: Workload) -> Memory:
    """What the memory pass does with a cell, without the worker around it."""
    task = build_task(workload, np.arange(10_000).astype(np.uint8), seed=0)
    one = make_round(task, workload)
    if workload.phase in ("step", "optimizer"):
        one.prepare()
        one.timed()
    return measure_memory(task, one, workload.device)


def line(row: Row) -> str:
    measured = (
        f"{row.measured_bytes / 2**20:10.2f} {row.error:+9.4%}" if row.measured_bytes else f"{'not measured':>20}"
    )
    growth = f"{row.growth_bytes / 2**20:9.1f}" if row.growth_bytes else ""
    workload = row.workload
    shape, how = f"{workload.batch}x{workload.seq_len}", workload.optimizer or ""
    cell = f"{workload.rung:20} {shape:7} {workload.phase:10} {workload.dtype:9} {how:6}"
    return f"{cell} {row.predicted_bytes / 2**20:10.2f} {measured} {growth}"


def worst(rows: Iterable[Row]) -> Iterator[str]:
    """The largest error of each phase and dtype."""
    groups: dict[tuple[str, str], list[float]] = {}
    for row in rows:
        if row.error is not None:
            groups.setdefault((row.workload.phase, row.workload.dtype), []).append(row.error)
    for (phase, dtype), errors in sorted(groups.items()):
        yield f"{phase:10} {dtype:9} {len(errors):3} cells, worst {max(errors, key=abs):+.4%}"


def main(rungs: Sequence[str]) -> int:
    """Print the table; 1 where an error is beyond the tolerance."""
    rows = []
    print(f"{'rung':20} {'shape':7} {'phase':10} {'dtype':9} {'optim.':6} {'predicted':>10} {'measured':>10} "
          f"{'error':>9} {'resident':>9}   MiB")  # fmt: skip
    for row in memory_model_errors(rungs):
        rows.append(row)
        print(line(row), flush=True)
    print("", *worst(rows), sep="\n")
    return int(any(abs(row.error or 0) > TOLERANCE for row in rows))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rungs", nargs="*", default=list(RUNGS), help="names of rungs; all of them by default")
    parser.add_argument("--cell", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.cell:
        print(measure(Workload.model_validate_json(arguments.cell)).model_dump_json())
    else:
        sys.exit(main(arguments.rungs))
