"""Run jobs in a fresh Python process and read what it reports, line by line.

    parent                          child (python -m MODULE)
    start(module, job) ── stdin ──> one JSON line: the job
    messages()        <── stdout ── one JSON line per report, until the job is done
    send(job)         ── stdin ──>  the next job, in the same process
                                    its prints and warnings go to the log file

The child ends when its standard input closes, so it never outlives its parent; the parent kills it when it is done
with it. What the child was doing when it died is in its last `Began`.
"""

import io
import json
import math
import os
import queue
import subprocess
import sys
import threading
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeVar

import psutil
from pydantic import BaseModel, Field, TypeAdapter

from scalemark.errors import ScalemarkError
from scalemark.schema import Frozen, JournalEntry
from scalemark.system import ROOT, cpu_quota_cores, siblings


class Began(Frozen):
    """The child turns to the thing of this key."""

    kind: Literal["began"] = "began"
    key: str


class Progress(Frozen):
    """How far the thing of this key is, from 0 to 1, and a word on it."""

    kind: Literal["progress"] = "progress"
    key: str
    fraction: float
    note: str = ""


class Refused(Frozen):
    """The job cannot be done at all, and why."""

    kind: Literal["refused"] = "refused"
    reason: str


# A fixed threshold makes glibc return every large block at once, so the resident size follows what is live. It costs
# a page fault per page and allocation, so nothing is timed under it.
_MEMORY = {"MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "65536"}
# What torch.compile takes is part of a price: it must not depend on what was compiled here before.
_COMPILER = {"TORCHINDUCTOR_FORCE_DISABLE_CACHES": "1"}
_THREADS = ("OMP_", "MKL_", "OPENBLAS_", "KMP_", "GOMP_", "DNNL_", "ONEDNN_", "ATEN_", "LRU_CACHE_CAPACITY")
_ALLOCATOR = ("MALLOC_", "LD_PRELOAD", "GLIBC_TUNABLES")
_TORCH = ("PYTORCH_", "TORCH_", "TORCHINDUCTOR_", "TORCHDYNAMO_")
_CUDA = ("CUDA_", "CUBLAS_", "CUDNN_", "NVIDIA_TF32_OVERRIDE")
_MOVING = (*_THREADS, *_ALLOCATOR, *_TORCH, *_CUDA)
# Named alike, but they only say where something lies or which version it is; images of containers set them.
_STILL = frozenset({"CUDA_HOME", "CUDA_PATH", "CUDA_VERSION", "TORCH_HOME", "PYTORCH_VERSION", "PYTORCH_BUILD_VERSION"})


def worker_environment(threads: int, for_memory: bool = False) -> dict[str, str]:
    """Environment variables that a worker runs under.

    They say how many threads each library may start; where those run is the worker's affinity, set before they are.
    """
    count = {f"{library}_NUM_THREADS": str(threads) for library in ("OMP", "MKL", "OPENBLAS")}
    return {**count, **_COMPILER, **(_MEMORY if for_memory else {})}


def moving_variables(environment: Mapping[str, str]) -> dict[str, str]:
    """Those that move times: of thread and math libraries, of the allocator, of torch and of CUDA. Sorted by name."""
    names = (name for name in sorted(environment) if name.startswith(_MOVING) and name not in _STILL)
    return {name: environment[name] for name in names}


def default_threads() -> int:
    """One for every physical core that this process may use, but no more than its control group gets time for.

    More threads than the quota allows would be stopped together for a part of every tenth of a second.
    """
    affinity = default_affinity()
    cores = len(affinity) if affinity else psutil.cpu_count(logical=False) or os.cpu_count() or 1
    return max(1, math.floor(min(cores, cpu_quota_cores() or math.inf)))


def default_affinity(root: Path = ROOT) -> tuple[int, ...] | None:
    """One logical CPU of every physical core that this process may use; None where the system has no affinity.

    Two threads of one core share its vector units: a second one adds little and makes the times of both depend on
    where the scheduler puts them. root: where /sys is.
    """
    return one_per_core(os.sched_getaffinity(0), root) if hasattr(os, "sched_getaffinity") else None


def keep_to(affinity: Collection[int] | None) -> None:
    """Let this process, and the threads that it starts from now on, run on these CPUs; nothing where there are none."""
    if affinity and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, affinity)


def one_per_core(cpus: Collection[int], root: Path = ROOT) -> tuple[int, ...]:
    """The lowest of `cpus` on each physical core; where the cores are unknown, each CPU is taken for one."""
    lowest: dict[str, int] = {}
    for cpu in sorted(cpus):
        lowest.setdefault(siblings(root, cpu), cpu)
    return tuple(lowest.values())


Message = Annotated[JournalEntry | Began | Progress | Refused, Field(discriminator="kind")]
MESSAGES: TypeAdapter[Message] = TypeAdapter(Message)
Job = TypeVar("Job", bound=BaseModel)
Order = TypeVar("Order", bound=BaseModel)


