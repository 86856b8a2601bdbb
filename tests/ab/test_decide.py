"""Verdicts against simulated pairs whose truth is known."""

from math import exp, log

import numpy as np
import pytest
from scipy.stats import trim_mean

from scalemark.ab.decide import (
    ALL,
    Shift,
    compare_times,
    is_decided,
    judge,
    look_levels,
    pair_log_ratio,
    precisions,
    shifts,
    spent,
    surely_moved,
    verdict_of,
)
from scalemark.schema import AbPair, AbSamples, Comparison, VerdictName

KEYS = ("a", "b", "c")
ALPHA, MARGIN, LOOKS = 0.01, 0.02, (0.4, 0.7, 1.0)
PAIRS_AT_LOOKS = (6, 10, 14)
# Of one pair's log ratio: what 14 pairs of real processes showed, rounded up.
PAIR_SD = 0.025


def pair(index: int, log_ratios: np.ndarray, lost: str | None = None) -> AbPair:
    samples = tuple(
        AbSamples(key=key, rounds_per_visit=1, base_s=(1.0,), head_s=(float(np.exp(value)),))
        for key, value in zip(KEYS, log_ratios, strict=False)
    )
    return AbPair(index=index, samples=samples, lost=lost)


def simulated(rng: np.random.Generator, slowdown: float = 1.0, spoilt: float = 0.0) -> list[AbPair]:
    """Pairs of a whole run; a share `spoilt` of them off by up to half."""
    n = PAIRS_AT_LOOKS[-1]
    table = log(slowdown) + PAIR_SD * rng.standard_normal((n, len(KEYS)))
    table += (rng.random((n, 1)) < spoilt) * rng.uniform(-0.4, 0.4, (n, 1))
    return [pair(index, row) for index, row in enumerate(table)]


def outcome(pairs: list[AbPair]) -> set[VerdictName]:
    """Verdicts where the run stops, as `run` looks at it."""
    for n, level in zip(PAIRS_AT_LOOKS, look_levels(ALPHA, LOOKS), strict=True):
        comparisons = compare_times(pairs[:n], KEYS, level, MARGIN)
        if is_decided(comparisons):
            break
    return {comparison.verdict for comparison in comparisons}


def share_of(verdict: VerdictName, runs: int, slowdown: float, spoilt: float = 0.0) -> float:
    rng = np.random.default_rng(1)
    return sum(verdict in outcome(simulated(rng, slowdown, spoilt)) for _ in range(runs)) / runs


def test_unchanged_code_is_rarely_called_changed() -> None:
    """At most 1 % in truth; 2 % leaves room for 600 runs' own chance (standard error 0.4 %)."""
    rng = np.random.default_rng(0)
    outcomes = [outcome(simulated(rng)) for _ in range(600)]
    assert sum(bool({"regressed", "improved"} & verdicts) for verdicts in outcomes) / 600 <= 0.02


def test_unchanged_code_with_spoilt_pairs_is_rarely_called_changed() -> None:
    assert share_of("regressed", 300, slowdown=1.0, spoilt=0.1) <= 0.02


def test_a_slowdown_of_five_per_cent_is_found() -> None:
    assert share_of("regressed", 200, slowdown=1.05) >= 0.95


def test_a_slowdown_of_five_per_cent_is_found_among_spoilt_pairs() -> None:
    assert share_of("regressed", 200, slowdown=1.05, spoilt=0.05) >= 0.8


def test_a_slowdown_of_three_per_cent_is_mostly_found() -> None:
    assert share_of("regressed", 200, slowdown=1.03) >= 0.6


def test_a_slowdown_below_the_margin_is_rarely_called_regressed() -> None:
    """Half the margin: a slowdown all the same, so more often than for unchanged code."""
    assert share_of("regressed", 200, slowdown=1.01) <= 0.1


def test_faster_is_improved_and_as_likely_as_slower() -> None:
    assert share_of("improved", 200, slowdown=1 / 1.05) >= 0.95


