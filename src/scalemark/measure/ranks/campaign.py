"""Carry out what groups of ranks measure: blocks, each in a fresh group, cells and messages in random order.

    block 0: [cells and messages in random order] ─> memory of each cell      block 1, 2: the same without memory

A group that loses a rank takes one cell with it; the next one goes on with the rest.
"""

import random
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass, field

from scalemark.measure.campaign import Site
from scalemark.measure.orders import CellOrder
from scalemark.measure.ranks.orders import GroupJob, GroupOrder, RankMemoryOrder, sweep
from scalemark.measure.ranks.selection import GroupCell, GroupPlan
from scalemark.process import Began, Message, Progress, Refused, Worker, work_through, worker_environment
from scalemark.schema import (
    CellEnded,
    CellPlanned,
    Facts,
    JournalEntry,
    MeasurementWarning,
    WarningRaised,
    WorkerStarted,
)

LAUNCH_MODULE = "scalemark.measure.ranks.launch"
# The launcher ends ranks that wait too long, so it may be silent for longer than they.
SILENCE_FACTOR, SILENCE_BEYOND_S = 1.5, 60.0


@dataclass
class GroupCampaign:
    """A plan being carried out. record, tell, read_state: as for `Campaign`."""

    plan: GroupPlan
    site: Site
    record: Callable[[JournalEntry], None]
    tell: Callable[[str], None]
    read_state: Callable[[], Facts] = dict
    _ended: set[str] = field(default_factory=set)

    def run(self) -> None:
        """All blocks, within the plan's budget as far as the fewest pairs allow."""
        for planned in (*self.plan.ruled_out, *map(planned_cell, self.plan.cells)):
            self.record(planned)
        deadline = time.monotonic() + self.plan.budget_s
        for index in range(self.plan.n_blocks if self.plan.cells else 0):
            block_s = (deadline - time.monotonic()) / (self.plan.n_blocks - index)
            self.run_block(index, block_orders(self.plan, block_s, index, self.site.seed, self._ended))

    def run_block(self, index: int, orders: list[GroupOrder]) -> None:
        """These orders, in a group for as long as it lasts and another for what is left."""
        pending, total = list(orders), len(orders)

        def take(message: Message) -> None:
            self._take(message)
            self.tell(f"ranks, block {index + 1} of {self.plan.n_blocks}: {total - len(pending)} of {total}")

        def start(left: list[GroupOrder]) -> Worker:
            environment = worker_environment(self.plan.threads)
            return Worker(LAUNCH_MODULE, group_job(self.plan, self.site, index, left), environment, self.site.log_path)

        silence_s = SILENCE_FACTOR * self.plan.timeout_s + SILENCE_BEYOND_S
        for death in work_through(pending, start, take, lambda _: silence_s):
            if death.key not in self._ended:  # else the launcher has said which rank and why
                self._take(CellEnded(key=death.key, status=death.cause, reason=death.reason))

    def _take(self, message: Message) -> None:
        if isinstance(message, CellEnded):
            self._ended.add(message.key)
            self.record(end_of(message, self.plan))
        elif isinstance(message, WorkerStarted):
            self.record(message.model_copy(update={"state": self.read_state()}))
        elif not isinstance(message, Began | Progress | Refused):
            self.record(message)


def planned_cell(cell: GroupCell) -> CellPlanned:
    """The journal's entry for a cell that takes part."""
    return CellPlanned(workload=cell.workload, accounting=cell.accounting, predicted_memory=cell.predicted_memory)


def end_of(ended: CellEnded, plan: GroupPlan) -> CellEnded | WarningRaised:
    """The end of a cell; of a message or of a memory reading, which are no cells, a warning."""
    if any(cell.workload.key == ended.key for cell in plan.cells):
        return ended
    message = f"it was not measured in one block ({ended.reason}): workers.log in the run's folder says more"
    return WarningRaised(warning=MeasurementWarning(subject=ended.key, message=message))


def block_orders(
    plan: GroupPlan, block_s: float, index: int, seed: int, ended: Collection[str] = ()
) -> list[GroupOrder]:
    """One block in random order; in the first, memory comes after everything that is timed."""
    cells = [cell for cell in plan.cells if cell.workload.key not in ended]
    device = plan.cells[0].workload.device
    budget_s = plan.cell_budget_s(block_s)
    timed: list[GroupOrder] = [CellOrder(workload=cell.workload, budget_s=budget_s) for cell in cells]
    timed += sweep(device, plan.world_sizes)
    memory = [RankMemoryOrder(workload=cell.workload) for cell in cells] if index == 0 else []
    return [*random.Random(f"{seed}/ranks/{index}").sample(timed, len(timed)), *memory]


def group_job(plan: GroupPlan, site: Site, index: int, orders: list[GroupOrder]) -> GroupJob:
    """One group's job on this machine, each rank on CPUs of its own."""
    assert site.device != "auto"
    return GroupJob(
        device=site.device,
        world_size=plan.world_size,
        threads=plan.threads,
        affinity=rank_affinity(site.affinity, plan.world_size, plan.threads),
        seed=site.seed,
        token_path=str(site.token_path),
        block_index=index,
        timeout_s=plan.timeout_s,
        orders=tuple(orders),
    )


def rank_affinity(cpus: tuple[int, ...] | None, world_size: int, threads: int) -> tuple[tuple[int, ...], ...] | None:
    """Disjoint CPUs for each rank, in the machine's order; None where there are too few, or the system has none."""
    if cpus is None or len(cpus) < world_size * threads:
        return None
    return tuple(cpus[rank * threads : (rank + 1) * threads] for rank in range(world_size))
