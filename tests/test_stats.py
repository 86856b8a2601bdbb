"""Intervals that hold, and a control variate that never hurts: claims tested by simulation with a fixed seed."""

import numpy as np
import pytest

from scalemark.stats import (
    coefficient_errors,
    control_coefficients,
    halves_agree,
    mean_difference,
    median_over_blocks,
    paired_ratio,
    percentile_interval,
    relative_half_width,
)


def simulated_blocks(rng: np.random.Generator, n_blocks: int, between: float, within: float, rounds: int = 20):
    """Blocks of one truth, 1.0: each process has its own luck, its rounds share a slow drift, and jitter on top."""
    luck = between * rng.standard_normal((n_blocks, 1))
    drift = within * np.cumsum(rng.standard_normal((n_blocks, rounds)), axis=1) / np.sqrt(rounds)
    drift -= drift.mean(axis=1, keepdims=True)
    return np.exp(luck + drift + within * rng.standard_normal((n_blocks, rounds)))


def coverage(n_blocks: int, between: float, within: float, trials: int = 400) -> float:
    rng = np.random.default_rng(7)
    found = [median_over_blocks(simulated_blocks(rng, n_blocks, between, within), seed=i) for i in range(trials)]
    return float(np.mean([one.low <= 1.0 <= one.high for one in found]))


@pytest.mark.parametrize(("n_blocks", "between", "within"), [(3, 0.03, 0.01), (3, 0.03, 0.05), (5, 0.03, 0.01)])
def test_a_90_percent_interval_over_few_blocks_holds_the_truth_at_least_88_percent_of_the_time(
    n_blocks, between, within
):
    assert 0.88 <= coverage(n_blocks, between, within) <= 0.98


def test_resampling_single_rounds_of_one_block_would_not_hold():
    """The claim above needs the between-block part: without it the interval misses most of the time."""
    rng = np.random.default_rng(7)
    held = 0
    for i in range(200):
        blocks = simulated_blocks(rng, 3, 0.03, 0.01)
        pooled = median_over_blocks([blocks.ravel()], seed=i)
        held += pooled.low <= 1.0 <= pooled.high
    assert held / 200 < 0.7


def test_the_value_is_the_median_of_the_medians_and_lies_inside():
    found = median_over_blocks([[1.0, 1.0, 9.0], [2.0, 2.0, 2.0], [3.0, 0.5, 3.0]])
    assert found.value == 2.0
    assert found.low < 2.0 < found.high


def test_the_same_samples_and_seed_give_the_same_interval():
    blocks = simulated_blocks(np.random.default_rng(0), 3, 0.05, 0.02)
    assert median_over_blocks(blocks, seed=3) == median_over_blocks(blocks, seed=3)


def test_a_block_without_samples_is_left_out():
    assert median_over_blocks([[], [2.0, 2.0]]).value == 2.0


def test_one_sample_is_its_own_interval():
    found = median_over_blocks([[0.25]])
    assert (found.low, found.value, found.high) == pytest.approx((0.25, 0.25, 0.25))


def test_a_percentile_interval_is_widened_to_hold_the_value_that_all_draws_miss():
    found = percentile_interval([2.0, 2.1, 2.2], 1.0)
    assert (found.low, found.value) == (1.0, 1.0)


def test_precision_of_few_samples_cannot_be_told():
    assert relative_half_width([1.0] * 15) == float("inf")
    assert relative_half_width([1.0] * 16) == 0.0


def test_drifting_samples_are_less_precise_than_as_many_independent_ones():
    rng = np.random.default_rng(1)
    independent = np.exp(0.02 * rng.standard_normal(100))
    drifting = np.exp(0.02 * np.cumsum(rng.standard_normal(100)) / 5)
    assert relative_half_width(drifting) > 2 * relative_half_width(independent)


def test_halves_are_compared_by_their_medians():
    assert halves_agree([1.0, 1.0, 9.0, 1.01, 1.0, 1.02], 0.05)
    assert not halves_agree([1.0, 1.0, 1.0, 1.1, 1.1, 1.1], 0.05)
    assert halves_agree([1.0], 0.0)


