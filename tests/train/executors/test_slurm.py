"""Jobs of Slurm, by submitit's stand-in of processes on this machine: same losses, whatever is killed."""

import os
import re
import signal
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest
from driver import known_machine, losses, shares, start, train, trained, wait_for_runs, write_command
from factories import tiny_config
from handing_out import LONG, NO_FILES, SHORT, Listener, all_of, job

from scalemark.errors import DeviceError, InputError, ScalemarkError
from scalemark.process import Began, Message, Progress
from scalemark.record.store import RunFolder, load_suite, read_journal
from scalemark.schema import RunTrained, TaskRef, TrainingConfig, TrainingRun
from scalemark.train.executors import slurm
from scalemark.train.executors.remote import write_ticket
from scalemark.train.executors.slurm import (
    SlurmSeat,
    SlurmTask,
    Spool,
    harvest,
    has_whole_node,
    open_pool,
    parse_limit_min,
)
from scalemark.train.jobs import TokenFiles, TrunkJob

pytest.importorskip("submitit", reason='needs the extra: pip install "scalemark[slurm]"')
LOCAL = {"cluster": "local"}
RUN = TrainingRun(config=SHORT, status="ok", validation_loss=2.0)


# Options


@pytest.mark.parametrize(
    ("text", "minutes"),
    [("90", 90), ("1:30", 2), ("1:30:00", 90), ("0:00:10", 1), ("2-0", 2880), ("1-1:30", 1530), ("1-1:30:30", 1531)],
)
def test_a_time_limit_is_read_as_sbatch_reads_it(text: str, minutes: int) -> None:
    """Man page of sbatch, --time: minutes, M:S, H:M:S, D-H, D-H:M and D-H:M:S."""
    assert parse_limit_min(text) == minutes


@pytest.mark.parametrize("text", ["", "soon", "1:2:3:4", "-5", "1h"])
def test_what_is_no_time_limit_says_how_to_write_one(text: str) -> None:
    with pytest.raises(InputError, match="as sbatch takes it, 90 or 1:30:00 or 2-0"):
        parse_limit_min(text)


@pytest.fixture
def sbatch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Path]:
    """Puts a made-up srun, and an sbatch that does as it is told, where the real ones would be found."""

    def put(script: str) -> Path:
        for name, content in (("srun", ""), ("sbatch", script)):
            (tmp_path / name).write_text(f"#!/bin/sh\n{content}\n")
            (tmp_path / name).chmod(0o755)
        monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
        return tmp_path

    return put


def taken(options: dict[str, str], job: TrunkJob, folder: Path) -> list[str]:
    """The lines of the file that sbatch gets for a job."""
    (seat,) = open_pool(folder / "slurm", 1, options, print).seats
    assert isinstance(seat, SlurmSeat)
    seat._submit(SlurmTask(write_ticket(job, "slurm"), folder / "a.jsonl"), job)
    return (folder / "taken").read_text().splitlines()


def test_options_reach_the_file_that_sbatch_gets(sbatch: Callable[[str], Path]) -> None:
    folder = sbatch('cp "$1" "$(dirname "$0")/taken"; echo Submitted batch job 7')
    options = {"partition": "short", "account": "lab", "gres": "gpu:1", "mail-user": "a@b", "exclusive": "true"}
    wanted = job(SHORT, files=NO_FILES).model_copy(update={"threads": 3})
    lines = taken(options | {"time": "1:30:00"}, wanted, folder)
    for flag in ("partition=short", "account=lab", "gres=gpu:1", "mail-user=a@b", "exclusive", "time=90"):
        assert f"#SBATCH --{flag}" in lines
    assert "#SBATCH --cpus-per-task=3" in lines
    assert any(line.startswith("#SBATCH --signal=USR2@") for line in lines)


def test_a_limit_that_nobody_asks_for_holds_the_budget_and_what_comes_before_and_after(
    sbatch: Callable[[str], Path],
) -> None:
    folder = sbatch('cp "$1" "$(dirname "$0")/taken"; echo Submitted batch job 7')
    (limit,) = [line for line in taken({}, job(SHORT, files=NO_FILES), folder) if "--time=" in line]
    budget_min = job(SHORT, files=NO_FILES).budget_s / 60
    assert budget_min + 5 <= int(limit.partition("=")[2]) <= 1.5 * budget_min + 15


def test_what_sbatch_complains_of_is_said_in_one_line(sbatch: Callable[[str], Path]) -> None:
    folder = sbatch("echo 'sbatch: error: invalid partition specified: no' >&2; exit 1")
    with pytest.raises(InputError, match=r"invalid partition specified: no.*check --slurm-option"):
        all_of(open_pool(folder / "slurm", 1, {"partition": "no"}, print), job(SHORT, files=NO_FILES))


