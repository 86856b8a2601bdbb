"""Tasks of a Ray cluster, each with as many of its CPUs (or one of its GPUs) as the job has threads.

    RaySeat.attempt ── Ticket ──> _train, in a worker process that Ray keeps ── perform
                    <── a stream of reports, each the moment it is made ──┘

A worker or node that is lost ends the stream with an error, and the pool begins what is left once more, wherever there
is room. The text lies in the object store, from which a node that does not see the driver's files takes it.
"""

import os
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from queue import SimpleQueue
from typing import Any, Literal

from pydantic import BaseModel

from scalemark.errors import DeviceError, ScalemarkError
from scalemark.process import MESSAGES, Began, Cause, Death, Message, worker_environment
from scalemark.train.executors.pool import ClosedError, LostError, Pool
from scalemark.train.executors.remote import Ticket, perform, write_ticket
from scalemark.train.extras import needed
from scalemark.train.jobs import TokenFiles, TrunkJob

TRIES = 3
# How long a task that has begun to report may say nothing; one that waits for room may wait as long as it takes.
SILENCE_S = 300.0
LOOK_EVERY_S = 1.0
# Of a cluster that is started here: it holds the text and short reports.
OBJECT_STORE_BYTES = 512 * 2**20
# More text than this is not sent: it belongs into a folder that all nodes share.
MOST_SENT_BYTES = 256 * 2**20

Device = Literal["cpu", "cuda"]


