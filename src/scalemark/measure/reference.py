"""Two small kernels that run around a cell's rounds: how fast was the machine just then?

One is bound by compute (a matrix product that stays in cache), one by memory (a triad far past the cache). Their times
are the control variate of the cell's, and are not its ceilings: those are measured apart, with larger shapes.
"""

import torch

from scalemark.measure.ceiling import last_level_cache_bytes, triad_bytes
from scalemark.measure.clock import Round, time_round
from scalemark.measure.device import Device, available_bytes
from scalemark.measure.phases import nothing

# Some milliseconds each: long against the clock, short against a turn. The product's 3 MiB leave most of a cache alone.
GEMM_SIZE = {"cpu": 512, "cuda": 4096}
REPEATS = 2


class References:
    """The kernels with their data in place."""

    def __init__(self, device: Device) -> None:
        self._device = device
        cache_bytes = last_level_cache_bytes() if device == "cpu" else None
        size, elements = GEMM_SIZE[device], triad_bytes(device, cache_bytes, available_bytes(device)) // 12
        a, b = (torch.randn(size, size, device=device) for _ in range(2))
        c, x, y = torch.empty_like(a), *(torch.rand(elements, device=device) for _ in range(2))
        z = torch.empty_like(x)
        self._gemm = Round(nothing, lambda: _discard(torch.mm(a, b, out=c)))
        self._triad = Round(nothing, lambda: _discard(torch.add(x, y, alpha=3.0, out=z)))
        self.gemm_s(), self.triad_s()  # the first run touches the memory for the first time

    def gemm_s(self) -> float:
        """Seconds of one square float32 product, a mean of two."""
        return self._mean_s(self._gemm)

    def triad_s(self) -> float:
        """Seconds of one z = x + 3·y over arrays past the last-level cache, a mean of two."""
        return self._mean_s(self._triad)

    def _mean_s(self, one: Round) -> float:
        return sum(time_round(one, self._device).seconds for _ in range(REPEATS)) / REPEATS


def _discard(_: torch.Tensor) -> None:
    """Rounds return nothing."""
