"""What is seen while a grid trains: on a terminal a screen, in a log a line now and then."""

import io
from types import SimpleNamespace

import factories
import pytest
from factories import make_training_run, tiny_config
from rich.console import Console

from scalemark import live
from scalemark.live import LINE_EVERY_S, LiveGrid, live_law, screen
from scalemark.process import Began, Progress
from scalemark.schema import Law, RunTrained, TrainingRun
from scalemark.train.jobs import RunOrder
from scalemark.train.plan import GridPlan, TrunkPlan
from scalemark.train.progress import GridProgress

RUNS = tuple(
    make_training_run(model, tokens)
    for model in factories.TRAINED_SHAPES
    for tokens in (250_000, 500_000, 1_000_000, 2_000_000)
)
NOW = (tiny_config(1000), tiny_config(1000, seed=1))


def console(terminal: bool = True) -> Console:
    return Console(file=io.StringIO(), force_terminal=terminal, width=120, color_system=None)


def written(console: Console) -> str:
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def under_way(done: tuple[TrainingRun, ...] = ()) -> GridProgress:
    """Some runs are over, and two train just now."""
    configs = [*(run.config for run in RUNS), *NOW]
    trunks = tuple(TrunkPlan((RunOrder(config=config, expected_s=10.0),), 20.0) for config in configs)
    progress = GridProgress(GridPlan(trunks, (), slots=2))
    for run in done:
        progress.take(RunTrained(run=run))
    for config, share, loss in zip(NOW, (0.25, 0.5), (3.21, 2.87), strict=True):
        progress.take(Began(key=config.key))
        progress.take(Progress(key=config.key, fraction=share, note=f"loss {loss:.3f}"))
    return progress


def seen(progress: GridProgress, law: Law | None = None) -> str:
    page = console()
    page.print(screen(progress, law))
    return written(page)


def test_the_screen_shows_what_trains_how_far_it_is_and_its_loss() -> None:
    lines = seen(under_way()).splitlines()
    for config, share, loss in ((NOW[0], "25%", "loss 3.210"), (NOW[1], "50%", "loss 2.870")):
        (line,) = [line for line in lines if str(config) in line.split()]
        assert share in line and loss in line and "━" in line


def test_the_screen_shows_what_is_done_with_its_loss_and_gap() -> None:
    lines = seen(under_way(RUNS[:3])).splitlines()
    for run in RUNS[:3]:
        (line,) = [line for line in lines if str(run.config) in line]
        assert f"loss {run.validation_loss:.4f}" in line and "+0.010" in line


def test_the_screen_shows_the_latest_runs_alone() -> None:
    page = seen(under_way(RUNS))
    assert str(RUNS[-1].config) in page and str(RUNS[0].config) not in page


def test_a_run_that_came_apart_is_shown_with_what_to_do() -> None:
    reason = "the loss blew up after step 7: lower the learning rate"
    apart = RUNS[0].model_copy(update={"status": "diverged", "validation_loss": None, "reason": reason})
    assert f"diverged  {reason}" in seen(under_way((apart,)))


def test_the_screen_shows_how_many_are_done_and_the_time_left() -> None:
    """Seventeen runs of ten seconds are left, two at a time, at twice the speed that was expected."""
    assert "0 of 18 runs done, about 44 s left" in seen(under_way())
    assert "16 of 18 runs done" in seen(under_way(RUNS))


def test_there_is_no_law_until_there_are_enough_runs() -> None:
    assert live_law(list(RUNS[:3])) is None
    assert f"no law yet: it needs {live.FEWEST_ROWS} runs" in seen(under_way(RUNS[:3]))


def test_runs_that_failed_and_tasks_of_a_user_make_no_law() -> None:
    failed = [run.model_copy(update={"status": "failed"}) for run in RUNS]
    assert live_law([*failed, *RUNS[:3]]) is None


def test_the_law_so_far_is_shown_with_its_interval() -> None:
    law = live_law(list(RUNS))
    assert law and law.kind == "loss"
    floor = law.parameters[0].estimate
    page = seen(under_way(RUNS), law)
    assert f"law so far: no model goes below {floor.value:.2f} ({floor.low:.2f} to {floor.high:.2f}" in page


# On a terminal, and in a log


def test_on_a_terminal_the_law_is_fitted_anew_only_when_a_run_is_added(monkeypatch: pytest.MonkeyPatch) -> None:
    fitted: list[int] = []
    monkeypatch.setattr(live, "live_law", lambda runs: fitted.append(len(runs)))
    with LiveGrid(console()) as grid:
        for done in (1, 1, 2, 2, 2, 3):
            grid(under_way(RUNS[:done]))
    assert fitted == [1, 2, 3]


def test_on_a_terminal_the_screen_is_gone_when_the_grid_is_over_and_what_was_said_stays() -> None:
    page = console()
    with LiveGrid(page) as grid:
        grid.say("the plan")
        grid(under_way(RUNS))
    assert "the plan\n" in written(page)
    assert "16 of 18 runs done" in written(page)
    assert written(page).rstrip("\n").endswith("\x1b[2K"), "the last thing written clears the screen's lines"


def test_in_a_log_there_is_a_line_now_and_then_and_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = SimpleNamespace(now=1000.0)
    monkeypatch.setattr(live, "time", SimpleNamespace(monotonic=lambda: clock.now))
    log = console(terminal=False)
    with LiveGrid(log) as grid:
        for _ in range(100):
            clock.now += 1.0
            grid(under_way())
    lines = written(log).splitlines()
    assert len(lines) == 100 // LINE_EVERY_S
    assert all("0 of 18 training runs done" in line and "loss 3.210" in line and " left" in line for line in lines)
    assert "\x1b" not in written(log)


def test_in_a_log_no_law_is_fitted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "live_law", lambda runs: pytest.fail("a log does not show it"))
    with LiveGrid(console(terminal=False)) as grid:
        grid(under_way(RUNS))


@pytest.mark.parametrize("terminal", [True, False])
def test_what_is_said_is_a_line_of_its_own_as_it_is(terminal: bool) -> None:
    """Brackets are no markup, and a long line is not broken."""
    page = console(terminal)
    with LiveGrid(page) as grid:
        grid.say("d2w16 [bold] " + "x" * 200)
    assert "d2w16 [bold] " + "x" * 200 + "\n" in written(page)
