"""Powercap against a made-up tree: files as the kernel lays them out."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from simulated import SimulatedMachine

from scalemark.measure.clock import Round
from scalemark.measure.energy import EnergyCounter, Unavailable, find_counter, measure_energy, probe
from scalemark.measure.energy.powercap import find_powercap
from scalemark.measure.phases import nothing

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


# What is counted


def test_packages_and_their_memory_are_summed(tmp_path: Path) -> None:
    sockets = [add_zone(tmp_path, f"intel-rapl:{i}", f"package-{i}") for i in (0, 1)]
    memory = add_zone(tmp_path, "intel-rapl:0:1", "dram")
    counter = find_counter("cpu", tmp_path)

    def draw() -> None:
        for path, energy_uj in zip([*sockets, memory], (1_000_000, 20_000_000, 300_000_000), strict=True):
            path.write_text(str(energy_uj))

    assert gained_j(counter, draw) == pytest.approx(321.0)


@pytest.mark.parametrize(
    ("zones", "domain"),
    [
        ({"intel-rapl:0": "package-0"}, "package-0"),
        ({"intel-rapl:0": "package-0", "intel-rapl:0:1": "dram", "intel-rapl:1": "psys"}, "package-0 + dram"),
        (
            {"intel-rapl:0": "package-0", "intel-rapl:0:0": "dram"}
            | {"intel-rapl:1": "package-1", "intel-rapl:1:0": "dram"},
            "package-0 + package-1 + 2 × dram",
        ),
    ],
)
def test_the_domain_names_what_is_in_the_sum(tmp_path: Path, zones: dict[str, str], domain: str) -> None:
    for zone, name in zones.items():
        add_zone(tmp_path, zone, name)
    counter = find_counter("cpu", tmp_path)
    assert (counter.source, counter.domain) == ("powercap", domain)


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


# What can go wrong


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


def test_a_counter_that_goes_missing_is_unavailable_from_then_on(tmp_path: Path) -> None:
    package = add_zone(tmp_path, "intel-rapl:0", "package-0")
    counter = find_counter("cpu", tmp_path)
    assert gained_j(counter, package.unlink) is None
    assert "cannot be read" in (counter.reason or "")


# From the tree to the joules


@dataclass(frozen=True)
class LiveTree:
    """Answers for the tree's files, except that its package counts what a simulated machine draws, and wraps around."""

    machine: SimulatedMachine

    def read_text(self, path: Path) -> str:
        if path.name != "energy_uj":
            return path.read_text()
        counted_j = self.machine.read_j()
        assert counted_j is not None
        return str(round(counted_j * 1e6) % RANGE_UJ)


def test_a_live_tree_gives_the_joules_that_were_drawn_across_a_wrap_and_stamps_them_as_fake(tmp_path: Path) -> None:
    add_zone(tmp_path, "intel-rapl:0", "package-0")
    machine = SimulatedMachine(period_s=0.000977, quantum_j=61e-6, drawn_j=RANGE_UJ * 1e-6 - 30)
    machine.draw(0.01, 10.0)
    counter = probe(
        find_powercap(tmp_path, LiveTree(machine).read_text), machine.working(0.1, 60.0), 0.3, machine.clock
    )
    assert not isinstance(counter, Unavailable)
    one = Round(nothing, machine.working(0.02, 60.0))
    energy = measure_energy(counter, one, "cpu", clock=machine.clock)
    assert machine.drawn_j > RANGE_UJ * 1e-6
    assert energy.joules_per_round is not None
    assert energy.joules_per_round.low <= 1.2 <= energy.joules_per_round.high
    assert energy.update_period_s == pytest.approx(0.000977, rel=0.1)
    assert energy.fake
