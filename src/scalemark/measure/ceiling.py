"""What the machine reaches on kernels that do nothing else: one matrix product, one triad.

They are the denominators of MFU and bandwidth, and run among the cells of every block, so a slow minute slows both.
"""

import torch

from scalemark.measure.clock import Round, time_rounds_s
from scalemark.measure.device import Device
from scalemark.measure.phases import nothing
from scalemark.schema import Dtype, KernelMeasured

# Large enough to amortise the edges, small enough to run many times in each block.
GEMM_SIZE = {"cpu": 1536, "cuda": 8192}
# Past any last-level cache, three arrays together.
TRIAD_BYTES = {"cpu": 96 * 2**20, "cuda": 1 * 2**30}
KERNEL_BUDGET_S = 0.3
AT_LEAST, AT_MOST = 3, 20


def measure_gemm(device: Device, dtype: Dtype, block_index: int) -> KernelMeasured:
    """FLOP/s of one square product on random data (products of zeros draw less power and clock higher)."""
    size = GEMM_SIZE[device]
    a, b = (torch.randn(size, size, device=device).to(getattr(torch, dtype)) for _ in range(2))
    out = torch.empty_like(a)
    seconds = _time(Round(nothing, lambda: _discard(torch.mm(a, b, out=out))), device)
    rates = tuple(2.0 * size**3 / second for second in seconds)
    return KernelMeasured(name="gemm", device=device, dtype=dtype, block_index=block_index, rates_per_s=rates)


def measure_triad(device: Device, block_index: int) -> KernelMeasured:
    """Bytes/s of a = b + s·c: two arrays read and one written (McCalpin 1995)."""
    elements = TRIAD_BYTES[device] // 4
    b, c = (torch.rand(elements, device=device) for _ in range(2))
    out = torch.empty_like(b)
    seconds = _time(Round(nothing, lambda: _discard(torch.add(b, c, alpha=3.0, out=out))), device)
    rates = tuple(3 * elements * 4 / second for second in seconds)
    return KernelMeasured(name="triad", device=device, dtype="float32", block_index=block_index, rates_per_s=rates)


def _time(one: Round, device: Device) -> tuple[float, ...]:
    return time_rounds_s(one, device, KERNEL_BUDGET_S, AT_LEAST, AT_MOST)[1:]  # the first is a warm-up


def _discard(_: torch.Tensor) -> None:
    """Rounds return nothing."""
