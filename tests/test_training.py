"""`scalemark train` from its first line to the suite, through a kill in the middle."""

import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest
from driver import OTHER_TEXT, SCOUTED, TEXT, known_machine, losses, start, train, trained, write_command
from factories import make_suite, tiny_config
from typer.testing import Result

from scalemark import session, training
from scalemark.analysis import analyse, law_cells
from scalemark.errors import BudgetError
from scalemark.record.store import RunFolder, load_suite, read_journal
from scalemark.schema import JournalEntry, RunFinished, RunResumed, RunStarted, RunTrained, Suite
from scalemark.session import Request
from scalemark.train import grid, pace
from scalemark.train.executors import local
from scalemark.train.pace import Pace

# Two branches of one trunk, and a model of another seed. The long one is killed after its step 100.
CONFIGS = tuple(tiny_config(steps, seed=seed, corpus=None) for steps, seed in ((80, 0), (300, 0), (80, 1)))
KILLED_AT = 100

# The worker that there is, but it keeps its state many times a second and says in its log what it keeps and takes up.
EAGER_WORKER = """
from scalemark.process import serve
from scalemark.train import checkpoint, learner, trunk, worker
from scalemark.train.jobs import TrunkJob

learner.LOOK_EVERY_S, trunk.CHECKPOINT_EVERY_S = 0.02, 0.05
keep, take_up = checkpoint.Checkpoints.save, learner.Learner.restore

def keep_and_tell(checkpoints, name, state):
    keep(checkpoints, name, state)
    print("kept step", state["step"])

def take_up_and_tell(learner, state):
    take_up(learner, state)
    print("took up step", state["step"])

checkpoint.Checkpoints.save, learner.Learner.restore = keep_and_tell, take_up_and_tell
serve(TrunkJob, worker.work)
"""


def known(patch: pytest.MonkeyPatch) -> None:
    known_machine(patch, CONFIGS)


# A run that nothing disturbed, two models at a time


@dataclass(frozen=True)
class Whole:
    result: Result
    suite: Suite
    folder: RunFolder


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Whole:
    """All of it real, but for the grid, the first look at the machine and the number of steps that are timed."""
    out = tmp_path_factory.mktemp("whole") / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(grid, "find_grid", lambda name, seed: CONFIGS)
        patch.setattr(session, "scout", lambda site: SCOUTED)
        patch.setattr(pace, "STEPS", 8)
        result = train(out, "--jobs", "2")
    assert result.exit_code == 0, result.output
    return Whole(result, load_suite(out), RunFolder(out))


def test_every_run_of_the_grid_is_in_the_suite(whole: Whole) -> None:
    assert {str(run.config) for run in whole.suite.training_runs} == {
        str(session.placed(config, "cpu", _corpus(whole))) for config in CONFIGS
    }
    assert {run.status for run in whole.suite.training_runs} == {"ok"}
    assert whole.suite.complete and whole.suite.cells == ()


def _corpus(whole: Whole) -> session.Corpus:
    return session.open_corpus(TEXT, whole.folder.path / "corpora")


def test_the_suite_says_what_text_it_was_and_every_run_names_it(whole: Whole) -> None:
    facts = whole.suite.corpus
    assert facts and facts.identity.startswith("synthetic@")
    assert facts.train_tokens + facts.validation_tokens == 200_000
    assert facts.vocab_size == 32 and facts.entropy_rate and 1.9 < facts.entropy_rate < 2.2
    for run in whole.suite.training_runs:
        assert run.config.corpus == facts.identity
        assert run.config.model and run.config.model.vocab_size == 32
        assert run.validation_loss and facts.entropy_rate < run.validation_loss < 3.5


def test_runs_beside_one_another_say_so_and_on_how_many_threads(whole: Whole) -> None:
    assert {(run.shared, run.threads) for run in whole.suite.training_runs} == {(True, 1)}


def test_the_plan_is_said_before_and_the_files_after(whole: Whole) -> None:
    assert "0 cells and 3 training runs on cpu" in whole.result.stderr
    assert str(whole.folder.suite_path) in whole.result.stdout
    for path in (whole.folder.suite_path, whole.folder.markdown_path, whole.folder.html_path):
        assert path.stat().st_size > 1000


