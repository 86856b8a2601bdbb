"""The fingerprint stays where the machine stays, and changes where a time could."""

import re
from pathlib import Path

import pytest
from fake_system import FLAGS, cpuinfo, system_files, write_tree

from scalemark.record.machine import fingerprint, machine_id
from scalemark.schema import Machine

TORCH_FACTS = {"blas": "mkl 2024.2", "cuda": None}
CPU = "sys/devices/system/cpu"


def machine_of(folder: Path, changes: dict[str, str] | None = None, **arguments: object) -> Machine:
    """The made-up machine, which has no GPU, with other text in some files."""
    root = write_tree(folder, system_files() | (changes or {}))
    made_up = {"threads": 2, "root": root, "find_nvml": lambda: None}
    return fingerprint(TORCH_FACTS, **{**made_up, **arguments})  # type: ignore[arg-type]


def test_two_calls_on_this_machine_give_one_id() -> None:
    assert fingerprint(TORCH_FACTS, threads=2).id == fingerprint(TORCH_FACTS, threads=2).id


def test_identity_is_read_from_the_files(tmp_path: Path) -> None:
    expected = {
        "cpu_vendor": "GenuineIntel",
        "cpu_family": "6",
        "cpu_model": "85",
        "cpu_stepping": "7",
        "cores": 2,
        "logical_cores": 4,
        "threads_per_core": 2,
        "numa_nodes": 1,
        "cpu_quota_cores": 1.5,
        "hypervisor": "yes",
        "hypervisor_vendor": "Amazon EC2 c7i.large",
        "cache_l1d_bytes": 32 * 2**10,
        "cache_l2_bytes": None,
        "cache_l3_bytes": 8 * 2**20,
        "memory_bytes": 16 * 2**30,
        "threads": 2,
        "affinity_cpus": 4,
        "affinity_cores": 2,
        "affinity_kinds": None,
        "affinity_numa_nodes": 1,
        "blas": "mkl 2024.2",
        "cuda": None,
    }
    identity = machine_of(tmp_path).identity
    assert {name: identity[name] for name in expected} == expected


def test_context_is_read_from_the_files(tmp_path: Path) -> None:
    expected = {
        "hostname": "node7",
        "os": "Made Up Linux 1",
        "cloud": "Amazon EC2",
        "hardware": "Amazon EC2 c7i.large",
        "memory_limit_bytes": None,
        "swap_total_bytes": 2048 * 1024,
        "instruction_set_flags": "avx2 avx512_bf16 avx512f sse2",
        "microcode": "0x5003707",
        "transparent_hugepages": "madvise",
        "mitigations": "1 mitigated, 1 vulnerable, 1 not affected",
        "clock_source": "tsc",
        "affinity": "0-3",
    }
    context = machine_of(tmp_path).context
    assert {name: context[name] for name in expected} == expected
    assert context["version_pydantic"] is not None


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("proc/loadavg", "3.50 0.20 0.30 9/100 43"),
        ("proc/uptime", "12.5 1.0"),
        ("proc/stat", "cpu  1 2 3 4 5 6 7 8 9 0"),
        ("proc/meminfo", "MemTotal: 15900000 kB\nMemAvailable: 9 kB\nSwapTotal: 0 kB"),
        *((f"proc/pressure/{name}", "some avg10=99.00 avg60=0 avg300=0 total=9") for name in ("cpu", "memory", "io")),
        ("proc/self/cgroup", "0::/other"),
        ("proc/sys/kernel/hostname", "node8"),
        ("proc/sys/kernel/osrelease", "6.2.0"),
        ("proc/sys/kernel/numa_balancing", "1"),
        ("etc/os-release", 'PRETTY_NAME="Made Up Linux 2"'),
        ("proc/cpuinfo", cpuinfo().replace("00.000", "55.500")),
        ("proc/cpuinfo", cpuinfo().replace("0x5003707", "0x5003800")),
        ("proc/cpuinfo", cpuinfo(flags=f"{FLAGS} ibrs_enhanced smep")),
        (f"{CPU}/cpu0/cpufreq/scaling_cur_freq", "1000000"),
        (f"{CPU}/cpu0/cpufreq/scaling_governor", "powersave"),
        (f"{CPU}/intel_pstate/no_turbo", "1"),
        (f"{CPU}/cpu0/thermal_throttle/core_throttle_count", "99"),
        (f"{CPU}/vulnerabilities/mds", "Mitigation: Clear CPU buffers"),
        ("sys/fs/cgroup/job/cpu.stat", "throttled_usec 9"),
        ("sys/fs/cgroup/job/memory.max", "4096"),
        ("sys/class/hwmon/hwmon0/temp1_input", "90000"),
        ("sys/class/dmi/id/chassis_asset_tag", "lease 7"),
        ("sys/devices/system/clocksource/clocksource0/current_clocksource", "hpet"),
        ("sys/kernel/mm/transparent_hugepage/enabled", "[always] madvise never"),
        (".dockerenv", ""),
    ],
)
def test_what_comes_and_goes_leaves_the_id(tmp_path: Path, path: str, text: str) -> None:
    changes = {path: text}
    if path == "proc/self/cgroup":  # another group with the same limits, as a scheduler makes for every job
        changes["sys/fs/cgroup/other/cpu.max"] = "150000 100000"
    assert machine_of(tmp_path / "after", changes).id == machine_of(tmp_path / "before").id


