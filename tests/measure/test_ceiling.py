"""Reference kernels: what they run on, what they count, and what keeps them short."""

from pathlib import Path

import pytest
import torch

from scalemark.measure import ceiling
from scalemark.measure.ceiling import last_level_cache_bytes, measure_kernel, measure_triad, triad_bytes
from scalemark.measure.orders import KernelOrder

MIB = 2**20


def gemm(*shape: int, dtype: str = "float32") -> KernelOrder:
    return KernelOrder.model_validate({"name": "gemm", "dtype": dtype, "shape": shape})


def set_clock(monkeypatch: pytest.MonkeyPatch, *seconds: float) -> None:
    """Rounds take these seconds, whatever they do."""
    monkeypatch.setattr(ceiling, "time_rounds_s", lambda *_, **__: seconds)


def make_caches(root: Path, caches: list[tuple[int, int, str, str]]) -> Path:
    """(cpu, level, size, shared_cpu_list) of each."""
    for index, (cpu, level, size, shared) in enumerate(caches):
        folder = root / f"sys/devices/system/cpu/cpu{cpu}/cache/index{index}"
        folder.mkdir(parents=True)
        for name, text in (("level", str(level)), ("size", size), ("shared_cpu_list", shared)):
            (folder / name).write_text(f"{text}\n")
    return root


# Matrix products


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_product_is_measured_in_its_shape(dtype: str) -> None:
    kernel = measure_kernel(gemm(8, 32, 16, dtype=dtype), "cpu", block_index=2)
    assert (kernel.name, kernel.dtype, kernel.shape, kernel.block_index) == ("gemm", dtype, (8, 32, 16), 2)
    assert kernel.rates_per_s and all(rate > 0 for rate in kernel.rates_per_s)


def test_a_rate_is_two_flops_per_multiply_add_and_the_warm_up_is_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    set_clock(monkeypatch, 9.0, 2.0, 0.5)
    assert measure_kernel(gemm(3, 5, 7), "cpu", 0).rates_per_s == (2 * 3 * 5 * 7 / 2.0, 2 * 3 * 5 * 7 / 0.5)


def test_operands_are_random_and_of_the_shape(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[torch.Tensor] = []
    product = ceiling._product
    monkeypatch.setattr(ceiling, "_product", lambda *tensors: seen.extend(tensors) or product(*tensors))
    measure_kernel(gemm(40, 60, 50), "cpu", 0)
    a, weight, out = seen
    assert (a.shape, weight.shape, out.shape) == ((40, 50), (60, 50), (40, 60))
    assert all(tensor.unique().numel() > 0.9 * tensor.numel() for tensor in (a, weight))
    assert torch.allclose(out, a @ weight.t(), atol=1e-3)


def test_a_product_too_long_for_a_reference_kernel_has_no_rates(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ceiling, "GEMM_LONGEST_S", 0.0)
    assert measure_kernel(gemm(512, 512, 513), "cpu", 0).rates_per_s == ()


def test_the_smallest_square_is_measured_on_the_slowest_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ceiling, "GEMM_LONGEST_S", 0.0)
    assert measure_kernel(gemm(512, 512, 512), "cpu", 0).rates_per_s


def test_the_time_of_a_product_is_foretold_from_a_strip_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """A sixteenth of the rows takes 0.25 s, so all of them 4 s; the first call of a library does not count."""
    set_clock(monkeypatch, 7.0, 0.25)
    a, weight, out = torch.zeros(32, 4), torch.zeros(8, 4), torch.zeros(32, 8)
    assert ceiling._expected_s(a, weight, out, "cpu") == pytest.approx(0.25 * 16)


def test_a_product_too_large_for_the_memory_is_not_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ceiling, "available_bytes", lambda _: 4 * 3 * 8 * 8)
    assert measure_kernel(gemm(8, 8, 8), "cpu", 0).rates_per_s == ()


# Triad


def test_the_triad_counts_two_arrays_read_and_one_written(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    set_clock(monkeypatch, 9.0, 2.0)
    kernel = measure_triad("cpu", 1, tmp_path)
    assert kernel.array_bytes == 96 * MIB
    assert kernel.rates_per_s == (96 * MIB / 2.0,)
    assert (kernel.name, kernel.shape, kernel.block_index) == ("triad", None, 1)


def test_the_triad_computes_what_stream_computes(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    results: list[torch.Tensor] = []
    monkeypatch.setattr(ceiling, "TRIAD_LEAST_BYTES", 120)
    monkeypatch.setattr(ceiling, "_discard", results.append)
    assert measure_triad("cpu", 0, tmp_path).array_bytes == 120
    assert results[-1].tolist() == [2.0 + 3.0 * 0.5] * 10


@pytest.mark.parametrize(
    ("cache_bytes", "free_bytes", "expected"),
    [
        (None, 64 * 2**30, 96 * MIB),
        (8 * MIB, 64 * 2**30, 96 * MIB),
        (32 * MIB, 64 * 2**30, 128 * MIB),
        (768 * MIB, 64 * 2**30, 1024 * MIB),
        (32 * MIB, 256 * MIB, 32 * MIB),
    ],
)
def test_arrays_are_four_times_the_cache_within_bounds_and_an_eighth_of_the_memory(
    cache_bytes: int | None, free_bytes: int, expected: int
) -> None:
    assert triad_bytes("cpu", cache_bytes, free_bytes) == expected


def test_a_gpu_gets_the_largest_arrays_that_an_eighth_of_its_memory_holds() -> None:
    assert triad_bytes("cuda", None, 80 * 2**30) == 2**30
    assert triad_bytes("cuda", None, 4 * 2**30) == 2**29


def test_caches_of_the_last_level_count_once_each(tmp_path: Path) -> None:
    caches = [(0, 2, "1024K", "0"), (0, 3, "32768K", "0-1"), (1, 3, "32768K", "0-1"), (2, 3, "32768K", "2-3")]
    assert last_level_cache_bytes(make_caches(tmp_path, caches)) == 64 * MIB


def test_the_last_level_is_the_highest_there_is(tmp_path: Path) -> None:
    assert last_level_cache_bytes(make_caches(tmp_path, [(0, 1, "64K", "0"), (0, 2, "2M", "0-3")])) == 2 * MIB


def test_a_system_that_tells_nothing_of_caches_is_unknown(tmp_path: Path) -> None:
    assert last_level_cache_bytes(tmp_path) is None
