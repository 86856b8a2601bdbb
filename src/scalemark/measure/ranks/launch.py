"""The worker that launches a group of local ranks with torch's elastic agent and hands their results on.

Run as `python -m scalemark.measure.ranks.launch`; see `scalemark.process` for the way in and out. It has a process of
its own because the agent takes over signals and standard streams. One group does one job: where a rank is lost, the
cell that was running ends with the rank and the reason, and so does this worker; the campaign goes on with another.

    campaign ── job ──> launch ── relay (a local socket, a port that the system chooses) ──> every rank
             <─ results ──     <── results of rank 0, last words of any rank ──
"""

import os
import secrets
import shutil
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, Listener

import psutil
from pydantic import BaseModel, TypeAdapter
from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
from torch.distributed.launcher.api import LaunchConfig, elastic_launch

from scalemark.measure.ranks.orders import RELAY_KEY, RELAY_PORT, GroupJob, RankFailed
from scalemark.process import Began, Message, serve
from scalemark.schema import CellEnded, CellStatus

RANK_MODULE = "scalemark.measure.ranks.rank"
MONITOR_INTERVAL_S = 0.1
# How long last words may take to arrive once the agent has seen an end. A rank that is still there so long after
# another complained, and has not complained itself, is the one that others wait for; the agent would give it 30 s.
LAST_WORDS_S, COMPLAINT_S = 0.5, 1.0
GROUP_LOST = 1

Emit = Callable[[BaseModel], None]
_HEARD: TypeAdapter[Message | RankFailed] = TypeAdapter(Message | RankFailed)


def work(job: GroupJob, emit: Emit) -> None:
    """Launch the ranks and wait for them; ends this process where one of them was lost."""
    relay = Relay(job, emit)
    os.environ.update(relay.environment)
    agents_folder = tempfile.mkdtemp(prefix="scalemark_ranks_")
    try:
        elastic_launch(_config(job, agents_folder), sys.executable)("-u", "-m", RANK_MODULE)
        shutil.rmtree(agents_folder, ignore_errors=True)
    except ChildFailedError as error:
        shutil.rmtree(agents_folder, ignore_errors=True)
        time.sleep(LAST_WORDS_S)
        signals = {rank: -one.exitcode for rank, one in error.failures.items() if one.exitcode < 0}
        status, reason = cause(relay.failures, signals, relay.hung, job.timeout_s)
        if relay.began is not None:
            emit(CellEnded(key=relay.began, status=status, reason=reason))
        print(f"group lost: {reason}", file=sys.stderr, flush=True)
        os._exit(GROUP_LOST)


def _config(job: GroupJob, folder: str) -> LaunchConfig:
    """One node, a rendezvous on a port that the system chooses, no second try: the campaign decides what goes on."""
    return LaunchConfig(
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=job.world_size,
        run_id=secrets.token_hex(8),
        rdzv_backend="c10d",
        rdzv_endpoint="localhost:0",
        local_addr="localhost",
        max_restarts=0,
        monitor_interval=MONITOR_INTERVAL_S,
        logs_specs=DefaultLogsSpecs(log_dir=folder),
    )


@dataclass
class Relay:
    """Takes what the ranks say: results go on at once, last words are kept.

    began: what the group is working on. hung: ranks that others waited for in vain, and that were killed for it.
    """

    job: GroupJob
    emit: Emit
    began: str | None = None
    failures: dict[int, RankFailed] = field(default_factory=dict)
    hung: tuple[int, ...] = ()
    environment: Mapping[str, str] = field(init=False)

    def __post_init__(self) -> None:
        key = secrets.token_bytes(16)
        self._listener = Listener(("localhost", 0), backlog=self.job.world_size, authkey=key)
        port = self._listener.address[1]
        self.environment = {RELAY_PORT: str(port), RELAY_KEY: key.hex()}
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        for _ in range(self.job.world_size):
            connection = self._listener.accept()
            connection.send_bytes(self.job.model_dump_json().encode())
            threading.Thread(target=self._listen, args=(connection,), daemon=True).start()

    def _listen(self, connection: Connection) -> None:
        while True:
            try:
                message = _HEARD.validate_json(connection.recv_bytes())
            except (EOFError, OSError):  # the rank has ended
                return
            if isinstance(message, RankFailed):
                self._mourn(message)
                continue
            if isinstance(message, Began):
                self.began = message.key
            self.emit(message)

    def _mourn(self, failed: RankFailed) -> None:
        """Keep last words; the first that speak of a lost peer are followed by a look for who hangs."""
        self.failures[failed.rank] = failed
        if failed.lost_peer and len(self.failures) == 1:
            time.sleep(COMPLAINT_S)
            silent = {rank: process for rank, process in local_ranks().items() if rank not in self.failures}
            self.hung = tuple(silent)
            for process in silent.values():
                process.kill()


def local_ranks() -> dict[int, psutil.Process]:
    """The ranks that this process has launched and that have not ended."""
    found = {}
    for child in psutil.Process().children():
        with suppress(psutil.Error):  # it ended just now
            if RANK_MODULE in child.cmdline():
                found[int(child.environ()["RANK"])] = child
    return found


def cause(
    failures: Mapping[int, RankFailed], signals: Mapping[int, int], hung: Sequence[int], timeout_s: float
) -> tuple[CellStatus, str]:
    """Which rank was the first to be lost, and why.

    failures: last words; signals: that ended ranks, those of the agent (SIGTERM) among them; hung: ranks that others
    waited for in vain. At least one of them holds something.
    """
    if own := [failed for failed in failures.values() if not failed.lost_peer]:
        return own[0].status, f"rank {own[0].rank}: {own[0].reason}"
    if hung:
        names = " and ".join(f"rank {rank}" for rank in hung)
        return "timeout", f"{names} did not answer the others within {timeout_s:.0f} s"
    if killed := {rank: number for rank, number in signals.items() if number != signal.SIGTERM}:
        rank, number = min(killed.items())
        hint = ", as the kernel does when memory runs out" if number == signal.SIGKILL else ""
        return "failed", f"rank {rank} was killed (signal {number}{hint})"
    reasons = [f"rank {failed.rank}: {failed.reason}" for failed in failures.values()]
    return "failed", reasons[
        0
    ] if reasons else "a rank ended without a word: workers.log in the run's folder may say why"


if __name__ == "__main__":
    serve(GroupJob, work)
