"""NVML's energy and state: a made-up module for what can go wrong, a compiled library for the way through pynvml."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from scalemark.measure.energy import Unavailable, find_counter
from scalemark.measure.energy.nvml import find_nvml
from scalemark.measure.gpu import name_reasons, read_gpu_state

STUB = Path(__file__).with_name("nvml_stub.c")
WATTS = 250.0
UPDATE_PERIOD_S = 0.02


class MadeUpNvml:
    """The part of pynvml that is used; boards[i] is the energy of board i in millijoules, None where unsupported."""

    class NVMLError(Exception):
        pass

    def __init__(self, boards: list[float | None]) -> None:
        self.boards = boards

    def nvmlInit(self) -> None:  # noqa: N802
        if not self.boards:
            raise self.NVMLError("Driver Not Loaded")

    def nvmlDeviceGetHandleByIndex(self, index: int) -> int:  # noqa: N802
        if not 0 <= index < len(self.boards):
            raise self.NVMLError("Invalid Argument")
        return index

    def nvmlDeviceGetHandleByUUID(self, uuid: str) -> int:  # noqa: N802
        return self.nvmlDeviceGetHandleByIndex(int(uuid.removeprefix("GPU-") or -1))

    def nvmlDeviceGetTotalEnergyConsumption(self, handle: int) -> float:  # noqa: N802
        energy_mj = self.boards[handle]
        if energy_mj is None:
            raise self.NVMLError("Not Supported")
        return energy_mj


@pytest.mark.parametrize(
    ("visible", "expected_j", "domain"),
    [
        ({}, 1.5, "GPU 0"),
        ({"CUDA_VISIBLE_DEVICES": "1,0"}, 9.0, "GPU 1"),
        ({"CUDA_VISIBLE_DEVICES": "GPU-1"}, 9.0, "GPU GPU-1"),
    ],
)
def test_joules_are_those_of_the_first_visible_board(visible: dict[str, str], expected_j: float, domain: str) -> None:
    counter = find_nvml(visible, lambda: MadeUpNvml([1500.0, 9000.0]))
    assert counter.read_j() == pytest.approx(expected_j)
    assert (counter.source, counter.domain, counter.fake) == ("nvml", domain, False)


@pytest.mark.parametrize("hidden", ["", "-1"])
def test_a_hidden_gpu_is_not_read(hidden: str) -> None:
    visible = {"CUDA_VISIBLE_DEVICES": hidden}
    assert isinstance(find_nvml(visible, lambda: MadeUpNvml([1500.0])), Unavailable)
    assert read_gpu_state(visible, lambda: MadeUpNvml([1500.0])) == {}


def test_each_absence_of_nvml_ends_in_its_own_advice() -> None:
    def not_installed() -> object:
        raise ImportError

    assert "pip install nvidia-ml-py" in (find_nvml({}, not_installed).reason or "")
    assert "driver" in (find_nvml({}, lambda: MadeUpNvml([])).reason or "")
    assert "Volta" in (find_nvml({}, lambda: MadeUpNvml([None])).reason or "")


def test_without_nvml_there_is_no_state() -> None:
    assert read_gpu_state({}, lambda: MadeUpNvml([])) == {}


def test_a_question_that_a_board_or_a_release_does_not_know_is_none() -> None:
    state = read_gpu_state({}, lambda: MadeUpNvml([None]))
    assert "gpu_temperature_c" in state
    assert set(state.values()) == {None}


@pytest.mark.parametrize(
    ("bits", "words"),
    [(0, "none"), (0x1, "idle"), (0x24, "power cap, thermal slowdown"), (0x1_0004, "power cap, unknown 0x10000")],
)
def test_throttle_reasons_are_words(bits: int, words: str) -> None:
    assert name_reasons(bits) == words


def test_the_real_nvml_gives_joules_or_a_reason() -> None:
    counter = find_counter("cuda")
    assert (counter.read_j() is None) == bool(counter.reason)


# Through the real pynvml to a library that this test compiles, in a process of its own.

PROGRAM = """
import json, time
from scalemark.measure.clock import Round
from scalemark.measure.energy import faked_sources, find_counter, measure_energy, measure_idle, probe
from scalemark.measure.gpu import read_gpu_state
from scalemark.measure.phases import nothing
from scalemark.record.machine import nvidia_facts

