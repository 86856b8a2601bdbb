"""A counter counts only if it is seen to, and how finely it does is seen too."""

import pytest
from simulated import SimulatedMachine

from scalemark.measure.energy import Probed, Unavailable, probe


def probe_machine(machine: SimulatedMachine, power_w: float = 65.0) -> Probed | Unavailable:
    return probe(machine, machine.working(0.1, power_w), clock=machine.clock)


@pytest.mark.parametrize(("power_w", "words"), [(0.0, "did not advance"), (0.001, "claims"), (1e7, "claims")])
def test_a_power_that_no_machine_has_under_load_is_no_measurement(power_w: float, words: str) -> None:
    machine = SimulatedMachine(idle_w=power_w, quantum_j=1e-6)
    assert words in (probe_machine(machine, power_w).reason or "")


def test_a_counter_that_always_reads_0_as_some_virtual_machines_have_it_is_unavailable() -> None:
    probed = probe_machine(SimulatedMachine(distorted=lambda joules: 0.0))
    assert isinstance(probed, Unavailable)
    assert "did not advance" in probed.reason


def test_a_counter_that_runs_backwards_is_unavailable() -> None:
    assert "backwards" in (probe_machine(SimulatedMachine(distorted=lambda joules: -joules)).reason or "")


@pytest.mark.parametrize("period_s", [0.001, 0.02, 0.1])
def test_the_update_period_is_seen_by_polling(period_s: float) -> None:
    probed = probe_machine(SimulatedMachine(period_s=period_s))
    assert isinstance(probed, Probed)
    assert probed.cadence.update_period_s == pytest.approx(period_s, rel=0.1)


def test_a_quantum_coarser_than_an_updates_energy_is_seen_as_it_is() -> None:
    probed = probe_machine(SimulatedMachine(period_s=0.001, quantum_j=0.5))
    assert isinstance(probed, Probed)
    assert probed.cadence.quantum_j == pytest.approx(0.5)


def test_a_finer_quantum_shows_as_the_difference_between_steps() -> None:
    probed = probe_machine(SimulatedMachine(period_s=0.001, quantum_j=0.0061, idle_w=40.0))  # 0.04 J per update
    assert isinstance(probed, Probed)
    assert probed.cadence.quantum_j == pytest.approx(0.0061)


def test_a_counter_that_moves_once_a_second_is_too_coarse() -> None:
    machine = SimulatedMachine(period_s=1.0)
    probed = probe(machine, machine.working(2.0, 50.0), clock=machine.clock)
    assert "too seldom" in (probed.reason or "")


def test_a_probed_counter_answers_like_the_counter() -> None:
    machine = SimulatedMachine()
    probed = probe_machine(machine)
    assert (probed.source, probed.domain, probed.fake, probed.reason) == ("made up", "simulated package", True, None)
    assert probed.read_j() == pytest.approx(machine.drawn_j, rel=0.01)
