"""What is said where at most one side has a result."""

from scalemark.diff.machines import Machines
from scalemark.schema import Cell, TrainingRun, VerdictName

_LIMITED_BY_MACHINE = ("oom", "predicted_oom", "timeout")


def judge_presence(
    before: Cell | TrainingRun | None, after: Cell | TrainingRun | None, machines: Machines
) -> tuple[VerdictName, str | None]:
    """The verdict and its reason. A cell that did not fit another machine says nothing of the code.

    A cell that the new run had no time for is inconclusive; what it no longer has at all is missing, and so is a
    training run without time, since a grid is wider than its budget.
    """
    if before is None or before.status == "skipped":
        return ("new", None) if after and after.status == "ok" else ("incomparable", status_text(after))
    if after is None:
        return "missing", "not part of the new run"
    if after.status == "skipped":
        return "inconclusive" if isinstance(after, Cell) else "missing", status_text(after)
    if before.status == after.status == "ok":
        return "missing", "not measured on both sides"
    if machines.differ and {before.status, after.status} & set(_LIMITED_BY_MACHINE):
        return "incomparable", f"{status_text(after)}; {machines.reason}"
    if after.status == "ok":
        return "improved", f"base was {status_text(before)}"
    return ("regressed" if before.status == "ok" else "same"), status_text(after)


def neither_tried(before: Cell | TrainingRun | None, after: Cell | TrainingRun | None) -> bool:
    """Whether each side does not have it or had no time for it: then there is nothing to say."""
    return all(one is None or one.status == "skipped" for one in (before, after))


def status_text(measured: Cell | TrainingRun | None) -> str | None:
    """'oom: needs 12 GiB'."""
    return ": ".join(filter(None, [measured.status, measured.reason])) if measured else None
