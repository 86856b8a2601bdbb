"""One side's worker: builds and steps through workloads with the code that it finds, as orders come in, line by line.

    parent                                    this process (python -P worker.py)
    {"do": "begin", …}        ── stdin ──>    set threads, import the side's scalemark
    {"do": "build", …}                        make a task and its round
    {"do": "rounds", "n": 5}                  run five rounds; {"seconds": […]}
                              <── stdout ──   one JSON line per order; {"error": …} where it could not be done

Between orders it is blocked in a read of its input, so it takes nothing from the side whose turn it is. It is run as a
file and not as a module: a side may be older than this file, and its own scalemark must be the only one imported. So
nothing of scalemark is imported before the first order, and what crosses the pipe is plain JSON.
"""

import gc
import json
import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Order = dict[str, Any]
Answer = dict[str, Any]


@dataclass
class _Bench:
    """What the orders so far have made: text and seed, then the workload that is being stepped through."""

    token_path: str
    seed: int
    device: str = "cpu"
    prepare: Callable[[], None] | None = None
    timed: Callable[[], None] | None = None

    def begin(self, order: Order) -> Answer:
        """Threads and affinity first: torch's threads inherit them."""
        if order["affinity"] and hasattr(os, "sched_setaffinity"):
            os.sched_setaffinity(0, order["affinity"])
        import torch

        torch.set_num_threads(order["threads"])
        _check_origin(order["package"])
        return {"cuda": torch.cuda.is_available()}

    def build(self, order: Order) -> Answer:
        """Make the workload's task; the one before it is dropped first, so that only one takes memory."""
        self.prepare = self.timed = None
        gc.collect()
        from scalemark.measure.phases import make_round

        workload = _workload(order)
        one = make_round(self._task(workload), workload)
        self.prepare, self.timed, self.device = one.prepare, one.timed, workload.device
        gc.collect()
        gc.freeze()
        gc.disable()  # a collection inside a round would be timed as if the model had done it
        return {}

    def rounds(self, order: Order) -> Answer:
        """Time so many rounds of what was built last."""
        return {"seconds": [self._time_round_s() for _ in range(order["n"])]}

    def count(self, order: Order) -> Answer:
        """Exact counters of one round, never timed; a counter that this side does not know is left out."""
        workload = _workload(order)
        task = self._task(workload)
        return {"accounting": _accounting(task, workload), **_observed(task, workload)}

    def _task(self, workload: Any) -> Any:
        import numpy as np

        from scalemark.measure.phases import build_task

        return build_task(workload, np.fromfile(self.token_path, dtype=np.uint8), self.seed)

    def _time_round_s(self) -> float:
        assert self.prepare and self.timed, "rounds are asked for after a build"
        self.prepare()
        self._wait()
        start = time.perf_counter()
        self.timed()
        self._wait()
        return time.perf_counter() - start

    def _wait(self) -> None:
        if self.device == "cuda":
            import torch

            torch.cuda.synchronize()


def _check_origin(package: str | None) -> None:
    """Whether the scalemark that Python finds is the side's own, where it has one.

    Anything else would measure an installed scalemark against itself, and find no difference whatever changed.
    """
    import scalemark

    found = Path(scalemark.__file__).resolve().parent
    if package is not None and found != Path(package).resolve():
        raise ImportError(f"Python imports scalemark from {found} and not from its own {package}")


def _workload(order: Order) -> Any:
    from scalemark.schema import Workload

    return Workload.model_validate(order["workload"])


def _accounting(task: Any, workload: Any) -> Answer:
    if workload.task:
        from scalemark.measure.count import count_task

        return dict(count_task(task).model_dump(mode="json"))
    from scalemark.model.accounting import account

    counted = account(workload.model, workload.batch, workload.seq_len, workload.dtype, workload.optimizer)
    return dict(counted.model_dump(mode="json"))


def _observed(task: Any, workload: Any) -> Answer:
    """Operators of a round, then the peak of the next, as far as this side's version can see them."""
    try:
        from scalemark.measure.memory import measure_memory
        from scalemark.measure.operators import count_operators
        from scalemark.measure.phases import make_round
    except ImportError:
        return {}
    one = make_round(task, workload)
    one.prepare()
    one.timed()  # makes what later rounds find: optimizer state
    one.prepare()
    operators = count_operators(one.timed)
    one = make_round(task, workload)
    memory = measure_memory(task, one, workload.device)
    return {"operators": operators.model_dump(mode="json"), "memory": memory.model_dump(mode="json")}


def _first_line(error: Exception) -> str:
    return f"{type(error).__name__}: {(str(error).splitlines() or [''])[0]}"


def main() -> None:
    """Answer orders until the input closes, which ends this process with its parent."""
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # a stray print must not look like an answer
    bench = _Bench("", 0)
    while line := sys.stdin.readline():
        order = json.loads(line)
        if order["do"] == "begin":
            bench = _Bench(order["token_path"], order["seed"])
        try:
            answer = getattr(bench, order["do"])(order)
        except Exception as error:  # whatever a side's own code raises is its answer
            answer = {"error": _first_line(error)}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


if __name__ == "__main__":
    main()
