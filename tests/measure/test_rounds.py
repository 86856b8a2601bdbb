"""Rounds whose times the test decides: a clock that is driven, so nothing depends on this machine."""

import random
from collections.abc import Iterator

import pytest

from scalemark.measure import rounds as rounds_module
from scalemark.measure.clock import Round, Timed
from scalemark.measure.rounds import Limits, is_steady, sample, tags, warm_up
from scalemark.measure.watch import Look, Usage

NOTHING = Round(lambda: None, lambda: None)


class FakeClock:
    """Rounds take what `seconds` yields; time passes with them and with nothing else."""

    def __init__(self, seconds: Iterator[float], switches: int = 0) -> None:
        self.now_s = 0.0
        self._seconds, self._switches = seconds, switches

    def perf_counter(self) -> float:
        return self.now_s

    def time_round(self, one: Round, device: str) -> Timed:
        one.prepare()
        one.timed()
        second = next(self._seconds)
        self.now_s += second
        return Timed(second, Usage(2 * second, self._switches))


class FakeReferences:
    def gemm_s(self) -> float:
        return 0.001

    def exchange_s(self) -> float:
        return 0.0005

    def triad_s(self) -> float:
        return 0.002


class FakeWatch:
    """Each look shows what the list says was stolen since the last one."""

    def __init__(self, *stolen_s: float) -> None:
        self._stolen_s, self._total_s = iter(stolen_s), 0.0

    def look(self) -> Look:
        self._total_s += next(self._stolen_s, 0.0)
        return Look(steal_s=self._total_s, pressure_s=0.0, throttled=None)


def constant(second: float) -> Iterator[float]:
    while True:
        yield second


def then(*parts: tuple[int, float], forever: float) -> Iterator[float]:
    for count, second in parts:
        yield from [second] * count
    yield from constant(forever)


@pytest.fixture
def drive(monkeypatch):
    def start(seconds: Iterator[float], switches: int = 0) -> FakeClock:
        clock = FakeClock(seconds, switches)
        monkeypatch.setattr(rounds_module, "time", clock)
        monkeypatch.setattr(rounds_module, "time_round", clock.time_round)
        return clock

    return start


def sampled(limits: Limits, watch: FakeWatch | None = None):
    return sample(NOTHING, "cpu", limits, FakeReferences(), watch or FakeWatch())


def test_warming_up_goes_on_until_the_newest_rounds_agree(drive):
    drive(then((1, 0.5), (8, 0.02), forever=0.01))
    seconds = warm_up(NOTHING, "cpu", budget_s=10.0)
    assert seconds[0] == 0.5
    assert seconds[-6:] == (0.01,) * 6 or seconds[-6:] == (0.02,) * 6


def test_warming_up_ends_with_its_share_of_the_budget_however_unsteady(drive):
    falling = iter([1.0 / (index + 1) for index in range(1000)])
    clock = drive(falling)
    warm_up(NOTHING, "cpu", budget_s=4.0)
    assert clock.now_s < 2.5


def test_a_long_cell_warms_up_for_one_round(drive):
    drive(constant(2.0))
    assert warm_up(NOTHING, "cpu", budget_s=4.0) == (2.0,)


def test_rounds_stop_when_they_are_precise(drive):
    drive(constant(0.01))
    found = sampled(Limits(budget_s=100.0, at_least=2, at_most=1000))
    assert 16 <= len(found.rounds_s) < 60, "identical rounds are as precise as can be after the fewest that tell"
    assert found.steady


def test_rounds_stop_at_the_budget_where_they_never_become_precise(drive):
    jitter = random.Random(0)
    drive(iter([jitter.uniform(0.01, 0.05) for _ in range(5000)]))
    found = sampled(Limits(budget_s=2.0, at_least=2, at_most=10_000))
    assert 1.9 <= sum(found.rounds_s) <= 2.5


def test_a_spent_budget_still_gives_the_fewest_rounds(drive):
    drive(constant(3.0))
    assert len(sampled(Limits(budget_s=0.0, at_least=2, at_most=100)).rounds_s) == 2


def test_rounds_that_keep_drifting_are_kept_and_not_steady(drive):
    rising = iter([0.5 * 1.05**index for index in range(400)])
    found = sampled(Limits(budget_s=6.0, at_least=2, at_most=100)) if drive(rising) else None
    assert found is not None
    assert found.steady is False
    assert len(found.rounds_s) >= 2


def test_of_two_rounds_one_is_always_the_slower():
    assert is_steady([9.0], [1.0, 1.2]) is None
    assert is_steady([9.0], [1.0, 1.01, 1.0, 1.0]) is True
    assert is_steady([9.0], [1.0, 1.0, 1.2, 1.2]) is False


def test_short_rounds_share_a_turn_and_long_ones_have_one_each(drive):
    drive(constant(0.01))
    short = sampled(Limits(budget_s=0.5, at_least=2, at_most=100)).conditions
    assert all(length > 1 for length in short.turn_lengths[:-1])
    drive(constant(1.0))
    long = sampled(Limits(budget_s=3.0, at_least=2, at_most=100)).conditions
    assert set(long.turn_lengths) == {1}


def test_every_round_and_turn_has_its_conditions(drive):
    drive(constant(0.02))
    found = sampled(Limits(budget_s=1.0, at_least=2, at_most=30))
    conditions = found.conditions
    assert sum(conditions.turn_lengths) == len(found.rounds_s)
    assert (
        len(conditions.gemm_s) == len(conditions.exchange_s) == len(conditions.steal_s) == len(conditions.turn_lengths)
    )
    assert len(conditions.cpu_s) == len(conditions.switches) == len(found.rounds_s)
    assert conditions.triad_s == (0.002, 0.002)
    assert conditions.throttled is None, "unknown is not zero"
    assert conditions.host_s is None, "there is no device to wait for on CPU"


def test_rounds_that_met_steal_are_tagged_and_kept(drive):
    drive(constant(1.0))
    stolen_in_the_second_turn = FakeWatch(0.0, 0.0, 0.0, 0.5)
    found = sampled(Limits(budget_s=3.0, at_least=3, at_most=3), stolen_in_the_second_turn)
    assert len(found.rounds_s) == 3
    assert found.conditions.tagged == {"stolen": (1,)}


def test_a_round_that_lost_its_cpu_more_often_than_a_timer_explains_is_tagged(drive):
    drive(constant(0.01), switches=50)
    found = sampled(Limits(budget_s=0.0, at_least=2, at_most=2))
    assert found.conditions.tagged == {"preempted": (0, 1)}


def test_an_undisturbed_visit_has_no_tags(drive):
    drive(constant(0.01))
    assert sampled(Limits(budget_s=0.2, at_least=2, at_most=100)).conditions.tagged == {}
    assert tags([]) == {}
