"""The worker process: does what one job says, cell by cell, and reports each result as it is there.

Run as `python -m scalemark.measure.worker`; see `scalemark.process` for the way in and out.
"""

import gc
import statistics
import time
from collections.abc import Callable

import numpy as np
import torch
from pydantic import BaseModel
from scipy.optimize import nnls

from scalemark.errors import DeviceError
from scalemark.measure.ceiling import measure_gemm, measure_triad
from scalemark.measure.clock import time_rounds_s
from scalemark.measure.count import count_task
from scalemark.measure.device import Device, available_bytes, release, require, synchronise, torch_facts
from scalemark.measure.energy import find_counter, measure_energy, probe
from scalemark.measure.memory import measure_memory
from scalemark.measure.orders import (
    ROUNDS_AT_LEAST,
    ROUNDS_AT_MOST,
    CellOrder,
    KernelOrder,
    MeasureJob,
    Scouted,
)
from scalemark.measure.phases import build_task, make_round
from scalemark.model.accounting import account
from scalemark.model.ladder import BATCH, SEQ_LEN, diagonal_shape
from scalemark.process import Began, Refused, serve
from scalemark.schema import (
    Block,
    BlockMeasured,
    CellCounted,
    CellEnded,
    EnergyMeasured,
    MemoryMeasured,
    ModelConfig,
    Workload,
)

Emit = Callable[[BaseModel], None]

WARMUP_BUDGET_S = 0.15
WARMUP_AT_LEAST, WARMUP_AT_MOST = 1, 20
SCOUT_BUDGET_S = 0.8
# Nearly all overhead, nearly all matrix products, and the shape that is trained most: many tokens, little width.
_TRAINED = (ModelConfig(n_layer=2, d_model=32, n_head=2), 4, 128)
SCOUTED_SHAPES = {
    "cpu": ((diagonal_shape(1), BATCH, SEQ_LEN), (diagonal_shape(4), BATCH, SEQ_LEN), _TRAINED),
    "cuda": ((diagonal_shape(1), BATCH, SEQ_LEN), (diagonal_shape(16), BATCH, SEQ_LEN), _TRAINED),
}
_OUT_OF_MEMORY_WORDS = ("out of memory", "not enough memory", "can't allocate memory")


def work(job: MeasureJob, emit: Emit) -> None:
    """Do the whole job."""
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
    tokens = np.fromfile(job.token_path, dtype=np.uint8)
    gc.collect()
    gc.freeze()
    gc.disable()  # a collection inside a round would be timed as if the model had done it
    for order in job.orders:
        if isinstance(order, KernelOrder):
            measure = measure_gemm if order.name == "gemm" else None
            emit(measure(device, order.dtype, job.block_index) if measure else measure_triad(device, job.block_index))
        else:
            _attempt(order, job, tokens, emit)
        release()


def _attempt(order: CellOrder, job: MeasureJob, tokens: np.ndarray, emit: Emit) -> None:
    """Measure one cell; an error ends that cell, not the block."""
    emit(Began(key=order.workload.key))
    measure = {"time": _time_cell, "memory": _memory_of_cell, "energy": _energy_of_cell}[job.purpose]
    try:
        measure(order, job, tokens, emit)
    except Exception as error:  # whatever a user's own model raises
        is_oom = isinstance(error, MemoryError | torch.OutOfMemoryError) or any(
            words in str(error) for words in _OUT_OF_MEMORY_WORDS
        )
        first_line = (str(error).splitlines() or [""])[0]
        reason = f"{type(error).__name__}: {first_line}"
        emit(CellEnded(key=order.workload.key, status="oom" if is_oom else "failed", reason=reason))


def _time_cell(order: CellOrder, job: MeasureJob, tokens: np.ndarray, emit: Emit) -> None:
    workload = order.workload
    started = time.perf_counter()
    one = make_round(build_task(workload, tokens, job.seed), workload)
    synchronise(workload.device)
    setup_s = time.perf_counter() - started
    warmup = time_rounds_s(one, workload.device, WARMUP_BUDGET_S, WARMUP_AT_LEAST, WARMUP_AT_MOST)
    rounds = time_rounds_s(one, workload.device, order.budget_s, ROUNDS_AT_LEAST, ROUNDS_AT_MOST)
    block = Block(index=job.block_index, warmup_s=warmup, rounds_s=rounds, setup_s=setup_s)
    emit(BlockMeasured(key=workload.key, block=block))


def _memory_of_cell(order: CellOrder, job: MeasureJob, tokens: np.ndarray, emit: Emit) -> None:
    workload = order.workload
    task = build_task(workload, tokens, job.seed)
    if workload.task:
        emit(CellCounted(key=workload.key, accounting=count_task(task)))
    one = make_round(task, workload)
    if workload.phase in ("step", "optimizer"):  # the first update makes the optimizer's state
        one.prepare()
        one.timed()
    emit(MemoryMeasured(key=workload.key, memory=measure_memory(task, one, workload.device)))


def _energy_of_cell(order: CellOrder, job: MeasureJob, tokens: np.ndarray, emit: Emit) -> None:
    workload = order.workload
    one = make_round(build_task(workload, tokens, job.seed), workload)

    def run_round() -> None:
        one.prepare()
        one.timed()
        synchronise(workload.device)

    run_round()
    emit(EnergyMeasured(key=workload.key, energy=measure_energy(find_counter(workload.device), run_round)))


def _scout(job: MeasureJob, device: Device) -> Scouted:
    """Three shapes and the energy counter, in a few seconds."""
    tokens = np.fromfile(job.token_path, dtype=np.uint8)
    workloads = [
        Workload(phase="step", model=model, batch=batch, seq_len=seq_len, device=device, optimizer="adamw")
        for model, batch, seq_len in SCOUTED_SHAPES[device]
    ]
    seconds = [_scout_step_s(workload, tokens, job.seed) for workload in workloads]
    # Billions of FLOPs and bytes, so that all columns are of a size that the solver's tolerance suits.
    (per_layer_s, s_per_gflop, s_per_gb), _ = nnls(np.array([*map(_scout_terms, workloads)]), np.array(seconds))
    counter = probe(find_counter(device), lambda: _scout_load(device))
    return Scouted(
        device=device,
        available_bytes=available_bytes(device),
        per_layer_s=per_layer_s,
        s_per_flop=s_per_gflop / 1e9,
        s_per_activation_byte=s_per_gb / 1e9,
        energy_reason=counter.reason,
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


def _scout_load(device: Device) -> None:
    a = torch.randn(1024, 1024, device=device)
    for _ in range(5):
        a @ a
    synchronise(device)


if __name__ == "__main__":
    serve(MeasureJob, work)