def test_without_slurm_it_is_said_where_to_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(DeviceError, match="run this on a login node"):
        slurm.find_submitit({})
    slurm.find_submitit(LOCAL)


def test_a_node_is_whole_where_slurm_gave_all_of_its_cpus() -> None:
    everything = os.cpu_count() or 1
    assert has_whole_node({"SLURM_CPUS_ON_NODE": str(everything)}) is True
    assert has_whole_node({"SLURM_CPUS_ON_NODE": str(everything - 1)}) is False
    assert has_whole_node({}) is None


# Reports


def test_reports_are_read_once_and_in_order_while_they_are_written(tmp_path: Path) -> None:
    writer, reader = Spool(tmp_path / "a.jsonl"), Spool(tmp_path / "a.jsonl")
    assert list(reader.read()) == []
    writer.append(Began(key="a").model_dump_json())
    writer.append(RunTrained(run=RUN).model_dump_json())
    assert list(reader.read()) == [Began(key="a"), RunTrained(run=RUN)]
    assert list(reader.read()) == [] and not reader.is_done
    writer.append_done()
    assert list(reader.read()) == [] and reader.is_done


def test_half_a_line_waits_for_its_end_and_one_that_a_kill_cut_off_is_passed_over(tmp_path: Path) -> None:
    path, line = tmp_path / "a.jsonl", RunTrained(run=RUN).model_dump_json()
    path.write_text(line[:30])
    reader = Spool(path)
    assert list(reader.read()) == []
    Spool(path).append("")
    Spool(path).append(line)
    assert list(reader.read()) == [RunTrained(run=RUN)]


def test_what_jobs_of_a_lost_driver_reported_is_taken_and_those_under_way_are_asked_to_stop(tmp_path: Path) -> None:
    done, under_way = Spool(tmp_path / "a.jsonl"), Spool(tmp_path / "b.jsonl")
    done.append(RunTrained(run=RUN).model_dump_json())
    done.append_done()
    under_way.append(Began(key="b").model_dump_json())
    assert harvest(tmp_path) == [RunTrained(run=RUN)]
    assert (done.is_to_stop, under_way.is_to_stop) == (False, True)
    assert harvest(tmp_path / "none") == []


# Training


def tasks(folder: Path) -> list[psutil.Process]:
    """The processes that train, of submitit's stand-in."""
    found = []
    for process in psutil.process_iter(["cmdline"]):
        words = process.info["cmdline"] or []
        if "submitit.core._submit" in words and str(folder) in words:
            found.append(process)
    return found


def wait_until(holds: Callable[[], bool], wait_s: float = 120.0) -> None:
    deadline = time.monotonic() + wait_s
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.fixture(autouse=True)
def _looks_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slurm, "LOOK_EVERY_S", 0.05)


def disturbed(by: int, files: TokenFiles, folder: Path) -> Listener:
    """Both runs of a trunk, whose process is sent a signal while it trains the long one; they end well."""

    def send() -> None:
        (process,) = tasks(folder / "slurm")
        process.send_signal(by)

    listener = Listener(send)
    wanted = job(SHORT, LONG, files=files, checkpoints=folder / "checkpoints")
    ended = all_of(open_pool(folder / "slurm", 1, LOCAL, listener), wanted)
    assert listener.at and [one.death for one in ended] == [None]
    return listener


def test_a_preempted_job_is_queued_again_and_goes_on_where_it_was_to_the_same_loss(
    files: TokenFiles, undisturbed: dict[str, object], tmp_path: Path
) -> None:
    """SIGUSR2 is what submitit has Slurm send before a time limit or a preemption."""
    listener = disturbed(signal.SIGUSR2, files, tmp_path)
    assert losses(listener.runs).items() <= undisturbed.items()
    assert len(list((tmp_path / "slurm").glob("*.jsonl"))) == 1, "it is one job to Slurm"
    told = shares(listener.heard, LONG)
    assert told == sorted(told), "it goes on from the state that it kept when it stopped"
    assert [run.config for run in listener.runs] == [SHORT, LONG], "and what was reported is not trained again"


def test_a_killed_job_is_begun_again_from_its_checkpoint_to_the_same_loss(
    files: TokenFiles, undisturbed: dict[str, object], tmp_path: Path
) -> None:
    listener = disturbed(signal.SIGKILL, files, tmp_path)
    assert losses(listener.runs).items() <= undisturbed.items()
    assert len(list((tmp_path / "slurm").glob("*.jsonl"))) == 2
    assert min(listener.shares_after) * LONG.n_steps > SHORT.decay_from, "its trunk was kept there"
    place = listener.runs[-1].place
    assert place and (place.executor, place.exclusive) == ("slurm", None)
    assert not listener.runs[-1].has_own_node and listener.runs[-1].shared


