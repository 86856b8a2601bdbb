"""The NVIDIA board that torch calls cuda:0, as NVML knows it.

NVML is only asked here, never told: no clock, limit or mode is set. A variable may name another library in the driver's
place, so that a test can bring its own; a board from there is fake.
"""

import ctypes
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from scalemark.errors import DeviceError

NVML_VARIABLE = "SCALEMARK_NVML_LIBRARY"
# The name by which pynvml asks the dynamic linker for the driver's library.
_SONAME = "libnvidia-ml.so.1"

ImportNvml = Callable[[], Any]


@dataclass(frozen=True)
class Board:
    """A board that answers. nvml: the pynvml module, initialised. name: 'GPU 0', by NVML's count or by UUID."""

    nvml: Any
    handle: Any
    name: str
    fake: bool = False


def import_pynvml() -> Any:
    import pynvml

    return pynvml


def find_board(environment: Mapping[str, str] = os.environ, import_nvml: ImportNvml = import_pynvml) -> Board:
    """The first visible board; raises DeviceError where none answers.

    environment: CUDA_VISIBLE_DEVICES is heeded, which NVML does not do by itself; on machines with unlike boards,
    CUDA_DEVICE_ORDER=PCI_BUS_ID makes torch number them as NVML does. import_nvml: gives the pynvml module.
    """
    library = environment.get(NVML_VARIABLE)
    if library:
        _put_in_place(library)
    try:
        nvml = import_nvml()
    except ImportError as error:
        raise DeviceError("the Python package pynvml is missing: pip install nvidia-ml-py") from error
    try:
        nvml.nvmlInit()
        return _first_visible(nvml, environment, fake=bool(library))
    except nvml.NVMLError as error:
        raise DeviceError(f"no NVIDIA GPU answers ({error}): install its driver, then try nvidia-smi") from error


def _put_in_place(library: str) -> None:
    """Load this library first: the linker then gives it to whoever asks for its soname, pynvml included.

    Raises DeviceError where it has another soname, or the driver's own was loaded before it.
    """
    try:
        loaded = ctypes.CDLL(library)
        asked_for = ctypes.CDLL(_SONAME)
    except OSError as error:
        raise DeviceError(f"{NVML_VARIABLE} cannot be loaded ({error}): link it with -soname {_SONAME}") from error
    if loaded._handle != asked_for._handle:
        raise DeviceError(f"{NVML_VARIABLE} names {library}, but another {_SONAME} is in use: start a fresh process")


def _first_visible(nvml: Any, environment: Mapping[str, str], fake: bool) -> Board:
    """The first board in CUDA_VISIBLE_DEVICES, given there by number or by UUID; '' and -1 hide all."""
    first = environment.get("CUDA_VISIBLE_DEVICES", "0").split(",")[0].strip()
    is_number = first.lstrip("-").isdigit()
    handle = nvml.nvmlDeviceGetHandleByIndex(int(first)) if is_number else nvml.nvmlDeviceGetHandleByUUID(first)
    return Board(nvml, handle, f"GPU {first}", fake)
