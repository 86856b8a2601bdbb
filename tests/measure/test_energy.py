"""Energy counters against a made-up powercap tree, a made-up NVML and a clock that only moves when told."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from scalemark.measure.energy import (
    EnergyCounter,
    Unavailable,
    find_counter,
    find_nvml,
    find_powercap,
    measure_energy,
    probe,
)

RANGE_UJ = 1_000_000_000


def add_zone(root: Path, zone: str, name: str, energy_uj: int = 0) -> Path:
    """One zone as the kernel lays it out; returns its counter's file."""
    folder = root / zone
    folder.mkdir(parents=True)
    (folder / "name").write_text(f"{name}\n")
    (folder / "max_energy_range_uj").write_text(f"{RANGE_UJ}\n")
    (folder / "energy_uj").write_text(f"{energy_uj}\n")
    return folder / "energy_uj"


def gained_j(counter: EnergyCounter, change: Callable[[], object]) -> float | None:
    """Joules that the counter reports across `change`."""
    before_j = counter.read_j()
    assert before_j is not None
    change()
    after_j = counter.read_j()
    return None if after_j is None else after_j - before_j


@dataclass
class Clock:
    """A clock that only moves when told."""

    now_s: float = 100.0

    def __call__(self) -> float:
        return self.now_s


@dataclass
class MadeUpCounter:
    """A counter that a test turns by hand."""

    total_j: float | None = 5.0
    source: str = "made up"
    reason: str | None = None

    def read_j(self) -> float | None:
        return self.total_j


def rounds_of(counter: MadeUpCounter, clock: Clock, seconds: float, power_w: float) -> Callable[[], None]:
    """A round of this length, drawing this power."""

    def run_round() -> None:
        clock.now_s += seconds
        assert counter.total_j is not None
        counter.total_j += seconds * power_w

    return run_round


def test_packages_and_their_memory_are_summed(tmp_path: Path) -> None:
    sockets = [add_zone(tmp_path, f"intel-rapl:{i}", f"package-{i}") for i in (0, 1)]
    memory = add_zone(tmp_path, "intel-rapl:0:1", "dram")
    counter = find_counter("cpu", tmp_path)

    def draw() -> None:
        for path, energy_uj in zip([*sockets, memory], (1_000_000, 20_000_000, 300_000_000), strict=True):
            path.write_text(str(energy_uj))

    assert gained_j(counter, draw) == pytest.approx(321.0)
    assert counter.source == "powercap package-0+dram+package-1"


@pytest.mark.parametrize(
    ("zone", "name"), [("intel-rapl:1", "psys"), ("intel-rapl:0:0", "core"), ("intel-rapl-mmio:0", "package-0")]
)
def test_zones_that_overlap_the_package_are_not_added_to_it(tmp_path: Path, zone: str, name: str) -> None:
    add_zone(tmp_path, "intel-rapl:0", "package-0")
    overlapping = add_zone(tmp_path, zone, name)
    counter = find_counter("cpu", tmp_path)
    assert gained_j(counter, lambda: overlapping.write_text("7000000")) == 0.0


def test_a_subzone_listed_at_the_root_and_under_its_parent_counts_once(tmp_path: Path) -> None:
    add_zone(tmp_path, "intel-rapl:0", "package-0")
    memory = add_zone(tmp_path, "intel-rapl:0/intel-rapl:0:1", "dram")
    (tmp_path / "intel-rapl:0:1").symlink_to(memory.parent)
    counter = find_counter("cpu", tmp_path)
    assert gained_j(counter, lambda: memory.write_text("2000000")) == pytest.approx(2.0)


def test_a_counter_that_wraps_around_goes_on_counting(tmp_path: Path) -> None:
    package = add_zone(tmp_path, "intel-rapl:0", "package-0", energy_uj=RANGE_UJ - 3_000_000)
    counter = find_counter("cpu", tmp_path)
    assert gained_j(counter, lambda: package.write_text("2000000")) == pytest.approx(5.0)


def test_a_counter_that_steps_back_is_no_wrap_and_stays_distrusted(tmp_path: Path) -> None:
    package = add_zone(tmp_path, "intel-rapl:0", "package-0", energy_uj=400_000_000)
    counter = find_counter("cpu", tmp_path)
    assert gained_j(counter, lambda: package.write_text("399000000")) is None
    assert "backwards" in (counter.reason or "")
    package.write_text("500000000")
    assert counter.read_j() is None