def test_a_slowdown_of_one_workload_alone_is_found() -> None:
    rng = np.random.default_rng(2)
    pairs = [pair(index, [0.0, log(1.12), 0.0] + PAIR_SD * rng.standard_normal(3)) for index in range(14)]
    verdicts = {one.subject: one.verdict for one in compare_times(pairs, KEYS, 0.008, MARGIN)}
    assert verdicts["b"] == "regressed"
    assert verdicts["a"] != "regressed" and verdicts["c"] != "regressed"


def test_error_is_spent_late_and_never_exceeded() -> None:
    """Against Lan & DeMets' own limits: nothing at the start, all of it at the end, almost nothing early."""
    levels = look_levels(0.01, LOOKS)
    assert sum(levels) == pytest.approx(0.01)
    assert all(level > 0 for level in levels)
    assert spent(0.01, 0.0) == 0.0
    assert spent(0.05, 0.2) < 1e-4
    assert spent(0.05, 0.5) == pytest.approx(0.00557, abs=2e-5)  # 2 − 2·Φ(1.95996 / √0.5), from tables


def test_a_visit_is_compared_with_the_other_side_s_visit_of_its_time() -> None:
    """The machine slows down threefold halfway through: no ratio notices."""
    samples = AbSamples(key="a", rounds_per_visit=2, base_s=(1, 1, 3, 3), head_s=(1.1, 1.1, 3.3, 3.3))
    assert exp(pair_log_ratio(samples)) == pytest.approx(1.1)


def test_the_mean_is_trimmed_as_scipy_trims_it() -> None:
    values = np.random.default_rng(3).standard_normal(20)
    found = shifts([pair(index, [value]) for index, value in enumerate(values)], KEYS[:1])
    assert found[0].value == pytest.approx(float(trim_mean(values, 0.1)))


def test_the_interval_holds_the_truth_as_often_as_it_says() -> None:
    """90 %, with a standard error of 1.5 % over 400 runs."""
    rng = np.random.default_rng(4)
    held = [found[0].ratio() for found in (shifts(simulated(rng, 1.03), KEYS) for _ in range(400))]
    assert 0.85 <= np.mean([ratio.low <= 1.03 <= ratio.high for ratio in held]) <= 0.95


def test_holm_goes_on_from_the_surest_and_stops_at_the_first_that_is_not() -> None:
    """Of 0.001, 0.02, 0.03 at 0.05: below 0.05/3, 0.05/2 and 0.05. With 0.03 for 0.02, only the first is."""
    sure = [_with_p(name, p) for name, p in zip(KEYS, (0.001, 0.02, 0.03), strict=True)]
    assert surely_moved(sure, 0.05) == set(KEYS)
    unsure = [_with_p(name, p) for name, p in zip(KEYS, (0.001, 0.03, 0.04), strict=True)]
    assert surely_moved(unsure, 0.05) == {"a"}


def test_the_mean_of_all_is_given_half_of_the_error() -> None:
    """At 0.05 it may be as unsure as 0.025, a workload only as 0.05/6."""
    alone = [_with_p(ALL, 0.024), *(_with_p(key, 0.5) for key in KEYS)]
    assert surely_moved(alone, 0.05) == {ALL}
    unsure = [_with_p(ALL, 0.5), _with_p("a", 0.02), _with_p("b", 0.5), _with_p("c", 0.5)]
    assert surely_moved(unsure, 0.05) == set()


def _with_p(subject: str, p: float) -> Shift:
    from scipy.stats import t

    return Shift(subject, float(t.isf(p / 2, 10)), 1.0, 10)


def test_a_sure_slowdown_below_the_margin_is_no_regression() -> None:
    assert judge(Shift("a", log(1.01), 0.0005, 12), is_sure=True, margin=0.02) == "same"
    assert judge(Shift("a", log(1.021), 0.0005, 12), is_sure=True, margin=0.02) == "regressed"


def test_a_wide_interval_is_inconclusive() -> None:
    assert judge(Shift("a", log(1.04), 0.03, 12), is_sure=False, margin=0.02) == "inconclusive"


