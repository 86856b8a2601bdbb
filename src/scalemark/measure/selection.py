"""Which cells fit the memory and the time, and how long each may take. Decided before anything is measured."""

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from itertools import accumulate
from math import log, prod

from scalemark.measure.energy.observe import CELL_S, COARSE_CELL_S
from scalemark.measure.orders import LOSS_SEEDS, LOSS_STEPS, ROUNDS_AT_LEAST, ROUNDS_AT_MOST, WARMUP_S, Scouted
from scalemark.model.accounting import account, account_workload
from scalemark.model.memory import predict_memory
from scalemark.model.options import compared_steps, why_unsupported
from scalemark.schema import Accounting, CellPlanned, CellStatus, Phase, PredictedMemory, Workload

# Three blocks are the fewest that tell how processes differ; an interval over five is 0.6 times as wide (Student's
# quantile and the median's own spread), which is worth the cells that do not fit any more.
FEW_BLOCKS, MORE_BLOCKS = 3, 5
ENOUGH_FOR_MORE_S = 150.0
# The seconds and shares below are rough readings of one two-core machine. They decide what is begun, never a result:
# from the second block on, times are those that the first one saw.
# What a worker takes beyond its start, which the scout times: to end, and for the next one to be asked for.
WORKER_END_S = 1.0
KERNELS_S = 3.5
CELL_START_S = 0.16
# The first round of a cell touches all its memory for the first time; a followed one does so in every allocation.
FIRST_ROUND_SLOWNESS = 1.5
MEMORY_SLOWNESS = 2.0
# torch.compile in its first call, forward and backward, without a cache: much the same for every rung.
COMPILE_S = 20.0
# torch.utils.checkpoint imports the compiler, once per worker.
CHECKPOINT_S = 1.3
# Finding out how often the counter moves, and watching the device idle.
ENERGY_PASS_S = 3.0
INITIALISED_PARAMS_PER_S = 1.2e8
# Two turns: what a short cell is timed for in each block, at least.
SHORT_CELL_S = 0.2
# What a user's own task is taken to need per round, until its first block tells.
TASK_ROUND_S = 0.02
# A phase's round, preparation included, as a share of a whole step.
STEP_SHARES: dict[Phase, float] = {"forward": 0.35, "backward": 0.9, "optimizer": 0.15, "step": 1.0, "eval": 0.3}
# What a round takes with an option, over one without.
CHECKPOINTED_SLOWNESS, MICRO_BATCH_SLOWNESS, MATH_SLOWNESS, KERNELS_SLOWNESS = 1.3, 1.1, 1.5, 1.1
# What a worker takes beyond its tensors. glibc keeps freed blocks between rounds: at the end of three, workers held 1.2
# to 1.5 times the predicted peak besides Python and torch with the pages that their kernels touch (0.32 GiB). The two
# margins together cover the resident peaks of all twelve cells that were looked at, 5 MiB to 1.4 GiB of tensors.
ALLOCATOR_SLACK = 1.35
PROCESS_BYTES = 400 * 2**20
# Of the time, what whole float32 steps may take before the other phases get theirs.
LAW_SHARE = 0.65
# … and so many of them before anything else gets any: of fewer sizes no law can be fitted.
FEWEST_FOR_LAWS = 9
# What steps with options may take where anything else is measured too.
OPTIONS_SHARE = 0.25
# The baseline's run had as much time for its cells: they fit, though this run's first look at the machine may say that
# they do not by a little.
WANTED_SLACK = 1.25
# Cells that cost no more than this many times the cheapest are taken for what they tell, not for their price. On a GPU
# most of a price is starting and reading its coarse counter of energy: 4 holds models of up to 200 M parameters there.
ALIKE = {"cpu": 1.6, "cuda": 4.0}


