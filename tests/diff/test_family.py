"""False alarms and detection of the gate with reruns, simulated with noise as it was measured (docs/measuring.md)."""

from math import exp, log, log1p

import numpy as np
import pytest
from scipy.stats import norm, t

from scalemark.diff.family import (
    CELLS_LEVEL,
    LAWS_LEVEL,
    SUITE_LEVEL,
    Candidate,
    Judged,
    holm_level,
    judge_family,
    judge_suite,
    standard_error,
)
from scalemark.diff.noise import RunToRun, run_to_run
from scalemark.schema import Estimate
from scalemark.stats import median_over_blocks

# 'corrected between' of nine cells, from run to run of identical code.
MEASURED_SD = np.array([0.0401, 0.0944, 0.0402, 0.0476, 0.0300, 0.0230, 0.0333, 0.0426, 0.0354])
# Correlation of two cells over such runs, on average.
SHARED = 0.15


def candidate(log_ratio: float, sd: float = 0.04, own_error: float = 0.0) -> Candidate:
    return Candidate(log_ratio, RunToRun(centre=0.0, sd=sd, freedom=9, n=10), own_error)


def judge(*candidates: Candidate, floor: float = 0.05) -> list[Judged]:
    return judge_family(candidates, floor)


def simulated(rng: np.random.Generator, slowdown: np.ndarray | float, n: int = 10) -> list[Judged]:
    """One suite against a baseline of n reruns, and the mean of its cells as the last."""
    noise = np.sqrt(SHARED) * rng.standard_normal((n + 1, 1))
    noise = MEASURED_SD * (noise + np.sqrt(1 - SHARED) * rng.standard_normal((n + 1, len(MEASURED_SD))))
    before, after = noise[:n], noise[n] + np.log1p(slowdown)
    known = run_to_run({str(index): column for index, column in enumerate(before.T)})
    cells = [Candidate(after[index] - known[str(index)].centre, known[str(index)]) for index in range(len(after))]
    together = run_to_run({"all": before.mean(axis=1)})["all"]
    judged, of_all = judge_suite(cells, Candidate(after.mean() - together.centre, together), floor=0.05)
    return [*judged, *([of_all] if of_all else [])]


def rate(slowdown: float, suites: int = 400, n: int = 10) -> float:
    rng = np.random.default_rng(0)
    found = [any(one.verdict == "regressed" for one in simulated(rng, slowdown, n)) for _ in range(suites)]
    return sum(found) / suites


@pytest.mark.parametrize("n", [5, 10])
def test_a_suite_of_unchanged_code_is_called_worse_at_most_one_time_in_twenty(n: int) -> None:
    assert rate(slowdown=0.0, n=n) <= SUITE_LEVEL


def test_a_slowdown_of_a_fifth_is_found_nearly_always() -> None:
    assert rate(slowdown=0.2, suites=200) >= 0.95


def test_one_cell_alone_is_found_by_its_own_noise() -> None:
    """A fifth in the quietest cell: more often than not; the others stay what they are."""
    rng = np.random.default_rng(0)
    slowdown = np.where(MEASURED_SD.min() == MEASURED_SD, 0.2, 0.0)
    judged = [simulated(rng, slowdown) for _ in range(200)]
    quietest = int(MEASURED_SD.argmin())
    assert sum(one[quietest].verdict == "regressed" for one in judged) > 100
    others = sum(one[index].verdict == "regressed" for one in judged for index in range(9) if index != quietest)
    assert others <= 0.05 * 200


def test_what_the_mean_of_all_used_up_goes_on_to_the_cells() -> None:
    slow, alone = candidate(log(1.3), sd=0.02), candidate(0.0)
    freed, kept = (judge_suite([alone], mean, floor=0.0)[0][0].margin for mean in (slow, candidate(0.0)))
    assert freed < kept
    assert judge_suite([alone], None, floor=0.0)[0][0].margin == freed
    assert pytest.approx(SUITE_LEVEL - LAWS_LEVEL) == CELLS_LEVEL + 0.015


