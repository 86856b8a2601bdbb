"""What the doctor says of the processors, memories and boards of made-up machines."""

from types import SimpleNamespace
from typing import Any

import pytest

from scalemark.doctor.hardware import check_caches, check_cpu, check_gpu, check_memory
from scalemark.schema import Machine


def made_up_machine(**identity: str | int | None) -> Machine:
    return Machine(id="made-up", identity=identity)


def made_up_torch(cuda: str | None, board: str | None) -> Any:
    board_facts = SimpleNamespace(name=board, total_memory=80 * 2**30)
    return SimpleNamespace(
        version=SimpleNamespace(cuda=cuda),
        cuda=SimpleNamespace(is_available=lambda: board is not None, get_device_properties=lambda _: board_facts),
    )


@pytest.mark.parametrize(
    ("flags", "status", "word"),
    [("avx2 avx512f avx512_bf16", "ok", "avx512_bf16"), ("amx_bf16", "ok", "amx_bf16"), ("avx2", "limited", "avx2")],
)
def test_a_processor_is_judged_by_its_bfloat16(flags: str, status: str, word: str) -> None:
    context = {"instruction_set_flags": flags}
    check = check_cpu(Machine(id="made-up", identity={"cpu": "Some CPU @ 2.5GHz"}, context=context))
    assert check.status == status
    assert check.detail.startswith("Some CPU, ")
    assert word in check.detail


def test_a_processor_is_told_from_others_of_its_name() -> None:
    facts = {"cpu": "AMD EPYC", "cpu_family": "25", "cpu_model": "17", "cpu_stepping": "1"}
    machine = made_up_machine(**facts, cores=8, threads_per_core=2, numa_nodes=2, hypervisor="yes")
    detail = check_cpu(machine).detail
    assert detail == "AMD EPYC 25/17/1, 8 cores of 2 threads, 2 NUMA nodes, virtual"


def test_an_unknown_processor_goes_by_its_architecture() -> None:
    assert check_cpu(made_up_machine(cpu=None, architecture="riscv64")).detail.startswith("riscv64, ")


def test_only_caches_that_are_told_are_listed() -> None:
    assert (
        check_caches(made_up_machine(cache_l1d_bytes=2**15, cache_l3_bytes=2**25)).detail == "L1d 32.0 KiB, L3 32.0 MiB"
    )
    assert "not told" in check_caches(made_up_machine()).detail


@pytest.mark.parametrize(
    ("free_gib", "limit_gib", "status"),
    [(8, None, "ok"), (1, None, "limited"), (8, 2, "limited"), (None, None, "ok")],
)
def test_little_memory_is_a_limit_and_unknown_memory_is_not(
    free_gib: int | None, limit_gib: int | None, status: str
) -> None:
    machine = Machine(
        id="made-up",
        identity={"memory_bytes": 16 * 2**30},
        context={"memory_limit_bytes": limit_gib and limit_gib * 2**30, "transparent_hugepages": "madvise"},
        state={"memory_available_bytes": free_gib and free_gib * 2**30},
    )
    check = check_memory(machine)
    assert check.status == status
    assert "16.0 GiB" in check.detail
    assert "huge pages: madvise" in check.detail


def test_a_gpu_is_named_with_its_memory_limit_and_driver() -> None:
    facts = {"gpu": "Some GPU", "gpu_count": 8, "gpu_power_limit_w": 700, "gpu_mig": "on"}
    machine = Machine(id="made-up", identity=facts, context={"gpu_driver": "550.54"})
    check = check_gpu(made_up_torch("12.8", "Some GPU"), machine)
    assert check.status == "ok"
    assert check.detail == "8 × Some GPU, 80.0 GiB, limit 700 W, MIG, CUDA 12.8, driver 550.54"


@pytest.mark.parametrize(("cuda", "word"), [(None, "build of torch"), ("12.8", "driver")])
def test_a_missing_gpu_is_blamed_on_torch_or_on_the_driver(cuda: str | None, word: str) -> None:
    check = check_gpu(made_up_torch(cuda, None), made_up_machine())
    assert check.status == "missing"
    assert word in (check.advice or "")


def test_a_gpu_that_only_torch_cannot_see_is_mentioned() -> None:
    check = check_gpu(made_up_torch(None, None), made_up_machine(gpu="Some GPU"))
    assert check.detail.startswith("Some GPU is here, but ")


def test_without_torch_the_doctor_still_answers() -> None:
    assert check_gpu(None, made_up_machine()).status == "missing"
