"""Which counter is asked, and that a made-up one cannot pass for a real one."""

import subprocess
import sys
from pathlib import Path

import pytest

from scalemark.measure.energy import POWERCAP_ROOT, faked_sources, find_counter


def make_tree(root: Path) -> Path:
    zone = root / "intel-rapl:0"
    zone.mkdir()
    for name, text in {"name": "package-0", "energy_uj": "5", "max_energy_range_uj": "1000"}.items():
        (zone / name).write_text(text)
    return root


def test_a_root_other_than_the_kernels_makes_a_fake(tmp_path: Path) -> None:
    assert find_counter("cpu", make_tree(tmp_path), {}).fake
    assert not find_counter("cpu", POWERCAP_ROOT, {}).fake


def test_a_variable_puts_another_tree_in_the_kernels_place(tmp_path: Path) -> None:
    counter = find_counter("cpu", environment={"SCALEMARK_POWERCAP_ROOT": str(make_tree(tmp_path))})
    assert counter.read_j() == 0.0
    assert counter.fake


def test_a_library_that_does_not_load_is_a_reason_and_a_fake_all_the_same(tmp_path: Path) -> None:
    counter = find_counter("cuda", environment={"SCALEMARK_NVML_LIBRARY": str(tmp_path / "absent.so")})
    assert "cannot be loaded" in (counter.reason or "")
    assert counter.fake


@pytest.mark.parametrize(
    ("environment", "names"),
    [
        ({}, ()),
        ({"SCALEMARK_POWERCAP_ROOT": "", "SCALEMARK_NVML_LIBRARY": ""}, ()),
        ({"SCALEMARK_POWERCAP_ROOT": str(POWERCAP_ROOT)}, ()),
        ({"SCALEMARK_POWERCAP_ROOT": "made-up"}, ("SCALEMARK_POWERCAP_ROOT",)),
        (
            {"SCALEMARK_POWERCAP_ROOT": "made-up", "SCALEMARK_NVML_LIBRARY": "stub.so"},
            ("SCALEMARK_POWERCAP_ROOT", "SCALEMARK_NVML_LIBRARY"),
        ),
    ],
)
def test_a_run_knows_which_of_its_sources_are_made_up(environment: dict[str, str], names: tuple[str, ...]) -> None:
    assert faked_sources(environment) == names


def test_asking_for_a_counter_does_not_load_torch() -> None:
    program = "import sys, scalemark.measure.energy as e; e.find_counter('cpu'); assert 'torch' not in sys.modules"
    finished = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stderr
