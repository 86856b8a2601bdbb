"""What steps on several ranks tell: efficiency, what communication costs, and the step on more ranks.

    step on p ranks = compute + exposed                       both measured, in turn, in the same processes
    step on q ranks = compute + exposed · C(q) / C(p)         C: all collectives of a step, by `fit.communication`

C counts every collective of a step as if nothing hid it. What is exposed of it at p is measured, and the same share is
taken to be exposed at q: no law here knows how much a larger group hides. Each rank is given as much to do at q as at p
(weak scaling), so its compute stays what it was.
"""

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from scalemark.fit.communication import Message, fit_all, seconds, seconds_draws
from scalemark.schema import (
    Accounting,
    Cell,
    Collective,
    CollectiveTime,
    Estimate,
    Law,
    Scaling,
    ScalingForecast,
    ScalingRow,
    Suite,
    Workload,
)
from scalemark.stats import median_over_blocks, percentile_interval, signed_median_over_blocks

Array = NDArray[np.float64]
Laws = dict[tuple[Collective, bool], Law]
Calls = dict[Collective, list[float]]

# DistributedDataParallel's own: the first bucket is small, so that communication begins early (torch, nn/parallel/
# distributed.py: dist._DEFAULT_FIRST_BUCKET_BYTES and bucket_cap_mb).
FIRST_BUCKET_BYTES, BUCKET_BYTES = 2**20, 25 * 2**20
# Quantile of the normal distribution that an interval of 90 % reaches to.
_NORMAL_90 = 1.645
_SMALLEST_S = 1e-9


def scaling_of(suite: Suite) -> Scaling | None:
    """All of it; None where no step ran on several ranks."""
    cells = [cell for cell in suite.cells if cell.workload.is_parallel and cell.status == "ok" and cell.blocks]
    spread = [cell for cell in cells if cell.workload.world_size > 1]
    if not spread:
        return None
    laws = fit_all(suite.collectives, suite.settings.seed)
    return Scaling(
        rows=tuple(_row(cell, cells, laws) for cell in spread),
        laws=tuple(laws.values()),
        forecasts=(*_hidden(spread, suite.collectives, suite.settings.seed), *_next(spread, cells, laws)),
        notes=_notes(spread, laws),
    )


# --- one cell ---------------------------------------------------------------------------------------------------------


def _row(cell: Cell, cells: Sequence[Cell], laws: Laws) -> ScalingRow:
    work, ranks = cell.workload, cell.memory.ranks if cell.memory else None
    assert cell.time_s is not None
    communication = communication_s(work, cell.accounting, laws, n_nodes(cell)) if cell.accounting else None
    return ScalingRow(
        workload=work,
        step_s=cell.time_s,
        compute_s=median_over_blocks(_compute_blocks(cell)),
        exposed_s=exposed_s(cell),
        communication_s=communication,
        skew=signed_median_over_blocks(_skew_blocks(cell)),
        weak=_efficiency(cell, _reference(cell, cells, work.rank_batch), 1),
        strong=_efficiency(cell, _reference(cell, cells, work.batch), work.world_size),
        state_bytes=max(ranks.state_bytes) if ranks else None,
        replicated_state_bytes=ranks.replicated_state_bytes if ranks else None,
    )


def exposed_s(cell: Cell) -> Estimate:
    """Step minus compute, pair by pair: the slowest rank of each."""
    return signed_median_over_blocks(
        [
            [step - compute for step, compute in zip(block.rounds_s, slowest(block.ranks.compute_s), strict=True)]
            for block in cell.blocks
            if block.ranks
        ]
    )


def slowest(ranks: Sequence[Sequence[float]]) -> list[float]:
    """Of each round, the rank that took longest."""
    return [max(round_s) for round_s in zip(*ranks, strict=True)]


def _compute_blocks(cell: Cell) -> list[list[float]]:
    return [slowest(block.ranks.compute_s) for block in cell.blocks if block.ranks]


def _skew_blocks(cell: Cell) -> list[list[float]]:
    """Slowest over fastest rank, less 1, while nobody waits for anybody."""
    return [
        [max(round_s) / min(round_s) - 1 for round_s in zip(*block.ranks.compute_s, strict=True)]
        for block in cell.blocks
        if block.ranks
    ]


