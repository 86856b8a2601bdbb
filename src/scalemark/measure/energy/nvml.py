"""GPU energy from NVML's total-energy counter: the whole board, its memory included."""

import os
from collections.abc import Mapping

from scalemark.errors import DeviceError
from scalemark.measure.board import NVML_VARIABLE, Board, ImportNvml, find_board, import_pynvml
from scalemark.measure.energy.counter import EnergyCounter, Unavailable

_JOULES_PER_MJ = 1e-3


class NvmlCounter:
    """Energy of one board since its driver was loaded."""

    source = "nvml"

    def __init__(self, board: Board) -> None:
        self._board = board
        self.domain = board.name
        self.fake = board.fake
        self.reason: str | None = None

    def read_j(self) -> float | None:
        """Joules since the driver was loaded; None, with `reason`, where the board does not tell."""
        nvml = self._board.nvml
        try:
            return float(nvml.nvmlDeviceGetTotalEnergyConsumption(self._board.handle)) * _JOULES_PER_MJ
        except nvml.NVMLError as error:
            self.reason = f"this GPU does not report its energy ({error}): it takes Volta or newer, and no MIG slice"
            return None


def find_nvml(environment: Mapping[str, str] = os.environ, import_nvml: ImportNvml = import_pynvml) -> EnergyCounter:
    """The counter of the board that torch calls cuda:0, or Unavailable. The arguments are those of `find_board`."""
    try:
        counter = NvmlCounter(find_board(environment, import_nvml))
    except DeviceError as error:
        return Unavailable(str(error), fake=bool(environment.get(NVML_VARIABLE)))
    counter.read_j()
    return Unavailable(counter.reason, fake=counter.fake) if counter.reason else counter