def test_nothing_but_the_states_of_trunks_is_left_of_the_work(whole: Whole) -> None:
    names = {path.stem for path in whole.folder.checkpoints_path.iterdir()}
    assert names == {run.config.trunk for run in whole.suite.training_runs}


# A run whose process is killed in the middle


@dataclass(frozen=True)
class Killed:
    """A folder as a kill left it, and the processes that there were just before."""

    folder: RunFolder
    journal: bytes
    workers: list[psutil.Process]


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the modules lie that the killed command runs."""
    folder = tmp_path_factory.mktemp("modules")
    (folder / "eager_worker.py").write_text(EAGER_WORKER)
    write_command(folder / "command.py", CONFIGS, "eager_worker")
    return folder


@pytest.fixture(scope="module")
def killed(stage: Path, tmp_path_factory: pytest.TempPathFactory) -> Killed:
    folder = RunFolder(tmp_path_factory.mktemp("killed") / "run")
    process = start(stage / "command.py", folder.path, "--jobs", "1")
    deadline = time.monotonic() + 300
    while _last_kept(folder) < KILLED_AT:
        assert time.monotonic() < deadline and process.poll() is None, process.communicate()
        time.sleep(0.005)
    workers = psutil.Process(process.pid).children(recursive=True)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    return Killed(folder, folder.journal_path.read_bytes(), workers)


def _last_kept(folder: RunFolder) -> int:
    lines = folder.log_path.read_text().splitlines() if folder.log_path.exists() else []
    steps = [int(line.split()[-1]) for line in lines if line.startswith("kept step") and line.split()[-1].isdigit()]
    return max(steps, default=0)


def test_a_kill_leaves_a_journal_of_what_was_done_and_no_suite(killed: Killed) -> None:
    entries = read_journal(killed.folder.journal_path)[: len(killed.journal.splitlines())]
    assert isinstance(entries[0], RunStarted)
    assert [run.config.n_steps for run in trained(entries)] == [80]
    assert not any(isinstance(entry, RunFinished) for entry in entries)


def test_the_children_of_a_killed_process_end_too(killed: Killed) -> None:
    assert killed.workers
    _, alive = psutil.wait_procs(killed.workers, timeout=30)
    assert not alive


@dataclass(frozen=True)
class Resumed:
    result: Result
    suite: Suite
    entries: list[JournalEntry]
    log: str


@pytest.fixture(scope="module")
def resumed(killed: Killed, stage: Path) -> Resumed:
    before = len(killed.folder.log_path.read_text())
    with pytest.MonkeyPatch.context() as patch:
        known(patch)
        patch.setattr(local, "WORKER_MODULE", "eager_worker")
        patch.syspath_prepend(stage)
        result = train(killed.folder.path, "--jobs", "1")
    assert result.exit_code == 0, result.output
    log = killed.folder.log_path.read_text()[before:]
    return Resumed(result, load_suite(killed.folder.path), read_journal(killed.folder.journal_path), log)


def test_what_was_recorded_before_the_kill_stays_as_it_was(killed: Killed, resumed: Resumed) -> None:
    whole_lines = killed.journal[: killed.journal.rfind(b"\n") + 1]
    assert whole_lines and killed.folder.journal_path.read_bytes().startswith(whole_lines)
    assert sum(isinstance(entry, RunStarted) for entry in resumed.entries) == 1
    assert sum(isinstance(entry, RunResumed) for entry in resumed.entries) == 1


def test_what_was_trained_is_not_trained_again(resumed: Resumed) -> None:
    keys = [run.config.key for run in trained(resumed.entries)]
    assert len(keys) == len(set(keys)) == 3
    assert [run.config.key for run in resumed.suite.training_runs] == keys
    assert "0 cells and 2 training runs" in resumed.result.stderr


def test_what_was_interrupted_goes_on_from_where_it_was(resumed: Resumed) -> None:
    said = [line for line in resumed.log.splitlines() if "step" in line]
    of_long_run = [int(line.split()[-1]) for line in said[: said.index(f"took up step {CONFIGS[1].decay_from}")]]
    assert said[0].startswith("took up step") and of_long_run[0] >= KILLED_AT
    assert min(of_long_run) == of_long_run[0], "no step is taken again"


def test_every_loss_is_that_of_a_run_that_nothing_disturbed_to_the_last_bit(whole: Whole, resumed: Resumed) -> None:
    assert losses(resumed.suite.training_runs) == losses(whole.suite.training_runs)


def test_the_suite_of_a_run_that_went_on_is_whole(whole: Whole, resumed: Resumed) -> None:
    assert resumed.suite.complete
    assert resumed.suite.corpus == whole.suite.corpus
    assert {run.shared for run in resumed.suite.training_runs} == {False}


def test_a_run_that_has_nothing_left_to_train_says_so_and_ends_well(
    killed: Killed, resumed: Resumed, monkeypatch: pytest.MonkeyPatch
) -> None:
    known(monkeypatch)
    monkeypatch.setattr(local, "WORKER_MODULE", "no_worker_is_needed")
    result = train(killed.folder.path)
    assert result.exit_code == 0, result.output
    assert "0 cells and 0 training runs" in result.stderr
    assert "trained already: 3 of 3" in result.stderr
    suite = load_suite(killed.folder.path)
    assert suite.complete and suite.training_runs == resumed.suite.training_runs
    assert len(trained(read_journal(killed.folder.journal_path))) == 3


def test_another_text_in_the_same_folder_is_refused_in_one_line(
    killed: Killed, resumed: Resumed, monkeypatch: pytest.MonkeyPatch
) -> None:
    known(monkeypatch)
    journal = killed.folder.journal_path.read_bytes()
    result = train(killed.folder.path, "--corpus", OTHER_TEXT)
    assert result.exit_code == 2
    errors = [line for line in result.stderr.splitlines() if line.startswith("scalemark: error: ")]
    assert len(errors) == 1 and result.stderr.splitlines()[-1] == errors[0]
    assert "begun with another text" in errors[0] and "--out" in errors[0]
    assert killed.folder.journal_path.read_bytes() == journal


# However it ends


def request(root: Path) -> Request:
    return Request((), CONFIGS, 3600.0, "cpu", 0, root, corpus=TEXT, out=root / "run")


def test_ctrl_c_leaves_a_suite_of_what_was_trained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    known(monkeypatch)
    done = make_suite().training_runs[0]

    def interrupted(*arguments: object) -> None:
        *_, record, _tell = arguments
        record(RunTrained(run=done))  # type: ignore[operator]
        raise KeyboardInterrupt

    monkeypatch.setattr(session, "train_within", interrupted)
    with pytest.raises(KeyboardInterrupt):
        training.run_training(request(tmp_path), 100)
    suite = load_suite(tmp_path / "run")
    assert not suite.complete and suite.training_runs == (done,)


def test_a_budget_that_holds_nothing_is_an_error_and_nothing_is_begun(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    known(monkeypatch)
    monkeypatch.setattr(session, "find_pace", lambda workshop: Pace(1e3, 0.0, 0.0))
    with pytest.raises(BudgetError, match="raise the budget"):
        training.run_training(request(tmp_path), 100)
    assert not (tmp_path / "run" / "journal.jsonl").exists()


# What training must never tell


def test_seconds_of_training_runs_change_no_cost_law() -> None:
    """They are taken while others train beside them: cost laws come from cells alone."""
    suite = make_suite()
    changes = {"shared": True, "seconds": 1e5, "total_seconds": 2e5, "threads": 7}
    slow = suite.model_copy(
        update={"training_runs": tuple(run.model_copy(update=changes) for run in suite.training_runs)}
    )
    assert law_cells(slow) == law_cells(suite)
    one, other = analyse(suite), analyse(slow)
    assert one.law("step_time") and one.law("memory")
    assert one.laws == other.laws and one.prices == other.prices and one.curves == other.curves


def test_a_suite_of_training_alone_has_no_cost_law_and_no_price() -> None:
    analysis = analyse(make_suite().model_copy(update={"cells": ()}))
    assert {law.kind for law in analysis.laws} == {"loss"} and analysis.prices == ()