@pytest.mark.parametrize(
    ("fact", "path", "text"),
    [
        ("cpu", "proc/cpuinfo", cpuinfo(name="Other CPU")),
        ("cpu_vendor", "proc/cpuinfo", cpuinfo().replace("GenuineIntel", "Other")),
        ("cpu_family", "proc/cpuinfo", cpuinfo().replace("family\t: 6", "family\t: 7")),
        ("cpu_model", "proc/cpuinfo", cpuinfo().replace("model\t\t: 85", "model\t\t: 86")),
        ("cpu_stepping", "proc/cpuinfo", cpuinfo().replace("stepping\t: 7", "stepping\t: 8")),
        ("instruction_set", "proc/cpuinfo", cpuinfo(flags=f"{FLAGS} amx_bf16")),
        ("hypervisor", "proc/cpuinfo", cpuinfo(flags=FLAGS.replace("hypervisor", ""))),
        ("hypervisor_vendor", "sys/class/dmi/id/product_name", "c7i.metal"),
        ("hypervisor_vendor", "sys/hypervisor/type", "xen"),
        ("cores", f"{CPU}/cpu1/topology/core_id", "7"),
        ("logical_cores", "proc/cpuinfo", cpuinfo() + "processor\t: 4"),
        ("threads_per_core", f"{CPU}/cpu0/topology/thread_siblings_list", "0-3"),
        ("numa_nodes", "sys/devices/system/node/node1/cpulist", ""),
        ("cpu_quota_cores", "sys/fs/cgroup/job/cpu.max", "max 100000"),
        ("cpu_quota_cores", "sys/fs/cgroup/cpu.max", "100000 100000"),
        ("cache_l1d_bytes", f"{CPU}/cpu0/cache/index0/size", "48K"),
        ("cache_l2_bytes", f"{CPU}/cpu0/cache/index1/level", "2"),
        ("cache_l3_bytes", f"{CPU}/cpu0/cache/index2/size", "16M"),
        ("memory_bytes", "proc/meminfo", "MemTotal: 32000000 kB"),
        ("affinity_cpus", "proc/self/status", "Cpus_allowed_list:\t0,2"),
        ("affinity_cores", "proc/self/status", "Cpus_allowed_list:\t0-1"),
        ("affinity_kinds", "sys/devices/cpu_atom/cpus", "2-3"),
        ("affinity_numa_nodes", "sys/devices/system/node/node1/cpulist", "2-3"),
    ],
)
def test_other_hardware_changes_the_fact_and_the_id(tmp_path: Path, fact: str, path: str, text: str) -> None:
    before, after = machine_of(tmp_path / "before"), machine_of(tmp_path / "after", {path: text})
    assert after.identity[fact] != before.identity[fact]
    assert after.id != before.id


def test_every_fact_of_the_identity_is_hashed() -> None:
    identity = fingerprint(TORCH_FACTS, threads=2).identity
    ids = {machine_id({**identity, name: "something else"})[-8:] for name in identity}
    assert len(ids) == len(identity)


def test_threads_affinity_and_torch_facts_change_the_id(tmp_path: Path) -> None:
    root = write_tree(tmp_path, system_files())
    ids = {
        fingerprint(TORCH_FACTS, threads=2, root=root).id,
        fingerprint(TORCH_FACTS, threads=1, root=root).id,
        fingerprint(TORCH_FACTS, threads=2, root=root, affinity=(0, 2)).id,
        fingerprint({**TORCH_FACTS, "blas": "openblas"}, threads=2, root=root).id,
    }
    assert len(ids) == 4


def test_unknown_is_hashed_as_null_and_so_is_another_machine_than_zero() -> None:
    assert machine_id({"cores": None}) == machine_id({"cores": None})
    assert len({machine_id({"cores": None})[-8:], machine_id({"cores": 0})[-8:], machine_id({})[-8:]}) == 3


def test_what_cannot_be_read_is_null_in_the_identity(tmp_path: Path) -> None:
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc/cpuinfo").write_text("")
    identity = fingerprint({}, threads=2, root=tmp_path).identity
    unknown = ("cpu", "cpu_stepping", "instruction_set", "hypervisor", "cores", "numa_nodes", "cache_l3_bytes")
    assert {identity[name] for name in (*unknown, "memory_bytes", "affinity_cpus", "affinity_numa_nodes")} == {None}


def test_the_id_follows_from_what_is_stored() -> None:
    machine = fingerprint({**TORCH_FACTS, "onednn": True}, threads=2)
    stored = Machine.model_validate_json(machine.model_dump_json())
    assert machine_id(stored.identity) == stored.id


def test_id_names_the_processor_and_is_a_folder_name(tmp_path: Path) -> None:
    assert re.fullmatch(r"intel-xeon-gold-6248-2c-[0-9a-f]{8}", machine_of(tmp_path).id)


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


@pytest.mark.parametrize(
    ("files", "cloud"),
    [
        ({"sys_vendor": "Google", "product_name": "Google Compute Engine"}, "Google Compute Engine"),
        (
            {"sys_vendor": "Microsoft Corporation", "chassis_asset_tag": "7783-7084-3265-9085-8269-3286-77"},
            "Microsoft Azure",
        ),
        ({"sys_vendor": "Microsoft Corporation", "product_name": "Virtual Machine"}, None),
        ({"sys_vendor": "Dell Inc.", "product_name": "PowerEdge R760"}, None),
    ],
)
def test_a_cloud_is_told_by_what_it_writes_into_the_firmware(tmp_path: Path, files: dict, cloud: str | None) -> None:
    tables = {"product_name": ""} | files
    machine = machine_of(tmp_path, {f"sys/class/dmi/id/{name}": text for name, text in tables.items()})
    assert machine.context["cloud"] == cloud
