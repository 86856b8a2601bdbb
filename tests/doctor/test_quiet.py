"""A noisy machine is told from a quiet one by what it does to rounds of the same work."""

import time
from pathlib import Path

import pytest

from scalemark.doctor.quiet import (
    Watched,
    check_clock,
    check_noise,
    check_pressure,
    check_throttling,
    observe,
    watch_rounds,
)
from scalemark.measure.watch import Look
from scalemark.schema import Machine

STEADY = (0.01,) * 100


def watched(rounds_s: tuple[float, ...] = STEADY, **gained: float) -> Watched:
    return Watched(rounds_s, seconds=1.0, n_cpus=2, gained=Look(**gained))


def machine(quota: float | None = None, **state: str | float | None) -> Machine:
    return Machine(id="made-up", identity={"cpu_quota_cores": quota, "affinity_cpus": 2}, state=state)


def test_equal_rounds_do_not_vary() -> None:
    assert check_noise(watched()).status == "ok"
    assert "± 0.0 %" in check_noise(watched()).detail


def test_variation_is_half_the_width_of_nine_rounds_in_ten() -> None:
    rounds_s = tuple(1.0 + 0.2 * step / 100 for step in range(101))
    cold = (9.0,) * 11
    assert watched((*cold, *rounds_s)).variation == pytest.approx(0.09 / 1.1, rel=0.01)


def test_noise_above_five_per_cent_comes_with_advice() -> None:
    check = check_noise(watched((0.01, 0.02) * 50))
    assert check.status == "limited"
    assert check.advice


def test_rounds_are_run_for_as_long_as_asked_and_at_least_ten_times(tmp_path: Path) -> None:
    assert len(observe(lambda: None, 0.0, tmp_path).rounds_s) == 10
    seen = observe(lambda: time.sleep(0.001), 0.05, tmp_path)
    assert seen.seconds >= 0.05
    assert sum(seen.rounds_s) <= seen.seconds


def test_rounds_run_without_torch_too(tmp_path: Path) -> None:
    seen = watch_rounds(None, 1, tmp_path, seconds=0.0)
    assert len(seen.rounds_s) == 10
    assert seen.gained == Look()


def test_watching_leaves_torchs_threads_as_they_were() -> None:
    torch = pytest.importorskip("torch")
    before = torch.get_num_threads()
    watch_rounds(torch, before + 1, seconds=0.0)
    assert torch.get_num_threads() == before


@pytest.mark.parametrize(
    ("gained", "status", "word"),
    [
        ({"steal_s": 0.0, "pressure_s": 0.05}, "ok", "5.0 % of the time"),
        ({"steal_s": 0.1, "pressure_s": 0.05}, "limited", "5.0 % of CPU time stolen"),
        ({"steal_s": 0.0, "pressure_s": 0.75}, "limited", "75.0 % of the time"),
        ({"steal_s": 0.0}, "ok", "psi=1"),
        ({}, "limited", "not reported"),
    ],
)
def test_pressure_is_judged_where_it_is_known(gained: dict[str, float], status: str, word: str) -> None:
    check = check_pressure(watched(**gained))
    assert check.status == status
    assert word in check.detail


@pytest.mark.parametrize(
    ("quota", "throttled", "status"),
    [(None, 0.0, "ok"), (2.0, 0.0, "ok"), (1.5, 0.0, "limited"), (None, 3.0, "limited")],
)
def test_a_quota_below_the_cores_and_heat_are_limits(quota: float | None, throttled: float, status: str) -> None:
    check = check_throttling(machine(quota, temperature_celsius=61.0), watched(throttled=throttled))
    assert check.status == status
    assert "61 °C" in check.detail
    assert (check.advice is not None) == (status == "limited")


@pytest.mark.parametrize(("governor", "status"), [("performance", "ok"), ("powersave", "limited"), (None, "ok")])
def test_a_governor_that_follows_the_load_is_a_limit(governor: str | None, status: str) -> None:
    check = check_clock(machine(clock_mhz=2596.0, clock_governor=governor, clock_boost="on"))
    assert check.status == status
    assert "2.60 GHz" in check.detail
    assert "boost on" in check.detail


def test_an_unknown_clock_is_not_made_up() -> None:
    assert check_clock(machine()).detail == "not told by this system"
