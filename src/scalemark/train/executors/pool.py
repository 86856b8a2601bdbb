"""Where jobs run: hand them in with `submit`, and take them back with `as_completed`.

    submit(job) ──> queue ──> seat ──┐
                         └──> seat ──┴──> events ──> as_completed(), in the caller's thread

A seat does one job at a time: in a worker process of this machine (local.py), as a task of a Ray cluster (ray.py), or
as a job of Slurm (slurm.py). Where whoever does it is lost, what was left of the job is tried again, by anyone there
is; it goes on from its checkpoints, if it has any.
"""

import queue
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol, Self

from scalemark.errors import DeviceError
from scalemark.process import Death, Message, Refused
from scalemark.schema import RunTrained
from scalemark.train.jobs import RunOrder, TrunkJob


class LostError(Exception):
    """Whoever did a job is gone before its end. death: how, and on which run."""

    def __init__(self, death: Death) -> None:
        super().__init__(death.reason)
        self.death = death


class ClosedError(Exception):
    """The pool was left: no job begins any more."""


class Seat(Protocol):
    """A place where one job at a time is done."""

    def attempt(self, job: TrunkJob) -> Iterator[Message]:
        """Do the job once: what is reported, until it is done.

        Raises LostError where whoever does it is lost, ClosedError where the seat is closed, and a ScalemarkError where
        no other attempt could do better.
        """

    def close(self) -> None:
        """End what is done here, from another thread; nothing begins any more."""


@dataclass(frozen=True)
class Ended:
    """A job that is over. death: how its last attempt ended, and `left` what it did not come to; None where all is."""

    job: TrunkJob
    left: tuple[RunOrder, ...] = ()
    death: Death | None = None


@dataclass
class Pool:
    """Seats, and the jobs that they work through. Leaving it closes all of them.

    hear: gets every report, in the thread that goes through `as_completed`. tries: how often what is lost is begun.
    """

    seats: Sequence[Seat]
    hear: Callable[[Message], None]
    tries: int = 2
    _jobs: "queue.Queue[TrunkJob | None]" = field(default_factory=queue.Queue)
    _events: "queue.Queue[Message | Ended | Exception]" = field(default_factory=queue.Queue)
    _n_taken: int = 0
    _open: int = 0

    @property
    def slots(self) -> int:
        """How many jobs run at a time."""
        return len(self.seats)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for seat in self.seats:
            seat.close()
            self._jobs.put(None)

    def submit(self, job: TrunkJob) -> None:
        """Take this job in; it begins when a seat is free."""
        self._jobs.put(job)
        self._open += 1
        if self._n_taken < min(self.slots, self._open):
            seat = self.seats[self._n_taken]
            self._n_taken += 1
            threading.Thread(target=self._work_at, args=(seat,), daemon=True).start()

    def as_completed(self) -> Iterator[Ended]:
        """Every job handed in so far, as each is over; meanwhile what is reported goes to whoever listens."""
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

    def _work_at(self, seat: Seat) -> None:
        while (job := self._jobs.get()) is not None:
            try:
                self._events.put(self._do(seat, job))
            except Exception as error:  # it belongs to whoever waits for the job
                self._events.put(error)
                return

    def _do(self, seat: Seat, job: TrunkJob) -> Ended:
        """Have the job done at this seat, and where that is lost, what is left of it once more."""
        left, death, spent_s = list(job.orders), None, 0.0
        for _ in range(self.tries):
            rest = job.model_copy(update={"orders": tuple(left), "budget_s": job.budget_s - spent_s})
            death, seconds = self._attempt(seat, rest, left)
            spent_s += seconds
            if death is None or not left:
                return Ended(job)
        assert death is not None
        return Ended(job, tuple(left), replace(death, reason=f"{death.reason}; begun {self.tries} times"))

    def _attempt(self, seat: Seat, job: TrunkJob, left: list[RunOrder]) -> tuple[Death | None, float]:
        """One try; what is done is taken off `left`. Its seconds count from the first report: queues take no budget."""
        started: float | None = None
        death = None
        try:
            for message in seat.attempt(job):
                started = started or time.monotonic()
                if isinstance(message, RunTrained):
                    left[:] = [order for order in left if order.key != message.run.config.key]
                self._events.put(message)
        except LostError as lost:
            death = lost.death
        return death, time.monotonic() - started if started else 0.0