def test_the_middle_sample_of_an_odd_number_belongs_to_neither_half():
    assert halves_agree([1.0, 50.0, 1.0], 0.01)


# --- the control variates ---------------------------------------------------------------------------------------------


def follows(rng: np.random.Generator, *coefficients: float, n: int = 60, noise: float = 0.01):
    references = 0.05 * rng.standard_normal((n, len(coefficients)))
    return references @ np.array(coefficients) + noise * rng.standard_normal(n), references, np.ones(n)


@pytest.mark.parametrize("coefficients", [(0.0,), (0.4,), (0.3, 0.9)])
def test_the_coefficients_of_times_that_follow_are_recovered(coefficients):
    rng = np.random.default_rng(2)
    found = [control_coefficients(*follows(rng, *coefficients)) for _ in range(200)]
    assert np.median(found, axis=0) == pytest.approx(coefficients, abs=0.02)


def test_coefficients_stay_between_nothing_and_all():
    x = np.linspace(-1, 1, 20)[:, None]
    assert control_coefficients(3 * x[:, 0], x, np.ones(20)) == pytest.approx(1.0)
    assert control_coefficients(-x[:, 0], x, np.ones(20)) == pytest.approx(0.0)


def test_a_reading_without_weight_says_nothing():
    x = np.array([[0.1], [-0.1], [0.2]])
    y = np.array([0.05, -0.05, 99.0])
    assert control_coefficients(y, x, np.array([1.0, 1.0, 0.0])) == pytest.approx(0.5)


def test_where_the_references_never_moved_the_prior_stands():
    still = np.zeros((5, 2))
    found = control_coefficients(np.ones(5), still, np.ones(5), np.array([0.2, 0.7]), np.array([0.01, 0.01]))
    assert found == pytest.approx([0.2, 0.7])


def test_many_readings_outweigh_the_prior():
    y, x, weights = follows(np.random.default_rng(4), 0.8, n=2000)
    assert control_coefficients(y, x, weights, np.array([0.1]), np.array([0.001])) == pytest.approx(0.8, abs=0.03)


def test_the_standard_error_is_the_spread_of_the_coefficient_over_many_samples():
    rng = np.random.default_rng(5)
    samples = [follows(rng, 0.5, 0.3) for _ in range(300)]
    found = np.array([control_coefficients(*sample) for sample in samples])
    told = np.array([coefficient_errors(*sample, found[i]) for i, sample in enumerate(samples)])
    assert told.mean(axis=0) == pytest.approx(found.std(axis=0), rel=0.15)


def test_a_paired_ratio_is_the_geometric_mean_with_students_interval():
    ratio = paired_ratio([2.0, 4.0, 8.0], [1.0, 1.0, 1.0])
    half = 2.920 * np.log(2) / np.sqrt(3)  # Student's 95 % quantile with two degrees of freedom
    assert ratio.value == pytest.approx(4.0)
    assert np.log([ratio.low, ratio.high]) == pytest.approx([np.log(4) - half, np.log(4) + half], rel=1e-3)


def test_the_inverse_ratio_has_the_inverse_interval():
    over, under = [2.0, 4.5, 8.0], [1.0, 1.1, 0.9]
    one, other = paired_ratio(over, under), paired_ratio(under, over)
    assert (1 / one.high, 1 / one.low) == pytest.approx((other.low, other.high))


def test_one_pair_tells_no_interval():
    assert paired_ratio([2.0], [1.0]) is None
    assert mean_difference([0.1]) is None


def test_90_percent_of_intervals_of_a_mean_difference_hold_it():
    rng = np.random.default_rng(11)
    found = [mean_difference(0.5 + rng.standard_normal(3)) for _ in range(2000)]
    assert np.mean([one.low <= 0.5 <= one.high for one in found]) == pytest.approx(0.9, abs=0.02)