class WorkerDiedError(Exception):
    """The child ended before its job was done. returncode: negative for a signal."""

    def __init__(self, returncode: int) -> None:
        super().__init__(f"worker ended with {returncode}")
        self.returncode = returncode


class WorkerSilentError(Exception):
    """The child said nothing for longer than it was given."""


class Worker:
    """One child process. Use as a context manager: leaving it kills the child."""

    def __init__(self, module: str, job: BaseModel, environment: Mapping[str, str], log_path: Path) -> None:
        with log_path.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", module],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                env={**os.environ, **environment, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
                start_new_session=True,  # Ctrl-C belongs to the parent, which then ends the child
                text=True,
                encoding="utf-8",
            )
        self._lines: queue.Queue[str | None] = queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()
        self.send(job)

    def send(self, job: BaseModel) -> None:
        """Give it a job: the next one only when `messages` has come to the end of the one before."""
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):  # where it died, messages() says so
            self._process.stdin.write(job.model_dump_json() + "\n")
            self._process.stdin.flush()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._lines.put(line)
        self._lines.put(None)

    def messages(self, silence_s: Callable[[str | None], float], types: TypeAdapter[Any] = MESSAGES) -> Iterator[Any]:
        """What the child reports, until its job is done.

        silence_s: how long it may say nothing while it is on this key (None before the first). types: what it may
        report. Raises WorkerSilentError after such a silence, WorkerDiedError where the child ends early.
        """
        key: str | None = None
        while True:
            try:
                line = self._lines.get(timeout=silence_s(key))
            except queue.Empty:
                raise WorkerSilentError from None
            if line is None:
                raise WorkerDiedError(self._process.wait())
            if json.loads(line) == {"kind": "done"}:
                return
            message = types.validate_json(line)
            key = message.key if isinstance(message, Began) else key
            yield message


Cause = Literal["oom", "failed", "timeout"]


@dataclass(frozen=True)
class Death:
    """How a worker ended, and on which key it was working then."""

    key: str
    cause: Cause
    reason: str


def work_through(
    pending: list[Order],
    start: Callable[[list[Order]], Worker],
    take: Callable[[Message], None],
    silence_s: Callable[[str | None], float],
) -> Iterator[Death]:
    """Let workers do all of `pending`, a new one on what is left whenever one dies; yield each death.

    An order is found by its `key`; orders without one die with nobody. take: gets every message, `Began` included.
    silence_s: how long a worker may say nothing while it is on this key. Raises ScalemarkError where a worker dies
    before it has begun anything, since the next one would too.
    """
    while pending:
        began: str | None = None
        try:
            with start(pending) as worker:
                for message in worker.messages(silence_s):
                    if isinstance(message, Began):
                        began = message.key
                        pending[:] = [order for order in pending if getattr(order, "key", None) != began]
                    take(message)
                pending.clear()
        except (WorkerDiedError, WorkerSilentError) as error:
            yield death_on(began, error, silence_s(began))


def death_on(key: str | None, error: WorkerDiedError | WorkerSilentError, silence_s: float) -> Death:
    """How a worker ended while it was on this key; raises ScalemarkError where it had begun nothing."""
    cause, reason = (
        _cause(error.returncode)
        if isinstance(error, WorkerDiedError)
        else ("timeout", f"no answer within {silence_s:.0f} s")
    )
    if key is None:
        raise ScalemarkError(f"a worker ended before it began ({reason}): workers.log in the run's folder says why")
    return Death(key, cause, reason)


def _cause(returncode: int) -> tuple[Cause, str]:
    """Linux ends a process that takes the last memory with signal 9."""
    if returncode == -9:
        return "oom", "the worker was killed (signal 9), as the kernel does when memory runs out"
    return "failed", f"the worker ended with exit status {returncode}"


def serve(job_type: type[Job], work: Callable[[Job, Callable[[BaseModel], None]], None]) -> None:
    """The child's side: read jobs, work on each with an `emit` for reports, and say when it is done."""
    reports = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # a stray print must not look like a report …
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(line_buffering=True)  # … nor be lost when the parent ends a worker that is done
    lines: queue.Queue[str] = queue.Queue()
    threading.Thread(target=_listen, args=(lines,), daemon=True).start()

    def emit(message: BaseModel) -> None:
        reports.write(message.model_dump_json() + "\n")
        reports.flush()

    while True:
        work(job_type.model_validate_json(lines.get()), emit)
        reports.write(json.dumps({"kind": "done"}) + "\n")
        reports.flush()


def _listen(lines: queue.Queue[str]) -> None:
    """Take jobs in until standard input closes, which ends this process whatever it is doing."""
    for line in sys.stdin:
        lines.put(line)
    os._exit(1)
