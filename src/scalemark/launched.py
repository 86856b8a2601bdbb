"""`torchrun … -m scalemark measure`: ranks that a scheduler started measure one suite, and rank 0 writes it.

    every rank   join ─> job and text from rank 0 ─> blocks ─────────────> end
    rank 0       look, plan, journal ─┘                 └─> journal ─> suite, report

All blocks run in the same processes, since only torchrun can start new ones: how processes differ is not in the
intervals. A rank that is lost ends all of them, as torchrun has it; rank 0 first writes which one and why. Under
`--max-restarts` and with `--out`, the group that torchrun starts again goes on with what is left.
"""

import os
import signal
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
import torch.distributed as dist
from pydantic import BaseModel

from scalemark.benchmarks import on_ranks
from scalemark.errors import BudgetError, InputError
from scalemark.measure.campaign import Site, scout
from scalemark.measure.orders import Scouted
from scalemark.measure.ranks.campaign import block_orders, end_of, planned_cell
from scalemark.measure.ranks.group import World, joined
from scalemark.measure.ranks.launch import cause
from scalemark.measure.ranks.orders import GroupJob, GroupOrder, RankFailed
from scalemark.measure.ranks.rank import GRACE_S, carry_out, failure
from scalemark.measure.ranks.selection import GroupPlan, Seats, plan_groups
from scalemark.process import Began, default_affinity, default_threads
from scalemark.record.assemble import assemble
from scalemark.record.machine import fingerprint
from scalemark.record.store import Journal, ResultsFolder, RunFolder, new_run_id, read_journal, save_suite
from scalemark.report.terminal import terminal_summary
from scalemark.schema import (
    BlockMeasured,
    CellEnded,
    CellStatus,
    CollectiveMeasured,
    Dtype,
    JournalEntry,
    MemoryMeasured,
    ModelConfig,
    Parallelism,
    RunFinished,
    Workload,
)
from scalemark.session import Request, begin_journal, conclude, earlier_part, placed, run_started
from scalemark.train.corpus import Corpus, open_corpus

_NEEDED = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
# Enough text for every batch that is drawn, and little to send.
_TEXT_BYTES = 2**20


@dataclass(frozen=True)
class LaunchedRequest:
    """What is asked for, the same on every rank. timeout_s: how long ranks wait for one another."""

    rungs: tuple[ModelConfig, ...]
    parallelisms: tuple[Parallelism, ...]
    rank_batch: int
    seq_len: int
    dtype: Dtype
    budget_s: float
    device: Literal["auto", "cpu", "cuda"]
    seed: int
    results_root: Path
    out: Path | None
    timeout_s: float

    def workloads(self, world_size: int) -> list[Workload]:
        """Steps on 2, 4, 8, … ranks and on all of them, and on one."""
        return on_ranks(
            self.rungs, group_sizes(world_size)[1:], self.parallelisms, self.rank_batch, self.seq_len, self.dtype
        )


def group_sizes(world_size: int) -> list[int]:
    """Powers of two below the world's size, and the world."""
    powers = [2**power for power in range(world_size.bit_length()) if 2**power < world_size]
    return [*powers, world_size]


def check_launched() -> None:
    """Raises InputError where no launcher has said who else there is."""
    missing = [name for name in _NEEDED if name not in os.environ]
    if missing:
        raise InputError(
            f"`scalemark measure` is started on every rank by torchrun, and {missing[0]} is not set: run "
            "`torchrun --nproc-per-node 2 -m scalemark measure`, or `pytest bench/` on one device"
        )


