"""A vendor's peak is a cited figure of exactly this device, or there is none."""

import re

import factories
import pytest

from scalemark.record.peaks import _DEVICES, peak_of, vendor_peak_flops_per_s
from scalemark.schema import Dtype, Machine, ModelConfig, Workload

TERA = 1e12


def tera(gpu: str | None, dtype: Dtype = "bfloat16", precision: str | None = "highest") -> float | None:
    peak = vendor_peak_flops_per_s(gpu, dtype, precision)
    return peak and peak.flops_per_s / TERA


@pytest.mark.parametrize(
    ("gpu", "bfloat16"),
    [
        ("NVIDIA A100-SXM4-80GB", 312),
        ("A100-SXM4-40GB", 312),
        ("NVIDIA A100-PCIE-40GB", 312),
        ("NVIDIA A100 80GB PCIe", 312),
        ("NVIDIA H100 80GB HBM3", 989.5),
        ("NVIDIA H100 PCIe", 756.5),
        ("NVIDIA H100 NVL", 835.5),
        ("NVIDIA H200", 989.5),
        ("NVIDIA L4", 121),
        ("NVIDIA L40S", 362.05),
        ("NVIDIA GeForce RTX 4090", 165.2),
    ],
)
def test_each_variant_has_its_own_peak(gpu: str, bfloat16: float) -> None:
    assert tera(gpu) == pytest.approx(bfloat16)


@pytest.mark.parametrize(
    "gpu",
    [
        None,
        "",
        "AMD EPYC",
        "NVIDIA H100",
        "NVIDIA H100 80GB HBM2e",
        "NVIDIA H100 80GB HBM3 MIG 1g.10gb",
        "NVIDIA A100-SXM4-40GB MIG 1g.5gb",
        "NVIDIA A10G",
        "NVIDIA L40",
        "NVIDIA H20",
        "NVIDIA GH200 480GB",
        "NVIDIA GeForce RTX 4090 Laptop GPU",
        "NVIDIA GeForce RTX 3090 Ti",
        "AMD Instinct MI300X",
    ],
)
def test_a_device_that_is_not_in_the_table_has_none(gpu: str | None) -> None:
    assert tera(gpu) is None
    assert tera(gpu, "float32") is None


def test_float32_runs_as_tf32_only_where_torch_was_told_so() -> None:
    assert tera("NVIDIA A100-SXM4-80GB", "float32") == 19.5
    assert tera("NVIDIA A100-SXM4-80GB", "float32", "high") == 156
    assert tera("Tesla V100-SXM2-16GB", "float32", "high") == 15.7
    assert tera("NVIDIA A100-SXM4-80GB", "bfloat16", "high") == 312


def test_float32_of_unknown_precision_is_unknown() -> None:
    assert tera("NVIDIA A100-SXM4-80GB", "float32", None) is None
    assert tera("NVIDIA A100-SXM4-80GB", "bfloat16", None) == 312


def test_a_device_without_a_unit_for_a_dtype_has_no_peak_of_it() -> None:
    assert tera("Tesla T4", "bfloat16") is None
    assert tera("NVIDIA B200", "float32") is None


def test_every_row_cites_a_dated_source_and_gives_tensor_cores_no_less_than_plain_units() -> None:
    for device in _DEVICES:
        assert re.search(r"(datasheet|whitepaper), 20\d\d$", device.source)
        rates = [rate for rate in (device.float32, device.tf32, device.bfloat16) if rate is not None]
        assert rates and rates == sorted(rates)


def on_gpu(**facts: str) -> Machine:
    identity = {"gpu": "NVIDIA H100 PCIe", "float32_matmul_precision": "highest", **facts}
    return factories.make_machine().model_copy(update={"identity": identity})


WORKLOAD = Workload(phase="step", model=ModelConfig(n_layer=1, d_model=64, n_head=1), batch=1, seq_len=8, device="cuda")


def test_the_peak_is_that_of_the_machines_gpu_at_its_precision() -> None:
    for precision, expected in (("highest", 51 * TERA), ("high", 378 * TERA)):
        peak = peak_of(on_gpu(float32_matmul_precision=precision), WORKLOAD)
        assert peak and peak.flops_per_s == pytest.approx(expected)


def test_a_slice_of_a_gpu_and_the_cpu_beside_it_have_no_peak() -> None:
    assert peak_of(on_gpu(gpu_mig="on"), WORKLOAD) is None
    assert peak_of(on_gpu(gpu_mig="off"), WORKLOAD) is not None
    assert peak_of(on_gpu(), WORKLOAD.model_copy(update={"device": "cpu"})) is None
