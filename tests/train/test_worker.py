"""What a worker does with a job: what the time holds, and a word on the rest."""

import json
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from factories import make_token_files, tiny_config
from pydantic import BaseModel

from scalemark.process import Began, Progress, Refused
from scalemark.schema import RunTrained, TaskRef, TrainingConfig, TrainingRun
from scalemark.train import learner
from scalemark.train import worker as worker_module
from scalemark.train.checkpoint import Checkpoints
from scalemark.train.jobs import RunOrder, TokenFiles, TrunkJob
from scalemark.train.trunk import train_trunk
from scalemark.train.worker import OVERTIME, work

TASKS = """
import torch
import scalemark

def raises():
    raise ValueError("no weights here\\nand a second line")

def breaks():
    model = torch.nn.Linear(1, 1)
    return scalemark.Task(model, torch.optim.SGD(model.parameters(), lr=0.1), lambda *_: torch.tensor(float("nan"),
                          requires_grad=True), (torch.ones(4, 1), torch.ones(4, 1)), batch_size=4)

def fine():
    model = torch.nn.Linear(1, 1)
    return scalemark.Task(model, torch.optim.SGD(model.parameters(), lr=0.1), torch.nn.functional.mse_loss,
                          (torch.ones(4, 1), torch.ones(4, 1)), batch_size=4)
"""
CONFIGS = (tiny_config(8), tiny_config(20), tiny_config(40))


