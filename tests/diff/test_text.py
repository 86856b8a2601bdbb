"""What a reader is told of a diff."""

from factories import estimate

from scalemark.diff.text import diff_lines, diff_markdown, first_regressions
from scalemark.schema import Comparison, Diff

SLOWER = Comparison(
    subject="d4w256", metric="time_s", base=1.5e-3, new=1.8e-3, ratio=estimate(1.2), verdict="regressed"
)
FAILED = Comparison(
    subject="d9w576", metric="time_s", base=2.0, new=None, verdict="missing", reason="skipped: a | b\nc"
)
COUNTER = Comparison(subject="d1w64", metric="params_total", base=1_000_000, new=1_000_001, verdict="regressed")
SAME = Comparison(subject="d2w128", metric="time_s", base=1, new=1, ratio=estimate(1.0), verdict="same")


def make_diff(*comparisons: Comparison, **changes: object) -> Diff:
    return Diff(base_id="old", new_id="young", verdict="regressed", comparisons=comparisons).model_copy(update=changes)


def test_the_first_line_is_the_verdict_and_the_worst_comes_next() -> None:
    lines = diff_lines(make_diff(FAILED, SAME, SLOWER))
    assert lines[0] == "regressed: young against old"
    assert "d4w256" in lines[1]
    assert "1.50 ms → 1.80 ms, 1.200× [1.176, 1.224]" in lines[1]
    assert "d9w576" in lines[2]


def test_what_is_the_same_is_counted_and_not_listed() -> None:
    lines = diff_lines(make_diff(SLOWER, SAME, SAME))
    assert lines[-1] == "2 same, 1 regressed."
    assert not any("d2w128" in line for line in lines)


def test_an_exact_counter_shows_a_change_of_one() -> None:
    assert "1,000,000 → 1,000,001" in diff_lines(make_diff(COUNTER))[1]


def test_another_machine_is_told_with_what_differs_and_the_times_as_advice() -> None:
    elsewhere = SAME.model_copy(update={"verdict": "incomparable", "ratio": estimate(1.7)})
    lines = diff_lines(make_diff(elsewhere, advisory=True, differing_fields=("cpu", "threads")))
    assert any("cpu, threads differ" in line for line in lines)
    assert any("1.70× in the median of 1 cells" in line for line in lines)


def test_a_reason_cannot_break_the_table() -> None:
    rows = [line for line in diff_markdown(make_diff(FAILED)).splitlines() if "d9w576" in line]
    assert len(rows) == 1
    assert "a \\| b c |" in rows[0]


def test_two_empty_suites_are_told_as_nothing_to_compare() -> None:
    assert diff_lines(make_diff())[-1] == "nothing to compare."


def test_a_regression_names_the_operators_that_changed_in_its_cell() -> None:
    operators = Comparison(
        subject="d4w256", metric="operators_total", base=12, new=13, verdict="regressed", reason="aten.mm 12 -> 13"
    )
    first, second = first_regressions(make_diff(SLOWER, operators))
    assert first.startswith("d4w256: time_s 1.50 ms → 1.80 ms") and first.endswith("cause: aten.mm 12 -> 13")
    assert "cause" not in second
    assert f"- **{first}**" in diff_markdown(make_diff(SLOWER, operators))


def test_both_the_judged_and_the_measured_ratio_are_shown_with_the_margin() -> None:
    corrected = SLOWER.model_copy(update={"raw_ratio": estimate(1.31), "margin": 0.08})
    assert "1.200× [1.176, 1.224], as measured 1.310×, margin 8 %" in diff_lines(make_diff(corrected))[1]


def test_margins_of_reruns_are_said_to_be_theirs() -> None:
    assert any("10 reruns" in line for line in diff_lines(make_diff(SAME, n_repeats=10)))
