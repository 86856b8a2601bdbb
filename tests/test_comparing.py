"""Two suites as a whole: the laws of both sides fitted on equal terms and asked at the same places."""

from functools import cache

from factories import make_suite

from scalemark.comparing import compare_laws, compare_suites
from scalemark.diff.text import diff_lines, diff_markdown, first_regressions
from scalemark.schema import ControlVariate, LawDiff, Suite


@cache
def suite(seed: int = 0, slowdown: float = 1.0) -> Suite:
    return make_suite(f"suite {seed}", seed=seed, slowdown=slowdown)


def the(laws: list[LawDiff], kind: str) -> LawDiff:
    (found,) = [law for law in laws if law.kind == kind]
    return found


def test_laws_of_the_same_code_are_the_same_at_rungs_pivot_and_targets() -> None:
    laws = compare_laws(suite(), suite(1))
    assert {law.kind for law in laws} == {"step_time", "memory", "loss"}
    time = the(laws, "step_time")
    assert time.verdict in ("same", "inconclusive")  # bands at the smallest rungs are wider than any margin
    assert all(abs(point.ratio.value - 1) < 0.05 for point in time.points)
    assert [point.role for point in time.points].count("pivot") == 1
    targets = [point.where for point in time.points if point.role == "target"]
    assert targets == ["d12w768", "d16w1024", "d24w1536", "d32w2048"]
    assert the(laws, "memory").verdict == "same"


def test_a_suite_against_itself_is_exactly_the_same() -> None:
    for law in compare_laws(suite(), suite()):
        assert all(abs(point.ratio.value - 1) < 1e-9 for point in law.points)
        assert law.verdict in ("same", "inconclusive")


def test_a_slower_suite_has_a_slower_law_and_the_cause_is_a_rate() -> None:
    diff = compare_suites(suite(), suite(1, slowdown=1.4))
    time = the(list(diff.laws), "step_time")
    assert time.verdict == "regressed"
    assert all(1.3 < point.ratio.value < 1.5 for point in time.points)
    assert any("compute_flops_per_s −2" in text for text in time.explanation)
    assert diff.verdict == "regressed"
    said = "\n".join(diff_lines(diff))
    assert "step_time law: regressed" in said and "compute_flops_per_s" in said
    assert "- step_time law: regressed" in diff_markdown(diff)


def test_the_first_regressions_are_few_and_the_rest_counted() -> None:
    lines = first_regressions(compare_suites(suite(), suite(1, slowdown=1.4)), most=3)
    assert len(lines) == 4
    assert lines[-1].startswith("and ")
    assert first_regressions(compare_suites(suite(), suite())) == []


def test_laws_are_fitted_at_the_references_of_the_base() -> None:
    """In a moment in which the kernel and every cell are half again as slow, the law is the same."""

    def controlled(suite: Suite, gemm_s: float) -> Suite:
        control = ControlVariate(coefficients={"gemm": 1.0}, references_s={"gemm": gemm_s})
        cells = [cell.model_copy(update={"corrected_s": cell.time_s, "control": control}) for cell in suite.cells]
        return suite.model_copy(update={"cells": tuple(cells)})

    laws = compare_laws(controlled(suite(), 1.0), controlled(suite(1, slowdown=1.5), 1.5))
    assert all(abs(point.ratio.value - 1) < 0.05 for point in the(laws, "step_time").points)


def test_a_law_that_can_no_longer_be_fitted_is_missing_unless_the_run_was_narrowed_down() -> None:
    few = suite(1).model_copy(update={"cells": suite(1).cells[:2]})
    assert the(compare_laws(suite(), few), "step_time").verdict == "missing"
    narrowed = few.model_copy(update={"settings": few.settings.model_copy(update={"selection": "step"})})
    assert not [law for law in compare_laws(suite(), narrowed) if law.kind == "step_time"]


def test_laws_of_another_machine_are_advice() -> None:
    elsewhere = make_suite("elsewhere", slowdown=3, machine_id="elsewhere")
    for law in compare_laws(suite(), elsewhere):
        assert law.verdict == "incomparable"
        assert law.reason and "another machine" in law.reason