@dataclass(frozen=True)
class PlannedCell:
    """A cell that takes part. round_s: expected seconds of one round, preparation included; setup_s: of building it.

    n_blocks: in how many of the campaign's blocks, from the first on. compared: whether its options, or it as one, are
    compared, so that its losses are taken too.
    """

    workload: Workload
    accounting: Accounting | None
    round_s: float
    setup_s: float = CELL_START_S
    predicted_memory: PredictedMemory | None = None
    n_blocks: int = FEW_BLOCKS
    compared: bool = False

    @property
    def start_s(self) -> float:
        """Building the task, and warming up: some tenths of a second, or one round."""
        return self.build_s + max(WARMUP_S, FIRST_ROUND_SLOWNESS * self.round_s)

    @property
    def build_s(self) -> float:
        """Building the task, in whichever pass: each worker compiles anew."""
        return self.setup_s + (COMPILE_S if self.workload.compiled else 0.0)

    @property
    def least_s(self) -> float:
        """Each block with its fewest rounds, the memory pass, and the losses where they are taken."""
        blocks_s = self.n_blocks * (self.start_s + least_rounds_s(self.round_s))
        return blocks_s + memory_pass_s(self) + loss_pass_s(self)


@dataclass(frozen=True)
class Plan:
    """What will be measured, what will not and why, and within which time."""

    cells: tuple[PlannedCell, ...]
    ruled_out: tuple[CellPlanned, ...]
    budget_s: float
    energy: bool
    worker_s: float
    n_blocks: int = FEW_BLOCKS

    @property
    def block_overhead_s(self) -> float:
        """What a block takes before its first cell."""
        return self.worker_s + KERNELS_S

    @property
    def expected_s(self) -> float:
        """Seconds of all passes, with the rounds that the budget allows."""
        for_blocks_s = self.budget_s - self._before_blocks_s - self.energy_s
        blocks_s = 0.0
        for index in range(self.n_blocks):
            share_s = (for_blocks_s - blocks_s) / (self.n_blocks - index)
            blocks_s += self._expected_block_s(index, share_s - self.block_overhead_s)
        return self._before_blocks_s + blocks_s + self.energy_s

    def _expected_block_s(self, index: int, cells_s: float) -> float:
        cells = in_block(self.cells, index)
        rounds_s = allot(cells, lambda cell: cell.round_s, cells_s)
        return self.block_overhead_s + sum(cell.start_s for cell in cells) + sum(rounds_s)

    @property
    def _before_blocks_s(self) -> float:
        """Seconds of the memory pass, and of the pass for losses where there is one."""
        losses_s = sum(map(loss_pass_s, self.cells))
        return self.worker_s + sum(map(memory_pass_s, self.cells)) + (losses_s and self.worker_s + losses_s)

    @property
    def energy_s(self) -> float:
        """Seconds of the energy pass, after the blocks."""
        return self.worker_s + ENERGY_PASS_S + sum(map(energy_pass_s, self.cells)) if self.energy else 0.0


def in_block(cells: Iterable[PlannedCell], index: int) -> list[PlannedCell]:
    """Those that take part in the block of this index."""
    return [cell for cell in cells if index < cell.n_blocks]


def memory_pass_s(cell: PlannedCell) -> float:
    """The untimed pass: build, one round to warm up, two observed, all slowed down by how memory is given back."""
    return cell.build_s + 3 * MEMORY_SLOWNESS * cell.round_s


def loss_pass_s(cell: PlannedCell) -> float:
    """A few steps from each seed; 0 where nothing is compared. What a process does once serves all seeds."""
    if not cell.compared:
        return 0.0
    steps_s = LOSS_STEPS * cell.round_s
    return LOSS_SEEDS * (CELL_START_S + steps_s) + cell.build_s


def energy_pass_s(cell: PlannedCell) -> float:
    """Build, one round, and windows that are as long as the counter of the device is coarse."""
    return cell.start_s + (COARSE_CELL_S if cell.workload.device == "cuda" else CELL_S)