def n_nodes(cell: Cell) -> int:
    """Nodes that the cell's ranks were on."""
    return max((block.ranks.n_nodes for block in cell.blocks if block.ranks), default=1)


# --- efficiency -------------------------------------------------------------------------------------------------------


def _reference(cell: Cell, cells: Sequence[Cell], batch: int | None) -> Cell | None:
    """The same rung on one rank with this batch."""
    wanted = cell.workload.model_copy(update={"parallelism": "ddp", "world_size": 1, "batch": batch})
    return next((one for one in cells if one.workload == wanted), None)


def _efficiency(cell: Cell, reference: Cell | None, gain: int) -> Estimate | None:
    """The reference's time over the cell's, divided by how many times faster it should be.

    Blocks of both are of the same groups of processes, so they are compared block by block where there are three; of
    fewer, whose differences tell nothing, both intervals are put together.
    """
    if reference is None or reference.time_s is None or cell.time_s is None:
        return None
    by_index = {block.index: float(np.median(block.rounds_s)) for block in reference.blocks}
    ratios = [
        by_index[block.index] / float(np.median(block.rounds_s)) / gain
        for block in cell.blocks
        if block.index in by_index
    ]
    if len(ratios) >= 3:
        return median_over_blocks([[ratio] for ratio in ratios])
    value = reference.time_s.value / cell.time_s.value / gain
    factor = float(np.exp(np.hypot(_log_half_width(reference.time_s), _log_half_width(cell.time_s))))
    return Estimate(value=value, low=value / factor, high=value * factor)


def _log_half_width(estimate: Estimate) -> float:
    return float(np.log(estimate.high / estimate.low)) / 2


# --- communication of a step ------------------------------------------------------------------------------------------


def calls_of(workload: Workload, accounting: Accounting) -> Calls:
    """Bytes of each collective that one step makes, by operation.

    ddp: gradients in buckets. fsdp: each block gathered for the forward and again for the backward pass, what no block
    holds gathered once; all gradients scattered.
    """
    if workload.parallelism == "ddp":
        return {"all_reduce": _buckets(accounting.gradient_bytes)}
    share = accounting.params_non_embedding / max(1, accounting.params_total)
    in_blocks = accounting.parameter_bytes * share / max(1, accounting.n_layer)
    blocks, root = [in_blocks] * accounting.n_layer, accounting.parameter_bytes * (1 - share)
    return {"all_gather": [*blocks, *blocks, root], "reduce_scatter": [*blocks, root]}


def _buckets(gradient_bytes: int) -> list[float]:
    first = min(FIRST_BUCKET_BYTES, gradient_bytes)
    whole, rest = divmod(gradient_bytes - first, BUCKET_BYTES)
    return [float(size) for size in (first, *[BUCKET_BYTES] * whole, rest) if size]


def communication_s(workload: Workload, accounting: Accounting, laws: Laws, n_nodes: int) -> Estimate | None:
    """What all collectives of a step take if nothing hides them; None without a law for each of them."""
    found = _laws_for(workload, accounting, laws, n_nodes > 1)
    if found is None:
        return None
    value = sum(seconds(law, operation, messages) for law, operation, messages in found)
    draws = np.sum([seconds_draws(law, operation, messages) for law, operation, messages in found], axis=0)
    return percentile_interval(draws, value)


def _laws_for(
    workload: Workload, accounting: Accounting, laws: Laws, many_nodes: bool
) -> list[tuple[Law, Collective, list[Message]]] | None:
    found = []
    for operation, sizes in calls_of(workload, accounting).items():
        law = laws.get((operation, many_nodes))
        if law is None:
            return None
        found.append((law, operation, [Message(workload.world_size, size) for size in sizes]))
    return found


# --- more ranks -------------------------------------------------------------------------------------------------------


