"""The worker process: does what one job says, cell by cell, and reports each result as it is there.

Run as `python -m scalemark.measure.worker`; see `scalemark.process` for the way in and out.
"""

import gc
import os
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import psutil
import torch
from pydantic import BaseModel
from scipy.optimize import nnls

from scalemark.errors import DeviceError
from scalemark.measure.ceiling import measure_kernel
from scalemark.measure.clock import Round, time_rounds_s
from scalemark.measure.count import count_task
from scalemark.measure.device import Device, available_bytes, release, require, synchronise, torch_facts
from scalemark.measure.energy import Probed, Unavailable, find_counter, measure_energy, measure_idle, probe
from scalemark.measure.gpu import read_gpu_state
from scalemark.measure.losses import short_losses
from scalemark.measure.memory import measure_memory
from scalemark.measure.operators import count_operators
from scalemark.measure.orders import (
    ROUNDS_AT_LEAST,
    ROUNDS_AT_MOST,
    CellOrder,
    KernelOrder,
    MeasureJob,
    Scouted,
)
from scalemark.measure.phases import build_task, make_round
from scalemark.measure.reference import References
from scalemark.measure.rounds import Limits, sample
from scalemark.measure.watch import Watch
from scalemark.model.accounting import account
from scalemark.model.ladder import BATCH, SEQ_LEN, diagonal_shape
from scalemark.model.task import Task
from scalemark.process import Began, Refused, keep_to, moving_variables, serve
from scalemark.schema import (
    Block,
    BlockMeasured,
    CellCounted,
    CellEnded,
    CellStatus,
    EnergyMeasured,
    Estimate,
    Facts,
    MemoryMeasured,
    ModelConfig,
    Operators,
    OperatorsCounted,
    Purpose,
    ShortLossesMeasured,
    WorkerStarted,
    Workload,
)

Emit = Callable[[BaseModel], None]

SCOUT_BUDGET_S = 0.8
# Nearly all overhead, nearly all matrix products, and the shape that is trained most: many tokens, little width.
_TRAINED = (ModelConfig(n_layer=2, d_model=32, n_head=2), 4, 128)
SCOUTED_SHAPES = {
    "cpu": ((diagonal_shape(1), BATCH, SEQ_LEN), (diagonal_shape(4), BATCH, SEQ_LEN), _TRAINED),
    "cuda": ((diagonal_shape(1), BATCH, SEQ_LEN), (diagonal_shape(16), BATCH, SEQ_LEN), _TRAINED),
}
_OUT_OF_MEMORY_WORDS = ("out of memory", "not enough memory", "can't allocate memory")
# What torch says where the chosen attention has no kernel for this device, dtype or shape.
_NO_ATTENTION_WORDS = ("No available kernel", "No viable backend")


def work(job: MeasureJob, emit: Emit) -> None:
    """Do the whole job."""
    keep_to(job.affinity)  # before torch starts its threads, which inherit it
    torch.set_num_threads(job.threads)
    device: Device = ("cuda" if torch.cuda.is_available() else "cpu") if job.device == "auto" else job.device
    try:
        require(device)
    except DeviceError as error:
        emit(Refused(reason=str(error)))
        return
    if job.purpose == "scout":
        emit(_scout(job, device))
        return
    emit(worker_started(job.purpose, job.block_index))
    quiet_collector()
    with Watch() as watch:
        _work_through(_Bench(job, device, watch), emit)


@dataclass(frozen=True)
class _Bench:
    """What every cell of one worker shares, made when it is first needed."""

    job: MeasureJob
    device: Device
    watch: Watch

    @cached_property
    def tokens(self) -> np.ndarray:
        return np.fromfile(self.job.token_path, dtype=np.uint8)

    @cached_property
    def references(self) -> References:
        return References(self.device)

    def build(self, workload: Workload, seed: int | None = None) -> Task:
        """seed: the job's where none is given."""
        return build_task(workload, self.tokens, self.job.seed if seed is None else seed)

    @cached_property
    def counter(self) -> Probed | Unavailable:
        return probe(find_counter(self.device), lambda: _load(self.device))

    @cached_property
    def idle_w(self) -> Estimate | None:
        return measure_idle(self.counter)


def worker_started(purpose: Purpose, index: int, rank: int | None = None) -> WorkerStarted:
    """How this process found itself: what it says is read back, not repeated from the job."""
    affinity = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None
    return WorkerStarted(
        purpose=purpose,
        index=index,
        start_s=_age_s(),
        threads=torch.get_num_threads(),
        affinity=None if affinity is None else tuple(affinity),
        environment=moving_variables(os.environ),
        rank=rank,
    )


def _age_s() -> float:
    """Seconds since this process was made."""
    return round(time.time() - psutil.Process().create_time(), 3)


def quiet_collector() -> None:
    """A collection inside a round would be timed as if the model had done it."""
    gc.collect()
    gc.freeze()
    gc.disable()


def _work_through(bench: _Bench, emit: Emit) -> None:
    for order in bench.job.orders:
        if isinstance(order, KernelOrder):
            emit(measure_kernel(order, bench.device, bench.job.block_index))
        else:
            _attempt(order, bench, emit)
        release()


def _attempt(order: CellOrder, bench: _Bench, emit: Emit) -> None:
    """Measure one cell; an error ends that cell, not the block."""
    emit(Began(key=order.workload.key))
    measures = {"time": _time_cell, "memory": _memory_of_cell, "loss": _losses_of_cell, "energy": _energy_of_cell}
    measure = measures[bench.job.purpose]
    try:
        measure(order, bench, emit)
    except Exception as error:  # whatever a user's own model raises
        first_line = (str(error).splitlines() or [""])[0]
        reason = f"{type(error).__name__}: {first_line}"
        emit(CellEnded(key=order.workload.key, status=status_of(error, order.workload), reason=reason))


