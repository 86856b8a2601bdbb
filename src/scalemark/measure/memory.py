"""Peak memory of one round, in a pass of its own: nothing here is timed.

CUDA: the caching allocator's own peak. CPU: the highest sum of live tensors, followed operator by operator from what
is live before the round (parameters, buffers, optimizer state, gradients, data). It is the same on every run, which
the profiler's memory log is not: it drops events. Scratch space inside a kernel is not seen. The resident peak is the
kernel's (VmHWM), reset just before where Linux lets us.
"""

import gc
import weakref
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_iter

from scalemark.measure.clock import Round
from scalemark.measure.device import Device
from scalemark.model.task import Task
from scalemark.schema import Memory

_PROC = Path("/proc/self")


class LiveTensors(TorchDispatchMode):
    """Follows the bytes of live tensor storages while it is on: `bytes` now, `peak_bytes` at most."""

    def __init__(self, already_live: Iterable[Tensor]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.bytes: int = 0
        self.peak_bytes: int = 0
        self._sizes: dict[int, int] = {}
        for tensor in already_live:
            self._follow(tensor)

    def __torch_dispatch__(self, func: Any, types: Sequence[type], args: Any = (), kwargs: Any = None) -> Any:
        results = func(*args, **(kwargs or {}))
        for result in tree_iter(results):
            if isinstance(result, Tensor):
                self._follow(result)
        return results

    def _follow(self, tensor: Tensor) -> None:
        """Count the tensor's storage, unless a view of it was seen before, until it is freed."""
        storage = tensor.untyped_storage()
        key = storage._cdata
        if key not in self._sizes:
            self._sizes[key] = storage.nbytes()
            self.bytes += storage.nbytes()
            self.peak_bytes = max(self.peak_bytes, self.bytes)
            weakref.finalize(storage, self._forget, key)

    def _forget(self, key: int) -> None:
        self.bytes -= self._sizes.pop(key, 0)


def measure_memory(task: Task, one: Round, device: Device) -> Memory:
    """Peak memory of one round of a task whose lazy optimizer state is there already."""
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
        one.prepare()
        one.timed()
        torch.cuda.synchronize()
        return Memory(allocated_bytes=torch.cuda.max_memory_allocated(), method="cuda caching allocator")
    can_reset = _reset_resident_peak()
    allocated_bytes = _peak_bytes(task, one)
    return Memory(
        allocated_bytes=allocated_bytes,
        resident_bytes=_resident_peak_bytes() if can_reset else None,
        method="live tensors" + (", VmHWM" if can_reset else ""),
    )


def _peak_bytes(task: Task, one: Round) -> int:
    """Highest sum of live tensors during a round, preparation included."""
    gc.collect()
    was_enabled = gc.isenabled()
    gc.disable()  # when garbage goes must not depend on when the collector last ran
    try:
        live = LiveTensors(_live_tensors(task))
        with live:
            one.prepare()
            one.timed()
    finally:
        if was_enabled:
            gc.enable()
    return live.peak_bytes


def _live_tensors(task: Task) -> Iterable[Tensor]:
    parameters = list(task.model.parameters())
    yield from parameters
    yield from (parameter.grad for parameter in parameters if parameter.grad is not None)
    yield from task.model.buffers()
    yield from task.train
    for state in task.optimizer.state.values():
        yield from (value for value in state.values() if isinstance(value, Tensor))


def _reset_resident_peak() -> bool:
    try:
        (_PROC / "clear_refs").write_text("5")
    except OSError:
        return False
    return True


def _resident_peak_bytes() -> int:
    lines = (_PROC / "status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))
