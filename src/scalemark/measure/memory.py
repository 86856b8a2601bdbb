"""Peak memory of one round, in a pass of its own: nothing here is timed.

CUDA: the caching allocator's own peak. CPU: what is live before the round (parameters, buffers, optimizer state,
gradients, data), plus the highest sum of allocations and frees during it, as torch's profiler logs them. The resident
peak is the kernel's (VmHWM), reset just before where Linux lets us.
"""

import gc
from collections.abc import Iterable
from pathlib import Path

import torch
from torch import Tensor
from torch.profiler import ProfilerActivity, profile

from scalemark.measure.clock import Round
from scalemark.measure.device import Device
from scalemark.model.task import Task
from scalemark.schema import Memory

_PROC = Path("/proc/self")


def measure_memory(task: Task, one: Round, device: Device) -> Memory:
    """Peak memory of one round that has run at least once before (lazy optimizer state exists by then)."""
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
        one.prepare()
        one.timed()
        torch.cuda.synchronize()
        return Memory(allocated_bytes=torch.cuda.max_memory_allocated(), method="cuda caching allocator")
    can_reset = _reset_resident_peak()
    live_bytes = _storage_bytes(_live_tensors(task))
    peak_rise_bytes = _profiled_rise_bytes(one)
    return Memory(
        allocated_bytes=None if peak_rise_bytes is None else live_bytes + peak_rise_bytes,
        resident_bytes=_resident_peak_bytes() if can_reset else None,
        method="torch profiler" + (", VmHWM" if can_reset else ""),
        reason="the profiler logged no allocation" if peak_rise_bytes is None else None,
    )


def _profiled_rise_bytes(one: Round) -> int | None:
    """Highest sum of allocations less frees during a round, preparation included; None where none was logged."""
    gc.collect()
    gc.disable()  # garbage of earlier rounds, freed in this one, would be taken off its peak
    try:
        with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
            one.prepare()
            one.timed()
    finally:
        gc.enable()
    results = profiler.profiler.kineto_results if profiler.profiler else None
    events = [event for event in results.events() if event.name() == "[memory]"] if results else []
    if not events:
        return None
    live = peak = 0
    for event in sorted(events, key=lambda event: event.start_ns()):
        live += event.nbytes()
        peak = max(peak, live)
    return peak


def _live_tensors(task: Task) -> Iterable[Tensor]:
    parameters = list(task.model.parameters())
    yield from parameters
    yield from (parameter.grad for parameter in parameters if parameter.grad is not None)
    yield from task.model.buffers()
    yield from task.train
    for state in task.optimizer.state.values():
        yield from (value for value in state.values() if isinstance(value, Tensor))


def _storage_bytes(tensors: Iterable[Tensor]) -> int:
    """Bytes of the distinct storages behind the tensors (a tied head is counted once)."""
    storages = {tensor.untyped_storage().data_ptr(): tensor.untyped_storage().nbytes() for tensor in tensors}
    return sum(storages.values())


def _reset_resident_peak() -> bool:
    try:
        (_PROC / "clear_refs").write_text("5")
    except OSError:
        return False
    return True


def _resident_peak_bytes() -> int:
    lines = (_PROC / "status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))