counter = probe(find_counter("cuda"), lambda: time.sleep(0.05))
one = Round(nothing, lambda: time.sleep(0.01))
energy = measure_energy(counter, one, "cpu", measure_idle(counter))  # on the CPU there is nothing to wait for
import pynvml
old_board = {"CUDA_VISIBLE_DEVICES": "GPU-stub-1"}
print(json.dumps({
    "energy": energy.model_dump(),
    "faked": faked_sources(),
    "state": read_gpu_state(),
    "old_state": read_gpu_state(old_board),
    "old_reason": find_counter("cuda", environment=old_board).reason,
    "facts": nvidia_facts(pynvml),
}))
"""


def compile_stub(folder: Path, *flags: str) -> Path:
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None or sys.platform != "linux":
        pytest.skip("there is no C compiler, or no Linux to load what it makes")
    library = folder / "made_up_nvml.so"
    options = ["-shared", "-fPIC", f"-DWATTS={WATTS}", f"-DUPDATE_PERIOD_S={UPDATE_PERIOD_S}", *flags]
    subprocess.run([compiler, *options, "-o", library, STUB], check=True)
    return library


def run_with(library: Path, program: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "SCALEMARK_NVML_LIBRARY": str(library)}
    environment.pop("CUDA_VISIBLE_DEVICES", None)
    return subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What scalemark says of two boards: 0 answers everything, 1 is old."""
    library = compile_stub(tmp_path_factory.mktemp("nvml"), "-Wl,-soname,libnvidia-ml.so.1")
    finished = run_with(library, PROGRAM)
    assert finished.returncode == 0, finished.stderr
    return dict(json.loads(finished.stdout))


def test_joules_through_pynvml_are_the_stubs_watts_times_the_time_that_passed(answers: dict[str, Any]) -> None:
    energy = answers["energy"]
    assert energy["status"] == "ok", energy["reason"]
    power_w = energy["joules_per_round"]["value"] * energy["rounds"] / energy["window_s"]
    assert power_w == pytest.approx(WATTS, rel=0.2)
    assert (energy["source"], energy["domain"], energy["method"]) == ("nvml", "GPU 0", "direct")


def test_the_stubs_update_period_is_seen(answers: dict[str, Any]) -> None:
    assert UPDATE_PERIOD_S / 2 < answers["energy"]["update_period_s"] < 5 * UPDATE_PERIOD_S


def test_idle_power_through_pynvml_is_the_stubs(answers: dict[str, Any]) -> None:
    assert answers["energy"]["idle_w"]["value"] == pytest.approx(WATTS, rel=0.2)


def test_what_a_stub_counts_is_stamped_as_fake(answers: dict[str, Any]) -> None:
    assert answers["energy"]["fake"]
    assert answers["faked"] == ["SCALEMARK_NVML_LIBRARY"]


def test_the_state_of_a_board_is_read_in_words_and_numbers(answers: dict[str, Any]) -> None:
    assert answers["state"] == {
        "gpu_sm_clock_mhz": 1410,
        "gpu_memory_clock_mhz": 1593,
        "gpu_temperature_c": 55,
        "gpu_power_w": WATTS,
        "gpu_performance_state": "P0",
        "gpu_throttle_reasons": "power cap, thermal slowdown",
    }


def test_an_old_board_answers_what_it_can(answers: dict[str, Any]) -> None:
    assert answers["old_state"]["gpu_power_w"] is None
    assert answers["old_state"]["gpu_sm_clock_mhz"] == 1410
    assert "Not Supported" in answers["old_reason"]


def test_the_machine_is_described_by_the_same_library(answers: dict[str, Any]) -> None:
    facts = answers["facts"]
    assert (facts["gpu"], facts["gpu_count"], facts["gpu_power_limit_w"]) == ("Made-up GPU", 2, 300)
    assert facts["gpu_memory_bytes"] == 2**34


def test_a_library_without_the_drivers_soname_is_refused(tmp_path: Path) -> None:
    program = "from scalemark.measure.energy import find_counter; print(find_counter('cuda').reason)"
    finished = run_with(compile_stub(tmp_path), program)
    assert "libnvidia-ml.so.1" in finished.stdout
