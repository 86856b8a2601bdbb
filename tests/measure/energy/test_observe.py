"""Joules of a phase of known power, from a counter of known coarseness, on a clock that only moves when told."""

from collections.abc import Callable
from math import hypot

import numpy as np
import pytest
from simulated import SimulatedMachine

from scalemark.measure.clock import Round
from scalemark.measure.energy import Cadence, Probed, Unavailable, measure_energy, measure_idle
from scalemark.measure.energy.observe import CELL_S, COARSE_CELL_S, EDGE_SHARE, plan_windows
from scalemark.measure.phases import nothing
from scalemark.schema import Energy, Estimate


def probed(machine: SimulatedMachine) -> Probed:
    return Probed(machine, Cadence(machine.period_s, machine.quantum_j))


def measure(machine: SimulatedMachine, timed: Callable[[], None], prepare: Callable[[], None] = nothing) -> Energy:
    return measure_energy(probed(machine), Round(prepare, timed), "cpu", clock=machine.clock)


def joules(energy: Energy) -> Estimate:
    assert energy.joules_per_round is not None, energy.reason
    return energy.joules_per_round


# Direct


def test_a_phase_without_preparation_is_measured_directly() -> None:
    machine = SimulatedMachine()
    energy = measure(machine, machine.working(0.01, 50.0))
    assert energy.method == "direct"
    assert joules(energy).value == pytest.approx(0.5, rel=0.01)
    assert joules(energy).low < 0.5 < joules(energy).high


def test_a_reading_says_how_it_came_about() -> None:
    machine = SimulatedMachine(period_s=0.002, quantum_j=0.001)
    energy = measure(machine, machine.working(0.03, 50.0))
    assert (energy.status, energy.source, energy.domain) == ("ok", "made up", "simulated package")
    assert (energy.update_period_s, energy.quantum_j) == (0.002, 0.001)
    assert energy.window_s == pytest.approx(0.42)
    assert energy.rounds == 14
    assert energy.fake


def test_short_rounds_are_repeated_until_the_window_is_long_enough() -> None:
    machine = SimulatedMachine()
    energy = measure(machine, machine.working(1e-4, 50.0))
    assert energy.window_s == pytest.approx(CELL_S / 3, rel=0.01)
    assert joules(energy).value == pytest.approx(0.005, rel=0.01)


def test_a_round_longer_than_all_windows_runs_once_after_its_warm_up() -> None:
    machine = SimulatedMachine()
    energy = measure(machine, machine.working(30.0, 50.0))
    assert energy.rounds == 1
    assert machine.now_s == pytest.approx(100.0 + 2 * 30.0, abs=0.1)


def test_a_preparation_that_is_no_work_takes_no_windows_of_its_own() -> None:
    machine = SimulatedMachine()
    energy = measure(machine, machine.working(0.01, 50.0), prepare=machine.working(2e-6, 50.0))
    assert energy.method == "direct"


def test_a_preparation_that_works_only_after_a_round_is_counted_in() -> None:
    """As dropping the graph before a forward pass: alone, there is nothing to drop, so it cannot be taken off."""
    machine = SimulatedMachine()
    graphs: list[int] = [1]

    def drop_graph() -> None:
        machine.draw(0.001 * len(graphs), 50.0)
        graphs.clear()

    def forward() -> None:
        machine.draw(0.01, 50.0)
        graphs.append(1)

    energy = measure(machine, forward, prepare=drop_graph)
    assert energy.method == "direct"
    assert joules(energy).value == pytest.approx(0.55, rel=0.01)


# Windows


@pytest.mark.parametrize("kinds", [1, 2])
@pytest.mark.parametrize("update_period_s", [0.0005, 0.001, 0.0019])
def test_a_fine_counter_gets_several_windows_whose_edges_are_small(update_period_s: float, kinds: int) -> None:
    count, seconds = plan_windows(update_period_s, kinds)
    assert count == 3
    assert count * seconds * kinds == pytest.approx(CELL_S)
    assert 2 * update_period_s / seconds <= EDGE_SHARE * (1 + 1e-9)


def test_a_coarser_counter_gets_one_window_that_is_long_enough() -> None:
    count, seconds = plan_windows(0.015, 1)
    assert (count, 2 * 0.015 / seconds) == (1, pytest.approx(EDGE_SHARE))


@pytest.mark.parametrize("kinds", [1, 2])
def test_the_coarsest_counter_gets_no_more_than_the_longest_time(kinds: int) -> None:
    assert plan_windows(0.1, kinds) == (1, COARSE_CELL_S / kinds)


# The interval


def test_the_interval_of_one_window_is_an_updates_energy_and_a_quantum() -> None:
    machine = SimulatedMachine(period_s=0.1, quantum_j=2.0)
    energy = measure(machine, machine.working(0.1, 50.0))
    assert energy.rounds is not None
    half_j = (0.1 * joules(energy).value * energy.rounds / (energy.window_s or 0) + 2.0) / energy.rounds
    assert joules(energy).high - joules(energy).value == pytest.approx(half_j)


def test_windows_that_differ_widen_the_interval() -> None:
    steady, drifting = SimulatedMachine(), SimulatedMachine()

    def heat_up() -> None:
        drifting.draw(0.01, 50.0 + 20.0 * (drifting.now_s - 100.0))

    ratio = joules(measure(drifting, heat_up)).relative_half_width
    assert ratio > 10 * joules(measure(steady, steady.working(0.01, 50.0))).relative_half_width


