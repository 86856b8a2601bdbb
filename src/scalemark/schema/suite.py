"""One run of everything: the machine, its ceilings, the settings, all cells and all training runs. The file format."""

from typing import TYPE_CHECKING, Literal

from pydantic import NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt

from scalemark.schema.basics import (
    SCHEMA_VERSION,
    Backend,
    Collective,
    Dtype,
    Estimate,
    ExecutorName,
    Facts,
    Frozen,
    Purpose,
)
from scalemark.schema.cell import Cell, MeasurementWarning
from scalemark.schema.training import CorpusFacts, TrainingRun

if TYPE_CHECKING:
    import pandas as pd


class Machine(Frozen):
    """Fingerprint in three tiers. Only `identity` is hashed into `id`; unknown is null, and hashed as null."""

    id: str
    identity: Facts
    context: Facts = {}
    state: Facts = {}

    @property
    def summary(self) -> str:
        """One line for people: 'AMD EPYC, 2 cores, 23.5 GiB, torch 2.13.0', without what is not known."""
        facts = self.identity
        known = (facts.get("cores"), float(facts.get("memory_bytes") or 0) / 2**30, facts.get("torch"))
        written = ("{} cores", "{:.1f} GiB", "torch {}")
        device = facts.get("gpu") or facts.get("cpu") or "unknown device"
        return ", ".join([str(device), *(text.format(fact) for text, fact in zip(written, known, strict=True) if fact)])


class GemmRate(Frozen):
    """FLOP/s of one matrix product (m, k) × (k, n) on random data."""

    device: Literal["cpu", "cuda"]
    dtype: Dtype
    m: PositiveInt
    n: PositiveInt
    k: PositiveInt
    flops_per_s: Estimate


class Ceilings(Frozen):
    """What the machine reached in this run on kernels that do nothing else: the denominators of MFU and bandwidth.

    gemm_flops_per_s: by 'device/dtype', the best product of the sweep; gemm_sweep: all of them, the shapes of the
    campaign's own models among them. triad_bytes_per_s: by device, STREAM triad over arrays past the last-level cache
    (McCalpin 1995), bytes read and written; triad_array_bytes: of its three arrays together.
    """

    gemm_flops_per_s: dict[str, Estimate] = {}
    triad_bytes_per_s: dict[str, Estimate] = {}
    triad_array_bytes: dict[str, int] = {}
    gemm_sweep: tuple[GemmRate, ...] = ()


class CollectiveTime(Frozen):
    """One collective operation on one message size: the slowest rank of each round.

    message_bytes: of the whole tensor, as nccl-tests counts it: what is reduced, gathered into, or scattered from.
    blocks_s: raw samples, by group of processes.
    """

    operation: Collective
    backend: Backend
    device: Literal["cpu", "cuda"]
    world_size: PositiveInt
    n_nodes: PositiveInt = 1
    message_bytes: PositiveInt
    blocks_s: tuple[tuple[float, ...], ...]
    time_s: Estimate

    @property
    def bus_bytes_per_s(self) -> Estimate:
        """Bus bandwidth: what each rank's link carries if data goes round a ring, so that world sizes compare.

        Message over time, times 2(p − 1)/p for all-reduce, (p − 1)/p for the others (nccl-tests, doc/PERFORMANCE.md).
        """
        passes = 2 if self.operation == "all_reduce" else 1
        return self.time_s.inverted(passes * (self.world_size - 1) / self.world_size * self.message_bytes)


class WorkerStarted(Frozen):
    """A worker process as it found itself: what it runs with, and what the machine was doing just then.

    start_s: from its launch to the first order, importing torch included. affinity: CPUs it may use (None where the
    system does not tell). environment: variables that move times, where they are set. rank: its place in a group.
    """

    kind: Literal["worker"] = "worker"
    purpose: Purpose
    index: int
    start_s: float | None = None
    threads: int
    affinity: tuple[int, ...] | None = None
    environment: dict[str, str] = {}
    state: Facts = {}
    rank: NonNegativeInt | None = None


