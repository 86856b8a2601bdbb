"""The device that is measured: whether it is there, how to wait for it, and what torch says of it."""

import gc
from typing import Literal

import psutil
import torch

from scalemark.errors import DeviceError

Device = Literal["cpu", "cuda"]


def require(device: Device) -> None:
    """Raise DeviceError where the device is not there."""
    if device == "cuda" and not torch.cuda.is_available():
        reason = "this torch has no CUDA" if torch.version.cuda is None else "no CUDA device was found"
        raise DeviceError(f"cannot measure on cuda: {reason}; run `scalemark doctor`, or use --scale-device cpu")


def synchronise(device: Device) -> None:
    """Wait until the device has done all that was asked of it."""
    if device == "cuda":
        torch.cuda.synchronize()


def available_bytes(device: Device) -> int:
    """Memory that a workload may use now."""
    return torch.cuda.mem_get_info()[0] if device == "cuda" else int(psutil.virtual_memory().available)


def release() -> None:
    """Give freed memory back, so that one cell does not weigh on the next."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def torch_facts(device: Device) -> dict[str, str | int | float | None]:
    """What torch knows of the machine and no file does: part of the machine's identity."""
    return {
        "torch_cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "blas": "mkl" if torch.backends.mkl.is_available() else "other",
        "onednn": torch.backends.mkldnn.is_available(),
        "cuda": torch.version.cuda,
        "measured_device": device,
        "float32_matmul_precision": torch.get_float32_matmul_precision(),
    }
