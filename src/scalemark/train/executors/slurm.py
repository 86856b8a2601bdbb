"""Jobs of Slurm, by way of submitit. Both ends see one folder; reports go through it.

    SlurmSeat.attempt ── submitit, sbatch ──> SlurmTask() on a node ── perform
         ^                                        │
         └── reads ── <folder>/<token>.jsonl <────┘ appends

A time limit or a preemption comes to the task as a signal: its training thread keeps its state and stops, and the job
is queued again and goes on. A driver that is killed leaves its jobs running; the next one takes what they have reported
(`harvest`) and asks them to stop.
"""

import math
import os
import secrets
import shutil
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from scalemark.errors import DeviceError, InputError, ScalemarkError
from scalemark.process import MESSAGES, Began, Death, Message, Progress, worker_environment
from scalemark.schema import RunTrained
from scalemark.train.executors.pool import ClosedError, LostError, Pool
from scalemark.train.executors.remote import Ticket, perform, write_ticket
from scalemark.train.extras import needed
from scalemark.train.jobs import TrunkJob

DEFAULT_SLOTS = 4
TRIES = 3
LOOK_EVERY_S = 0.5
# submitit asks Slurm's accounting rarely; a job that has said nothing for so long is asked after.
ASK_AFTER_S = 60.0
# What a job that ended well has reported may be seen later than that it ended: NFS keeps what it knows for a while.
SETTLE_S = 60.0
# How long a job that has to stop may take to keep its state; submitit has it told 90 s before its end.
STOP_S = 60.0
# Kept back of a job's time limit for its start, and for what is begun and nearly done.
LIMIT_SLACK_S, LIMIT_FACTOR = 600.0, 1.2
# How often a job may reach its time limit and be queued again.
MOST_TIMEOUTS = 100
_DONE = '{"kind":"done"}'


def parse_options(options: Mapping[str, str]) -> dict[str, Any]:
    """submitit's parameters from `--slurm-option K=V`: `cluster` and `time` are its own, the rest goes to sbatch.

    Raises InputError for a time that is not one.
    """
    extra = {key.replace("-", "_"): True if value in ("", "true") else value for key, value in options.items()}
    extra.pop("cluster", None)
    limit = extra.pop("time", None)
    parameters: dict[str, Any] = {"slurm_additional_parameters": extra} if extra else {}
    return parameters | ({"timeout_min": parse_limit_min(str(limit))} if limit else {})


def parse_limit_min(text: str) -> int:
    """Minutes of a time limit as sbatch takes it: M, M:S, H:M:S, D-H, D-H:M or D-H:M:S."""
    try:
        days, dash, clock = text.rpartition("-")
        parts = [int(part) for part in clock.split(":")]
        if len(parts) > 3 or min(parts) < 0:
            raise ValueError
        units = (60, 1, 1 / 60) if dash or len(parts) == 3 else (1, 1 / 60)
        minutes = (int(days) if dash else 0) * 24 * 60 + sum(
            part * unit for part, unit in zip(parts, units, strict=False)
        )
        return max(1, math.ceil(minutes))
    except ValueError:
        raise InputError(f"{text!r} is no time limit: write it as sbatch takes it, 90 or 1:30:00 or 2-0") from None


def find_submitit(options: Mapping[str, str]) -> Any:
    """The package; raises InputError without the extra, DeviceError where there is no Slurm."""
    submitit = needed("submitit", "slurm")
    if cluster_of(options) == "slurm" and not shutil.which("sbatch"):
        raise DeviceError(
            "there is no sbatch here: run this on a login node of a Slurm cluster (or, to try it without one, add "
            "--slurm-option cluster=local)"
        )
    return submitit


def cluster_of(options: Mapping[str, str]) -> str:
    """'slurm', or 'local' for submitit's stand-in of processes on this machine."""
    return options.get("cluster", "slurm")


def open_pool(folder: Path, slots: int, options: Mapping[str, str], hear: Callable[[Message], None]) -> Pool:
    """So many jobs in the queue at a time. folder: where they report to; all nodes see it."""
    submitit = find_submitit(options)
    folder.mkdir(parents=True, exist_ok=True)
    return Pool([SlurmSeat(submitit, folder.resolve(), options) for _ in range(slots)], hear, TRIES)