class Settings(Frozen):
    """Every effective value of a run. stated_power_w: what a user says the device draws; only `estimated_j` uses it.

    executor, executor_options: who trained the grid, and how it was asked for.
    """

    budget_s: PositiveFloat
    device: Literal["cpu", "cuda"]
    seed: int
    n_blocks: int
    threads: int
    affinity: tuple[int, ...] | None = None
    environment: dict[str, str] = {}
    stated_power_w: PositiveFloat | None = None
    selection: str | None = None
    executor: ExecutorName = "local"
    executor_options: dict[str, str] = {}


class Suite(Frozen):
    """The one record of a run. See `SCHEMA_VERSION` for the version's history.

    parts: ids of the suites that `scalemark merge --join` made this one of; none for a suite that was run.
    """

    schema_version: int = SCHEMA_VERSION
    scalemark_version: str
    id: str
    created: str
    commit: str | None = None
    machine: Machine
    settings: Settings
    corpus: CorpusFacts | None = None
    ceilings: Ceilings = Ceilings()
    cells: tuple[Cell, ...] = ()
    collectives: tuple[CollectiveTime, ...] = ()
    training_runs: tuple[TrainingRun, ...] = ()
    workers: tuple[WorkerStarted, ...] = ()
    warnings: tuple[MeasurementWarning, ...] = ()
    complete: bool = True
    fake: bool = False
    duration_s: NonNegativeFloat | None = None
    parts: tuple[str, ...] = ()

    @property
    def memory_limit_bytes(self) -> float | None:
        """Memory of its device; of a CPU's, no more than the container may use. None: not known."""
        facts, context = self.machine.identity, self.machine.context
        if self.settings.device == "cuda":
            limits = [facts.get("gpu_memory_bytes")]
        else:
            limits = [context.get("memory_total_bytes") or facts.get("memory_bytes"), context.get("memory_limit_bytes")]
        return min((float(limit) for limit in limits if limit), default=None)

    def frame(self, what: Literal["cells", "training"] = "cells") -> "pd.DataFrame":
        """One row per measured cell, or per finished training run, as a pandas table; empty where there are none.

        cells: phase, model and batch, params (non-embedding), FLOPs and bytes counted, seconds of one round with its
        90 % interval, peak bytes, joules. training: params (non-embedding), tokens, loss (nats per token), and trunk:
        what `scalemark.fit_loss` takes.
        """
        import pandas as pd

        if what == "cells":
            return pd.DataFrame([_cell_row(cell) for cell in self.cells if cell.status == "ok"])
        runs = [run for run in self.training_runs if run.status == "ok"]
        trunks: dict[str, int] = {}
        return pd.DataFrame([_run_row(run, trunks.setdefault(run.config.trunk, len(trunks) + 1)) for run in runs])


def _cell_row(cell: Cell) -> dict[str, object]:
    work, counted, time_s = cell.workload, cell.accounting, cell.typical_s
    return {
        "key": work.key,
        "phase": work.phase,
        "dtype": work.dtype,
        "plain": work.is_plain_step,
        "options": "+".join(work.options),
        "batch": work.batch,
        "seq_len": work.seq_len,
        "width": work.model.d_model if work.model else None,
        "depth": work.model.n_layer if work.model else None,
        "params": counted.params_non_embedding if counted else None,
        "model_flops": counted.flops.model_flops(work.phase) if counted else None,
        "activation_bytes": counted.activation_bytes if counted else None,
        "seconds": time_s.value if time_s else None,
        "seconds_low": time_s.low if time_s else None,
        "seconds_high": time_s.high if time_s else None,
        "peak_bytes": cell.memory.allocated_bytes if cell.memory else None,
        "joules": cell.energy.joules_per_round.value if cell.energy and cell.energy.joules_per_round else None,
    }


def _run_row(run: TrainingRun, trunk: int) -> dict[str, object]:
    return {
        "key": run.config.key,
        "params": run.accounting.params_non_embedding if run.accounting and run.config.model else None,
        "tokens": run.config.tokens,
        "loss": run.validation_loss,
        "accuracy": run.validation_accuracy,
        "epochs": run.epochs,
        "unique_tokens": run.config.tokens / run.epochs if run.epochs else None,
        "trunk": trunk,
        "seconds": run.seconds,
    }