def least_rounds_s(round_s: float) -> float:
    """Seconds of rounds that a cell gets in each block, at least: a few rounds of a short one tell nothing of noise."""
    return max(ROUNDS_AT_LEAST * round_s, min(SHORT_CELL_S, ROUNDS_AT_MOST * round_s))


def allot(cells: Sequence[PlannedCell], round_s: Callable[[PlannedCell], float], cells_s: float) -> tuple[float, ...]:
    """Seconds of timed rounds for each cell of one block, all of whose cells may take `cells_s`.

    Everyone gets the fewest rounds; what is left is shared out from the shortest cell up, so that what a short one
    cannot use goes to the long ones.
    """
    least_s = [least_rounds_s(round_s(cell)) for cell in cells]
    left_s = cells_s - sum(cell.start_s for cell in cells) - sum(least_s)
    shares: dict[int, float] = {}
    by_length = sorted(range(len(cells)), key=lambda index: round_s(cells[index]))
    for position, index in enumerate(by_length):
        most_s = max(ROUNDS_AT_MOST * round_s(cells[index]) - least_s[index], 0.0)
        extra_s = min(max(left_s, 0.0) / (len(cells) - position), most_s)
        left_s -= extra_s
        shares[index] = least_s[index] + extra_s
    return tuple(shares[index] for index in range(len(cells)))


def plan_campaign(
    workloads: Iterable[Workload], scouted: Scouted, budget_s: float, wanted: Collection[str] = ()
) -> Plan:
    """Choose the cells that fit the memory and the time, in each class cheapest first.

    Whole float32 steps come first, up to their share of the time: the cost laws need them. Then options of the largest
    rung that their small share, or all the time where nothing else is asked for, has room for. The rest takes what is
    left. Of steps that cost alike, those that span the widest range come first: a GPU spends as long on a small model
    as on a large one, and small ones alone would tell it nothing but the cost of launching kernels.

    wanted: keys of cells that a baseline has. They come before all others where there is time for all of them; a part
    would be what costs least and not what laws need.
    """
    workloads = list(workloads)
    energy = scouted.energy_reason is None
    n_blocks = MORE_BLOCKS if budget_s >= ENOUGH_FOR_MORE_S else FEW_BLOCKS
    cells = sorted(_expect_all(workloads, scouted, n_blocks), key=lambda cell: cell.least_s)
    fitting = [cell for cell in cells if _obstacle(cell, scouted) is None]
    worker_s = scouted.worker_start_s + WORKER_END_S
    left_s = budget_s - worker_s - n_blocks * (worker_s + KERNELS_S) - (worker_s + ENERGY_PASS_S if energy else 0.0)
    chosen = _all_or_none([cell for cell in fitting if cell.workload.key in wanted], WANTED_SLACK * left_s, energy)
    chosen += _choose([cell for cell in fitting if cell not in chosen], chosen, left_s, energy, worker_s)
    ruled_out = [_ruled_out(cell, scouted) for cell in cells if cell not in chosen]
    n_blocks = max((cell.n_blocks for cell in chosen), default=n_blocks)
    return Plan(tuple(chosen), tuple(ruled_out), budget_s, energy, worker_s, n_blocks)


def _choose(
    fitting: Sequence[PlannedCell], chosen: Sequence[PlannedCell], left_s: float, energy: bool, worker_s: float
) -> list[PlannedCell]:
    """Of what is not chosen yet: cells for the laws up to their share of the time, then options, then others."""

    def cost_s(cells: Sequence[PlannedCell]) -> float:
        return sum(_least_s(cell, energy) for cell in cells)

    options = [cell for cell in fitting if cell.compared]
    steps, others = _for_laws(fitting), [c for c in fitting if not c.compared and not c.workload.is_plain_step]
    chosen_steps, free_s = _for_laws(chosen), left_s - cost_s(chosen)
    share = LAW_SHARE if others or options or len(chosen_steps) < len(chosen) else 1.0
    by_width = _widest_first(steps, energy)
    more = _cheapest(by_width, min(share * left_s - cost_s(chosen_steps), free_s), energy)
    fewest = max(FEWEST_FOR_LAWS - len(chosen_steps), 0)
    more = max(more, _cheapest(by_width[:fewest], free_s, energy), key=len)
    free_s -= cost_s(more)
    for_options_s = min(OPTIONS_SHARE * left_s, free_s) if steps or others or chosen else free_s
    if compared := _largest_compared(options, chosen, for_options_s - worker_s, energy):
        free_s -= cost_s(compared) + worker_s
    return [*more, *compared, *_cheapest(others, free_s, energy)]