def status_of(error: Exception, workload: Workload | None = None) -> CellStatus:
    """What an error says of the cell. A compiler or an attention kernel that is not there is no fault of the model."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError) or any(
        words in str(error) for words in _OUT_OF_MEMORY_WORDS
    ):
        return "oom"
    by_compiler = type(error).__module__.startswith(("torch._dynamo", "torch._inductor"))
    if workload is None:
        return "failed"
    no_attention = workload.attention and any(words in str(error) for words in _NO_ATTENTION_WORDS)
    return "skipped" if no_attention or (workload.compiled and by_compiler) else "failed"


def _time_cell(order: CellOrder, bench: _Bench, emit: Emit) -> None:
    workload = order.workload
    started = time.perf_counter()
    one = make_round(bench.build(workload), workload)
    synchronise(workload.device)
    setup_s = time.perf_counter() - started
    limits = Limits(order.budget_s, ROUNDS_AT_LEAST, ROUNDS_AT_MOST)
    state_before = _board_state(workload.device)
    sampled = sample(one, workload.device, limits, bench.references, bench.watch)
    block = Block(
        index=bench.job.block_index,
        warmup_s=sampled.warmup_s,
        rounds_s=sampled.rounds_s,
        setup_s=setup_s,
        steady=sampled.steady,
        conditions=sampled.conditions,
        state_before=state_before,
        state_after=_board_state(workload.device),
    )
    emit(BlockMeasured(key=workload.key, block=block))


def _board_state(device: Device) -> Facts:
    return read_gpu_state() if device == "cuda" else {}


def _memory_of_cell(order: CellOrder, bench: _Bench, emit: Emit) -> None:
    """Operators are counted in one round, peaks are read in the next."""
    workload = order.workload
    task = bench.build(workload)
    if workload.task:
        emit(CellCounted(key=workload.key, accounting=count_task(task)))
    one = make_round(task, workload)
    if workload.compiled or workload.phase in ("step", "optimizer"):  # the first round makes what later ones find
        one.prepare()
        one.timed()
    if operators := _operators(one, workload):
        emit(OperatorsCounted(key=workload.key, operators=operators))
    one = make_round(task, workload)  # anew: the rounds before left their graph behind
    emit(MemoryMeasured(key=workload.key, memory=measure_memory(task, one, workload.device)))


def _operators(one: Round, workload: Workload) -> Operators | None:
    """None where they cannot be seen: in a compiled graph, or in a user's operator that refuses a dispatch mode."""
    if workload.compiled:
        return None
    one.prepare()
    try:
        return count_operators(one.timed)
    except Exception as error:
        if workload.task is None:
            raise
        print(f"{workload.key}: operators not counted ({type(error).__name__}: {error})")  # into the worker's log
        return None


def _losses_of_cell(order: CellOrder, bench: _Bench, emit: Emit) -> None:
    workload = order.workload
    losses = short_losses(workload, lambda seed: bench.build(workload, seed), bench.job.seed)
    emit(ShortLossesMeasured(key=workload.key, short_losses=losses))


def _energy_of_cell(order: CellOrder, bench: _Bench, emit: Emit) -> None:
    workload = order.workload
    idle_w = bench.idle_w  # before anything of this cell runs
    one = make_round(bench.build(workload), workload)
    energy = measure_energy(bench.counter, one, workload.device, idle_w)
    emit(EnergyMeasured(key=workload.key, energy=energy))


def _scout(job: MeasureJob, device: Device) -> Scouted:
    """Three shapes and the energy counter, in a few seconds."""
    _load(device)
    worker_start_s = _age_s()
    tokens = np.fromfile(job.token_path, dtype=np.uint8)
    workloads = [
        Workload(phase="step", model=model, batch=batch, seq_len=seq_len, device=device, optimizer="adamw")
        for model, batch, seq_len in SCOUTED_SHAPES[device]
    ]
    seconds = [_scout_step_s(workload, tokens, job.seed) for workload in workloads]
    # Billions of FLOPs and bytes, so that all columns are of a size that the solver's tolerance suits.
    (per_layer_s, s_per_gflop, s_per_gb), _ = nnls(np.array([*map(_scout_terms, workloads)]), np.array(seconds))
    counter = probe(find_counter(device), lambda: _load(device))
    return Scouted(
        device=device,
        available_bytes=available_bytes(device),
        per_layer_s=per_layer_s,
        s_per_flop=s_per_gflop / 1e9,
        s_per_activation_byte=s_per_gb / 1e9,
        energy_reason=counter.reason,
        worker_start_s=worker_start_s,
        device_count=torch.cuda.device_count() if device == "cuda" else 1,
        facts=torch_facts(device),
    )


def _scout_terms(workload: Workload) -> list[float]:
    assert workload.model and workload.batch and workload.seq_len
    counted = account(workload.model, workload.batch, workload.seq_len)
    return [counted.n_layer, counted.flops.model_flops("step") / 1e9, (counted.activation_bytes or 0) / 1e9]


def _scout_step_s(workload: Workload, tokens: np.ndarray, seed: int) -> float:
    one = make_round(build_task(workload, tokens, seed), workload)
    rounds = time_rounds_s(one, workload.device, SCOUT_BUDGET_S, at_least=4, at_most=40)
    return statistics.median(rounds[len(rounds) // 3 :])  # the first ones warm up


def _load(device: Device) -> None:
    a = torch.randn(1024, 1024, device=device)
    for _ in range(5):
        a @ a
    synchronise(device)


if __name__ == "__main__":
    serve(MeasureJob, work)
