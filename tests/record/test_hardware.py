"""What counts as other hardware, and what only looks like it."""

from pathlib import Path
from types import SimpleNamespace

import pytest
from fake_system import FLAGS, cpuinfo, system_files, write_tree

from scalemark.record.hardware import affinity_facts, cpu_facts, gpu_driver, nvidia_facts, own_affinity

NODES = {f"sys/devices/system/node/node{node}/cpulist": cpus for node, cpus in enumerate(("0-1", "2-3"))}
HYBRID = {"sys/devices/cpu_core/cpus": "0-1", "sys/devices/cpu_atom/cpus": "2-3"}
ARM = "processor\t: {index}\nFeatures\t: fp asimd sve bf16\nCPU implementer\t: 0x41\nCPU part\t: 0xd4{index}\n\n"


def root_with(folder: Path, **files: str) -> Path:
    return write_tree(folder, system_files() | files)


def test_another_set_of_as_many_alike_cpus_is_the_same_affinity(tmp_path: Path) -> None:
    root = root_with(tmp_path)
    assert affinity_facts(root, (0, 2)) == affinity_facts(root, (1, 3))


def test_two_threads_of_one_core_are_another_affinity_than_two_cores(tmp_path: Path) -> None:
    root = root_with(tmp_path)
    assert affinity_facts(root, (0, 1)) != affinity_facts(root, (0, 2))


def test_cpus_of_two_numa_nodes_are_another_affinity_than_those_of_one(tmp_path: Path) -> None:
    root = root_with(tmp_path, **NODES)
    assert affinity_facts(root, (0, 1))["affinity_numa_nodes"] == 1
    assert affinity_facts(root, (0, 2))["affinity_numa_nodes"] == 2


def test_efficiency_cores_are_another_affinity_than_performance_cores(tmp_path: Path) -> None:
    root = root_with(tmp_path, **HYBRID)
    assert affinity_facts(root, (0, 1))["affinity_kinds"] == "2 cpu_core"
    assert affinity_facts(root, (2, 3))["affinity_kinds"] == "2 cpu_atom"
    assert affinity_facts(root, (1, 2))["affinity_kinds"] == "1 cpu_atom, 1 cpu_core"


def test_arm_cores_differ_by_part_number(tmp_path: Path) -> None:
    root = root_with(tmp_path, **{"proc/cpuinfo": cpuinfo(fields=ARM)})
    assert affinity_facts(root, (0, 3))["affinity_kinds"] == "1 0xd40, 1 0xd43"


def test_a_system_without_affinity_has_none(tmp_path: Path) -> None:
    assert own_affinity(tmp_path) is None
    assert set(affinity_facts(tmp_path, None).values()) == {None}


def test_an_arm_processor_is_told_by_its_part_number(tmp_path: Path) -> None:
    facts = cpu_facts(write_tree(tmp_path, {"proc/cpuinfo": cpuinfo(fields=ARM)}))
    assert (facts["cpu_vendor"], facts["cpu_model"]) == ("0x41", "0xd40")
    assert facts["instruction_set"] is not None
    assert facts["hypervisor"] is None


def test_the_board_of_a_physical_machine_is_no_hypervisor(tmp_path: Path) -> None:
    facts = cpu_facts(root_with(tmp_path, **{"proc/cpuinfo": cpuinfo(flags=FLAGS.replace("hypervisor", ""))}))
    assert (facts["hypervisor"], facts["hypervisor_vendor"]) == ("no", None)


def test_a_hypervisor_that_hides_its_name_is_still_one(tmp_path: Path) -> None:
    hidden = {f"sys/class/dmi/id/{name}": "" for name in ("sys_vendor", "product_name")}
    facts = cpu_facts(root_with(tmp_path, **hidden))
    assert (facts["hypervisor"], facts["hypervisor_vendor"]) == ("yes", None)


def refuse(*_: object) -> None:
    raise RuntimeError("not supported")


def made_up_nvml() -> SimpleNamespace:
    """Two unlike boards, the second one a slice."""
    return SimpleNamespace(
        nvmlDeviceGetCount=lambda: 2,
        nvmlDeviceGetHandleByIndex=lambda index: ["first", "second"][index],
        nvmlDeviceGetHandleByUUID=lambda uuid: {"GPU-2": "second"}[uuid],
        nvmlDeviceGetName=lambda device: f"NVIDIA Made Up {device}".encode(),
        nvmlDeviceGetMemoryInfo=lambda device: SimpleNamespace(total=80 * 2**30),
        nvmlDeviceGetPowerManagementLimit=lambda device: 350_000,
        nvmlDeviceGetMigMode=refuse,
        nvmlDeviceGetCudaComputeCapability=lambda device: (9, 0),
        nvmlSystemGetDriverVersion=lambda: "550.54.15",
    )


def test_gpu_facts_come_from_nvml_and_what_it_refuses_is_unknown() -> None:
    assert nvidia_facts(made_up_nvml(), {}) == {
        "gpu": "NVIDIA Made Up first",
        "gpu_count": 2,
        "gpu_memory_bytes": 80 * 2**30,
        "gpu_power_limit_w": 350,
        "gpu_mig": None,
        "gpu_compute_capability": "9.0",
    }


@pytest.mark.parametrize(
    ("visible", "board"), [("1", "second"), ("GPU-2,0", "second"), ("0,1", "first"), ("", "first"), ("-1", "first")]
)
def test_the_first_visible_board_is_described(visible: str, board: str) -> None:
    facts = nvidia_facts(made_up_nvml(), {"CUDA_VISIBLE_DEVICES": visible})
    assert facts["gpu"] == f"NVIDIA Made Up {board}"


def test_a_driver_update_leaves_the_identity() -> None:
    nvml = made_up_nvml()
    before = nvidia_facts(nvml, {})
    nvml.nvmlSystemGetDriverVersion = lambda: "560.35"
    assert gpu_driver(nvml) == "560.35"
    assert nvidia_facts(nvml, {}) == before


def test_without_nvml_every_gpu_fact_is_unknown_not_zero() -> None:
    assert set(nvidia_facts(None).values()) == {None}
    assert set(nvidia_facts(SimpleNamespace(nvmlDeviceGetCount=refuse)).values()) == {None}
    assert gpu_driver(None) is None
