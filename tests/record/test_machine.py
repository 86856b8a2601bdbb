"""The fingerprint stays where the machine stays, and changes where a time could."""

import re
from pathlib import Path
from types import SimpleNamespace

import pytest

from scalemark.record.machine import fingerprint, machine_id, nvidia_facts
from scalemark.schema import Machine

CPUINFO = """processor\t: {processor}
vendor_id\t: GenuineIntel
cpu family\t: 6
model\t\t: 85
model name\t: {name}
stepping\t: 7
cpu MHz\t\t: 2{processor}00.000
flags\t\t: fpu sse2 avx2 {flags}

"""
TORCH_FACTS = {"blas": "mkl", "cuda": None}


def make_root(
    folder: Path,
    name: str = "Intel(R) Xeon(R) Gold 6248 CPU @ 2.50GHz",
    flags: str = "hypervisor",
    total_kb: int = 16_000_000,
    load: str = "0.10",
    kernel: str = "6.1.0",
) -> Path:
    """Two cores of two threads each."""
    files = {
        "proc/cpuinfo": "".join(CPUINFO.format(processor=index, name=name, flags=flags) for index in range(4)),
        "proc/meminfo": f"MemTotal: {total_kb} kB\nMemAvailable: 8000 kB\n",
        "proc/loadavg": f"{load} 0.20 0.30 1/100 42\n",
        "proc/pressure/cpu": "some avg10=1.50 avg60=0.00 avg300=0.00 total=7\n",
        "proc/sys/kernel/hostname": "node7\n",
        "proc/sys/kernel/osrelease": f"{kernel}\n",
        "etc/os-release": 'NAME="Made"\nPRETTY_NAME="Made Up Linux 1"\n',
        "sys/fs/cgroup/cpu.max": "150000 100000\n",
        "sys/fs/cgroup/memory.max": "max\n",
    }
    for index, (level, kind, size) in enumerate([(1, "Data", "32K"), (1, "Instruction", "64K"), (3, "Unified", "8M")]):
        cache = f"sys/devices/system/cpu/cpu0/cache/index{index}"
        files |= {f"{cache}/level": f"{level}\n", f"{cache}/type": f"{kind}\n", f"{cache}/size": f"{size}\n"}
    for index in range(4):
        topology = f"sys/devices/system/cpu/cpu{index}/topology"
        files |= {f"{topology}/physical_package_id": "0\n", f"{topology}/core_id": f"{index // 2}\n"}
    for path, text in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text)
    return folder


def test_two_calls_on_this_machine_give_one_id() -> None:
    assert fingerprint(TORCH_FACTS, threads=2).id == fingerprint(TORCH_FACTS, threads=2).id


def test_identity_is_read_from_the_files(tmp_path: Path) -> None:
    identity = fingerprint(TORCH_FACTS, threads=2, root=make_root(tmp_path)).identity
    expected = {
        "cpu_vendor": "GenuineIntel",
        "cpu_family": "6",
        "cpu_model": "85",
        "cpu_stepping": "7",
        "cores": 2,
        "logical_cores": 4,
        "cpu_quota_cores": 1.5,
        "hypervisor": "yes",
        "cache_l1d_bytes": 32 * 2**10,
        "cache_l2_bytes": None,
        "cache_l3_bytes": 8 * 2**20,
        "memory_bytes": 16 * 2**30,
        "threads": 2,
        "blas": "mkl",
        "cuda": None,
    }
    assert {name: identity[name] for name in expected} == expected


def test_context_and_state_are_read_from_the_files(tmp_path: Path) -> None:
    machine = fingerprint(TORCH_FACTS, threads=2, root=make_root(tmp_path))
    assert machine.context["hostname"] == "node7"
    assert machine.context["os"] == "Made Up Linux 1"
    assert machine.context["memory_limit_bytes"] is None
    assert machine.context["version_pydantic"] is not None
    assert machine.state["load_average_1min"] == 0.1
    assert machine.state["cpu_pressure_10s_percent"] == 1.5
    assert machine.state["memory_available_bytes"] == 8000 * 1024
    assert machine.state["clock_mhz"] == 2150


@pytest.mark.parametrize(
    "change",
    [
        {"load": "3.50"},
        {"kernel": "6.2.0"},
        {"total_kb": 15_900_000},
        {"flags": "hypervisor ibrs_enhanced smep"},
    ],
    ids=["load", "kernel", "memory that the kernel reserves", "flags of mitigations"],
)
def test_what_comes_and_goes_leaves_the_id(tmp_path: Path, change: dict) -> None:
    before = fingerprint(TORCH_FACTS, threads=2, root=make_root(tmp_path / "before"))
    after = fingerprint(TORCH_FACTS, threads=2, root=make_root(tmp_path / "after", **change))
    assert before.id == after.id


