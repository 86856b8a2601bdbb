"""Ratios of medians: Welch's interval for logarithms, coverage by simulation, and no quantile counted twice."""

from math import exp, inf, log

import numpy as np
import pytest
from factories import estimate
from scipy.stats import norm, t, ttest_ind

from scalemark.diff.speedup import Median, ratio_of_medians
from scalemark.diff.verdict import ratio_of
from scalemark.schema import Estimate
from scalemark.stats import median_over_blocks


def of_logs(logs: np.ndarray) -> Median:
    """The mean of the logarithms with Student's interval."""
    reach = t.ppf(0.95, len(logs) - 1) * logs.std(ddof=1) / np.sqrt(len(logs))
    centre = logs.mean()
    return Median(Estimate(value=exp(centre), low=exp(centre - reach), high=exp(centre + reach)), len(logs) - 1)


def test_the_interval_is_that_of_welchs_test() -> None:
    rng = np.random.default_rng(0)
    first, other = rng.normal(1.0, 0.3, 3), rng.normal(0.2, 0.1, 5)
    ratio = ratio_of_medians(of_logs(first), of_logs(other))
    truth = ttest_ind(first, other, equal_var=False).confidence_interval(0.9)
    assert (log(ratio.low), log(ratio.high)) == (pytest.approx(truth.low), pytest.approx(truth.high))


def test_of_many_degrees_of_freedom_it_is_the_normal_one() -> None:
    first, other = Median(estimate(2.0, 0.01), inf), Median(estimate(1.0, 0.01), inf)
    ratio = ratio_of_medians(first, other)
    assert log(ratio.high / ratio.value) == pytest.approx(np.sqrt(2) * first.standard_error * norm.ppf(0.95))
    assert first.standard_error == pytest.approx(log(1.01 / 0.99) / 2 / norm.ppf(0.95))


def test_of_few_blocks_it_is_narrower_than_the_ends_of_both_intervals_joined() -> None:
    first, other = estimate(2.0, 0.1), estimate(1.0, 0.1)
    narrow = ratio_of_medians(Median.of_blocks(first, 3), Median.of_blocks(other, 3))
    joined = ratio_of(first, other)
    assert joined.low < narrow.low < 2 < narrow.high < joined.high


@pytest.mark.parametrize(("n_first", "n_other"), [(3, 3), (5, 3)])
def test_ninety_per_cent_intervals_of_a_speedup_hold_nine_times_in_ten(n_first: int, n_other: int) -> None:
    """Processes that differ by 5 %, rounds in them by 2 %; more pairs, and other noise, are in docs/notes.md."""
    rng = np.random.default_rng(0)

    def median(seconds: float, n_blocks: int) -> Median:
        blocks = [
            seconds * np.exp(0.05 * rng.standard_normal() + 0.02 * rng.standard_normal(8)) for _ in range(n_blocks)
        ]
        return Median.of_blocks(median_over_blocks(blocks), n_blocks)

    held = 0
    for _ in range(100):
        ratio = ratio_of_medians(median(0.6, n_first), median(0.1, n_other))
        held += ratio.low <= 6 <= ratio.high
    assert held >= 83