def test_holm_rejects_step_by_step() -> None:
    """Levels 0.05/3, 0.05/2 and 0.05 in turn (Holm 1979)."""
    assert holm_level([0.5, 0.6, 0.7], 0.05) == pytest.approx(0.05 / 3)
    assert holm_level([0.01, 0.6, 0.7], 0.05) == pytest.approx(0.05 / 2)
    assert holm_level([0.01, 0.02, 0.7], 0.05) == pytest.approx(0.05)
    assert holm_level([0.02, 0.01, 0.04], 0.05) == pytest.approx(0.05)
    assert holm_level([0.02, 0.02, 0.02], 0.05) == pytest.approx(0.05 / 3)
    assert holm_level([], 0.05) == 0.05


def test_the_margin_is_what_student_says_of_one_cell() -> None:
    """Ten reruns, one cell: 2.5 % to spend, nine degrees of freedom, √1.1 standard deviations."""
    (judged,) = judge(candidate(0.0, sd=0.08))
    assert judged.margin == pytest.approx(exp(t.isf(0.025, 9) * 0.08 * 1.1**0.5) - 1)
    above, below = (judge(candidate(log1p(judged.margin) + change, sd=0.08))[0] for change in (1e-6, -1e-6))
    assert (above.verdict, below.verdict) == ("regressed", "same")


def test_a_change_below_the_floor_is_none_however_quiet_the_machine() -> None:
    assert judge(candidate(log(1.04), sd=1e-4))[0].verdict == "same"
    assert judge(candidate(log(1.06), sd=1e-4))[0].verdict == "regressed"
    assert judge(candidate(-log(1.06), sd=1e-4))[0].verdict == "improved"


def test_more_cells_ask_for_a_larger_margin() -> None:
    assert judge(*[candidate(0.0)] * 40)[0].margin > judge(candidate(0.0))[0].margin


def test_a_run_noisier_than_the_reruns_is_not_judged_by_them() -> None:
    """12 % is beyond the margin of 4 % noise, but this run says of itself that it is known to ± 20 %."""
    quiet, noisy = candidate(log(1.12)), candidate(log(1.12), own_error=0.2)
    assert judge(quiet)[0].verdict == "regressed"
    assert judge(noisy)[0].verdict == "inconclusive"


def test_a_run_too_noisy_to_see_a_fifth_calls_nothing_the_same() -> None:
    assert judge(candidate(0.0, own_error=0.2))[0].verdict == "inconclusive"
    assert judge(candidate(0.0, own_error=0.07))[0].verdict == "same"


def test_reruns_too_noisy_to_see_half_as_much_again_call_nothing_the_same() -> None:
    assert judge(candidate(0.0, sd=0.25))[0].verdict == "inconclusive"
    assert judge(candidate(log(10.0), sd=0.25))[0].verdict == "regressed"
    assert judge(candidate(0.0, sd=0.25), floor=0.9)[0].verdict == "same", "unless so much was asked for"


def test_a_ratio_has_the_interval_of_its_own_noise() -> None:
    ratio = candidate(log(1.1), sd=0.05).ratio
    assert log(ratio.high / ratio.low) / 2 == pytest.approx(t.ppf(0.95, 9) * 0.05 * 1.1**0.5)
    assert (ratio.low * ratio.high) ** 0.5 == pytest.approx(1.1)


def test_the_standard_error_of_a_median_is_read_back_from_its_interval() -> None:
    rng = np.random.default_rng(0)
    blocks = np.exp(0.05 * rng.standard_normal((400, 5, 1)) + 0.01 * rng.standard_normal((400, 5, 8)))
    estimates = [median_over_blocks(list(one), seed=index) for index, one in enumerate(blocks)]
    told = np.median([standard_error(estimate, 5) for estimate in estimates])
    assert told == pytest.approx(np.std([log(estimate.value) for estimate in estimates]), rel=0.3)


def test_one_block_tells_no_error() -> None:
    assert standard_error(Estimate(value=1, low=0.9, high=1.1), 1) == 0.0
    wide = Estimate(value=1.0, low=exp(-norm.ppf(0.95)), high=exp(norm.ppf(0.95)))
    assert standard_error(wide, 1000) == pytest.approx(1.0, rel=0.01)