def harvest(folder: Path) -> list[RunTrained]:
    """What jobs of a driver that is gone have reported; those that are not done are asked to stop."""
    found: list[RunTrained] = []
    for path in sorted(folder.glob("*.jsonl")):
        spool = Spool(path)
        found += [message for message in spool.read() if isinstance(message, RunTrained)]
        if not spool.is_done:
            spool.ask_to_stop()
    return found


class Spool:
    """A file of reports, one a line: one process appends, another reads."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.is_done = False
        self._read_bytes = 0

    def append(self, line: str) -> None:
        """In one write, so that whoever interrupts it in Python finds whole lines."""
        handle = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        try:
            os.write(handle, line.encode() + b"\n")
        finally:
            os.close(handle)

    def append_done(self) -> None:
        """All that was to be done here is reported."""
        self.append(_DONE)

    def read(self) -> Iterator[Message]:
        """What was added since the last time, in whole lines."""
        try:
            with self.path.open("rb") as file:
                file.seek(self._read_bytes)
                content = file.read()
        except FileNotFoundError:  # the job has not begun
            return
        whole = content[: content.rfind(b"\n") + 1]
        self._read_bytes += len(whole)
        for line in whole.decode().splitlines():
            self.is_done = self.is_done or line == _DONE
            try:
                yield MESSAGES.validate_json(line)
            except ValidationError:  # the end, or the beginning of a line that a kill cut off
                continue

    @property
    def is_to_stop(self) -> bool:
        """Whether whoever appends is asked to stop."""
        return self._stop_path.exists()

    def ask_to_stop(self) -> None:
        """Within a second or two, as it sees this file."""
        self._stop_path.touch()

    @property
    def _stop_path(self) -> Path:
        return self.path.with_suffix(".stop")


class SlurmSeat:
    """One job of Slurm at a time."""

    def __init__(self, submitit: Any, folder: Path, options: Mapping[str, str]) -> None:
        self._folder = folder
        self._cluster, self._parameters = cluster_of(options), parse_options(options)
        self._executor = submitit.AutoExecutor(folder, self._cluster, slurm_max_num_timeout=MOST_TIMEOUTS)
        self._closed = threading.Event()
        self._cancel: Callable[[], None] | None = None
        self._lock = threading.Lock()  # no job is submitted while, or after, the seat is closed

    def close(self) -> None:
        """Ask the job to keep its state and stop, and take it out of the queue."""
        with self._lock:
            self._closed.set()
            if self._cancel:
                self._cancel()

    def attempt(self, job: TrunkJob) -> Iterator[Message]:
        """See `Seat`."""
        spool = Spool(self._folder / f"{secrets.token_hex(8)}.jsonl")
        with self._lock:
            if self._closed.is_set():
                raise ClosedError
            handle = self._submit(SlurmTask(write_ticket(job, "slurm"), spool.path), job)
            self._cancel = partial(_cancel, handle, spool)
        key = job.orders[0].key
        for message in self._reports(handle, spool):
            key = message.key if isinstance(message, Began) else key
            yield message
        self._cancel = None
        if not spool.is_done:
            raise LostError(Death(key, "failed", f"Slurm's job {handle.job_id} was lost ({handle.state.lower()})"))

    def _submit(self, task: "SlurmTask", job: TrunkJob) -> Any:
        """Raises InputError where sbatch takes it not."""
        gpus = {"gpus_per_node": 1} if job.device == "cuda" else {}
        limit_min = math.ceil((LIMIT_FACTOR * job.budget_s + LIMIT_SLACK_S) / 60)
        parameters = {"timeout_min": limit_min, "cpus_per_task": job.threads, "name": "scalemark", **gpus}
        try:
            self._executor.update_parameters(**parameters | self._parameters)
            return self._executor.submit(task)
        except (OSError, RuntimeError, ValueError) as error:  # submitit raises sbatch's complaint as RuntimeError
            raise InputError(f"Slurm takes no job ({_last_line(str(error))}): check --slurm-option") from error

    def _reports(self, handle: Any, spool: Spool) -> Iterator[Message]:
        """What the job says, until it is done or lost."""
        known_s, settles_s = time.monotonic(), SETTLE_S
        while not self._closed.is_set():
            is_silent = time.monotonic() - known_s > ASK_AFTER_S
            is_over = handle.done(force_check=is_silent)
            messages = list(spool.read())
            yield from messages
            if spool.is_done:
                return
            if is_over:
                _raise_its_error(handle)
                settles_s -= LOOK_EVERY_S if handle.paths.result_pickle.exists() else math.inf
            if settles_s < 0:
                return
            known_s = time.monotonic() if messages or is_silent else known_s
            self._closed.wait(LOOK_EVERY_S)
        raise ClosedError


def _cancel(handle: Any, spool: Spool) -> None:
    spool.ask_to_stop()
    handle.cancel(check=False)


def _raise_its_error(handle: Any) -> None:
    """Raises ScalemarkError where the task itself raised, which it would do again."""
    if handle.paths.result_pickle.exists() and (error := handle.exception()) is not None:
        raise ScalemarkError(f"a job of Slurm failed: {handle.paths.stderr} says why") from error


def _last_line(text: str) -> str:
    return (text.strip().splitlines() or [""])[-1]


# --- on the node ------------------------------------------------------------------------------------------------------


class _StoppedError(BaseException):
    """The job has to end now. No `Exception`, so that the run that it ends does not count as failed."""


class SlurmTask:
    """What a job does; submitit pickles it, calls it, and calls `checkpoint` when the job is to end before it is done.

    Begun anew, for whatever reason, it does what its reports do not have yet.
    """

    def __init__(self, ticket: Ticket, spool_path: Path) -> None:
        self._ticket, self._spool_path = ticket, spool_path

    def __call__(self) -> None:
        self._begun_s = time.monotonic()
        self._is_to_stop = threading.Event()
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._work, daemon=True)
        self._thread.start()
        self._thread.join()
        if self._error:
            raise self._error

    def checkpoint(self) -> Any:
        """What is to be queued in this job's place; called in the main thread while `_work` trains in its own."""
        self._is_to_stop.set()
        self._thread.join(STOP_S)
        spent_s = time.monotonic() - self._begun_s
        job = self._ticket.job.model_copy(update={"budget_s": self._ticket.job.budget_s - spent_s})
        again = SlurmTask(self._ticket.model_copy(update={"job": job}), self._spool_path)
        return needed("submitit.helpers", "slurm").DelayedSubmission(again)

    def _work(self) -> None:
        spool = Spool(self._spool_path)

        def emit(message: BaseModel) -> None:
            spool.append(message.model_dump_json())
            if isinstance(message, Progress) and (self._is_to_stop.is_set() or spool.is_to_stop):
                raise _StoppedError

        try:
            if spool.is_to_stop:
                return
            spool.append("")  # ends a line that a kill may have cut off
            left = _left(self._ticket, spool)
            if left.job.orders:
                os.environ.update(worker_environment(left.job.threads))  # torch is not loaded yet
                perform(left, has_whole_node(os.environ), emit)
            spool.append_done()
        except _StoppedError:
            pass
        except BaseException as error:
            self._error = error


def _left(ticket: Ticket, spool: Spool) -> Ticket:
    """The ticket without the runs that are reported already."""
    done = {message.run.config.key for message in spool.read() if isinstance(message, RunTrained)}
    orders = tuple(order for order in ticket.job.orders if order.key not in done)
    return ticket.model_copy(update={"job": ticket.job.model_copy(update={"orders": orders})})


def has_whole_node(environment: Mapping[str, str]) -> bool | None:
    """Whether Slurm gave all CPUs of this node to the job; None where it does not say."""
    given = environment.get("SLURM_CPUS_ON_NODE")
    return None if given is None else int(given) >= (os.cpu_count() or sys.maxsize)
