"""What vendors say their devices can do at most, for the devices whose figure can be cited. No guess for any other.

Dense products only: where a sheet gives the rate with structured sparsity, half of it stands here. The name must match
whole, because 'H100 PCIe' and 'H100 80GB HBM3' are two devices, and a MIG slice is a third. No CPU: its peak depends on
clocks that no sheet promises. No AMD device: its figure depends on a partition that the name does not tell.
"""

import re
from dataclasses import dataclass

from scalemark.schema import Dtype, Machine, Workload

_TERA = 1e12


@dataclass(frozen=True)
class Peak:
    """The most FLOP/s that the vendor states, and where."""

    flops_per_s: float
    source: str


@dataclass(frozen=True)
class _Device:
    """One row: names as NVML gives them, and TFLOP/s by unit; None where there is no such unit or no sure figure.

    float32: outside the tensor cores. tf32, bfloat16: tensor cores, float32 accumulation.
    """

    names: str
    float32: float | None
    tf32: float | None
    bfloat16: float | None
    source: str


_V100 = "NVIDIA V100 datasheet, 2020"
_A100 = "NVIDIA A100 datasheet, 2021"
_H100 = "NVIDIA H100 datasheet, 2023"
_DEVICES = (
    _Device(r"Tesla V100-SXM2-(16|32)GB", 15.7, None, None, _V100),
    _Device(r"Tesla V100-PCIE-(16|32)GB", 14.0, None, None, _V100),
    _Device(r"Tesla T4", 8.1, None, None, "NVIDIA T4 datasheet, 2019"),
    _Device(r"A10", 31.2, 62.5, 125, "NVIDIA A10 datasheet, 2021"),
    _Device(r"A100-SXM4-(40|80)GB", 19.5, 156, 312, _A100),
    _Device(r"A100(-PCIE-40GB| 80GB PCIe)", 19.5, 156, 312, _A100),
    _Device(r"GeForce RTX 3090", 35.6, 35.6, 71, "NVIDIA Ampere GA102 whitepaper, 2021"),
    _Device(r"GeForce RTX 4090", 82.6, 82.6, 165.2, "NVIDIA Ada whitepaper, 2022"),
    _Device(r"L4", 30.3, 60, 121, "NVIDIA L4 datasheet, 2023"),
    _Device(r"L40S", 91.6, 183, 362.05, "NVIDIA L40S datasheet, 2023"),
    _Device(r"H100 80GB HBM3", 67, 494.5, 989.5, _H100),
    _Device(r"H100 PCIe", 51, 378, 756.5, _H100),
    _Device(r"H100 NVL", 60, 417.5, 835.5, "NVIDIA H100 datasheet, 2024"),
    _Device(r"H200", 67, 494.5, 989.5, "NVIDIA H200 datasheet, 2024"),
    _Device(r"H200 NVL", 60, 417.5, 835.5, "NVIDIA H200 datasheet, 2024"),
    # Its sheets of 2024 and 2025 state 80 and 75 TFLOP/s outside the tensor cores.
    _Device(r"B200", None, 1100, 2250, "NVIDIA Blackwell datasheet, 2025"),
)


def vendor_peak_flops_per_s(
    gpu_name: str | None, dtype: Dtype, float32_matmul_precision: str | None = "highest"
) -> Peak | None:
    """The vendor's peak for matrix products of this dtype; None where no figure can be cited.

    gpu_name: as NVML gives it. float32_matmul_precision: as torch calls it; any but 'highest' lets float32 products
    run as TF32, on devices that have it. None is unknown, and then so is the peak of float32.
    """
    device = next((device for device in _DEVICES if re.fullmatch(f"(NVIDIA )?{device.names}", gpu_name or "")), None)
    if device is None or (dtype == "float32" and float32_matmul_precision is None):
        return None
    as_tf32 = dtype == "float32" and float32_matmul_precision != "highest" and device.tf32 is not None
    tera = {"float32": device.tf32 if as_tf32 else device.float32, "bfloat16": device.bfloat16}[dtype]
    return None if tera is None else Peak(tera * _TERA, device.source)


def peak_of(machine: Machine, workload: Workload) -> Peak | None:
    """The stated peak of the machine's GPU for this workload; None on a CPU, and on a MIG slice of a GPU."""
    facts = machine.identity
    if workload.device != "cuda" or facts.get("gpu_mig") == "on":
        return None
    gpu, precision = facts.get("gpu"), facts.get("float32_matmul_precision")
    return vendor_peak_flops_per_s(str(gpu) if gpu else None, workload.dtype, str(precision) if precision else None)
