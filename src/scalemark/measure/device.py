"""The device that is measured: whether it is there, how to wait for it, and what torch says of it."""

import ctypes
import gc
import re
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import psutil
import torch

from scalemark.errors import DeviceError
from scalemark.schema import Facts

Device = Literal["cpu", "cuda"]


def require(device: Device) -> None:
    """Raise DeviceError where the device is not there."""
    if device == "cuda" and not torch.cuda.is_available():
        reason = "this torch has no CUDA" if torch.version.cuda is None else "no CUDA device was found"
        instead = "use --scale-device cpu (`scalemark train`: --device cpu)"
        raise DeviceError(f"cannot measure on cuda: {reason}; run `scalemark doctor`, or {instead}")


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


def torch_facts(device: Device) -> Facts:
    """What torch knows of the machine and no file does: what it was built with, and what it is set to.

    All of it is part of the machine's identity, and equal in any process that has changed none of torch's settings.
    """
    return {
        "torch_build": (torch.version.git_version or "")[:12] or None,
        "torch_cpu_capability": torch.backends.cpu.get_cpu_capability(),
        **_library_facts(torch.__config__.show(), torch.__config__.parallel_info()),
        "openmp_runtime": openmp_runtime(),
        "cuda": torch.version.cuda,
        "cudnn": torch.backends.cudnn.version(),
        "measured_device": device,
        "gpu_multiprocessors": torch.cuda.get_device_properties(0).multi_processor_count if device == "cuda" else None,
        **_precision_facts(),
    }


def _library_facts(built_with: str, parallel: str) -> Facts:
    """built_with, parallel: what torch.__config__.show() and .parallel_info() say."""
    return {
        "blas": blas_name(built_with),
        "onednn": _found(r"(?:MKL-DNN|oneDNN) v([\d.]+)", built_with),
        "openmp": _found(r"a\.k\.a\. OpenMP ([\d.]+)", built_with),
        "parallel_backend": _found(r"ATen parallel backend: (.+)", parallel),
    }


def blas_name(built_with: str) -> str | None:
    """'mkl 2024.2', from what torch.__config__.show() says; without version where that does not tell it."""
    mkl = _found(r"Math Kernel Library Version ([\d.]+)", built_with)
    if mkl:
        return f"mkl {mkl}"
    name = _found(r"BLAS_INFO=(\w+)", built_with)
    if name == "open":
        return " ".join(filter(None, ["openblas", _openblas_version()]))
    return name


def _openblas_version() -> str | None:
    """The loaded OpenBLAS is asked: torch does not tell. numpy's own copy goes by another name."""
    for path in _loaded_libraries(r"libopenblas[^/]*\.so[^/]*"):
        try:
            get_config = ctypes.CDLL(path).openblas_get_config
        except (OSError, AttributeError):
            continue
        get_config.restype = ctypes.c_char_p
        return _found(r"OpenBLAS ([\d.]+)", get_config().decode())
    return None


def openmp_runtime() -> str | None:
    """Which OpenMP library is loaded: 'libgomp', 'libiomp5' or 'libomp'. They wait for each other in different ways."""
    names = {
        Path(path).name.partition(".")[0].partition("-")[0] for path in _loaded_libraries(r"lib[gi]?omp5?[-.][^/]*")
    }
    return "+".join(sorted(names)) or None


def _loaded_libraries(name: str) -> list[str]:
    """Paths of the shared libraries in this process whose file name matches; none where there is no /proc."""
    try:
        maps = Path("/proc/self/maps").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return []
    return sorted(set(re.findall(rf"\S*/{name}$", maps, re.MULTILINE)))


def _found(pattern: str, text: str) -> str | None:
    match = re.search(pattern, text)
    return match[1].strip() if match else None


def _precision_facts() -> Facts:
    """Settings that trade exactness for time: 'on' or 'off', and None for what this torch does not have."""
    matmul, cudnn = torch.backends.cuda.matmul, torch.backends.cudnn
    switches: dict[str, Callable[[], object]] = {
        "cuda_matmul_tf32": lambda: matmul.allow_tf32,
        "cudnn_tf32": lambda: cudnn.allow_tf32,
        "cuda_bf16_reduced_precision": lambda: matmul.allow_bf16_reduced_precision_reduction,
        "cuda_fp16_reduced_precision": lambda: matmul.allow_fp16_reduced_precision_reduction,
        "cudnn_benchmark": lambda: cudnn.benchmark,
        "cudnn_deterministic": lambda: cudnn.deterministic,
        "onednn_enabled": lambda: torch.backends.mkldnn.is_available() and torch.backends.mkldnn.enabled,
        "deterministic_algorithms": torch.are_deterministic_algorithms_enabled,
        "flush_denormal": _flushes_denormals,
    }
    return {
        "float32_matmul_precision": torch.get_float32_matmul_precision(),
        **{name: _switch(is_on) for name, is_on in switches.items()},
    }


def _switch(is_on: Callable[[], object]) -> str | None:
    """torch refuses to say where its older and its newer way to set a precision were mixed."""
    try:
        answer = is_on()
    except (AttributeError, RuntimeError):
        return None
    if isinstance(answer, tuple):  # cuBLAS settings with a second word on split-K: the first says whether
        answer = answer[0]
    return "on" if answer else "off"


def _flushes_denormals() -> bool:
    """torch can set this but not tell it, so half of a number that is nearly the smallest is looked at."""
    return (torch.full((1,), 1e-310, dtype=torch.float64) * 0.5).item() == 0.0
