"""From a diff to what a gate does: pass, or fail with an exit code that says why.

    0 passed           nothing worse; what improved, or is new, passes
    1 regressed        something got worse, or a cell of the base is not there any more
    3 inconclusive     too noisy to tell, or no time to measure what was asked for
    4 not_comparable   not one thing stood on both sides: nothing was checked, which must not pass for good

Exit code 2 is bad input, before there is a diff.
"""

from typing import Literal

from scalemark.diff.measured import ALL_CELLS, TIME
from scalemark.schema import Comparison, Diff

Outcome = Literal["passed", "regressed", "inconclusive", "not_comparable"]
FailOn = Literal["regressed", "inconclusive", "never"]
EXIT_CODES: dict[Outcome, int] = {"passed": 0, "regressed": 1, "inconclusive": 3, "not_comparable": 4}
_UNDECIDED = {"missing", "new", "incomparable"}


def outcome(diff: Diff) -> Outcome:
    """What the diff comes to."""
    verdicts = {comparison.verdict for comparison in diff.comparisons}
    if vanished(diff):
        return "regressed"
    if not verdicts - _UNDECIDED:
        return "not_comparable"
    if diff.verdict == "regressed":
        return "regressed"
    return "inconclusive" if diff.verdict == "inconclusive" else "passed"


def vanished(diff: Diff) -> list[Comparison]:
    """Cells of the base that the new run has no more, though it was not narrowed down.

    Where the two have not one cell in common, they are two different suites.
    """
    times = [one for one in diff.comparisons if one.metric == TIME and one.subject != ALL_CELLS]
    gone = [one for one in times if one.verdict == "missing"]
    return gone if len(gone) < sum(one.verdict != "new" for one in times) else []


def fails(found: Outcome, fail_on: FailOn) -> bool:
    """Whether a run that is gated so strictly fails."""
    if fail_on == "never":
        return False
    return found == "regressed" or (fail_on == "inconclusive" and found != "passed")
