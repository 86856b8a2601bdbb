"""What the machine reaches on kernels that do nothing else: a sweep of matrix products, and the STREAM triad.

They are the denominators of MFU and bandwidth, and run among the cells of every block, so a slow minute slows both.
Operands are random: products of zeros toggle fewer bits, draw less power and so clock higher, which no training step
can (He, "Strangely, matrix multiplications on GPUs run faster when given 'predictable' data", 2024).
"""

import re
from pathlib import Path

import torch
from torch import Tensor

from scalemark.measure.clock import Round, time_rounds_s
from scalemark.measure.device import Device, available_bytes
from scalemark.measure.orders import KernelOrder
from scalemark.measure.phases import nothing
from scalemark.measure.shapes import Shape
from scalemark.schema import Dtype, KernelMeasured
from scalemark.system import CPUS, ROOT, read_number, read_text

# A sweep has up to fourteen products: about one second for each dtype in each block.
GEMM_BUDGET_S = 0.06
# The first round is a warm-up, so a product has one rate at least.
GEMM_AT_LEAST, GEMM_AT_MOST = 2, 20
# What one product may take, and the size up to which it is measured however slow the machine, so that there is a rate.
GEMM_LONGEST_S = 0.25
GEMM_ALWAYS_FLOPS = 2.0 * 512**3
# A strip of the product, to see beforehand how long the whole would take.
PROBE_SHARE = 16
LARGEST_SHARE_OF_MEMORY = 1 / 4

TRIAD_BUDGET_S = 0.3
TRIAD_AT_LEAST, TRIAD_AT_MOST = 3, 20
# STREAM's rule is four times the caches for each array; here for the three together. They are read in order, over and
# over, so what was read first has left the cache before it is read again.
TRIAD_TIMES_CACHE = 4
TRIAD_LEAST_BYTES, TRIAD_MOST_BYTES = 96 * 2**20, 2**30
TRIAD_SHARE_OF_MEMORY = 1 / 8
_BYTES_PER_UNIT = {"K": 2**10, "M": 2**20, "G": 2**30}


def measure_kernel(order: KernelOrder, device: Device, block_index: int) -> KernelMeasured:
    """Run the reference kernel that was ordered. `order.shape` is there for every matrix product."""
    if order.name == "triad":
        return measure_triad(device, block_index)
    assert order.shape is not None
    return measure_gemm(device, order.dtype, block_index, order.shape)


# --- matrix products --------------------------------------------------------------------------------------------------


def measure_gemm(device: Device, dtype: Dtype, block_index: int, shape: Shape) -> KernelMeasured:
    """FLOP/s of the product (m, k) × (k, n) on random data, for shape = (m, n, k); a multiply-add counts as 2.

    The right-hand side is stored as a linear layer stores its weight, (n, k). No rates where the product would take
    more memory or time than a reference kernel may.
    """
    rates = _gemm_rates_per_s(shape, device, dtype) if _fits(shape, device, dtype) else ()
    return KernelMeasured(
        name="gemm", device=device, dtype=dtype, block_index=block_index, shape=shape, rates_per_s=rates
    )


def _fits(shape: Shape, device: Device, dtype: Dtype) -> bool:
    m, n, k = shape
    need_bytes = (m * k + k * n + m * n) * getattr(torch, dtype).itemsize
    return bool(need_bytes < LARGEST_SHARE_OF_MEMORY * available_bytes(device))


def _gemm_rates_per_s(shape: Shape, device: Device, dtype: Dtype) -> tuple[float, ...]:
    m, n, k = shape
    flops = 2.0 * m * n * k
    a, weight = (torch.randn(size, device=device).to(getattr(torch, dtype)) for size in ((m, k), (n, k)))
    out = torch.empty(m, n, device=device, dtype=a.dtype)
    if flops > GEMM_ALWAYS_FLOPS and _expected_s(a, weight, out, device) > GEMM_LONGEST_S:
        return ()
    seconds = time_rounds_s(_product(a, weight, out), device, GEMM_BUDGET_S, GEMM_AT_LEAST, GEMM_AT_MOST)
    return tuple(flops / second for second in seconds[1:])


def _expected_s(a: Tensor, weight: Tensor, out: Tensor, device: Device) -> float:
    """Seconds that the whole product should take, from a strip of its rows."""
    rows = max(1, len(a) // PROBE_SHARE)
    strip = _product(a[:rows], weight, out[:rows])
    _first, second_s = time_rounds_s(strip, device, 0.0, at_least=2, at_most=2)  # the first also loads the library
    return second_s * len(a) / rows


def _product(a: Tensor, weight: Tensor, out: Tensor) -> Round:
    return Round(nothing, lambda: _discard(torch.mm(a, weight.t(), out=out)))


# --- triad ------------------------------------------------------------------------------------------------------------


def measure_triad(device: Device, block_index: int, root: Path = ROOT) -> KernelMeasured:
    """Bytes/s of a = b + s·c in float32: two arrays read and one written, as STREAM counts (McCalpin 1995).

    A cache that fetches what it is about to overwrite moves a third more, which STREAM does not count. root: where
    /sys is. `array_bytes` of the result says how large the three arrays were together.
    """
    cache_bytes = last_level_cache_bytes(root) if device == "cpu" else None
    elements = triad_bytes(device, cache_bytes, available_bytes(device)) // 12
    b, c = (torch.full((elements,), value, device=device) for value in (2.0, 0.5))
    out = torch.zeros_like(b)
    triad = Round(nothing, lambda: _discard(torch.add(b, c, alpha=3.0, out=out)))
    seconds = time_rounds_s(triad, device, TRIAD_BUDGET_S, TRIAD_AT_LEAST, TRIAD_AT_MOST)
    return KernelMeasured(
        name="triad",
        device=device,
        dtype="float32",
        block_index=block_index,
        array_bytes=12 * elements,
        rates_per_s=tuple(12 * elements / second for second in seconds[1:]),
    )


def triad_bytes(device: Device, cache_bytes: int | None, free_bytes: int) -> int:
    """Bytes of the three arrays together: well past the last-level cache, as far as the memory allows.

    cache_bytes: all last-level caches of the machine, None where unknown. A GPU gets the most: its memory is fast.
    """
    past_cache = max(TRIAD_LEAST_BYTES, TRIAD_TIMES_CACHE * (cache_bytes or 0))
    wanted = TRIAD_MOST_BYTES if device == "cuda" else min(past_cache, TRIAD_MOST_BYTES)
    return min(wanted, int(TRIAD_SHARE_OF_MEMORY * free_bytes))


def last_level_cache_bytes(root: Path = ROOT) -> int | None:
    """All caches of the highest level together, each once however many cores share it; None where /sys is silent."""
    caches: dict[int, dict[str, int]] = {}
    for folder in (root / CPUS).glob("cpu[0-9]*/cache/index[0-9]*"):
        level = read_number(folder / "level")
        match = re.fullmatch(r"(\d+)([KMG])", read_text(folder / "size") or "")
        if level is not None and match:
            sharing = read_text(folder / "shared_cpu_list") or folder.parts[-3]
            caches.setdefault(level, {})[sharing] = int(match[1]) * _BYTES_PER_UNIT[match[2]]
    return sum(caches[max(caches)].values()) if caches else None


def _discard(_: Tensor) -> None:
    """Rounds return nothing."""
