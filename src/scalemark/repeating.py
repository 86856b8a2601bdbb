"""Run a suite's cells again, each time as a campaign of its own, to learn how far runs of the same code differ.

    a suite ─> the same cells, device, seed and time ─> n fresh campaigns ─> the suite with its repeats

Models are not trained again: a seed fixes their loss.
"""

from collections.abc import Callable
from pathlib import Path

from scalemark.errors import InputError
from scalemark.record.repeats import with_repeats
from scalemark.record.store import read_journal
from scalemark.schema import RunStarted, Suite
from scalemark.session import SMALLEST_BUDGET_S, Request, Session, describe, finish, measure, start
from scalemark.units import format_seconds


def repeat_cells(suite: Suite, n: int, results_root: Path, tell: Callable[[str], None]) -> Suite:
    """The suite with what `n` reruns of its cells gave; the reruns are kept as runs below `results_root`.

    Raises InputError where the suite is of another machine or has no cell to run again.
    """
    request = rerun_request(suite, results_root)
    return with_repeats(suite, [_rerun(request, suite, number, n, tell) for number in range(1, n + 1)])


def rerun_request(suite: Suite, results_root: Path) -> Request:
    """The suite's measured cells with its own settings, in the time that its timing had; nothing is trained."""
    workloads = tuple(cell.workload for cell in suite.cells if cell.status == "ok")
    if not workloads:
        raise InputError(f"suite {suite.id} has no measured cell: its noise cannot be measured")
    return Request(
        workloads=workloads,
        trainings=(),
        budget_s=timing_budget_s(suite),
        device=suite.settings.device,
        seed=suite.settings.seed,
        results_root=results_root,
        selection=suite.settings.selection,
    )


def timing_budget_s(suite: Suite) -> float:
    """The run's budget without what its training took, as far as the record tells; never less than a run needs."""
    trained_s = sum((run.total_seconds or 0.0) / _beside(run.threads, suite) for run in suite.training_runs)
    return max(suite.settings.budget_s - trained_s, SMALLEST_BUDGET_S)


def _beside(threads: int | None, suite: Suite) -> int:
    """How many models were trained at a time, on a CPU one on each of their shares of the threads."""
    if suite.settings.device != "cpu" or not threads:
        return 1
    return max(1, suite.settings.threads // threads)


def _rerun(request: Request, suite: Suite, number: int, n: int, tell: Callable[[str], None]) -> Suite:
    session = start(request)
    _check_machine(session, suite)
    if number == 1:
        tell(f"{n} reruns, about {format_seconds(n * session.expected_s, 2)}")
        for line in describe(session):
            tell(line)
    complete = False
    try:
        measure(session, lambda _: None)
        complete = True
    finally:
        again = finish(session, complete)
    tell(f"rerun {number} of {n}: {format_seconds(again.duration_s, 2)}, {session.folder.suite_path}")
    return again


def _check_machine(session: Session, suite: Suite) -> None:
    """Before anything is measured: noise of another machine says nothing here."""
    begun = next(entry for entry in read_journal(session.folder.journal_path) if isinstance(entry, RunStarted))
    if begun.machine.id != suite.machine.id:
        raise InputError(
            f"suite {suite.id} is of {suite.machine.id} and this is {begun.machine.id}: rerun it where it was measured"
        )
