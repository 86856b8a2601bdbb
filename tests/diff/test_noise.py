"""What reruns say of noise, against simulations of known noise."""

import numpy as np
import pytest
from scipy.special import polygamma

from scalemark.diff.noise import FEWEST_REPEATS, common_variance, mean_over_cells, run_to_run


def reruns(sds: np.ndarray, n: int, seed: int = 0) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    return {str(index): sd * rng.standard_normal(n) for index, sd in enumerate(sds)}


def test_cells_that_are_alike_share_their_variance() -> None:
    found = run_to_run(reruns(np.full(40, 0.05), n=6))
    assert [noise.sd for noise in found.values()] == pytest.approx([0.05] * 40, rel=0.25)


def test_cells_that_differ_keep_their_own() -> None:
    """A tenfold spread of standard deviations: the quiet half stays quiet."""
    sds = np.array([0.01] * 20 + [0.1] * 20)
    found = [noise.sd for noise in run_to_run(reruns(sds, n=10)).values()]
    assert np.median(found[:20]) == pytest.approx(0.01, rel=0.3)
    assert np.median(found[20:]) == pytest.approx(0.1, rel=0.3)


def test_the_common_variance_and_its_weight_are_recovered() -> None:
    """Variances drawn from the model itself: scaled inverse χ² with 8 degrees of freedom about 0.04²."""
    rng = np.random.default_rng(0)
    own = np.full(4000, 9.0)
    true = 0.04**2 * 8 / rng.chisquare(8, 4000)
    common, strength = common_variance(true * rng.chisquare(9, 4000) / 9, own)
    assert np.sqrt(common) == pytest.approx(0.04, rel=0.03)
    assert strength == pytest.approx(8, rel=0.15)


def test_of_two_cells_nothing_is_shared() -> None:
    logs = reruns(np.array([0.01, 0.1]), n=8)
    found = run_to_run(logs)
    assert [one.sd for one in found.values()] == pytest.approx([values.std(ddof=1) for values in logs.values()])


def test_too_few_reruns_tell_no_noise() -> None:
    assert run_to_run(reruns(np.full(5, 0.05), n=FEWEST_REPEATS - 1)) == {}


def test_reruns_that_do_not_differ_at_all_divide_nothing_by_nought() -> None:
    found = run_to_run({str(index): [0.5] * 6 for index in range(4)})
    assert all(0 < noise.sd < 1e-5 for noise in found.values())


def test_the_error_of_a_difference_counts_the_new_run_and_the_mean_of_the_reruns() -> None:
    rng = np.random.default_rng(1)
    differences = [rng.standard_normal() - rng.standard_normal(8).mean() for _ in range(20_000)]
    noise = run_to_run({"a": rng.standard_normal(8)})["a"]
    assert noise.scale() / noise.sd == pytest.approx(np.std(differences), rel=0.02)


def test_no_cells_have_no_mean() -> None:
    assert mean_over_cells([], "time_s") == []


def test_trigamma_is_inverted() -> None:
    from scalemark.diff.noise import _inverse_trigamma

    for x in (0.05, 0.7, 3.0, 400.0):
        assert _inverse_trigamma(float(polygamma(1, x))) == pytest.approx(x, rel=1e-6)