def test_a_counter_for_root_only_says_how_to_open_it(tmp_path: Path) -> None:
    add_zone(tmp_path, "intel-rapl:0", "package-0")

    def read_text(path: Path) -> str:
        if path.name == "energy_uj":
            raise PermissionError(13, "Permission denied")
        return path.read_text()

    counter = find_powercap(tmp_path, read_text)
    assert counter.read_j() is None
    assert "sudo chmod" in (counter.reason or "")


def test_a_machine_without_counters_says_what_to_do(tmp_path: Path) -> None:
    for root in (tmp_path, tmp_path / "absent"):
        counter = find_counter("cpu", root)
        assert counter.read_j() is None
        assert "physical machine" in (counter.reason or "")


def test_psys_alone_does_not_pass_for_the_processor(tmp_path: Path) -> None:
    add_zone(tmp_path, "intel-rapl:0", "psys")
    assert isinstance(find_counter("cpu", tmp_path), Unavailable)


def test_a_counter_that_holds_no_number_is_unavailable(tmp_path: Path) -> None:
    add_zone(tmp_path, "intel-rapl:0", "package-0").write_text("")
    assert isinstance(find_counter("cpu", tmp_path), Unavailable)


@pytest.mark.parametrize(("power_w", "accepted"), [(0.0, False), (0.001, False), (65.0, True), (1e7, False)])
def test_a_probe_accepts_a_plausible_power_only(power_w: float, accepted: bool) -> None:
    clock = Clock()
    counter = MadeUpCounter()
    probed = probe(counter, rounds_of(counter, clock, 0.1, power_w), clock=clock)
    assert (probed is counter) == accepted
    assert bool(probed.reason) != accepted


def test_rounds_repeat_until_the_window_is_long_enough() -> None:
    clock = Clock()
    counter = MadeUpCounter()
    energy = measure_energy(counter, rounds_of(counter, clock, 0.3, power_w=50.0), min_window_s=1.0, clock=clock)
    assert energy.status == "ok"
    assert energy.rounds == 4
    assert energy.window_s == pytest.approx(1.2)
    assert energy.joules_per_round == pytest.approx(15.0)
    assert energy.source == "made up"


def test_a_long_round_runs_once() -> None:
    clock = Clock()
    counter = MadeUpCounter()
    assert measure_energy(counter, rounds_of(counter, clock, 30.0, 50.0), clock=clock).rounds == 1


def test_without_a_counter_no_round_is_spent() -> None:
    energy = measure_energy(Unavailable("nothing here: look elsewhere"), lambda: pytest.fail("a round was run"))
    assert energy.status == "unavailable"
    assert energy.reason == "nothing here: look elsewhere"
    assert energy.joules_per_round is None


@pytest.mark.parametrize(("total_j", "words"), [(5.0, "did not advance"), (4.0, "backwards"), (None, "stopped")])
def test_a_counter_that_fails_during_the_window_gives_no_number(total_j: float | None, words: str) -> None:
    clock = Clock()
    counter = MadeUpCounter()

    def run_round() -> None:
        clock.now_s += 2.0
        counter.total_j = total_j

    energy = measure_energy(counter, run_round, clock=clock)
    assert energy.joules_per_round is None
    assert words in (energy.reason or "")


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
    ("visible", "expected_j"),
    [({}, 1.5), ({"CUDA_VISIBLE_DEVICES": "1,0"}, 9.0), ({"CUDA_VISIBLE_DEVICES": "GPU-1"}, 9.0)],
)
def test_nvml_reads_joules_of_the_first_visible_board(visible: dict[str, str], expected_j: float) -> None:
    counter = find_nvml(lambda: MadeUpNvml([1500.0, 9000.0]), visible)
    assert counter.read_j() == pytest.approx(expected_j)


@pytest.mark.parametrize("hidden", ["", "-1"])
def test_a_hidden_gpu_is_not_read(hidden: str) -> None:
    assert isinstance(find_nvml(lambda: MadeUpNvml([1500.0]), {"CUDA_VISIBLE_DEVICES": hidden}), Unavailable)


def test_each_absence_of_nvml_ends_in_its_own_advice() -> None:
    def not_installed() -> object:
        raise ImportError

    assert "pip install nvidia-ml-py" in (find_nvml(not_installed).reason or "")
    assert "driver" in (find_nvml(lambda: MadeUpNvml([]), {}).reason or "")
    assert "Volta" in (find_nvml(lambda: MadeUpNvml([None]), {}).reason or "")


def test_the_real_nvml_gives_joules_or_a_reason() -> None:
    counter = find_counter("cuda")
    assert (counter.read_j() is None) == bool(counter.reason)
