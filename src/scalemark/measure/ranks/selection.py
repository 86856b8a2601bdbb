"""Which steps on several ranks fit this machine and the time, decided before anything is measured.

They are a small share of a run, and the first to go when time is short. A rung is taken whole or not at all: two ranks
tell nothing without the one that they are compared with.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from scalemark.measure.orders import Scouted
from scalemark.measure.ranks.orders import COLLECTIVES, MESSAGE_BYTES, PAIRS_AT_LEAST, WARMUP_PAIRS
from scalemark.measure.selection import (
    CELL_START_S,
    FEW_BLOCKS,
    INITIALISED_PARAMS_PER_S,
    expected_step_s,
    needed_bytes,
)
from scalemark.model.accounting import account
from scalemark.model.sharding import predict_rank_memory
from scalemark.schema import Accounting, CellPlanned, CellStatus, PredictedMemory, Workload

# Of a run's time, and the shortest run that has any for it: below, cost laws need all there is.
SHARE, LEAST_RUN_S = 0.14, 200.0
# Rough readings of one two-core machine, as in `measure.selection`. Launcher and ranks import torch in turn.
STARTS, MEETING_S, CALL_S = 2.5, 1.0, 0.2
TIMEOUT_AT_LEAST_S, TIMEOUT_FACTOR = 60.0, 5.0


@dataclass(frozen=True)
class GroupCell:
    """A step on several ranks that takes part. round_s: expected seconds of one step."""

    workload: Workload
    accounting: Accounting
    round_s: float
    predicted_memory: PredictedMemory | None = None

    @property
    def rounds_per_pair(self) -> int:
        """A whole step and one without communication; on one rank they are the same."""
        return 1 if self.workload.world_size == 1 else 2

    @property
    def start_s(self) -> float:
        """Building the model and warming up."""
        build_s = CELL_START_S + self.accounting.params_total / INITIALISED_PARAMS_PER_S
        return build_s + WARMUP_PAIRS * self.rounds_per_pair * self.round_s

    @property
    def least_s(self) -> float:
        """One block with the fewest pairs."""
        return self.start_s + PAIRS_AT_LEAST * self.rounds_per_pair * self.round_s


@dataclass(frozen=True)
class GroupPlan:
    """What groups of ranks will measure. threads: of each rank; world_size: of the largest group."""

    cells: tuple[GroupCell, ...] = ()
    ruled_out: tuple[CellPlanned, ...] = ()
    threads: int = 1
    budget_s: float = 0.0
    group_start_s: float = 0.0
    n_blocks: int = FEW_BLOCKS

    @property
    def world_sizes(self) -> tuple[int, ...]:
        return tuple(sorted({cell.workload.world_size for cell in self.cells}))

    @property
    def world_size(self) -> int:
        return max(self.world_sizes, default=1)

    @property
    def block_overhead_s(self) -> float:
        """Starting a group, and its sweep of messages."""
        if not self.cells:
            return 0.0
        calls = sum(size > 1 for size in self.world_sizes) * len(COLLECTIVES) * len(MESSAGE_BYTES["cpu"])
        return self.group_start_s + calls * CALL_S

    @property
    def expected_s(self) -> float:
        """Seconds of all blocks."""
        return max(self.budget_s, self.least_s) if self.cells else 0.0

    @property
    def least_s(self) -> float:
        """The same with the fewest pairs, and the memory of each cell once."""
        block_s = self.block_overhead_s + sum(cell.least_s for cell in self.cells)
        return self.n_blocks * block_s + sum(memory_s(cell) for cell in self.cells)

    def cell_budget_s(self, block_s: float) -> float:
        """Seconds of pairs for each cell of a block that may take `block_s`."""
        left_s = block_s - self.block_overhead_s - sum(cell.start_s for cell in self.cells)
        return max(0.0, left_s) / max(1, len(self.cells))

    @property
    def timeout_s(self) -> float:
        """How long a rank waits for another: much longer than any cell, since ranks wait while others measure."""
        longest_s = max((cell.least_s for cell in self.cells), default=0.0) + self.budget_s / self.n_blocks
        return max(TIMEOUT_AT_LEAST_S, TIMEOUT_FACTOR * longest_s)


def memory_s(cell: GroupCell) -> float:
    """Build, one step that makes the states, one that is observed."""
    return CELL_START_S + 3 * cell.round_s


@dataclass(frozen=True)
class Seats:
    """Where ranks may sit. ranks: how many at most; per_node: that share one memory; threads: of each.

    threads None: a share of the machine's, as ranks are launched for each block anew.
    """

    ranks: int
    per_node: int
    threads: int | None = None

    @classmethod
    def of(cls, scouted: Scouted, threads: int) -> "Seats":
        """Of this machine alone: a rank on each GPU, or on each core."""
        ranks = scouted.device_count if scouted.device == "cuda" else threads
        return cls(ranks, ranks)


def plan_groups(
    workloads: Iterable[Workload], scouted: Scouted, threads: int, budget_s: float, seats: Seats | None = None
) -> GroupPlan:
    """Rungs that fit the ranks, the memory and the time, cheapest first.

    threads: of the whole machine; each rank of the largest group gets its share, and one rank alone no more. seats:
    where a scheduler has started the ranks already.
    """
    asked, seats = list(workloads), seats or Seats.of(scouted, threads)
    possible = [one for one in asked if one.world_size <= seats.ranks]
    size = min(max((one.world_size for one in possible), default=1), seats.per_node)
    rank_threads = seats.threads or max(1, threads // size)
    slowness = threads / rank_threads if scouted.device == "cpu" else 1.0
    cells = [_expect(workload, scouted, slowness) for workload in possible]
    fitting = [cell for cell in cells if _node_bytes(cell, scouted, seats) <= scouted.available_bytes]
    start_s = 0.0 if seats.threads else STARTS * scouted.worker_start_s + MEETING_S
    plan = GroupPlan((), (), rank_threads, budget_s, start_s)
    for rung in _by_rung(fitting):
        plan = _with(plan, rung)
    chosen = {cell.workload for cell in plan.cells}
    ruled_out = [_ruled_out(one, scouted, seats, cells) for one in asked if one not in chosen]
    return GroupPlan(plan.cells, tuple(ruled_out), rank_threads, budget_s, start_s)


def _with(plan: GroupPlan, rung: Sequence[GroupCell]) -> GroupPlan:
    """The plan with this rung where it tells something and there is time for it, else as it was."""
    larger = GroupPlan((*plan.cells, *rung), (), plan.threads, plan.budget_s, plan.group_start_s)
    tells = any(cell.workload.world_size > 1 for cell in rung)
    return larger if tells and larger.least_s <= plan.budget_s else plan


def _by_rung(cells: Sequence[GroupCell]) -> list[list[GroupCell]]:
    """Cells of one rung together, cheapest rung first."""
    rungs: dict[str, list[GroupCell]] = {}
    for cell in cells:
        rungs.setdefault(f"{cell.workload.rung}/{cell.workload.dtype}", []).append(cell)
    return sorted(rungs.values(), key=lambda rung: sum(cell.least_s for cell in rung))


def _expect(workload: Workload, scouted: Scouted, slowness: float) -> GroupCell:
    assert workload.model and workload.batch and workload.rank_batch and workload.seq_len
    model, seq_len, how = workload.model, workload.seq_len, (workload.dtype, workload.optimizer)
    step_s = expected_step_s(account(model, workload.rank_batch, seq_len, *how), scouted)
    accounting = account(model, workload.batch, seq_len, *how)
    return GroupCell(workload, accounting, slowness * step_s, predict_rank_memory(workload))


def _node_bytes(cell: GroupCell, scouted: Scouted, seats: Seats) -> float:
    """What must be free: for all ranks that share one memory, for one where each has its own device."""
    ranks = min(cell.workload.world_size, seats.per_node) if scouted.device == "cpu" else 1
    return ranks * needed_bytes(cell.predicted_memory)


def _ruled_out(workload: Workload, scouted: Scouted, seats: Seats, cells: Sequence[GroupCell]) -> CellPlanned:
    cell = next((one for one in cells if one.workload == workload), None)
    status: CellStatus = "skipped"
    if cell is None:
        what = "CPU cores" if scouted.device == "cpu" else "GPUs"
        reason = (
            f"needs {workload.world_size} ranks, and there are {seats.ranks} {what} for them: take a larger machine"
        )
    elif _node_bytes(cell, scouted, seats) > scouted.available_bytes:
        status, reason = "predicted_oom", "the ranks need more memory than is free: take a smaller batch or model"
    else:
        reason = (
            "the budget has no time for groups of ranks: raise --scale-budget, or ask for bench_distributed.py alone"
        )
    return CellPlanned(
        workload=workload,
        accounting=cell.accounting if cell else None,
        predicted_memory=cell.predicted_memory if cell else None,
        status=status,
        reason=reason,
    )