def _for_laws(cells: Iterable[PlannedCell]) -> list[PlannedCell]:
    """Plain steps, but for those that are here to be compared with."""
    return [cell for cell in cells if cell.workload.is_plain_step and not cell.compared]


def _largest_compared(
    cells: Sequence[PlannedCell], chosen: Sequence[PlannedCell], left_s: float, energy: bool
) -> list[PlannedCell]:
    """Rungs with all their options, from the largest that the time holds on down; compiled ones where it still does."""
    bases = {cell.workload for cell in (*cells, *chosen)}
    more: list[PlannedCell] = []
    for rung in sorted(_by_plain_step(cells), key=_step_flops, reverse=True):
        compiled = [cell for cell in rung if cell.workload.compiled]
        for part in ([cell for cell in rung if cell not in compiled], compiled):
            cost_s = sum(_least_s(cell, energy) for cell in part)
            if cost_s > left_s or rung[0].workload.plain not in bases:
                break
            more += part
            left_s -= cost_s
    return more


def _by_plain_step(cells: Iterable[PlannedCell]) -> list[list[PlannedCell]]:
    """The cells that differ in nothing but their options."""
    groups: dict[Workload, list[PlannedCell]] = {}
    for cell in cells:
        groups.setdefault(cell.workload.plain, []).append(cell)
    return list(groups.values())


def _step_flops(cells: Sequence[PlannedCell]) -> float:
    assert cells[0].accounting
    return cells[0].accounting.flops.model_flops("step")


def _widest_first(cells: Sequence[PlannedCell], energy: bool) -> list[PlannedCell]:
    """Cells of like price ordered so that each is as far as can be, in FLOPs, from all before it; then the others."""
    alike = [c for c in cells if _least_s(c, energy) <= ALIKE[c.workload.device] * _least_s(cells[0], energy)]
    ordered: list[PlannedCell] = []
    while alike:
        furthest = max(alike, key=lambda cell: min((_gap(cell, other) for other in ordered), default=0.0))
        ordered.append(furthest)
        alike.remove(furthest)
    return [*ordered, *(cell for cell in cells if cell not in ordered)]


def _gap(one: PlannedCell, other: PlannedCell) -> float:
    """Factor in model FLOPs between two cells, as a logarithm."""
    assert one.accounting and other.accounting
    return abs(log(one.accounting.flops.model_flops("step") / other.accounting.flops.model_flops("step")))


def _least_s(cell: PlannedCell, energy: bool) -> float:
    return cell.least_s + (energy_pass_s(cell) if energy else 0.0)


def _cheapest(cells: Sequence[PlannedCell], left_s: float, energy: bool) -> list[PlannedCell]:
    """The longest run of cells, from the cheapest up, that the time holds."""
    ends = accumulate(_least_s(cell, energy) for cell in cells)
    return [cell for cell, end_s in zip(cells, ends, strict=True) if end_s <= left_s]


def _all_or_none(cells: list[PlannedCell], left_s: float, energy: bool) -> list[PlannedCell]:
    return cells if sum(_least_s(cell, energy) for cell in cells) <= left_s else []


def _ruled_out(cell: PlannedCell, scouted: Scouted) -> CellPlanned:
    status, reason = _obstacle(cell, scouted) or ("skipped", _no_time(cell))
    return CellPlanned(
        workload=cell.workload,
        accounting=cell.accounting,
        predicted_memory=cell.predicted_memory,
        status=status,
        reason=reason,
    )


