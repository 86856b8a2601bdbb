"""Where jobs run: hand them in with `submit`, and take them back with `as_completed`.

    submit(job) ──> queue ──> slot 0: worker process ──┐
                         └──> slot 1: worker process ──┴──> events ──> as_completed(), in the caller's thread

The local executor keeps as many workers as it has slots, each on CPUs of its own. A worker that dies is replaced, and
what was left of its job is tried once more: it goes on from its checkpoints, if it has any.
"""

import queue
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, Self

from scalemark.errors import DeviceError
from scalemark.process import (
    Began,
    Death,
    Message,
    Refused,
    Worker,
    WorkerDiedError,
    WorkerSilentError,
    death_on,
    worker_environment,
)
from scalemark.schema import RunTrained
from scalemark.train.jobs import RunOrder, TrunkJob

WORKER_MODULE = "scalemark.train.worker"
SILENCE_S = 300.0
TRIES = 2


@dataclass(frozen=True)
class Ended:
    """A job that is over. death: how its worker ended, and `left` what it did not come to; None where all was done."""

    job: TrunkJob
    left: tuple[RunOrder, ...] = ()
    death: Death | None = None


class Executor(Protocol):
    """What can run jobs. Jobs do not depend on one another, and one that is run twice gives the same."""

    @property
    def slots(self) -> int:
        """How many jobs run at a time."""

    def submit(self, job: TrunkJob) -> None:
        """Take this job in; it begins when a slot is free."""

    def as_completed(self) -> Iterator[Ended]:
        """Every job handed in so far, as each is over; meanwhile what workers report goes to whoever listens."""


@dataclass(frozen=True)
class Place:
    """One worker's place: its threads, and the CPUs that it keeps to."""

    threads: int
    affinity: tuple[int, ...] | None


def share_cpus(slots: int, threads: int, affinity: Sequence[int] | None) -> tuple[Place, ...]:
    """`slots` places of `threads` CPUs each, none in two of them while there are enough; else none is bound."""
    if affinity is None or slots * threads > len(affinity):
        return (Place(threads, None),) * slots
    return tuple(Place(threads, tuple(affinity[i * threads : (i + 1) * threads])) for i in range(slots))


@dataclass
class LocalExecutor:
    """Worker processes on this machine, as many as there are places. Leaving it ends them all.

    hear: gets every report of a worker, in the thread that goes through `as_completed`.
    """

    places: Sequence[Place]
    log_path: Path
    hear: Callable[[Message], None]
    _jobs: "queue.Queue[TrunkJob | None]" = field(default_factory=queue.Queue)
    _events: "queue.Queue[Message | Ended | Exception]" = field(default_factory=queue.Queue)
    _seats: list["_Seat"] = field(default_factory=list)
    _open: int = 0

    @property
    def slots(self) -> int:
        return len(self.places)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for seat in self._seats:
            seat.close()
            self._jobs.put(None)

    def submit(self, job: TrunkJob) -> None:
        self._jobs.put(job)
        self._open += 1
        if len(self._seats) < min(self.slots, self._open):
            seat = _Seat(self.places[len(self._seats)], self.log_path, self._events.put)
            self._seats.append(seat)
            threading.Thread(target=self._work_at, args=(seat,), daemon=True).start()

    def as_completed(self) -> Iterator[Ended]:
        while self._open:
            event = self._events.get()
            if isinstance(event, Exception):
                raise event
            if isinstance(event, Refused):
                raise DeviceError(event.reason)
            if isinstance(event, Ended):
                self._open -= 1
                yield event
            else:
                self.hear(event)

    def _work_at(self, seat: "_Seat") -> None:
        while (job := self._jobs.get()) is not None:
            try:
                self._events.put(seat.run(job))
            except Exception as error:  # it belongs to whoever waits for the job
                self._events.put(error)
                return


class _ClosedError(Exception):
    """The executor was left: no job begins any more."""


class _Seat:
    """One place, and the worker that is at it."""

    def __init__(self, place: Place, log_path: Path, hear: Callable[[Message], None]) -> None:
        self._place, self._log_path, self._hear = place, log_path, hear
        self._worker: Worker | None = None
        self._closed = False
        self._lock = threading.Lock()  # no worker sits down while, or after, the place is closed

    def close(self) -> None:
        with self._lock:
            self._closed = True
            if self._worker:
                self._worker.__exit__()

    def run(self, job: TrunkJob) -> Ended:
        """Have a worker do the job, and where it dies, another what is left of it."""
        left, death = list(job.orders), None
        started = time.monotonic()
        for _ in range(TRIES):
            budget_s = job.budget_s - (time.monotonic() - started)
            death = self._try(self._placed(job, left, budget_s), left)
            if death is None:
                break
        return Ended(job, tuple(left), death)

    def _placed(self, job: TrunkJob, left: Sequence[RunOrder], budget_s: float) -> TrunkJob:
        threads, affinity = self._place.threads, self._place.affinity
        changes = {"orders": tuple(left), "budget_s": budget_s, "threads": threads, "affinity": affinity}
        return job.model_copy(update=changes)

    def _try(self, job: TrunkJob, left: list[RunOrder]) -> Death | None:
        """One try; what is done is taken off `left`."""
        # One that has worked before may die between two jobs: that is a death of the first run of the next.
        began = left[0].key if self._worker else None
        worker = self._sit_down(job)
        try:
            for message in worker.messages(lambda _: SILENCE_S):
                if isinstance(message, Began):
                    began = message.key
                elif isinstance(message, RunTrained):
                    left[:] = [order for order in left if order.key != message.run.config.key]
                self._hear(message)
        except (WorkerDiedError, WorkerSilentError) as error:
            worker.__exit__()
            self._worker = None
            return death_on(began, error, SILENCE_S)
        return None

    def _sit_down(self, job: TrunkJob) -> Worker:
        """The worker at this place, given the job; a new one where there is none."""
        with self._lock:
            if self._closed:
                raise _ClosedError
            if self._worker:
                self._worker.send(job)
            else:
                self._worker = Worker(WORKER_MODULE, job, worker_environment(job.threads), self._log_path)
            return self._worker