def connect(address: str | None, n_cpus: int) -> Any:
    """The package `ray`, connected: to the cluster at this address, or to one of its own on this machine.

    n_cpus: of the one that is started here. A connection that there is already is used as it is. Raises InputError
    without the extra, DeviceError where there is no such cluster.
    """
    ray = needed("ray", "ray")
    if ray.is_initialized():
        return ray
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    where = address or os.environ.get("RAY_ADDRESS") or "local"
    own: dict[str, Any] = {"num_cpus": n_cpus, "object_store_memory": OBJECT_STORE_BYTES, "include_dashboard": False}
    try:
        ray.init(where, log_to_driver=False, logging_level="error", **(own if where == "local" else {}))
    except (ConnectionError, RuntimeError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise DeviceError(f"no Ray cluster at {where} ({reason}): check --ray-address, or leave it out") from error
    return ray


def capacity(ray: Any, threads: int, device: Device) -> int:
    """How many jobs the cluster holds at a time; raises DeviceError where it holds none."""
    wanted = _resources(threads, device)
    slots = sum(
        min(int(node["Resources"].get(name, 0) // amount) for name, amount in wanted.items())
        for node in ray.nodes()
        if node["Alive"]
    )
    if not slots:
        asked = " and ".join(f"{amount:g} {name}" for name, amount in wanted.items())
        raise DeviceError(f"no node of the Ray cluster has {asked}: lower --threads-per-job, or choose --device cpu")
    return slots


def _resources(threads: int, device: Device) -> dict[str, float]:
    return {"CPU": threads, "GPU": 1} if device == "cuda" else {"CPU": threads}


def open_pool(
    ray: Any, slots: int, threads: int, device: Device, files: TokenFiles, hear: Callable[[Message], None]
) -> Pool:
    """So many tasks at a time, of one task function with the text at hand."""
    wanted = _resources(threads, device)
    task = ray.remote(_train).options(
        num_cpus=wanted["CPU"],
        num_gpus=wanted.get("GPU", 0),
        num_returns="streaming",
        max_retries=0,  # the pool tries again, with what is left
        runtime_env={"env_vars": worker_environment(threads)},
    )
    content = [ray.put(one) for one in _content(files)]
    return Pool([RaySeat(ray, task, content) for _ in range(slots)], hear, TRIES)


def _content(files: TokenFiles) -> Sequence[bytes]:
    """Of both token files; nothing where they are too large, or need not be known elsewhere."""
    paths = Path(files.train_path), Path(files.validation_path)
    if files.identity is None or sum(path.stat().st_size for path in paths) > MOST_SENT_BYTES:
        return ()
    return [path.read_bytes() for path in paths]


class RaySeat:
    """One task at a time."""

    def __init__(self, ray: Any, task: Any, content: Sequence[Any]) -> None:
        self._ray, self._task, self._content = ray, task, content
        self._closed = threading.Event()
        self._stream: Any = None
        self._lock = threading.Lock()  # no task is submitted while, or after, the seat is closed

    def close(self) -> None:
        """End the task."""
        with self._lock:
            self._closed.set()
            if self._stream is not None:
                self._ray.cancel(self._stream, force=True)

    def attempt(self, job: TrunkJob) -> Iterator[Message]:
        """See `Seat`."""
        errors = self._ray.exceptions
        with self._lock:
            if self._closed.is_set():
                raise ClosedError
            ticket = write_ticket(job, "ray").model_dump_json()
            self._stream = stream = self._task.remote(ticket, list(self._content))
        key = job.orders[0].key
        try:
            for message in self._reports(stream):
                key = message.key if isinstance(message, Began) else key
                yield message
        except _SilentError as error:
            raise LostError(Death(key, "timeout", f"no answer within {SILENCE_S:.0f} s")) from error
        except errors.RayTaskError as error:  # raised by the task and not by what carries it
            why = str(error).strip().splitlines()[-1]  # of a traceback: the error itself
            raise ScalemarkError(f"a Ray task failed ({why}): its log is in the session's folder") from error
        except errors.RayError as error:
            if self._closed.is_set():
                raise ClosedError from error
            cause: Cause = "oom" if isinstance(error, errors.OutOfMemoryError) else "failed"
            raise LostError(Death(key, cause, f"its Ray worker was lost ({type(error).__name__})")) from error

    def _reports(self, stream: Any) -> Iterator[Message]:
        """What the task says, until it is done; one that falls silent is ended."""
        silent_s: float | None = None
        while not self._closed.is_set():
            ready, _ = self._ray.wait([stream], timeout=LOOK_EVERY_S)
            if ready:
                try:
                    reference = next(stream)
                except StopIteration:
                    return
                yield MESSAGES.validate_json(self._ray.get(reference))
                silent_s = 0.0
            elif silent_s is not None and (silent_s := silent_s + LOOK_EVERY_S) > SILENCE_S:
                self._ray.cancel(stream, force=True)
                raise _SilentError
        raise ClosedError


class _SilentError(Exception):
    """A task said nothing for longer than it may."""


# --- in the worker ----------------------------------------------------------------------------------------------------


def _train(ticket: str, content: Sequence[Any]) -> Iterator[str]:
    """The task: do the ticket's job in a thread, and yield each report as JSON the moment it is made."""
    import ray

    reports: SimpleQueue[str | BaseException | None] = SimpleQueue()

    def emit(message: BaseModel) -> None:
        reports.put(message.model_dump_json())

    def work() -> None:
        try:
            sent = (lambda: [ray.get(one) for one in content]) if content else None
            perform(Ticket.model_validate_json(ticket), _has_whole_node(ray), emit, sent)
        except BaseException as error:
            reports.put(error)
        reports.put(None)

    threading.Thread(target=work, daemon=True).start()
    while (said := reports.get()) is not None:
        if isinstance(said, BaseException):
            raise said
        yield said


def _has_whole_node(ray: Any) -> bool:
    """Whether Ray lets nothing else onto this node's CPUs, and knows of all of them."""
    context = ray.get_runtime_context()
    (node,) = [one for one in ray.nodes() if one["NodeID"] == context.get_node_id()]
    mine, all_cpus = context.get_assigned_resources().get("CPU", 0), node["Resources"].get("CPU", 0)
    return bool(mine >= all_cpus >= (os.cpu_count() or 1))