@pytest.fixture(autouse=True, scope="module")
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.fixture(autouse=True)
def _told_of_every_step(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(learner, "LOOK_EVERY_S", -1.0)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> TokenFiles:
    return make_token_files(tmp_path_factory.mktemp("text"))


@pytest.fixture
def tasks_path(tmp_path: Path) -> Path:
    path = tmp_path / "bench_worker_tasks.py"
    path.write_text(TASKS)
    return path


class Clock:
    """Time that passes with the steps of a training alone, a second each."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 0.0
        monkeypatch.setattr(worker_module, "time", SimpleNamespace(monotonic=lambda: self.now))

    def hear(self, message: BaseModel) -> None:
        self.now += isinstance(message, Progress)


def orders(configs: tuple[TrainingConfig, ...] = CONFIGS, expected_s: float = 0.001) -> tuple[RunOrder, ...]:
    return tuple(RunOrder(config=config, expected_s=expected_s) for config in configs)


# The branches add 8, 14 and 25 steps, and so many seconds by the clock above; of the first alone that was known.
OPTIMISTIC = tuple(
    RunOrder(config=config, expected_s=expected_s) for config, expected_s in zip(CONFIGS, (8.0, 1.0, 1.0), strict=True)
)


def said(
    files: TokenFiles, orders: tuple[RunOrder, ...], clock: Clock | None = None, **changes: object
) -> list[BaseModel]:
    job = TrunkJob(orders=orders, files=files, budget_s=1000.0, validation_windows=8).model_copy(update=changes)
    heard: list[BaseModel] = []

    def emit(message: BaseModel) -> None:
        heard.append(message)
        if clock:
            clock.hear(message)

    work(job, emit)
    return heard


def runs(heard: list[BaseModel]) -> list[TrainingRun]:
    return [message.run for message in heard if isinstance(message, RunTrained)]


def results(heard: list[BaseModel]) -> list[dict[str, object]]:
    return [run.model_dump(exclude={"seconds", "total_seconds", "shared"}) for run in runs(heard)]


# What is said


def test_a_job_is_told_run_by_run(files: TokenFiles) -> None:
    heard = said(files, orders())
    kinds = [
        (type(message).__name__, message.run.config.key if isinstance(message, RunTrained) else message.key)  # type: ignore[attr-defined]
        for message in heard
    ]
    changes = [kind for kind, before in zip(kinds, [None, *kinds], strict=False) if kind != before]
    assert changes == [(name, config.key) for config in CONFIGS for name in ("Began", "Progress", "RunTrained")]
    shares = [message.fraction for message in heard if isinstance(message, Progress)][-10:]
    assert shares == sorted(shares) and shares[-1] == 1.0
    assert all(message.note.startswith("loss ") for message in heard if isinstance(message, Progress))


def test_a_worker_trains_what_the_library_trains(files: TokenFiles) -> None:
    heard = said(files, orders())
    here = train_trunk(CONFIGS, files, lambda *_: None, Checkpoints(None), validation_windows=8)
    assert results(heard) == [run.model_dump(exclude={"seconds", "total_seconds", "shared"}) for run in here]


@pytest.mark.parametrize("shared", [False, True])
def test_threads_and_whether_others_trained_beside_it_are_recorded(
    shared: bool, files: TokenFiles, tasks_path: Path
) -> None:
    config = TrainingConfig(task=TaskRef(path=str(tasks_path), function="fine"), tokens=4)
    (run,) = runs(said(files, orders((config,)), shared=shared, threads=2))
    assert (run.status, run.shared, run.threads) == ("ok", shared, 2)


def test_the_first_word_is_of_the_first_run_even_where_its_text_is_not_there(files: TokenFiles) -> None:
    """A worker that dies while it makes a model must have said which: else its death ends the whole grid."""
    gone = files.model_copy(update={"train_path": "nowhere.bin"})
    first, *others = said(gone, orders())
    assert first == Began(key=CONFIGS[0].key)
    assert [run.status for run in runs(others)] == ["failed"] * 3


def test_a_worker_keeps_to_its_cpus_before_it_starts_a_thread(
    files: TokenFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    did: list[object] = []
    monkeypatch.setattr(worker_module, "keep_to", did.append)
    monkeypatch.setattr(torch, "set_num_threads", did.append)
    said(files, orders(CONFIGS[:1], expected_s=10.0), affinity=(1, 3), threads=2, budget_s=5.0)
    assert did == [(1, 3), 2]


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without CUDA")
def test_a_device_that_is_not_there_is_refused_before_anything_is_trained(files: TokenFiles) -> None:
    (message,) = said(files, orders(), device="cuda")
    assert isinstance(message, Refused) and "no CUDA device was found" in message.reason


# What the time holds


def test_a_run_that_the_time_does_not_hold_is_skipped_with_what_to_do(files: TokenFiles) -> None:
    (began, ended) = said(files, orders(CONFIGS[:1], expected_s=10.0), budget_s=5.0)
    assert isinstance(began, Began) and began.key == CONFIGS[0].key
    assert isinstance(ended, RunTrained)
    assert (ended.run.status, ended.run.validation_loss) == ("skipped", None)
    assert ended.run.reason == "takes about 10 s, more than is left: raise the budget"


def test_runs_are_begun_as_long_as_they_fit(files: TokenFiles, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the steps, which take a second each, the branches add 8, 14 and 25."""
    wanted = tuple(
        RunOrder(config=config, expected_s=expected_s)
        for config, expected_s in zip(CONFIGS, (8.0, 14.0, 25.0), strict=True)
    )
    heard = said(files, wanted, Clock(monkeypatch), budget_s=30.0)
    assert [run.status for run in runs(heard)] == ["ok", "ok", "skipped"]
    assert "takes about 25 s" in (runs(heard)[2].reason or "")


def test_a_machine_slower_than_expected_is_told_by_how_much(files: TokenFiles, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two seconds were expected for the first run, and it takes eight: so does the second take four times as long."""
    heard = said(files, orders(CONFIGS[:2], expected_s=2.0), Clock(monkeypatch), budget_s=15.0)
    first, second = runs(heard)
    assert (first.status, second.status) == ("ok", "skipped")
    assert "takes about 8 s" in (second.reason or "")


def test_short_runs_that_went_fast_promise_no_more_than_half_the_time(
    files: TokenFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard = said(files, orders(CONFIGS[:2], expected_s=80.0), Clock(monkeypatch), budget_s=45.0 + 40.0)
    assert [run.status for run in runs(heard)] == ["ok", "ok"]
    heard = said(files, orders(CONFIGS[:2], expected_s=80.0), Clock(monkeypatch), budget_s=81.0 - 40.0)
    assert [run.status for run in runs(heard)] == ["skipped", "skipped"]


def test_what_was_begun_may_go_a_little_past_the_time_and_no_further(
    files: TokenFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard = said(files, OPTIMISTIC, Clock(monkeypatch), budget_s=20.0)
    assert [run.status for run in runs(heard)] == ["ok", "ok", "skipped"], "22 steps are within a tenth of 20 s"
    heard = said(files, OPTIMISTIC, Clock(monkeypatch), budget_s=10.0)
    assert [run.status for run in runs(heard)] == ["ok", "skipped", "skipped"]
    assert runs(heard)[1].reason == "the time was over at 50% of it: raise the budget"
    told = [message for message in heard if isinstance(message, Progress)]
    assert len(told) == 12 > 10 * OVERTIME


def test_a_run_that_was_not_come_to_is_not_said_to_be_half_done(
    files: TokenFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard = said(files, OPTIMISTIC, Clock(monkeypatch), budget_s=10.0)
    assert runs(heard)[2].reason == "no time was left to begin it: raise the budget"


def test_what_ran_out_of_time_goes_on_from_its_checkpoint_the_next_time(
    files: TokenFiles, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = said(files, OPTIMISTIC, Clock(monkeypatch), budget_s=10.0, checkpoints=str(tmp_path))
    assert [run.status for run in runs(first)] == ["ok", "skipped", "skipped"]
    second = said(files, orders(CONFIGS[1:]), checkpoints=str(tmp_path))
    told = [message for message in second if isinstance(message, Progress)]
    assert told[0].fraction == 11 / 20
    assert [*results(first)[:1], *results(second)] == results(said(files, orders()))


# What goes wrong


def test_a_task_that_raises_fails_in_one_line(files: TokenFiles, tasks_path: Path) -> None:
    config = TrainingConfig(task=TaskRef(path=str(tasks_path), function="raises"), tokens=4)
    (run,) = runs(said(files, orders((config,))))
    assert (run.status, run.reason) == ("failed", "ValueError: no weights here")


def test_a_trunk_that_comes_apart_is_told_branch_by_branch_without_a_nan(files: TokenFiles, tasks_path: Path) -> None:
    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} in what a worker says")

    absurd = tuple(tiny_config(n_steps, learning_rate=1e30) for n_steps in (8, 20))
    task = TrainingConfig(task=TaskRef(path=str(tasks_path), function="breaks"), tokens=4)
    for heard in (said(files, orders(absurd)), said(files, orders((task,)))):
        assert {run.status for run in runs(heard)} == {"diverged"}
        for message in heard:
            json.loads(message.model_dump_json(), parse_constant=refuse)


def test_a_checkpoint_that_cannot_be_written_fails_the_trunk_and_says_what_to_do(
    files: TokenFiles, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("in the way")
    ended = runs(said(files, orders(), checkpoints=str(tmp_path / "file")))
    assert [run.status for run in ended] == ["failed"] * 3
    assert all("make room and run again" in (run.reason or "") for run in ended)
