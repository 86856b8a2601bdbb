"""Where two laws cross: against what is known of straight lines, and open ends where the draws do not tell one."""

import numpy as np
import pytest
from scipy.stats import norm

from scalemark.diff.crossover import crossings, lowest

X = np.linspace(-6.0, 6.0, 241)


def lines(intercepts: np.ndarray, slopes: np.ndarray) -> np.ndarray:
    return intercepts[:, None] + slopes[:, None] * X


def fieller(intercept: float, slope: float, covariance: np.ndarray, level: float = 0.9) -> tuple[float, float]:
    """All x at which the band of intercept + slope·x holds 0 (Fieller 1954); finite where the slope is told."""
    z = norm.ppf((1 + level) / 2)
    a = slope**2 - z**2 * covariance[1, 1]
    b = 2 * (intercept * slope - z**2 * covariance[0, 1])
    c = intercept**2 - z**2 * covariance[0, 0]
    low, high = sorted(np.roots([a, b, c]).real)
    return float(low), float(high)


def test_straight_lines_cross_where_they_do() -> None:
    exact = np.array([-0.8 + 0.5 * X])
    (found,) = crossings(X, exact[0], np.repeat(exact, 50, axis=0))
    assert found.rises
    assert found.at == pytest.approx(1.6, abs=1e-9)
    assert (found.low, found.high) == (pytest.approx(1.6, abs=1e-9), pytest.approx(1.6, abs=1e-9))


def test_the_interval_is_fiellers() -> None:
    covariance = np.array([[0.04, -0.006], [-0.006, 0.01]])
    draws = np.random.default_rng(0).multivariate_normal([-0.5, 0.6], covariance, size=40_000)
    (found,) = crossings(X, -0.5 + 0.6 * X, lines(draws[:, 0], draws[:, 1]))
    low, high = fieller(-0.5, 0.6, covariance)
    assert found.low == pytest.approx(low, abs=0.03)
    assert found.high == pytest.approx(high, abs=0.03)


@pytest.mark.parametrize("sd", [0.05, 0.15])
def test_ninety_per_cent_intervals_hold_the_true_crossing_nine_times_in_ten(sd: float) -> None:
    """Twelve noisy log ratios on a line, its draws by least squares: 1,000 times, to within three standard errors."""
    at, true = np.linspace(-3, 3, 12), 0.4
    design = np.stack([np.ones_like(at), at], axis=1)
    covariance = sd**2 * np.linalg.inv(design.T @ design)
    rng = np.random.default_rng(1)
    held = 0
    for _ in range(1000):
        ratios = 0.5 * (at - true) + sd * rng.standard_normal(len(at))
        intercept, slope = np.linalg.lstsq(design, ratios, rcond=None)[0]
        draws = rng.multivariate_normal([intercept, slope], covariance, size=400)
        (found,) = crossings(X, intercept + slope * X, lines(draws[:, 0], draws[:, 1]))
        held += (found.low or -np.inf) <= true <= (found.high or np.inf)
    assert held / 1000 == pytest.approx(0.9, abs=0.03)


def test_a_draw_without_a_crossing_lies_beyond_the_side_that_its_sign_says() -> None:
    flat_above, flat_below = np.full((20, len(X)), 0.3), np.full((20, len(X)), -0.3)
    crossing = np.repeat((X - 1)[None], 60, axis=0)
    (open_below,) = crossings(X, X - 1, np.concatenate([flat_above, crossing]))
    assert open_below.low is None and open_below.high == pytest.approx(1)
    (open_above,) = crossings(X, X - 1, np.concatenate([flat_below, crossing]))
    assert open_above.high is None and open_above.low == pytest.approx(1)


def test_laws_that_are_one_cross_anywhere() -> None:
    draws = 0.1 * np.random.default_rng(2).standard_normal((500, 1)) + 0 * X
    (found,) = crossings(X, 1e-4 * X, draws)
    assert found.low is None and found.high is None


def test_laws_that_never_meet_have_no_crossing() -> None:
    assert crossings(X, np.full_like(X, 0.2), np.full((10, len(X)), 0.2)) == ()


def test_two_crossings_are_two_each_with_its_own_interval() -> None:
    shifts = np.random.default_rng(3).normal(0, 0.05, size=(400, 1))
    first, second = crossings(X, X**2 - 4, X**2 - 4 + shifts)
    assert (first.rises, second.rises) == (False, True)
    assert first.at == pytest.approx(-2, abs=1e-3) and second.at == pytest.approx(2, abs=1e-3)
    assert first.high is not None and second.low is not None
    assert first.high < -1.95 and second.low > 1.95


def test_the_lowest_of_several_changes_with_x() -> None:
    assert lowest(X, [X, np.full_like(X, -3.01), -X]) == [(0, 0, 59), (1, 60, 180), (2, 181, 240)]