def test_a_run_that_ends_its_process_fails_with_the_job_that_it_was(files: TokenFiles, tmp_path: Path) -> None:
    (tmp_path / "bench_deadly.py").write_text("import os\n\ndef deadly():\n    os._exit(3)\n")
    deadly = TrainingConfig(task=TaskRef(path=str(tmp_path / "bench_deadly.py"), function="deadly"), tokens=4)
    pool = open_pool(tmp_path / "slurm", 1, LOCAL, Listener())
    pool.tries = 1
    (lost,) = all_of(pool, job(deadly, files=files))
    assert lost.death and lost.death.key == deadly.key and [order.config for order in lost.left] == [deadly]
    assert re.search(r"Slurm's job \d+ was lost", lost.death.reason)


def test_a_fault_of_our_own_on_a_node_ends_the_grid_and_names_the_log(
    files: TokenFiles, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would be the same on every node."""
    monkeypatch.setattr(slurm, "SlurmTask", lambda *_: _raise)
    with pytest.raises(ScalemarkError, match=r"a job of Slurm failed: .*\.err says why"):
        all_of(open_pool(tmp_path / "slurm", 1, LOCAL, print), job(SHORT, files=files))


def _raise() -> None:
    raise RuntimeError("made up")


@dataclass
class Over:
    """A job of Slurm that has ended; well, where it has left a result."""

    result: Path
    job_id: str = "7"
    state: str = "COMPLETED"

    @property
    def paths(self) -> "Over":
        return self

    @property
    def result_pickle(self) -> Path:
        return self.result

    def done(self, force_check: bool) -> bool:
        return True

    def exception(self) -> None:
        return None


@pytest.mark.parametrize(("ended_well", "is_lost"), [(True, False), (False, True)])
def test_reports_that_a_slow_file_system_shows_late_are_waited_for_where_the_job_ended_well(
    ended_well: bool, is_lost: bool, tmp_path: Path
) -> None:
    (seat,) = open_pool(tmp_path / "slurm", 1, LOCAL, print).seats
    assert isinstance(seat, SlurmSeat)
    spool = Spool(tmp_path / "a.jsonl")
    if ended_well:
        (tmp_path / "result.pkl").touch()

    def show_late() -> None:
        spool.append(RunTrained(run=RUN).model_dump_json())
        spool.append_done()

    threading.Timer(0.3, show_late).start()
    heard = list(seat._reports(Over(tmp_path / "result.pkl"), spool))
    assert heard == ([] if is_lost else [RunTrained(run=RUN)])
    assert spool.is_done != is_lost


def test_leaving_ends_the_job_that_is_under_way(files: TokenFiles, tmp_path: Path) -> None:
    def interrupt(message: Message) -> None:
        if isinstance(message, Progress):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        all_of(open_pool(tmp_path / "slurm", 1, LOCAL, interrupt), job(tiny_config(100_000), files=files))
    wait_until(lambda: not tasks(tmp_path / "slurm"), 30)


# The command


ASKED = ("--executor", "slurm", "--slurm-option", "cluster=local", "--jobs", "2")


@pytest.fixture(scope="module")
def killed(grid: tuple[TrainingConfig, ...], tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunFolder]:
    """The folder of a driver that was killed when one run was recorded. Its jobs train on."""
    folder = tmp_path_factory.mktemp("killed")
    run = RunFolder(folder / "run")
    process = start(write_command(folder / "command.py", grid), run.path, *ASKED)
    wait_for_runs(run, 1, process)
    process.kill()
    process.communicate()
    yield run
    wait_until(lambda: not tasks(run.path / "slurm"), 30)


def test_the_same_command_goes_on_after_the_driver_was_killed(
    killed: RunFolder,
    grid: tuple[TrainingConfig, ...],
    trained_here: dict[str, object],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    known_machine(monkeypatch, grid)
    result = train(killed.path, *ASKED)
    assert result.exit_code == 0, result.output
    assert "slurm: 2 at a time, 1 thread each" in result.stderr
    keys = [run.config.key for run in trained(read_journal(killed.journal_path))]
    assert len(keys) == len(set(keys)) == 3, "what was recorded is not trained again"
    suite = load_suite(killed.path)
    assert suite.complete and {run.status for run in suite.training_runs} == {"ok"}
    assert suite.settings.executor == "slurm" and suite.settings.executor_options == LOCAL
    assert losses(suite.training_runs) == trained_here
