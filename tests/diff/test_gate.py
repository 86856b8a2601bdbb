"""What a gate makes of a diff."""

import pytest
from factories import estimate

from scalemark.diff.gate import EXIT_CODES, fails, outcome, vanished
from scalemark.schema import Comparison, Diff, VerdictName


def time(verdict: VerdictName, subject: str = "d4w256") -> Comparison:
    return Comparison(subject=subject, metric="time_s", ratio=estimate(1.0), verdict=verdict)


def counter(verdict: VerdictName) -> Comparison:
    return Comparison(subject="d4w256", metric="params_total", base=1, new=1, verdict=verdict)


def diff(verdict: VerdictName, *comparisons: Comparison) -> Diff:
    return Diff(base_id="old", new_id="young", verdict=verdict, comparisons=comparisons)


@pytest.mark.parametrize(
    ("found", "says"),
    [
        (diff("same", time("same"), time("new", "d9w576")), "passed"),
        (diff("improved", time("improved"), time("same")), "passed"),
        (diff("regressed", time("same"), counter("regressed")), "regressed"),
        (diff("regressed", time("regressed"), time("inconclusive")), "regressed"),
        (diff("inconclusive", time("same"), time("inconclusive", "d1w64")), "inconclusive"),
        (diff("missing", time("same"), time("missing", "d1w64")), "regressed"),
        (diff("missing", time("missing"), time("new", "d1w64")), "not_comparable"),
        (diff("incomparable", time("incomparable")), "not_comparable"),
        (diff("incomparable"), "not_comparable"),
    ],
)
def test_a_diff_comes_to_one_outcome(found: Diff, says: str) -> None:
    assert outcome(found) == says


def test_a_counter_that_one_side_does_not_know_is_no_cell_that_is_gone() -> None:
    found = diff("missing", time("same"), counter("missing"))
    assert vanished(found) == []
    assert outcome(found) == "passed"


def test_a_law_that_regressed_fails_though_no_single_cell_did() -> None:
    assert outcome(diff("regressed", time("same"))) == "regressed"


def test_exit_codes_are_those_of_the_command_line() -> None:
    assert EXIT_CODES == {"passed": 0, "regressed": 1, "inconclusive": 3, "not_comparable": 4}


def test_never_never_fails_and_inconclusive_fails_whatever_was_not_checked() -> None:
    assert not any(fails(found, "never") for found in EXIT_CODES)
    assert [found for found in EXIT_CODES if fails(found, "regressed")] == ["regressed"]
    assert [found for found in EXIT_CODES if fails(found, "inconclusive")] == [
        "regressed",
        "inconclusive",
        "not_comparable",
    ]