def test_too_few_pairs_say_so_with_what_became_of_the_others() -> None:
    pairs = [pair(0, np.zeros(3)), pair(1, np.zeros(0), lost="head: its process ended with exit status 3")]
    comparisons = compare_times(pairs, KEYS, 0.01, MARGIN)
    assert {one.verdict for one in comparisons} == {"inconclusive"}
    assert "exit status 3" in str(comparisons[0].reason)


def test_a_lost_pair_counts_for_nothing() -> None:
    pairs = [pair(index, np.array([0.001 * index] * 3)) for index in range(6)]
    with_lost = [*pairs, pair(6, np.array([5.0]), lost="killed")]
    assert shifts(pairs, KEYS) == shifts(with_lost, KEYS)


def test_the_mean_over_workloads_is_judged_beside_them_unless_there_is_only_one() -> None:
    pairs = [pair(index, np.array([0.01, 0.03, 0.05]) + 0.001 * index) for index in range(5)]
    assert [one.subject for one in compare_times(pairs, KEYS, 0.01, MARGIN)] == [*KEYS, ALL]
    assert [one.subject for one in compare_times(pairs, KEYS[:1], 0.01, MARGIN)] == ["a"]


def test_a_steadier_workload_counts_as_its_precision_in_the_mean() -> None:
    """Visits that spread three times as wide count a ninth."""
    rng = np.random.default_rng(5)
    pairs = [_two_noises(index, rng) for index in range(30)]
    steady, noisy = precisions(pairs, ("steady", "noisy"))
    assert steady + noisy == pytest.approx(1.0)
    assert steady / noisy == pytest.approx(9.0, rel=0.3)


def test_weights_do_not_change_when_the_sides_are_swapped() -> None:
    pairs = [_two_noises(index, np.random.default_rng(index)) for index in range(8)]
    swapped = [one.model_copy(update={"samples": tuple(_swapped(samples) for samples in one.samples)}) for one in pairs]
    keys = ("steady", "noisy")
    assert precisions(swapped, keys) == pytest.approx(precisions(pairs, keys))
    assert [-one.value for one in shifts(swapped, keys)] == pytest.approx([one.value for one in shifts(pairs, keys)])


def _two_noises(index: int, rng: np.random.Generator) -> AbPair:
    spreads = {"steady": 0.02, "noisy": 0.06}
    samples = [
        AbSamples(key=key, rounds_per_visit=1, base_s=(1.0,) * 40, head_s=tuple(np.exp(rng.normal(0, spread, 40))))
        for key, spread in spreads.items()
    ]
    return AbPair(index=index, samples=tuple(samples))


def _swapped(samples: AbSamples) -> AbSamples:
    return samples.model_copy(update={"base_s": samples.head_s, "head_s": samples.base_s})


def test_identical_rounds_on_both_sides_are_the_same() -> None:
    """No spread at all, as a coarse clock gives: neither an error nor a change."""
    assert outcome([pair(index, np.zeros(3)) for index in range(14)]) == {"same"}


def _told(subject: str, verdict: VerdictName) -> Comparison:
    return Comparison(subject=subject, metric="time_s", verdict=verdict)


@pytest.mark.parametrize(
    ("mean", "alone", "whole"),
    [
        ("same", ("same", "inconclusive"), "same"),
        ("improved", ("inconclusive", "inconclusive"), "improved"),
        ("same", ("regressed", "inconclusive"), "regressed"),
        ("regressed", ("inconclusive", "inconclusive"), "regressed"),
        ("inconclusive", ("same", "same"), "inconclusive"),
        ("inconclusive", ("improved", "inconclusive"), "inconclusive"),
    ],
)
def test_a_workload_that_is_undecided_counts_where_the_mean_is_too(
    mean: VerdictName, alone: tuple[VerdictName, ...], whole: VerdictName
) -> None:
    assert verdict_of([*(_told(f"w{i}", verdict) for i, verdict in enumerate(alone)), _told(ALL, mean)]) == whole


def test_a_single_workload_speaks_for_itself() -> None:
    assert verdict_of([_told("a", "inconclusive")]) == "inconclusive"
