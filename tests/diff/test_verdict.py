"""The rules on literal numbers."""

import numpy as np
import pytest

from scalemark.diff.verdict import judge_counter, judge_loss, judge_ratio, ratio_of, worst
from scalemark.schema import Estimate
from scalemark.stats import median_over_blocks


def ratio(low: float, high: float) -> Estimate:
    return Estimate(value=(low * high) ** 0.5, low=low, high=high)


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [
        (1.11, 1.30, "regressed"),
        (1.09, 1.30, "inconclusive"),
        (0.95, 1.09, "same"),
        (0.90, 1.05, "inconclusive"),
        (0.80, 0.90, "improved"),
        (0.50, 2.00, "inconclusive"),
    ],
)
def test_a_ratio_is_decided_only_by_its_whole_interval(low: float, high: float, verdict: str) -> None:
    assert judge_ratio(ratio(low, high), margin=0.1) == verdict


@pytest.mark.parametrize(("low", "high"), [(1.11, 1.3), (1.09, 1.3), (0.95, 1.05), (0.8, 1.3)])
def test_swapping_the_two_sides_mirrors_the_verdict(low: float, high: float) -> None:
    mirror = {"regressed": "improved", "same": "same", "inconclusive": "inconclusive"}
    assert judge_ratio(ratio(1 / high, 1 / low)) == mirror[judge_ratio(ratio(low, high))]


def test_any_change_of_a_counter_counts() -> None:
    assert judge_counter(10**15, 10**15) == "same"
    assert judge_counter(10**15, 10**15 + 1) == "regressed"
    assert judge_counter(10**15, 10**15 - 1) == "improved"


def test_a_loss_may_differ_by_rounding_and_no_more() -> None:
    assert judge_loss(2.0, 2.0 * (1 + 1e-12)) == "same"
    assert judge_loss(2.0, 2.0 * (1 + 1e-7)) == "regressed"
    assert judge_loss(2.0, 2.0 * (1 - 1e-7)) == "improved"


def test_the_interval_of_a_ratio_agrees_with_sampling() -> None:
    """Two log-normal times, their quotient drawn 200,000 times: the 5th and 95th percentile within 1 %."""
    rng = np.random.default_rng(0)
    new, base = np.exp(0.08 * rng.standard_normal(200_000)) * 3, np.exp(0.05 * rng.standard_normal(200_000)) * 2
    estimates = [
        Estimate(value=centre, low=float(np.quantile(draws, 0.05)), high=float(np.quantile(draws, 0.95)))
        for centre, draws in ((3.0, new), (2.0, base))
    ]
    found = ratio_of(*estimates)
    truth = np.quantile(new / base, [0.05, 0.5, 0.95])
    assert [found.low, found.value, found.high] == pytest.approx(truth, rel=0.01)


def test_each_side_of_a_skewed_interval_pairs_with_the_opposite_one() -> None:
    exact = Estimate(value=2.0, low=2.0, high=2.0)
    skewed = Estimate(value=1.0, low=0.9, high=2.0)
    found = ratio_of(exact, skewed)
    assert (found.low, found.high) == pytest.approx((1.0, 2.0 / 0.9))


def test_levels_are_brought_together() -> None:
    wide = Estimate(value=1.0, low=1 / 1.2, high=1.2, level=0.99)
    exact = Estimate(value=1.0, low=1.0, high=1.0)
    assert np.log(ratio_of(wide, exact).high) == pytest.approx(np.log(1.2) * 1.645 / 2.576, rel=1e-3)


@pytest.mark.parametrize(
    ("verdicts", "whole"),
    [
        (["same", "improved", "regressed", "inconclusive"], "regressed"),
        (["missing", "inconclusive", "improved"], "inconclusive"),
        (["missing", "improved", "same"], "missing"),
        (["same", "new", "improved"], "improved"),
        (["new", "same", "incomparable"], "same"),
        (["incomparable", "new"], "new"),
        (["incomparable"], "incomparable"),
        ([], "incomparable"),
    ],
)
def test_the_whole_is_as_bad_as_its_worst_part(verdicts: list, whole: str) -> None:
    assert worst(verdicts) == whole


def simulated(rng: np.random.Generator, between_blocks: float, slowdown: float = 1.0) -> Estimate:
    """Three blocks of eight rounds with 3 % noise, and luck that belongs to each block."""
    luck = between_blocks * rng.standard_normal((3, 1)) + 0.03 * rng.standard_normal((3, 8))
    return median_over_blocks(list(slowdown * np.exp(luck)), seed=int(rng.integers(2**31)))


def rate_of(verdict: str, between_blocks: float, slowdown: float, pairs: int = 300) -> float:
    rng = np.random.default_rng(0)
    judged = [
        judge_ratio(ratio_of(simulated(rng, between_blocks, slowdown), simulated(rng, between_blocks)))
        for _ in range(pairs)
    ]
    return judged.count(verdict) / pairs


def test_unchanged_code_is_called_a_regression_in_less_than_one_cell_of_a_hundred() -> None:
    """Blocks that differ by 5 %: 1 false alarm in 3000 cells when simulated at length; here at most 3 of 300."""
    assert rate_of("regressed", between_blocks=0.05, slowdown=1.0) <= 0.01


def test_a_slowdown_of_a_third_is_found() -> None:
    """Blocks that differ by 2 %: nearly always found (at least 95 of 100), so the margin does not hide what is real."""
    assert rate_of("regressed", between_blocks=0.02, slowdown=4 / 3, pairs=100) >= 0.95
