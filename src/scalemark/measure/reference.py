"""Small kernels that run around a cell's rounds: how fast was the machine just then?

    gemm      a matrix product that stays in cache             the clock, and who else computes on these cores
    exchange  each core reads what another one wrote           where the cores are: do they share a cache just now?
    triad     arrays far past the last-level cache             memory bandwidth

The second is for virtual machines: a hypervisor moves the cores that it lends, and in one of two states, as if they no
longer shared a cache, a small model's step is a third slower or more, which neither a product nor a triad tells
(docs/notes.md). Their times are the control variates of the cell's, and are not its ceilings: those are measured apart,
with larger shapes.
"""

import torch

from scalemark.measure.ceiling import last_level_cache_bytes, triad_bytes
from scalemark.measure.clock import Round, time_round
from scalemark.measure.device import Device, available_bytes
from scalemark.measure.phases import nothing

# Milliseconds at most: long against the clock, short against a turn. They leave most of a cache alone.
GEMM_SIZE = {"cpu": 512, "cuda": 4096}
EXCHANGE_SIZE, EXCHANGES = 256, 8
REPEATS = 2


class References:
    """The kernels with their data in place."""

    def __init__(self, device: Device) -> None:
        self._device = device
        self._gemm, self._triad = _gemm(device), _triad(device)
        self._exchange = _exchange() if device == "cpu" else None
        self.gemm_s(), self.exchange_s(), self.triad_s()  # the first run touches the memory for the first time

    def gemm_s(self) -> float:
        """Seconds of one square float32 product, a mean of two."""
        return self._mean_s(self._gemm)

    def exchange_s(self) -> float | None:
        """Seconds of handing 256 KiB from core to core, there and back, eight times; None on a GPU."""
        return self._mean_s(self._exchange) if self._exchange else None

    def triad_s(self) -> float:
        """Seconds of one z = x + 3·y over arrays past the last-level cache, a mean of two."""
        return self._mean_s(self._triad)

    def _mean_s(self, one: Round) -> float:
        return sum(time_round(one, self._device).seconds for _ in range(REPEATS)) / REPEATS


def _gemm(device: Device) -> Round:
    a, b = (torch.randn(GEMM_SIZE[device], GEMM_SIZE[device], device=device) for _ in range(2))
    out = torch.empty_like(a)
    return Round(nothing, lambda: _discard(torch.mm(a, b, out=out)))


def _exchange() -> Round:
    """Rows are shared out among the threads, so of a transposed operand each reads what the others wrote."""
    there, back = torch.rand(EXCHANGE_SIZE, EXCHANGE_SIZE), torch.empty(EXCHANGE_SIZE, EXCHANGE_SIZE)

    def run() -> None:
        for _ in range(EXCHANGES):
            torch.add(there.t(), 0.5, out=back)
            torch.add(back.t(), -0.5, out=there)

    return Round(nothing, run)


def _triad(device: Device) -> Round:
    cache_bytes = last_level_cache_bytes() if device == "cpu" else None
    elements = triad_bytes(device, cache_bytes, available_bytes(device)) // 12
    x, y = (torch.rand(elements, device=device) for _ in range(2))
    out = torch.empty_like(x)
    return Round(nothing, lambda: _discard(torch.add(x, y, alpha=3.0, out=out)))


def _discard(_: torch.Tensor) -> None:
    """Rounds return nothing."""
