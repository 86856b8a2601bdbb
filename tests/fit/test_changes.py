"""Marks come where a level changed, and seldom where none did: checked by simulation with known truth."""

import numpy as np
import pytest

from scalemark.fit.changes import FALSE_ALARMS, SIDE, Change, find_changes, permuted_threshold
from scalemark.fit.solver import Array

SUITES, NOISE, STEP = 100, 0.03, np.log(1.1)
NOISES = {
    "normal": lambda rng, shape: rng.standard_normal(shape),
    "heavy tails": lambda rng, shape: rng.standard_t(3, shape) / np.sqrt(3),
    "one-sided": lambda rng, shape: rng.exponential(1.0, shape) - 1,
}


def history(rng: np.random.Generator, noise: str = "normal", n_series: int = 8, n: int = SUITES) -> Array:
    """Log times of suites whose luck is half their own and half that of each step."""
    draw = NOISES[noise]
    shared, own = draw(rng, (1, n)), draw(rng, (n_series, n))
    return NOISE * (np.sqrt(0.5) * shared + np.sqrt(0.5) * own)


def indices(changes: tuple[Change, ...]) -> list[int]:
    return [change.index for change in changes]


@pytest.mark.parametrize("noise", NOISES)
def test_at_most_one_history_in_twenty_without_a_change_is_marked(noise: str) -> None:
    """Sixty short histories: with 5 % false alarms, 8 marked ones or more have a chance of 1.3 %."""
    rng = np.random.default_rng(1)
    marked = sum(bool(find_changes(history(rng, noise, 4, 40), seed=number)) for number in range(60))
    assert marked <= 7


@pytest.mark.parametrize("noise", NOISES)
def test_a_step_of_a_tenth_is_found_where_it_is(noise: str) -> None:
    """In 3 % noise; 19 of 20 is what is promised."""
    rng, found = np.random.default_rng(2), 0
    for number in range(20):
        series, at = history(rng, noise), int(rng.integers(10, SUITES - 10))
        series[:, at:] += STEP
        found += any(abs(index - at) <= 2 for index in indices(find_changes(series, seed=number)))
    assert found >= 19


def test_a_change_that_was_taken_back_is_two_changes() -> None:
    series = history(np.random.default_rng(3))
    series[:, 45:60] += STEP
    assert indices(find_changes(series)) == pytest.approx([45, 60], abs=2)


def test_many_changes_are_all_found() -> None:
    series = history(np.random.default_rng(4), n=300)
    truth = [40, 90, 150, 200, 260]
    for number, at in enumerate(truth):
        series[:, at:] += STEP * (-1) ** number * (1 + number % 2)
    assert indices(find_changes(series)) == pytest.approx(truth, abs=2)


def test_only_the_series_that_moved_are_named_with_how_far() -> None:
    series = history(np.random.default_rng(5))
    series[2, 50:] += STEP
    (change,) = find_changes(series)
    (moved,) = change.moved
    assert moved.series == 2
    assert moved.ratio.low < 1.1 < moved.ratio.high
    assert moved.ratio.high - moved.ratio.low < 0.04


def test_intervals_of_a_ratio_hold_the_truth_as_often_as_they_say() -> None:
    rng, held = np.random.default_rng(6), 0
    for number in range(60):
        series = history(rng, n_series=1, n=60)
        series[:, 30:] += STEP
        ratios = [moved.ratio for change in find_changes(series, seed=number) for moved in change.moved]
        held += any(ratio.low <= 1.1 <= ratio.high for ratio in ratios)
    assert 48 <= held <= 59  # 90 % of 60, three standard errors each way


def test_a_change_shows_as_soon_as_there_are_three_suites_after_it() -> None:
    series = history(np.random.default_rng(7))
    series[:, -SIDE:] += 2 * STEP
    assert indices(find_changes(series)) == [SUITES - SIDE]


def test_one_suite_that_is_off_is_no_change() -> None:
    series = history(np.random.default_rng(8))
    series[:, 50] += 1.0
    assert find_changes(series) == ()


def test_missing_suites_do_not_hide_or_move_a_change() -> None:
    rng = np.random.default_rng(9)
    series = history(rng)
    series[:, 50:] += STEP
    series[rng.random(series.shape) < 0.3] = np.nan
    series[:, 20] = np.nan
    (change,) = find_changes(series)
    assert change.index == pytest.approx(50, abs=2)


def test_a_series_of_exact_counters_is_marked_wherever_it_changes() -> None:
    exact = np.log([[8.0] * 4 + [9.0] + [8.0] * 5])
    exact[0, 2] = np.nan
    changes = find_changes(exact, exact=[True])
    assert indices(changes) == [4, 5]
    assert changes[0].moved[0].ratio.value == pytest.approx(9 / 8)


def test_an_exact_change_gives_the_place_of_the_noisy_one_beside_it() -> None:
    series = history(np.random.default_rng(10), n_series=3)
    series[:2, 50:] += STEP
    series[2] = np.log(8.0)
    series[2, 50:] = np.log(9.0)
    (change,) = find_changes(series, exact=[False, False, True])
    assert sorted(moved.series for moved in change.moved) == [0, 1, 2]


def test_values_that_never_vary_have_no_change_in_them() -> None:
    assert find_changes(np.full((2, 50), np.log(0.1))) == ()


@pytest.mark.parametrize("n", [0, 1, 2 * SIDE - 1])
def test_a_history_too_short_for_two_levels_has_no_mark(n: int) -> None:
    assert find_changes(np.zeros((2, n))) == ()


def test_a_small_history_shows_what_is_plain_to_see() -> None:
    """Twelve suites in which all steps became a tenth slower half-way."""
    rng = np.random.default_rng(11)
    found = 0
    for number in range(20):
        series = history(rng, n=12)
        series[:, 6:] += STEP
        found += indices(find_changes(series, seed=number)) in ([5], [6], [7])
    assert found >= 17


def test_the_threshold_rises_with_what_is_looked_at() -> None:
    rng = np.random.default_rng(12)
    thresholds = [permuted_threshold(rng.standard_normal((rows, 60)), FALSE_ALARMS, 0) for rows in (1, 10, 100)]
    assert thresholds == sorted(thresholds)
    assert 2.5 < thresholds[0] < 4 < thresholds[-1] < 6


def test_the_same_history_has_the_same_marks() -> None:
    series = history(np.random.default_rng(13))
    series[:, 30:] += STEP / 3
    assert find_changes(series, seed=1) == find_changes(series, seed=1)


def test_a_long_history_takes_no_longer_for_each_suite() -> None:
    """The permutations are fewer where they are longer."""
    series = history(np.random.default_rng(14), n_series=2, n=3000)
    series[:, 1500:] += STEP
    assert indices(find_changes(series)) == pytest.approx([1500], abs=2)
