"""Carry out a plan: a memory pass, losses of what is compared, timing blocks, and energy where it can be read.

    scout ─> plan ─> memory pass ─> loss pass ─> block 0 … block n-1 ─> energy pass
                     each in a fresh worker, cells in random order

Blocks interleave all cells, so a noisy minute falls on every rung alike and cannot bend a law. A worker that dies takes
one cell with it; a new one goes on with the rest. What is measured is recorded at once.
"""

import random
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from pydantic import TypeAdapter

from scalemark.errors import DeviceError, ScalemarkError
from scalemark.measure.orders import CellOrder, KernelOrder, MeasureJob, Scouted
from scalemark.measure.selection import Plan, PlannedCell, allot, in_block
from scalemark.measure.shapes import kernel_orders
from scalemark.process import (
    Began,
    Message,
    Progress,
    Refused,
    Worker,
    WorkerDiedError,
    WorkerSilentError,
    work_through,
    worker_environment,
)
from scalemark.schema import (
    BlockMeasured,
    CellEnded,
    CellPlanned,
    Energy,
    EnergyMeasured,
    Facts,
    JournalEntry,
    Purpose,
    WorkerStarted,
)

WORKER_MODULE = "scalemark.measure.worker"
SILENCE_AT_LEAST_S, SILENCE_FACTOR = 120.0, 30.0

Order = CellOrder | KernelOrder
_MESSAGES: TypeAdapter[Message | Scouted] = TypeAdapter(Message | Scouted)


@dataclass(frozen=True)
class Site:
    """Where workers run: the text for batches, where their log goes, which CPUs and how many threads they get."""

    token_path: Path
    log_path: Path
    threads: int
    seed: int
    device: Literal["cpu", "cuda", "auto"]
    affinity: tuple[int, ...] | None = None

    def job(self, purpose: Purpose, index: int = 0, orders: Sequence[Order] = ()) -> MeasureJob:
        """One worker's job at this site."""
        return MeasureJob(
            purpose=purpose,
            device=self.device,
            threads=self.threads,
            affinity=self.affinity,
            seed=self.seed,
            token_path=str(self.token_path),
            block_index=index,
            orders=tuple(orders),
        )

    def worker(self, job: MeasureJob) -> Worker:
        """A fresh worker that begins on this job."""
        environment = worker_environment(self.threads, for_memory=job.purpose == "memory")
        return Worker(WORKER_MODULE, job, environment, self.log_path)


def scout(site: Site) -> Scouted:
    """First look at the machine, in a worker; raises DeviceError where the device is not there."""
    with site.worker(site.job("scout")) as worker:
        try:
            answer = next(worker.messages(lambda _: SILENCE_AT_LEAST_S, _MESSAGES))
        except (WorkerDiedError, WorkerSilentError) as error:
            raise ScalemarkError(f"the first worker did not answer: its log {site.log_path} says why") from error
    if isinstance(answer, Refused):
        raise DeviceError(answer.reason)
    assert isinstance(answer, Scouted)
    return answer


@dataclass
class Campaign:
    """A plan being carried out.

    record: takes each result as it is there. tell: hears in words how far it is. energy_reason: why there is no energy.
    read_state: what the machine is doing just then; asked as each worker starts.
    """

    plan: Plan
    site: Site
    record: Callable[[JournalEntry], None]
    tell: Callable[[str], None]
    energy_reason: str | None
    read_state: Callable[[], Facts] = dict
    _ended: set[str] = field(default_factory=set)
    _round_s: dict[str, float] = field(default_factory=dict)

    def run(self) -> None:
        """All passes, within the plan's budget as far as the fewest rounds allow."""
        deadline = time.monotonic() + self.plan.budget_s - self.plan.energy_s
        for planned in (*self.plan.ruled_out, *map(_planned, self.plan.cells)):
            self.record(planned)
        self._run_pass("memory", 0, [CellOrder(workload=cell.workload) for cell in self._alive()], "memory pass")
        if compared := [cell for cell in self._alive() if cell.compared]:
            self._run_pass("loss", 0, [CellOrder(workload=cell.workload) for cell in compared], "loss pass")
        self._time_blocks(range(self.plan.n_blocks), deadline)
        self._measure_energy()

    def time_again(self, first: int) -> None:
        """The plan's cells in as many further blocks, numbered from `first`, within its budget; nothing but times."""
        self._time_blocks(range(first, first + self.plan.n_blocks), time.monotonic() + self.plan.budget_s)

    def _time_blocks(self, indices: range, deadline: float) -> None:
        for index in indices:
            block_s = (deadline - time.monotonic()) / (indices.stop - index)
            cells_s = block_s - self.plan.block_overhead_s
            orders: list[Order] = [*self._timed_orders(index - indices.start, cells_s), *self._kernel_orders()]
            self._run_pass("time", index, orders, f"block {index + 1} of {indices.stop}")

    def _alive(self) -> list[PlannedCell]:
        return [cell for cell in self.plan.cells if cell.workload.key not in self._ended]

    def _timed_orders(self, index: int, cells_s: float) -> list[CellOrder]:
        """Orders for one block, by what rounds were seen to take, or else were expected to."""
        cells = in_block(self._alive(), index)
        shares = allot(cells, lambda cell: self._round_s.get(cell.workload.key, cell.round_s), cells_s)
        return [CellOrder(workload=cell.workload, budget_s=s) for cell, s in zip(cells, shares, strict=True)]

    def _measure_energy(self) -> None:
        if self.energy_reason is None:
            orders = [CellOrder(workload=cell.workload) for cell in self._alive()]
            self._run_pass("energy", 0, orders, "energy pass")
            return
        unavailable = Energy(status="unavailable", reason=self.energy_reason)
        for cell in self._alive():
            self.record(EnergyMeasured(key=cell.workload.key, energy=unavailable))

    def _kernel_orders(self) -> list[KernelOrder]:
        workloads = [cell.workload for cell in self.plan.cells]
        return kernel_orders(workloads, workloads[0].device) if workloads else []

    def _run_pass(self, purpose: Purpose, index: int, orders: Sequence[Order], label: str) -> None:
        """One pass in random order."""
        total = len(orders)
        pending = random.Random(f"{self.site.seed}/{purpose}/{index}").sample(list(orders), total)

        def take(message: Message) -> None:
            self._take(message)
            self.tell(f"{label}: {total - len(pending)} of {total}")

        def start(left: list[Order]) -> Worker:
            return self.site.worker(self.site.job(purpose, index, left))

        for death in work_through(pending, start, take, self._silence_s):
            self._take(CellEnded(key=death.key, status=death.cause, reason=death.reason))

    def _take(self, message: Message) -> None:
        if isinstance(message, CellEnded):
            self._ended.add(message.key)
        if isinstance(message, BlockMeasured):
            self._round_s.setdefault(message.key, statistics.median(message.block.rounds_s))
        if isinstance(message, WorkerStarted):
            self.record(message.model_copy(update={"state": self.read_state()}))
        elif not isinstance(message, Began | Progress | Refused):
            self.record(message)

    def _silence_s(self, key: str | None) -> float:
        expected_s = next((cell.least_s for cell in self.plan.cells if cell.workload.key == key), 0.0)
        return max(SILENCE_AT_LEAST_S, SILENCE_FACTOR * expected_s)


def _planned(cell: PlannedCell) -> CellPlanned:
    return CellPlanned(workload=cell.workload, accounting=cell.accounting, predicted_memory=cell.predicted_memory)
