"""Peak memory of one round, in a pass of its own: nothing here is timed.

CUDA: the caching allocator's own peaks, of what tensors occupy and of what it reserved for them. CPU: the highest sum
of live tensors, followed operator by operator from what is live before the round (parameters, buffers, optimizer
state, gradients, data). It is the same on every run, which the profiler's memory log is not: it drops events. Scratch
space inside a kernel is not seen. The resident peak is the kernel's (VmHWM), reset just before where Linux lets us.

    collect garbage ─> malloc_trim ─> read VmRSS ─> reset VmHWM ─> the round ─> read VmHWM

Without the trim, pages that glibc kept from earlier rounds would be used again, and the peak would hide in them.
"""

import ctypes
import gc
import weakref
from collections.abc import Callable, Iterable, Sequence
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
_NOT_FOLLOWED = "a compiled module runs uncompiled while its tensors are followed, so they were not"


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
        if torch.is_inference_mode_enabled():  # composite operators come whole then, with what they hold inside unseen
            with self:
                results = func.decompose(*args, **(kwargs or {}))
            if results is not NotImplemented:
                return results
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
    gc.collect()
    return cuda_memory(one) if device == "cuda" else _cpu_memory(task, one)


def cuda_memory(one: Round) -> Memory:
    """Peaks of the caching allocator during one round."""
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    _run(one)
    torch.cuda.synchronize()
    return Memory(
        allocated_bytes=torch.cuda.max_memory_allocated(),
        reserved_bytes=torch.cuda.max_memory_reserved(),
        method="cuda caching allocator",
    )


def _cpu_memory(task: Task, one: Round) -> Memory:
    if not _is_compiled(task):
        return resident_peak(lambda: _peak_bytes(task, one))
    _run(one)  # compiles, if nothing has yet
    return resident_peak(lambda: _run(one)).model_copy(update={"reason": _NOT_FOLLOWED})


def resident_peak(observe: Callable[[], int | None]) -> Memory:
    """The highest resident set while `observe` runs a round.

    observe: gives the round's allocator peak, or None where that cannot be followed.
    """
    trimmed = _trim_heap()
    before_bytes = _status_bytes("VmRSS")
    can_reset = _reset_resident_peak()
    allocated_bytes = observe()
    methods = [] if allocated_bytes is None else ["live tensors"]
    if can_reset:
        methods.append("VmHWM after malloc_trim" if trimmed else "VmHWM")
    return Memory(
        allocated_bytes=allocated_bytes,
        resident_bytes=_status_bytes("VmHWM") if can_reset else None,
        resident_before_bytes=before_bytes if can_reset else None,
        method=", ".join(methods) or "none",
    )


def _run(one: Round) -> None:
    one.prepare()
    one.timed()


def _is_compiled(task: Task) -> bool:
    return hasattr(task.model, "_orig_mod")  # what torch.compile wraps


def _peak_bytes(task: Task, one: Round) -> int:
    """Highest sum of live tensors during a round, preparation included."""
    was_enabled = gc.isenabled()
    gc.disable()  # when garbage goes must not depend on when the collector last ran
    try:
        live = LiveTensors(_live_tensors(task))
        with live:
            _run(one)
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


def _trim_heap() -> bool:
    """Give glibc's free pages back to the system; False where the C library has no such call."""
    try:
        trim = ctypes.CDLL(None).malloc_trim
    except (AttributeError, OSError, TypeError):
        return False
    trim(0)
    return True


def _reset_resident_peak() -> bool:
    """Let VmHWM start again from what is resident now; False where the system does not allow it."""
    try:
        (_PROC / "clear_refs").write_text("5")
    except OSError:
        return False
    return True


def _status_bytes(field: str) -> int | None:
    """A size from the kernel's account of this process; None where there is no such account."""
    try:
        lines = (_PROC / "status").read_text().splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{field}:")), None)