def measure_launched(request: LaunchedRequest, columns: int, tell: Callable[[str], None]) -> list[str]:
    """Measure as one of the ranks; on rank 0, the lines to print."""
    check_launched()
    device: Literal["cpu", "cuda"] = (
        "cuda" if request.device != "cpu" and (request.device == "cuda" or torch.cuda.is_available()) else "cpu"
    )
    threads = max(1, default_threads() // int(os.environ["LOCAL_WORLD_SIZE"]))
    torch.set_num_threads(threads)
    with joined(device, group_sizes(int(os.environ["WORLD_SIZE"])), request.timeout_s) as world:
        run = _Run.begin(request, device, threads, world, tell) if world.rank == 0 else None
        jobs, text = world.hand_on((run.jobs, run.text) if run else None)
        with _told_of_losses(run, world):
            for job in jobs:
                carry_out(job, world, text, run.take if run else _nothing)
    return run.finish(columns) if run else []


def _nothing(_: BaseModel) -> None:
    """What ranks other than 0 report."""


@dataclass
class _Run:
    """What rank 0 knows of the run. began: the order that the ranks are on."""

    folder: RunFolder
    journal: Journal
    plan: GroupPlan
    jobs: list[GroupJob]
    text: np.ndarray
    results_root: Path
    tell: Callable[[str], None]
    started_s: float
    began: str | None = None

    @classmethod
    def begin(
        cls,
        request: LaunchedRequest,
        device: Literal["cpu", "cuda"],
        threads: int,
        world: World,
        tell: Callable[[str], None],
    ) -> "_Run":
        """Look at this node, plan, and begin the journal or go on in it."""
        started_s = time.monotonic()
        folder = _folder(request)
        corpus = open_corpus("kjv", (request.out or request.results_root) / "corpora")
        site = Site(corpus.train_path, folder.log_path, default_threads(), request.seed, device, default_affinity())
        scouted = scout(site)
        plan = _plan(request, scouted, corpus, threads, world, started_s)
        asked = Request((), (), request.budget_s, device, request.seed, request.results_root, out=request.out)
        machine = fingerprint(scouted.facts, site.threads, affinity=site.affinity)
        earlier = earlier_part(folder, machine, corpus)
        started = run_started(asked, folder, site, device, machine, corpus, plan.n_blocks)
        planned = () if earlier else (*plan.ruled_out, *map(planned_cell, plan.cells))
        journal = begin_journal(started, folder, is_new=not earlier, more=planned)
        tell(f"{len(plan.cells)} steps on up to {world.size} ranks, {device}, {threads} threads each: {folder.path}")
        jobs = _jobs(plan, device, request, world.size, earlier)
        text = np.fromfile(corpus.train_path, dtype=np.uint8, count=_TEXT_BYTES)
        return cls(folder, journal, plan, jobs, text, request.results_root, tell, started_s)

    def take(self, message: BaseModel) -> None:
        """Journal a result at once."""
        if isinstance(message, Began):
            self.began = message.key
            self.tell(message.key)
            return
        entry = end_of(message, self.plan) if isinstance(message, CellEnded) else message
        self.journal.append(entry)  # type: ignore[arg-type]

    def finish(self, columns: int) -> list[str]:
        """The suite, and its report in lines."""
        self.journal.append(RunFinished(duration_s=time.monotonic() - self.started_s, complete=True))
        suite = assemble(read_journal(self.folder.journal_path))
        save_suite(suite, self.folder.suite_path)
        analysis, paths, complaints = conclude(suite, self.folder, self.results_root, "none")
        return [*complaints, *terminal_summary(analysis, paths, columns)]


def _folder(request: LaunchedRequest) -> RunFolder:
    if request.out is None:
        return ResultsFolder(request.results_root).start_run(new_run_id(datetime.now(UTC)))
    ResultsFolder(request.out).check_writable()
    return RunFolder(request.out)


def _plan(
    request: LaunchedRequest, scouted: Scouted, corpus: Corpus, threads: int, world: World, started_s: float
) -> GroupPlan:
    seats = Seats(world.size, int(os.environ["LOCAL_WORLD_SIZE"]), threads)
    asked = [placed(workload, scouted.device, corpus) for workload in request.workloads(world.size)]
    left_s = request.budget_s - (time.monotonic() - started_s)
    plan = plan_groups(asked, scouted, default_threads(), left_s, seats)
    if not plan.cells:
        raise BudgetError(f"nothing fits ({plan.ruled_out[0].reason}): raise --budget, or take smaller --rungs")
    return plan


def _jobs(
    plan: GroupPlan,
    device: Literal["cpu", "cuda"],
    request: LaunchedRequest,
    world_size: int,
    earlier: Sequence[JournalEntry],
) -> list[GroupJob]:
    """A job for each block, without what an earlier part of this run has measured or given up."""
    block_s = plan.budget_s / plan.n_blocks
    jobs = []
    for index in range(plan.n_blocks):
        orders = block_orders(plan, block_s, index, request.seed)
        jobs.append(
            GroupJob(
                device=device,
                world_size=world_size,
                threads=plan.threads,
                seed=request.seed,
                token_path=None,
                block_index=index,
                timeout_s=request.timeout_s,
                orders=tuple(order for order in orders if not _is_done(order, index, earlier)),
            )
        )
    return jobs


def _is_done(order: GroupOrder, index: int, earlier: Sequence[JournalEntry]) -> bool:
    return any(order.key in _keys_done(entry, index) for entry in earlier)


def _keys_done(entry: JournalEntry, index: int) -> tuple[str, ...]:
    """Keys of the orders that this entry settles in this block; one that failed is not tried again."""
    if isinstance(entry, BlockMeasured):
        return (entry.key,) if entry.block.index == index else ()
    if isinstance(entry, CollectiveMeasured):
        name = f"{entry.operation}/{entry.world_size} ranks/{entry.message_bytes} bytes"
        return (name,) if entry.block_index == index else ()
    if isinstance(entry, MemoryMeasured):
        return (f"{entry.key}/memory",)
    return (entry.key, f"{entry.key}/memory") if isinstance(entry, CellEnded) else ()


# --- losses -----------------------------------------------------------------------------------------------------------


class _Terminated(BaseException):
    """torchrun asks this rank to end."""


@contextmanager
def _told_of_losses(run: _Run | None, world: World) -> Iterator[None]:
    """Post why a rank ends where the others see it; rank 0 journals whose fault it was before it ends as well."""
    signal.signal(signal.SIGTERM, _terminate)
    try:
        yield
    except (Exception, _Terminated) as error:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # torchrun gives 30 s
        store = dist.distributed_c10d._get_default_store()
        failed = failure(error) if isinstance(error, Exception) else None
        if failed:
            store.set(f"scalemark/failed/{world.rank}", failed.model_dump_json())
        if run and run.began:
            time.sleep(GRACE_S)
            status, reason = blame(_posted(store, world.size), world.size)
            run.take(CellEnded(key=run.began, status=status, reason=reason))
        raise


def blame(posted: Mapping[int, RankFailed], world_size: int) -> tuple[CellStatus, str]:
    """Which rank was lost, by the last words of all: who raised; or else who said nothing, whatever became of it."""
    silent = [rank for rank in range(world_size) if rank not in posted]
    if silent and all(failed.lost_peer for failed in posted.values()):
        names = " and ".join(f"rank {rank}" for rank in silent)
        seen = "; ".join(f"rank {failed.rank}: {failed.reason}" for failed in posted.values())
        return "failed", f"{names} ended or hangs, as torchrun may say ({seen})"
    return cause(posted, {}, (), 0.0)


def _terminate(*_: object) -> None:
    raise _Terminated


def _posted(store: Any, world_size: int) -> dict[int, RankFailed]:
    """Last words of all ranks that have left some."""
    keys = {rank: f"scalemark/failed/{rank}" for rank in range(world_size)}
    return {rank: RankFailed.model_validate_json(store.get(key)) for rank, key in keys.items() if store.check([key])}