@pytest.mark.parametrize(
    "change",
    [{"name": "Other CPU"}, {"flags": "hypervisor avx512f"}, {"flags": ""}, {"total_kb": 32_000_000}],
    ids=["name", "instruction set", "no hypervisor", "memory"],
)
def test_other_hardware_changes_the_id(tmp_path: Path, change: dict) -> None:
    before = fingerprint(TORCH_FACTS, threads=2, root=make_root(tmp_path / "before"))
    after = fingerprint(TORCH_FACTS, threads=2, root=make_root(tmp_path / "after", **change))
    assert before.id != after.id


def test_threads_and_torch_facts_change_the_id(tmp_path: Path) -> None:
    root = make_root(tmp_path)
    ids = {
        fingerprint(TORCH_FACTS, threads=2, root=root).id,
        fingerprint(TORCH_FACTS, threads=1, root=root).id,
        fingerprint({**TORCH_FACTS, "blas": "openblas"}, threads=2, root=root).id,
    }
    assert len(ids) == 3


def test_the_id_follows_from_what_is_stored() -> None:
    machine = fingerprint({**TORCH_FACTS, "onednn": True}, threads=2)
    stored = Machine.model_validate_json(machine.model_dump_json())
    assert machine_id(stored.identity) == stored.id


def test_id_names_the_processor_and_is_a_folder_name(tmp_path: Path) -> None:
    name = fingerprint(TORCH_FACTS, threads=2, root=make_root(tmp_path)).id
    assert re.fullmatch(r"intel-xeon-gold-6248-2c-[0-9a-f]{8}", name)


def test_strange_names_make_plain_ids() -> None:
    assert re.fullmatch(r"a-b-c-2c-[0-9a-f]{8}", machine_id({"cpu": "../a\\b  ü:c", "cores": 2}))
    assert re.fullmatch(r"unknown-[0-9a-f]{8}", machine_id({"cpu": None, "cores": None}))
    assert len(machine_id({"cpu": "long " * 100})) < 60


def test_a_gpu_gives_the_machine_its_name() -> None:
    assert machine_id({"cpu": "AMD EPYC", "gpu": "NVIDIA H100 80GB HBM3", "gpu_count": 8}).startswith(
        "nvidia-h100-80gb-hbm3-8x-"
    )


def test_a_system_without_proc_still_has_an_id(tmp_path: Path) -> None:
    machine = fingerprint(TORCH_FACTS, threads=2, root=tmp_path)
    assert machine.identity["memory_bytes"] is not None
    assert machine.state["cpu_pressure_10s_percent"] is None
    assert machine.id == fingerprint(TORCH_FACTS, threads=2, root=tmp_path).id


def test_an_arm_processor_is_told_by_its_part_number(tmp_path: Path) -> None:
    (tmp_path / "proc").mkdir()
    fields = ["processor\t: 0", "Features\t: fp asimd sve bf16", "CPU implementer\t: 0x41", "CPU part\t: 0xd40"]
    (tmp_path / "proc/cpuinfo").write_text("\n".join(fields) + "\n")
    identity = fingerprint(TORCH_FACTS, threads=2, root=tmp_path).identity
    assert (identity["cpu_vendor"], identity["cpu_model"]) == ("0x41", "0xd40")
    assert identity["instruction_set"] is not None
    assert identity["hypervisor"] is None


def refuse(*_: object) -> None:
    raise RuntimeError("not supported")


def test_gpu_facts_come_from_nvml_and_what_it_refuses_is_unknown() -> None:
    nvml = SimpleNamespace(
        nvmlDeviceGetCount=lambda: 2,
        nvmlDeviceGetHandleByIndex=lambda index: f"device {index}",
        nvmlDeviceGetName=lambda device: b"NVIDIA Made Up",
        nvmlDeviceGetMemoryInfo=lambda device: SimpleNamespace(total=80 * 2**30),
        nvmlDeviceGetPowerManagementLimit=lambda device: 350_000,
        nvmlDeviceGetMigMode=refuse,
    )
    assert nvidia_facts(nvml) == {
        "gpu": "NVIDIA Made Up",
        "gpu_count": 2,
        "gpu_memory_bytes": 80 * 2**30,
        "gpu_power_limit_w": 350,
        "gpu_mig": None,
    }


def test_without_nvml_every_gpu_fact_is_unknown_not_zero() -> None:
    assert set(nvidia_facts(None).values()) == {None}
    assert set(nvidia_facts(SimpleNamespace(nvmlDeviceGetCount=refuse)).values()) == {None}
