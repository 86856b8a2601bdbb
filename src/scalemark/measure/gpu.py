"""What a GPU's clocks, heat and limits are just now: read before and after a block, never set."""

import os
from collections.abc import Callable, Mapping
from typing import Any

from scalemark.errors import DeviceError
from scalemark.measure.board import Board, ImportNvml, find_board, import_pynvml
from scalemark.schema import Facts

# Bits of nvmlDeviceGetCurrentClocksEventReasons (nvml.h, nvmlClocksEventReason* and nvmlClocksThrottleReason*).
_REASONS = {
    0x001: "idle",
    0x002: "application clocks",
    0x004: "power cap",
    0x008: "hardware slowdown",
    0x010: "sync boost",
    0x020: "thermal slowdown",
    0x040: "hardware thermal slowdown",
    0x080: "power brake",
    0x100: "display clocks",
    0x200: "board limit",
    0x400: "reliability",
}

Question = Callable[[Any, Any], str | int | float]


def read_gpu_state(environment: Mapping[str, str] = os.environ, import_nvml: ImportNvml = import_pynvml) -> Facts:
    """State of the board that torch calls cuda:0; {} where none answers, None for each question it does not answer.

    The arguments are those of `find_board`.
    """
    try:
        board = find_board(environment, import_nvml)
    except DeviceError:
        return {}
    return {name: _first_answer(board, questions) for name, questions in _QUESTIONS.items()}


def name_reasons(bits: int) -> str:
    """Throttle reasons in words: 'power cap, thermal slowdown', or 'none'."""
    words = [word for bit, word in _REASONS.items() if bits & bit]
    unknown = bits & ~sum(_REASONS)
    return ", ".join([*words, *([f"unknown {unknown:#x}"] if unknown else [])]) or "none"


# Where there are two, the second is for drivers (or releases of nvidia-ml-py) that do not know the first yet.
_QUESTIONS: dict[str, tuple[Question, ...]] = {
    "gpu_sm_clock_mhz": (lambda nvml, board: nvml.nvmlDeviceGetClockInfo(board, nvml.NVML_CLOCK_SM),),
    "gpu_memory_clock_mhz": (lambda nvml, board: nvml.nvmlDeviceGetClockInfo(board, nvml.NVML_CLOCK_MEM),),
    "gpu_temperature_c": (
        lambda nvml, board: nvml.nvmlDeviceGetTemperatureV(board, nvml.NVML_TEMPERATURE_GPU),
        lambda nvml, board: nvml.nvmlDeviceGetTemperature(board, nvml.NVML_TEMPERATURE_GPU),
    ),
    "gpu_power_w": (lambda nvml, board: nvml.nvmlDeviceGetPowerUsage(board) / 1000,),
    "gpu_performance_state": (lambda nvml, board: f"P{nvml.nvmlDeviceGetPerformanceState(board)}",),
    "gpu_throttle_reasons": (
        lambda nvml, board: name_reasons(nvml.nvmlDeviceGetCurrentClocksEventReasons(board)),
        lambda nvml, board: name_reasons(nvml.nvmlDeviceGetCurrentClocksThrottleReasons(board)),
    ),
}


def _first_answer(board: Board, questions: tuple[Question, ...]) -> str | int | float | None:
    for question in questions:
        try:
            return question(board.nvml, board.handle)
        except (board.nvml.NVMLError, AttributeError):
            continue
    return None
