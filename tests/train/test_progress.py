"""How far a grid is: shares, what trains just now, and a time left that falls to nothing."""

from types import SimpleNamespace

import pytest
from factories import tiny_config

from scalemark.process import Began, Progress
from scalemark.schema import RunTrained, TrainingConfig, TrainingRun
from scalemark.train import progress as progress_module
from scalemark.train.jobs import RunOrder
from scalemark.train.plan import GridPlan, TrunkPlan
from scalemark.train.progress import GridProgress

SHORT, LONG, OTHER = tiny_config(2000), tiny_config(4000), tiny_config(2000, seed=1)


def order(config: TrainingConfig, expected_s: float) -> RunOrder:
    return RunOrder(config=config, expected_s=expected_s)


TRUNKS = (
    TrunkPlan((order(SHORT, 10.0), order(LONG, 20.0)), 60.0),
    TrunkPlan((order(OTHER, 12.0),), 24.0),
)


class Clock:
    now = 0.0


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(progress_module, "time", SimpleNamespace(monotonic=lambda: clock.now))
    return clock


def under_way(slots: int = 1) -> GridProgress:
    """Just begun, by whatever clock there is."""
    return GridProgress(GridPlan(TRUNKS, (), slots), _started=progress_module.time.monotonic())


def began(config: TrainingConfig) -> Began:
    return Began(key=config.key)


def at(config: TrainingConfig, share: float, note: str = "loss 2.000") -> Progress:
    return Progress(key=config.key, fraction=share, note=note)


def over(config: TrainingConfig, status: str = "ok") -> RunTrained:
    return RunTrained(run=TrainingRun.model_validate({"config": config, "status": status}))


def test_before_anything_is_said_all_of_it_is_left() -> None:
    assert (under_way().running, under_way().runs) == ([], [])
    assert under_way().left_s == pytest.approx(42)
    assert under_way(slots=2).left_s == pytest.approx(30), "two slots: the longer trunk decides"


def test_what_runs_is_what_began_and_is_not_over() -> None:
    progress = under_way(slots=2)
    for message in (began(SHORT), began(OTHER), at(OTHER, 0.25, "loss 3.1"), at(SHORT, 0.5, "loss 2.9")):
        progress.take(message)
    assert progress.running == [(SHORT, 0.5, "loss 2.9"), (OTHER, 0.25, "loss 3.1")]
    progress.take(over(SHORT))
    progress.take(began(LONG))
    assert progress.running == [(OTHER, 0.25, "loss 3.1"), (LONG, 0.0, "")]
    assert [run.config for run in progress.runs] == [SHORT]


def test_a_run_that_is_begun_again_by_another_worker_is_one_run() -> None:
    progress = under_way()
    for message in (began(SHORT), at(SHORT, 0.5), began(SHORT)):
        progress.take(message)
    assert progress.running == [(SHORT, 0.5, "loss 2.000")]


def test_time_left_falls_with_every_report_and_ends_at_nothing(clock: Clock) -> None:
    progress = under_way()
    left_s = [progress.left_s]
    for config, expected_s, first in ((OTHER, 12, 0.0), (SHORT, 10, 0.0), (LONG, 20, 1500 / 4000)):
        progress.take(began(config))
        for share in (0.25, 0.5, 0.75):
            clock.now += expected_s / 4
            progress.take(at(config, first + (1 - first) * share))
            left_s.append(progress.left_s)
        clock.now += expected_s / 4
        progress.take(over(config))
        left_s.append(progress.left_s)
    assert left_s == pytest.approx([42, 39, 36, 33, 30, 27.5, 25, 22.5, 20, 15, 10, 5, 0])
    assert left_s[-1] == 0


def test_steps_that_a_branch_shares_with_the_one_before_it_are_not_counted_as_done_by_it() -> None:
    """It begins where that one left: at step 1500 of 4000."""
    progress = under_way()
    for message in (over(OTHER), over(SHORT), began(LONG), at(LONG, 1500 / 4000)):
        progress.take(message)
    assert progress.running == [(LONG, 0.375, "loss 2.000")]
    assert progress.left_s == pytest.approx(0.5 * 20)


def test_runs_that_were_skipped_or_failed_leave_nothing_to_wait_for() -> None:
    progress = under_way()
    for config, status in ((SHORT, "diverged"), (LONG, "skipped"), (OTHER, "failed")):
        progress.take(over(config, status))
    assert progress.left_s == 0
    assert str(progress) == "3 of 3 training runs done"


def test_a_machine_slower_than_expected_has_more_time_left(clock: Clock) -> None:
    progress = under_way()
    progress.take(began(OTHER))
    clock.now = 24.0
    progress.take(over(OTHER))
    assert progress.left_s == pytest.approx(2 * 30)


@pytest.mark.parametrize(("elapsed_s", "factor"), [(1.0, 0.5), (1200.0, 3.0)])
def test_one_odd_run_does_not_promise_too_much(elapsed_s: float, factor: float, clock: Clock) -> None:
    progress = under_way()
    clock.now = elapsed_s
    progress.take(over(OTHER))
    assert progress.left_s == pytest.approx(factor * 30)


def test_one_line_says_how_many_are_done_and_what_runs() -> None:
    progress = under_way(slots=2)
    assert str(progress) == "0 of 3 training runs done"
    for message in (began(SHORT), over(SHORT), began(LONG), began(OTHER), at(LONG, 0.4, "loss 1.620")):
        progress.take(message)
    assert str(progress) == f"1 of 3 training runs done; {LONG} 40% loss 1.620; {OTHER} 0%"