def forecast_step_s(cell: Cell, world_size: int, laws: Laws) -> Estimate | None:
    """The cell's step on so many ranks, each with as much to do; None without laws for its collectives.

    Draws join what blocks tell of compute and of what is exposed with what replicates of the laws say of their growth.
    """
    assert cell.accounting is not None
    larger = on_ranks(cell.workload, world_size)
    many_nodes = n_nodes(cell) > 1
    here, there = (_laws_for(work, cell.accounting, laws, many_nodes) for work in (cell.workload, larger))
    if here is None or there is None:
        return None
    growth = _total(there, False) / _total(here, False)
    rng = np.random.default_rng(0)
    growths = _total(there, True) / _total(here, True)
    compute, exposed = median_over_blocks(_compute_blocks(cell)), exposed_s(cell)
    value = compute.value + max(exposed.value, 0.0) * growth[0]
    n = len(growths)
    computes = compute.value * np.exp(_log_half_width(compute) / _NORMAL_90 * rng.standard_normal(n))
    exposures = exposed.value + (exposed.high - exposed.low) / 2 / _NORMAL_90 * rng.standard_normal(n)
    return percentile_interval(computes + np.maximum(exposures, 0.0) * growths, value)


def _total(found: Iterable[tuple[Law, Collective, list[Message]]], draws: bool) -> Array:
    parts = [
        seconds_draws(law, operation, messages) if draws else np.array([seconds(law, operation, messages)])
        for law, operation, messages in found
    ]
    total: Array = np.maximum(np.sum(parts, axis=0), _SMALLEST_S)
    return total


def on_ranks(workload: Workload, world_size: int) -> Workload:
    """The same step on so many ranks, each with its batch as before."""
    assert workload.rank_batch
    return workload.model_copy(update={"world_size": world_size, "batch": workload.rank_batch * world_size})


def _next(spread: Sequence[Cell], cells: Sequence[Cell], laws: Laws) -> list[ScalingForecast]:
    """The largest group that each step was measured on, twice as large."""
    return [
        forecast
        for cell in _largest(spread)
        if (
            forecast := _forecast(
                cell, 2 * cell.workload.world_size, laws, _reference(cell, cells, cell.workload.rank_batch)
            )
        )
    ]


def _forecast(cell: Cell, world_size: int, laws: Laws, reference: Cell | None) -> ScalingForecast | None:
    step_s, weak = forecast_step_s(cell, world_size, laws), _efficiency(cell, reference, 1)
    if step_s is None:
        return None
    then = _then(weak, cell.time_s, step_s) if weak and cell.time_s else None
    return ScalingForecast(workload=on_ranks(cell.workload, world_size), step_s=step_s, weak=then)


def _then(weak: Estimate, step_s: Estimate, forecast_s: Estimate) -> Estimate:
    """Efficiency at a forecast: what it is now, times how much longer the step becomes."""
    value = weak.value * step_s.value / forecast_s.value
    factor = float(np.exp(np.hypot(_log_half_width(weak), _log_half_width(forecast_s))))
    return Estimate(value=value, low=value / factor, high=value * factor)


def _largest(spread: Sequence[Cell]) -> list[Cell]:
    """Of each rung, parallelism and batch of a rank, the cell on the most ranks."""
    found: dict[Workload, Cell] = {}
    for cell in sorted(spread, key=lambda cell: cell.workload.world_size):
        found[on_ranks(cell.workload, 1)] = cell
    return list(found.values())


def _hidden(spread: Sequence[Cell], collectives: Sequence[CollectiveTime], seed: int) -> list[ScalingForecast]:
    """The largest world size hidden from laws and steps, and predicted from the one below, if that is not one."""
    sizes = sorted({cell.workload.world_size for cell in spread})
    if len(sizes) < 2:
        return []
    laws = fit_all([one for one in collectives if one.world_size < sizes[-1]], seed)
    measured = {cell.workload: cell for cell in spread}
    found = []
    for cell in _largest([cell for cell in spread if cell.workload.world_size < sizes[-1]]):
        after = measured.get(on_ranks(cell.workload, sizes[-1]))
        if after and after.time_s and (step_s := forecast_step_s(cell, sizes[-1], laws)):
            found.append(ScalingForecast(workload=after.workload, step_s=step_s, measured_s=after.time_s))
    return found


def _notes(spread: Sequence[Cell], laws: Laws) -> tuple[str, ...]:
    one_node = all(n_nodes(cell) == 1 for cell in spread)
    told = any(law.parameters[1].identified for law in laws.values())
    notes = [
        "measured on one node: more ranks are taken to be linked as these are, which those of another node are not"
        if one_node
        else "",
        "one world size tells no latency from overhead, so the interval reaches from one to the other"
        if not told
        else "",
    ]
    return tuple(filter(None, notes))
