"""Ceilings from reference kernels, and how near a cell comes to them."""

from collections.abc import Sequence
from typing import Literal

import factories
import pytest

from scalemark.record.ceilings import ceilings_of, utilisations
from scalemark.schema import (
    Accounting,
    Ceilings,
    Cell,
    Dtype,
    Estimate,
    Flops,
    KernelMeasured,
    ModelConfig,
    Phase,
    Workload,
)

SMALL, LARGE = (512, 512, 512), (2048, 1024, 768)
TIME_S = Estimate(value=0.5, low=0.4, high=0.8)


def kernel(
    rates_per_s: Sequence[float],
    block_index: int = 0,
    shape: tuple[int, int, int] | None = SMALL,
    dtype: Dtype = "float32",
    name: Literal["gemm", "triad"] = "gemm",
) -> KernelMeasured:
    return KernelMeasured(
        name=name,
        device="cpu",
        dtype=dtype,
        block_index=block_index,
        shape=shape,
        rates_per_s=tuple(rates_per_s),
    )


def test_a_rate_is_the_upper_rate_of_a_typical_block() -> None:
    """Of ten rates the two best remain in each block; the median over blocks is that of the middle one."""
    rates = [float(rate) for rate in range(1, 11)]
    kernels = [kernel([factor * rate for rate in rates], index) for index, factor in enumerate((1e9, 2e9, 5e9))]
    ceiling = ceilings_of(kernels).gemm_flops_per_s["cpu/float32"]
    assert ceiling.value == pytest.approx(2e9 * 9.5)
    assert ceiling.low <= 9.5e9 and ceiling.high >= 47.5e9, "three blocks so far apart leave the rate uncertain"


def test_the_ceiling_is_the_best_product_with_its_own_interval() -> None:
    kernels = [kernel([100.0, 101.0], index, SMALL) for index in range(3)]
    kernels += [kernel([300.0, 303.0], index, LARGE) for index in range(3)]
    ceilings = ceilings_of(kernels)
    rates = {(rate.m, rate.n, rate.k): rate.flops_per_s for rate in ceilings.gemm_sweep}
    assert {shape: rate.value for shape, rate in rates.items()} == {SMALL: 101.0, LARGE: 303.0}
    assert ceilings.gemm_flops_per_s == {"cpu/float32": rates[LARGE]}


def test_two_dtypes_have_a_sweep_and_a_ceiling_each() -> None:
    ceilings = ceilings_of([kernel([100.0]), kernel([250.0], dtype="bfloat16"), kernel([150.0], shape=LARGE)])
    assert {name: rate.value for name, rate in ceilings.gemm_flops_per_s.items()} == {
        "cpu/bfloat16": 250.0,
        "cpu/float32": 150.0,
    }
    assert [(rate.dtype, rate.m) for rate in ceilings.gemm_sweep] == [
        ("bfloat16", 512),
        ("float32", 512),
        ("float32", 2048),
    ]


def test_a_journal_that_names_no_shapes_has_its_ceiling_and_no_sweep() -> None:
    ceilings = ceilings_of([kernel([100.0], shape=None), kernel([102.0], 1, shape=None)])
    assert ceilings.gemm_flops_per_s["cpu/float32"].value == pytest.approx(101.0)
    assert ceilings.gemm_sweep == ()


def test_a_product_that_was_too_long_to_measure_is_left_out() -> None:
    ceilings = ceilings_of([kernel([100.0]), kernel([], shape=LARGE)])
    assert [(rate.m, rate.n, rate.k) for rate in ceilings.gemm_sweep] == [SMALL]
    assert ceilings_of([kernel([])]) == Ceilings()


def test_bandwidth_is_the_triads_and_no_product() -> None:
    ceilings = ceilings_of([kernel([3e10], shape=None, name="triad"), kernel([3.2e10], 1, None, name="triad")])
    assert ceilings.triad_bytes_per_s["cpu"].value == pytest.approx(3.1e10)
    assert ceilings.gemm_flops_per_s == {}


# Utilisation


def cell(phase: Phase = "step", recomputed: float = 0.0, **changes: str) -> Cell:
    model = ModelConfig(n_layer=1, d_model=64, n_head=1)
    workload = Workload(phase=phase, model=model, batch=2, seq_len=8).model_copy(update=changes)
    accounting = Accounting(
        params_total=10,
        items=16,
        flops=Flops(matmul=8e9, attention_full=2e9, attention_causal=1e9, recompute_forward_passes=recomputed),
        parameter_bytes=40,
        gradient_bytes=40,
        optimizer_state_bytes=80,
    )
    return Cell(workload=workload, status="ok", accounting=accounting)


CEILINGS = ceilings_of([kernel([1e11])])


def test_mfu_is_matmul_and_full_attention_thrice_over_the_time_and_the_ceiling() -> None:
    found = utilisations(cell(), TIME_S, CEILINGS, factories.make_machine())
    mfu = found["mfu"]
    assert mfu and (mfu.value, mfu.low, mfu.high) == pytest.approx((0.6, 3e10 / 0.8 / 1e11, 3e10 / 0.4 / 1e11))
    assert found["hfu"] == mfu
    assert found["vendor_mfu"] is None


@pytest.mark.parametrize(("phase", "passes"), [("forward", 1), ("backward", 3), ("step", 4), ("eval", 1)])
def test_hfu_counts_what_is_computed_again_and_mfu_does_not(phase: Phase, passes: int) -> None:
    machine = factories.make_machine()
    once, again = (utilisations(cell(phase, recomputed), TIME_S, CEILINGS, machine) for recomputed in (0, 1))
    assert again["mfu"] == once["mfu"]
    assert again["hfu"] and again["hfu"].value == pytest.approx(passes * 1e10 / 0.5 / 1e11)


def test_a_phase_without_products_has_no_utilisation() -> None:
    found = utilisations(cell("optimizer"), TIME_S, CEILINGS, factories.make_machine())
    assert found == {"mfu": None, "hfu": None, "vendor_mfu": None}


def test_another_dtypes_ceiling_does_not_stand_in() -> None:
    found = utilisations(cell(dtype="bfloat16"), TIME_S, CEILINGS, factories.make_machine())
    assert (found["mfu"], found["hfu"]) == (None, None)


def test_a_gpu_in_the_table_is_compared_with_its_vendors_peak_too() -> None:
    identity = {"gpu": "NVIDIA A100-SXM4-80GB", "float32_matmul_precision": "highest"}
    machine = factories.make_machine().model_copy(update={"identity": identity})
    found = utilisations(cell(device="cuda", dtype="bfloat16"), TIME_S, CEILINGS, machine)
    assert found["vendor_mfu"] and found["vendor_mfu"].value == pytest.approx(3e10 / 0.5 / 312e12)
    assert found["mfu"] is None
