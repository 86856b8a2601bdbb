"""JUnit XML, as CI systems read it: a test case per cell and training run, or per comparison of a diff.

<testsuites> <testsuite name tests failures errors skipped time timestamp>
    <testcase classname name time> [<failure message type> | <error …> | <skipped message>] </testcase>
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal
from xml.etree import ElementTree

from scalemark.export.results import run_name
from scalemark.schema import Comparison, Diff, LawDiff, Suite

# What XML 1.0 cannot hold, not even escaped (section 2.2).
_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_SKIPPED = ("skipped", "predicted_oom", "oom")


@dataclass(frozen=True)
class _Case:
    classname: str
    name: str
    time_s: float = 0.0
    outcome: Literal["passed", "failure", "error", "skipped"] = "passed"
    kind: str = ""
    message: str = ""


def suite_junit(suite: Suite) -> str:
    """A cell that failed fails its case, one that there was no time or memory for skips it."""
    cells = [
        _measured(
            cell.workload.phase,
            cell.workload.key,
            cell.status,
            cell.reason,
            cell.time_s.value if cell.time_s else None,
        )
        for cell in suite.cells
    ]
    runs = [_measured("train", run_name(run), run.status, run.reason, run.total_seconds) for run in suite.training_runs]
    return _document(f"scalemark {suite.id}", [*cells, *runs], suite.created)


def _measured(classname: str, name: str, status: str, reason: str | None, time_s: float | None) -> _Case:
    outcome: Literal["passed", "failure", "skipped"] = "failure"
    if status == "ok":
        outcome = "passed"
    elif status in _SKIPPED:
        outcome = "skipped"
    return _Case(f"scalemark.{classname}", name, time_s or 0.0, outcome, status, reason or status)


def diff_junit(diff: Diff) -> str:
    """What regressed or is gone fails, what cannot be told is an error, what cannot be compared is skipped."""
    cases = [*map(_compared, diff.comparisons), *map(_law, diff.laws)]
    return _document(f"scalemark {diff.new_id} against {diff.base_id}", cases)


_OUTCOMES: dict[str, Literal["passed", "failure", "error", "skipped"]] = {
    "regressed": "failure",
    "inconclusive": "error",
    "missing": "skipped",
    "incomparable": "skipped",
}


def _compared(one: Comparison) -> _Case:
    ratio = f"{one.ratio.value:.3f}x [{one.ratio.low:.3f}, {one.ratio.high:.3f}]" if one.ratio else ""
    sides = f"{one.base} -> {one.new}"
    outcome = _OUTCOMES.get(one.verdict, "passed")
    if one.verdict == "missing" and one.metric == "time_s":
        outcome = "failure"
    message = ", ".join(filter(None, [sides, ratio, one.reason]))
    return _Case(f"scalemark.{one.metric}", one.subject, 0.0, outcome, one.verdict, message)


def _law(law: LawDiff) -> _Case:
    """An undecided law says nothing that its cells do not, so it only skips."""
    outcome: Literal["failure", "skipped", "passed"] = "passed"
    if law.verdict == "regressed":
        outcome = "failure"
    elif law.verdict in ("inconclusive", "missing", "incomparable"):
        outcome = "skipped"
    message = "; ".join(filter(None, [law.reason, *law.explanation])) or law.verdict
    return _Case("scalemark.law", law.kind, 0.0, outcome, law.verdict, message)


def _document(name: str, cases: Sequence[_Case], timestamp: str | None = None) -> str:
    root = ElementTree.Element("testsuites", _counts(cases))
    suite = ElementTree.SubElement(root, "testsuite", {"name": _clean(name), **_counts(cases)})
    suite.set("skipped", str(sum(case.outcome == "skipped" for case in cases)))
    if timestamp:
        suite.set("timestamp", timestamp.removesuffix("Z").partition("+")[0])
    for case in cases:
        suite.append(_element(case))
    ElementTree.indent(root, " ")
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ElementTree.tostring(root, encoding="unicode") + "\n"


def _element(case: _Case) -> ElementTree.Element:
    attributes = {"classname": case.classname, "name": _clean(case.name), "time": f"{case.time_s:.6f}"}
    element = ElementTree.Element("testcase", attributes)
    if case.outcome == "skipped":
        ElementTree.SubElement(element, "skipped", {"message": _clean(case.message)})
    elif case.outcome != "passed":
        told = ElementTree.SubElement(element, case.outcome, {"message": _clean(case.message), "type": case.kind})
        told.text = _clean(case.message)
    return element


def _counts(cases: Iterable[_Case]) -> dict[str, str]:
    cases = list(cases)
    return {
        "tests": str(len(cases)),
        "failures": str(sum(case.outcome == "failure" for case in cases)),
        "errors": str(sum(case.outcome == "error" for case in cases)),
        "time": f"{sum(case.time_s for case in cases):.6f}",
    }


def _clean(text: str) -> str:
    return _NOT_XML.sub("�", text)