def test_intervals_hold_as_often_as_they_say() -> None:
    """Uneven rounds, random phases of the counter: nine of ten intervals hold the truth, by simulation."""
    rng = np.random.default_rng(0)
    held = []
    for _ in range(100):
        machine = SimulatedMachine(period_s=rng.choice([0.001, 0.02, 0.1]), now_s=100 + rng.random())
        powers_w = iter(rng.normal(60.0, 3.0, size=100_000))
        energy = measure(machine, lambda m=machine, p=powers_w: m.draw(0.02, next(p)), machine.working(0.01, 40.0))
        held.append(joules(energy).low <= 1.2 <= joules(energy).high)
    assert sum(held) >= 90


# By subtraction


@pytest.mark.parametrize("period_s", [0.001, 0.02])
def test_the_preparation_is_taken_off(period_s: float) -> None:
    machine = SimulatedMachine(period_s=period_s)
    energy = measure(machine, machine.working(0.01, 40.0), prepare=machine.working(0.005, 100.0))
    assert energy.method == "by subtraction"
    assert joules(energy).low <= 0.4 <= joules(energy).high
    assert joules(energy).value == pytest.approx(0.4, rel=0.02 if period_s == 0.001 else 0.1)


def test_the_errors_of_both_windows_are_in_the_difference() -> None:
    machine = SimulatedMachine(period_s=0.1)
    difference = joules(measure(machine, machine.working(0.01, 40.0), prepare=machine.working(0.01, 40.0)))
    whole_half_j, alone_half_j = 40.0 * 0.1 / 50, 40.0 * 0.1 / 100  # one second of 20 ms rounds, one of 10 ms
    assert difference.high - difference.value == pytest.approx(hypot(whole_half_j, alone_half_j), rel=0.1)


def test_windows_with_and_without_the_phase_alternate() -> None:
    machine = SimulatedMachine()
    ran: list[str] = []

    def run(name: str) -> None:
        ran.append(name)
        machine.draw(0.11, 50.0)

    measure(machine, lambda: run("timed"), prepare=lambda: run("prepared"))
    pilot = ["prepared", "prepared", "timed"]
    assert ran == [*pilot, *["prepared", "timed", "prepared", "prepared"] * 3]


def test_a_phase_smaller_than_the_noise_of_its_preparation_gets_no_number() -> None:
    machine = SimulatedMachine()
    powers_w = iter(np.linspace(100.0, 120.0, 100_000))
    energy = measure(machine, machine.working(1e-4, 0.0), prepare=lambda: machine.draw(0.1, next(powers_w)))
    assert energy.status == "unavailable"
    assert "lost in its preparation" in (energy.reason or "")


def test_no_joules_are_negative() -> None:
    machine = SimulatedMachine(period_s=0.1)
    assert joules(measure(machine, machine.working(0.0004, 50.0), prepare=machine.working(0.03, 50.0))).low == 0.0


# Idle


def test_idle_power_is_that_of_a_machine_at_rest() -> None:
    machine = SimulatedMachine(idle_w=12.0)
    idle_w = measure_idle(probed(machine), 1.0, machine.sleep, machine.clock)
    assert idle_w is not None
    assert idle_w.low <= 12.0 <= idle_w.high
    assert idle_w.value == pytest.approx(12.0, rel=0.01)


def test_idle_power_is_reported_apart_and_not_taken_off() -> None:
    machine = SimulatedMachine()
    idle_w = Estimate(value=12.0, low=11.0, high=13.0)
    one = Round(nothing, machine.working(0.01, 50.0))
    energy = measure_energy(probed(machine), one, "cpu", idle_w, machine.clock)
    assert energy.idle_w == idle_w
    assert joules(energy).value == pytest.approx(0.5, rel=0.01)


def test_idle_power_is_unknown_where_the_counter_stands_still() -> None:
    machine = SimulatedMachine(distorted=lambda _: 0.0)
    assert measure_idle(probed(machine), 1.0, machine.sleep, machine.clock) is None
    assert measure_idle(Unavailable("nothing here: look elsewhere")) is None


# No number


def test_without_a_counter_no_round_is_spent() -> None:
    one = Round(nothing, lambda: pytest.fail("a round was run"))
    energy = measure_energy(Unavailable("nothing here: look elsewhere"), one, "cpu")
    assert (energy.status, energy.reason) == ("unavailable", "nothing here: look elsewhere")
    assert energy.joules_per_round is None


@pytest.mark.parametrize(
    ("distorted", "words"),
    [
        (lambda joules: 5.0, "did not advance"),
        (lambda joules: -joules, "backwards"),
        (lambda joules: None, "cannot be read"),
        (lambda joules: 1e6 * joules, "claims"),
    ],
)
def test_a_counter_that_fails_while_measuring_gives_no_number(
    distorted: Callable[[float], float | None], words: str
) -> None:
    machine = SimulatedMachine(distorted=distorted)
    energy = measure(machine, machine.working(0.1, 50.0))
    assert energy.joules_per_round is None
    assert words in (energy.reason or "")
    assert (energy.source, energy.fake) == ("made up", True)
