"""Run a job in a fresh Python process and read what it reports, line by line.

    parent                          child (python -m MODULE)
    start(module, job) ── stdin ──> one JSON line: the job
    messages()        <── stdout ── one JSON line per report
                                    its prints and warnings go to the log file

The child ends when its standard input closes, so it never outlives its parent; the parent kills it when it is done
with it. What the child was doing when it died is in its last `Began`.
"""

import io
import json
import os
import queue
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeVar

import psutil
from pydantic import BaseModel, Field, TypeAdapter

from scalemark.errors import ScalemarkError
from scalemark.schema import Frozen, JournalEntry


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


def worker_environment(threads: int, for_memory: bool = False) -> dict[str, str]:
    """Environment variables that a worker runs under."""
    count = {"OMP_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads)}
    return {**count, **(_MEMORY if for_memory else {})}


def default_threads() -> int:
    """Physical cores that this process may use."""
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(usable, psutil.cpu_count(logical=False) or usable))


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
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(job.model_dump_json() + "\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            pass  # it died at once; messages() says so
        self._lines: queue.Queue[str | None] = queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()

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


@dataclass(frozen=True)
class Death:
    """How a worker ended, and on which key it was working then."""

    key: str
    cause: Literal["oom", "failed", "timeout"]
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
        except WorkerDiedError as error:
            yield _death(began, *_cause(error.returncode))
        except WorkerSilentError:
            yield _death(began, "timeout", f"no answer within {silence_s(began):.0f} s")


def _death(key: str | None, cause: Literal["oom", "failed", "timeout"], reason: str) -> Death:
    if key is None:
        raise ScalemarkError(f"a worker ended before it began ({reason}): workers.log in the run's folder says why")
    return Death(key, cause, reason)


def _cause(returncode: int) -> tuple[Literal["oom", "failed"], str]:
    """Linux ends a process that takes the last memory with signal 9."""
    if returncode == -9:
        return "oom", "the worker was killed (signal 9), as the kernel does when memory runs out"
    return "failed", f"the worker ended with exit status {returncode}"


def serve(job_type: type[Job], work: Callable[[Job, Callable[[BaseModel], None]], None]) -> None:
    """The child's side: read the job, work on it with an `emit` for reports, and say that it is done."""
    reports = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # a stray print must not look like a report …
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(line_buffering=True)  # … nor be lost when the parent ends a worker that is done
    job = job_type.model_validate_json(sys.stdin.readline())
    threading.Thread(target=_end_with_parent, daemon=True).start()

    def emit(message: BaseModel) -> None:
        reports.write(message.model_dump_json() + "\n")
        reports.flush()

    work(job, emit)
    reports.write(json.dumps({"kind": "done"}) + "\n")
    reports.flush()


def _end_with_parent() -> None:
    sys.stdin.read()
    os._exit(1)