def _obstacle(cell: PlannedCell, scouted: Scouted) -> tuple[CellStatus, str] | None:
    """What no budget helps against."""
    if reason := why_unsupported(cell.workload):
        return "skipped", reason
    memory = cell.predicted_memory
    if memory and needed_bytes(memory) > scouted.available_bytes:
        return "predicted_oom", _no_room(memory, scouted)
    return None


def _no_time(cell: PlannedCell) -> str:
    takes = f"takes at least {cell.least_s:.0f} s, more than the budget has left"
    if cell.compared:
        return f"{takes} for options: raise --scale-budget, or run bench_options.py alone"
    return f"{takes}: raise --scale-budget"


def _no_room(memory: PredictedMemory, scouted: Scouted) -> str:
    need, tensors, free = (size / 2**30 for size in (needed_bytes(memory), memory.peak_bytes, scouted.available_bytes))
    return (
        f"needs about {need:.1f} GiB ({tensors:.1f} GiB of tensors), {free:.1f} GiB are free: "
        "end other programs, or declare it with a smaller batch or sequence length"
    )


def needed_bytes(memory: PredictedMemory | None) -> float:
    """What must be free for a cell to be begun: its tensors at their peak, with margins; 0 where nothing is known."""
    return ALLOCATOR_SLACK * memory.peak_bytes + PROCESS_BYTES if memory else 0.0


def expected_step_s(accounting: Accounting, scouted: Scouted) -> float:
    """Seconds of a float32 training step, from what the scout saw."""
    return (
        scouted.per_layer_s * accounting.n_layer
        + scouted.s_per_flop * accounting.flops.model_flops("step")
        + scouted.s_per_activation_byte * (accounting.activation_bytes or 0)
    )


def _expect_all(workloads: Sequence[Workload], scouted: Scouted, n_blocks: int) -> list[PlannedCell]:
    """Every block compiles anew, so that compiled cells take part in few; so do options beside anything else."""
    compared = compared_steps(workloads)
    few = min(n_blocks, FEW_BLOCKS)
    beside_others = any(workload.plain not in compared for workload in workloads)
    return [
        _expect(
            workload,
            scouted,
            few if workload.compiled or (beside_others and workload.plain in compared) else n_blocks,
            workload.plain in compared,
        )
        for workload in workloads
    ]


def _expect(workload: Workload, scouted: Scouted, n_blocks: int, compared: bool) -> PlannedCell:
    accounting = account_workload(workload)
    if accounting is None:
        return PlannedCell(workload, None, TASK_ROUND_S, n_blocks=n_blocks)
    assert workload.model and workload.batch and workload.seq_len
    eager = account(workload.model, workload.batch, workload.seq_len, workload.dtype)
    step_s = expected_step_s(eager, scouted) * _slowness(workload)
    setup_s = CELL_START_S + accounting.params_total / INITIALISED_PARAMS_PER_S
    if workload.checkpointed:
        setup_s += CHECKPOINT_S
    if workload.phase == "optimizer":
        setup_s += FIRST_ROUND_SLOWNESS * step_s  # one step gives it the gradients
    round_s = step_s * STEP_SHARES[workload.phase]
    return PlannedCell(workload, accounting, round_s, setup_s, predict_memory(workload), n_blocks, compared)


def _slowness(workload: Workload) -> float:
    """How many times as long a round takes with its options."""
    told = [
        (CHECKPOINTED_SLOWNESS, workload.checkpointed),
        (MICRO_BATCH_SLOWNESS, workload.micro_batches > 1),
        (MATH_SLOWNESS, workload.attention == "math"),
        (KERNELS_SLOWNESS, workload.optimizer_kernels is not None),
    ]
    return prod(slowness for slowness, is_so in told if is_so)
