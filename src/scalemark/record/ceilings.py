"""The run's own ceilings, from the reference kernels that ran among its cells, and how near each cell came to them.

    KernelMeasured × blocks ─> one rate per product and per triad ─> the best product of a dtype is its ceiling
    FLOPs of a cell / its time / ceiling ─> MFU and HFU

The best of several estimates is a little too high, by their noise; so the MFU is a little too low, never flattering.
"""

from collections.abc import Sequence

import numpy as np

from scalemark.record.peaks import peak_of
from scalemark.schema import Ceilings, Cell, Estimate, GemmRate, KernelMeasured, Machine
from scalemark.stats import median_over_blocks

# Other tenants can only slow a kernel, so the upper fifth of a block's rates stands for it.
UPPER_QUANTILE = 0.8


def ceilings_of(kernels: Sequence[KernelMeasured]) -> Ceilings:
    """Rates of every product of the sweep, the best one by device and dtype, and bandwidth by device.

    A journal of the first format names no shape: its one product is the ceiling, and there is no sweep.
    """
    measured = [kernel for kernel in kernels if kernel.rates_per_s]  # a product too long to measure has none
    products = _grouped([kernel for kernel in measured if kernel.name == "gemm"])
    triads = _grouped([kernel for kernel in measured if kernel.name == "triad"])
    best: dict[str, Estimate] = {}
    for first, rate in products:
        name = f"{first.device}/{first.dtype}"
        best[name] = max(best.get(name, rate), rate, key=lambda estimate: estimate.value)
    return Ceilings(
        gemm_flops_per_s=dict(sorted(best.items())),
        triad_bytes_per_s={first.device: rate for first, rate in triads},
        triad_array_bytes={first.device: first.array_bytes for first, _ in triads if first.array_bytes},
        gemm_sweep=tuple(_gemm_rate(first, rate) for first, rate in products if first.shape),
    )


def _grouped(kernels: Sequence[KernelMeasured]) -> list[tuple[KernelMeasured, Estimate]]:
    """One entry of each kernel, with its rate over all blocks; by device, dtype and shape."""
    groups: dict[tuple[str, str, tuple[int, ...]], list[KernelMeasured]] = {}
    for kernel in kernels:
        groups.setdefault((kernel.device, kernel.dtype, kernel.shape or ()), []).append(kernel)
    return [(group[0], _upper_rate(group)) for _, group in sorted(groups.items())]


def _upper_rate(kernels: Sequence[KernelMeasured]) -> Estimate:
    """The median over blocks of each block's upper rates, with its interval."""
    blocks: dict[int, list[float]] = {}
    for kernel in kernels:
        blocks.setdefault(kernel.block_index, []).extend(kernel.rates_per_s)
    upper = [[rate for rate in rates if rate >= np.quantile(rates, UPPER_QUANTILE)] for rates in blocks.values()]
    return median_over_blocks(upper)


def _gemm_rate(kernel: KernelMeasured, rate: Estimate) -> GemmRate:
    assert kernel.shape is not None
    m, n, k = kernel.shape
    return GemmRate(device=kernel.device, dtype=kernel.dtype, m=m, n=n, k=k, flops_per_s=rate)


def utilisations(cell: Cell, time_s: Estimate, ceilings: Ceilings, machine: Machine) -> dict[str, Estimate | None]:
    """`mfu`, `hfu` and `vendor_mfu` of a cell that took `time_s`; None where there are no FLOPs or nothing to compare.

    MFU counts the model's FLOPs, HFU those of repeated forward passes too (PaLM, appendix B); both against the ceiling
    of the same run, device and dtype, vendor_mfu against the vendor's stated peak. The ceiling's own interval is left
    out: all cells share it, and it is printed with the ceiling.
    """
    workload, flops = cell.workload, cell.accounting.flops if cell.accounting else None
    if flops is None or not flops.model_flops(workload.phase):
        return {"mfu": None, "hfu": None, "vendor_mfu": None}
    model = time_s.inverted(flops.model_flops(workload.phase))
    hardware = time_s.inverted(flops.hardware_flops(workload.phase))
    ceiling = ceilings.gemm_flops_per_s.get(f"{workload.device}/{workload.dtype}")
    peak = peak_of(machine, workload)
    devices = workload.world_size if workload.device == "cuda" else 1  # ranks on a CPU share the one that was measured
    return {
        "mfu": model.scaled(1 / ceiling.value / devices) if ceiling else None,
        "hfu": hardware.scaled(1 / ceiling.value / devices) if ceiling else None,
        "vendor_mfu": model.scaled(1 / peak.flops_per_s / devices) if peak else None,
    }
