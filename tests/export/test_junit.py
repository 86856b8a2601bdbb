"""JUnit XML against the rules that CI systems share (the schema of Apache Ant's task, as Jenkins reads it)."""

from xml.etree import ElementTree

import pytest
from factories import estimate, make_suite

from scalemark.diff import compare
from scalemark.export.junit import diff_junit, suite_junit
from scalemark.schema import Comparison, Diff, LawDiff, Suite

BASE = make_suite("20260101-000000-base")
CHILDREN = {"failure": {"message", "type"}, "error": {"message", "type"}, "skipped": {"message"}}
COUNTED = {"tests", "failures", "errors", "time"}


def parsed(text: str) -> ElementTree.Element:
    """The one test suite in the document, once everything that its schema asks for was checked."""
    root = ElementTree.fromstring(text)
    assert root.tag == "testsuites" and set(root.attrib) == COUNTED
    (suite,) = root
    assert suite.tag == "testsuite" and set(suite.attrib) - {"timestamp"} == COUNTED | {"name", "skipped"}
    for case in suite:
        assert case.tag == "testcase" and set(case.attrib) == {"classname", "name", "time"}
        assert float(case.attrib["time"]) >= 0 and len(case) <= 1
        assert all(set(child.attrib) == CHILDREN[child.tag] for child in case)
    counts = {"failures": "failure", "errors": "error", "skipped": "skipped"}
    for name, tag in counts.items():
        assert int(suite.attrib[name]) == len(suite.findall(f"testcase/{tag}"))
    assert int(suite.attrib["tests"]) == len(suite) == int(root.attrib["tests"])
    return suite


def outcomes(suite: ElementTree.Element) -> dict[str, str]:
    return {case.attrib["name"]: case[0].tag if len(case) else "passed" for case in suite}


def with_first(status: str, reason: str) -> Suite:
    changed = BASE.cells[0].model_copy(update={"status": status, "reason": reason, "time_s": None, "blocks": ()})
    return BASE.model_copy(update={"cells": (changed, *BASE.cells[1:])})


def test_a_suite_has_a_case_for_each_cell_and_run() -> None:
    suite = parsed(suite_junit(BASE))
    assert len(suite) == len(BASE.cells) + len(BASE.training_runs)
    assert suite.attrib["timestamp"] == "2026-01-01T00:00:00"
    assert set(outcomes(suite).values()) == {"passed"}


@pytest.mark.parametrize(
    ("status", "outcome"), [("failed", "failure"), ("timeout", "failure"), ("skipped", "skipped"), ("oom", "skipped")]
)
def test_what_was_not_measured_is_told_by_its_kind(status: str, outcome: str) -> None:
    suite = parsed(suite_junit(with_first(status, "needs 12 GiB")))
    assert outcomes(suite)[BASE.cells[0].workload.key] == outcome
    assert "needs 12 GiB" in suite[0][0].attrib["message"]


def test_what_xml_cannot_hold_does_not_break_the_document() -> None:
    suite = parsed(suite_junit(with_first("failed", 'bell \x07 <tag> & "quote" ]]> \ud800 end')))
    message = suite[0][0].attrib["message"]
    assert message.startswith("bell � <tag>") and message.endswith("end")


def test_a_diff_fails_what_regressed_and_what_is_gone() -> None:
    said = {
        verdict: Comparison(subject=verdict, metric="time_s", ratio=estimate(1.2), verdict=verdict, reason="why")
        for verdict in ("regressed", "improved", "same", "inconclusive", "missing", "new", "incomparable")
    }
    diff = Diff(base_id="old", new_id="young", verdict="regressed", comparisons=tuple(said.values()))
    found = outcomes(parsed(diff_junit(diff)))
    assert [name for name, outcome in found.items() if outcome == "failure"] == ["regressed", "missing"]
    assert [name for name, outcome in found.items() if outcome == "error"] == ["inconclusive"]
    assert [name for name, outcome in found.items() if outcome == "skipped"] == ["incomparable"]


def test_a_law_that_regressed_fails_and_says_why() -> None:
    laws = (
        LawDiff(kind="step_time", verdict="regressed", margin=0.05, explanation=("compute −8 %",)),
        LawDiff(kind="loss", verdict="inconclusive", margin=0.01),
    )
    suite = parsed(diff_junit(Diff(base_id="old", new_id="young", verdict="regressed", laws=laws)))
    assert outcomes(suite) == {"step_time": "failure", "loss": "skipped"}
    assert "compute −8 %" in suite[0][0].attrib["message"]


def test_a_real_diff_is_a_valid_document() -> None:
    slow = make_suite("slow", slowdown=2)
    suite = parsed(diff_junit(compare(BASE, slow)))
    assert int(suite.attrib["failures"]) >= len(BASE.cells)
