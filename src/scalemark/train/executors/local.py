"""Worker processes on this machine, each on CPUs of its own. One that dies is replaced."""

import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from scalemark.process import (
    Began,
    Message,
    Worker,
    WorkerDiedError,
    WorkerSilentError,
    death_on,
    worker_environment,
)
from scalemark.train.executors.pool import ClosedError, LostError, Pool
from scalemark.train.jobs import TrunkJob

WORKER_MODULE = "scalemark.train.worker"
SILENCE_S = 300.0


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


def open_pool(places: Sequence[Place], log_path: Path, hear: Callable[[Message], None]) -> Pool:
    """A worker process at each place."""
    return Pool([LocalSeat(place, log_path) for place in places], hear)


class LocalSeat:
    """One place, and the worker that is at it; it stays there from job to job."""

    def __init__(self, place: Place, log_path: Path) -> None:
        self._place, self._log_path = place, log_path
        self._worker: Worker | None = None
        self._closed = False
        self._lock = threading.Lock()  # no worker sits down while, or after, the place is closed

    def close(self) -> None:
        """Kill the worker."""
        with self._lock:
            self._closed = True
            if self._worker:
                self._worker.__exit__()

    def attempt(self, job: TrunkJob) -> Iterator[Message]:
        """See `Seat`; a worker that dies before it has begun anything ends the grid, since the next one would too."""
        # One that has worked before may die between two jobs: that is a death of the first run of the next.
        began = job.orders[0].key if self._worker else None
        worker = self._sit_down(job)
        try:
            for message in worker.messages(lambda _: SILENCE_S):
                began = message.key if isinstance(message, Began) else began
                yield message
        except (WorkerDiedError, WorkerSilentError) as error:
            worker.__exit__()
            self._worker = None
            raise LostError(death_on(began, error, SILENCE_S)) from error

    def _sit_down(self, job: TrunkJob) -> Worker:
        """The worker at this place, given the job; a new one where there is none."""
        changes = {"threads": self._place.threads, "affinity": self._place.affinity}
        placed = job.model_copy(update=changes)
        with self._lock:
            if self._closed:
                raise ClosedError
            if self._worker:
                self._worker.send(placed)
            else:
                self._worker = Worker(WORKER_MODULE, placed, worker_environment(placed.threads), self._log_path)
            return self._worker
