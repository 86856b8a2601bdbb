"""A worker that dies costs its own runs at most, and none is left when the executor is."""

import os
import signal
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import pytest
import torch
from factories import make_token_files, tiny_config

from scalemark.errors import DeviceError, ScalemarkError
from scalemark.process import Began, Message, Progress
from scalemark.schema import RunTrained, TaskRef, TrainingConfig, TrainingRun
from scalemark.train.checkpoint import Checkpoints
from scalemark.train.executors import local
from scalemark.train.executors.local import Place, open_pool, share_cpus
from scalemark.train.executors.pool import Ended, Pool
from scalemark.train.jobs import RunOrder, TokenFiles, TrunkJob
from scalemark.train.trunk import train_trunk

# A worker that does as the names of its runs say, and writes down what it does. It needs no torch, so it starts fast.
ACTING_WORKER = """
import os, signal, time
from pathlib import Path
from scalemark.process import Began, Progress, Refused, serve
from scalemark.schema import RunTrained, TrainingRun
from scalemark.train.jobs import TrunkJob

HERE = Path(__file__).parent
leaving = False

def note(word):
    with (HERE / "notes").open("a") as file:
        print(word, os.getpid(), file=file)

def wait_for(name):
    deadline = time.monotonic() + 120
    while not (HERE / name).exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    return (HERE / name).exists()

def work(job, emit):
    global leaving
    if leaving:
        os._exit(7)
    for order in job.orders:
        emit(Began(key=order.key))
        name, arguments = order.config.task.function, dict(order.config.task.arguments)
        note(name)
        word = f"{job.threads} {job.affinity} {os.environ['OMP_NUM_THREADS']}"
        if name == "killed":
            os.kill(os.getpid(), signal.SIGKILL)
        if name == "ends":
            os._exit(7)
        if name == "sleeps":
            time.sleep(600)
        if name == "refused":
            emit(Refused(reason="there is no such device"))
            return
        if name == "meets":
            (HERE / arguments["me"]).touch()
            word += f" {'met' if wait_for(arguments['other']) else 'alone'}"
        leaving = name == "leaves"
        emit(RunTrained(run=TrainingRun(config=order.config, status="ok", reason=word)))

serve(TrunkJob, work)
"""
# The worker that there is, which looks and keeps its state at every step, and is killed once: just after step 18.
DYING_WORKER = """
import os, signal
from pathlib import Path
from scalemark.process import serve
from scalemark.train import checkpoint, learner, trunk, worker
from scalemark.train.jobs import TrunkJob

learner.LOOK_EVERY_S, trunk.CHECKPOINT_EVERY_S = -1.0, 0.0
keep = checkpoint.Checkpoints.save

def keep_and_die(checkpoints, name, state):
    keep(checkpoints, name, state)
    marker = Path(__file__).parent / "died"
    if state["step"] == 18 and not marker.exists():
        marker.touch()
        os.kill(os.getpid(), signal.SIGKILL)

checkpoint.Checkpoints.save = keep_and_die
serve(TrunkJob, worker.work)
"""
NO_FILES = TokenFiles(train_path="unused", validation_path="unused")
LONG_S = 120.0


@dataclass
class Stage:
    """A folder with a worker module in it, and what was heard of it."""

    folder: Path
    heard: list[Message] = field(default_factory=list)
    threads_before: set[threading.Thread] = field(default_factory=lambda: set(threading.enumerate()))

    def executor(self, *places: Place) -> Pool:
        return open_pool(places or (Place(1, None),), self.folder / "log", self.heard.append)

    @property
    def notes(self) -> list[tuple[str, int]]:
        """What was begun, and in which process."""
        path = self.folder / "notes"
        lines = path.read_text().splitlines() if path.exists() else []
        return [(line.split()[0], int(line.split()[1])) for line in lines]

    @property
    def runs(self) -> dict[str, TrainingRun]:
        return {str(message.run.config): message.run for message in self.heard if isinstance(message, RunTrained)}

    def wait_for(self, word: str) -> None:
        deadline = time.monotonic() + LONG_S
        while word not in [name for name, _ in self.notes] and time.monotonic() < deadline:
            time.sleep(0.01)

    def wait_for_threads(self) -> None:
        """Until all that the executor has begun have ended."""
        for thread in set(threading.enumerate()) - self.threads_before:
            thread.join(30)
            assert not thread.is_alive()


@pytest.fixture
def stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stage]:
    """After every test on it there is neither a thread that was begun in it nor a worker process."""
    (tmp_path / "acting_worker.py").write_text(ACTING_WORKER)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(local, "WORKER_MODULE", "acting_worker")
    stage = Stage(tmp_path)
    yield stage
    stage.wait_for_threads()
    assert not workers()


def workers() -> list[psutil.Process]:
    return [child for child in psutil.Process().children(recursive=True) if "_worker" in " ".join(child.cmdline())]


def act(name: str, **arguments: str) -> TrainingConfig:
    return TrainingConfig(task=TaskRef(path="acts.py", function=name, arguments=tuple(arguments.items())), tokens=1)


def job(*configs: TrainingConfig, files: TokenFiles = NO_FILES, **changes: object) -> TrunkJob:
    orders = tuple(RunOrder(config=config, expected_s=0.001) for config in configs)
    return TrunkJob(orders=orders, files=files, budget_s=LONG_S).model_copy(update=changes)


def all_of(executor: Pool, *jobs: TrunkJob) -> list[Ended]:
    with executor:
        for one in jobs:
            executor.submit(one)
        return list(executor.as_completed())


# Places


def test_each_slot_has_cpus_of_its_own() -> None:
    assert share_cpus(2, 1, (0, 2, 4)) == (Place(1, (0,)), Place(1, (2,)))
    assert share_cpus(2, 2, (0, 2, 4, 6)) == (Place(2, (0, 2)), Place(2, (4, 6)))


@pytest.mark.parametrize("affinity", [None, (0, 2, 4)])
def test_where_there_are_too_few_cpus_or_they_are_unknown_none_is_bound(affinity: tuple[int, ...] | None) -> None:
    assert share_cpus(2, 2, affinity) == (Place(2, None), Place(2, None))


# Slots


def test_two_slots_work_at_the_same_time_on_cpus_of_their_own(stage: Stage) -> None:
    """Each waits for the other: one after the other, they would wait in vain."""
    here, there = act("meets", me="here", other="there"), act("meets", me="there", other="here")
    ended = all_of(stage.executor(Place(1, (0,)), Place(1, (1,))), job(here), job(there))
    assert [one.death for one in ended] == [None, None]
    said = sorted((run.reason or "") for run in stage.runs.values())
    assert said == ["1 (0,) 1 met", "1 (1,) 1 met"]
    assert len({pid for _, pid in stage.notes}) == 2


def test_jobs_follow_each_other_in_one_process(stage: Stage) -> None:
    jobs = [job(act("fine", me=name)) for name in "abcd"]
    ended = all_of(stage.executor(), *jobs)
    assert [one.job.key for one in ended] == [one.key for one in jobs]
    assert len(stage.notes) == 4 and len({pid for _, pid in stage.notes}) == 1


def test_jobs_can_be_handed_in_after_others_are_over(stage: Stage) -> None:
    with stage.executor() as executor:
        for name in "ab":
            executor.submit(job(act("fine", me=name)))
            assert [one.death for one in executor.as_completed()] == [None]
    assert len({pid for _, pid in stage.notes}) == 1


def test_there_are_no_more_workers_than_jobs(stage: Stage) -> None:
    all_of(stage.executor(*[Place(1, None)] * 4), job(act("fine")))
    assert len(stage.notes) == 1


def test_no_jobs_are_over_at_once(stage: Stage) -> None:
    assert all_of(stage.executor()) == []


# Deaths


def test_one_that_dies_every_time_costs_its_own_runs_and_the_rest_is_done(stage: Stage) -> None:
    """Two runs of one job: the first is done, the second kills its process, twice, and the third is never come to."""
    unlucky = job(act("fine", me="before"), act("killed"), act("fine", me="after"))
    others = [job(act("fine", me=name)) for name in "abc"]
    ended = {one.job.key: one for one in all_of(stage.executor(*[Place(1, None)] * 2), unlucky, *others)}
    over = ended[unlucky.key]
    assert over.death and over.death.key == act("killed").key
    assert f"signal {signal.SIGKILL.value}" in over.death.reason
    assert [order.key for order in over.left] == [act("killed").key, act("fine", me="after").key]
    assert [ended[one.key].death for one in others] == [None] * 3
    assert len(stage.runs) == 4
    assert [name for name, _ in stage.notes].count("killed") == 2, "it is tried twice"
    assert [name for name, _ in stage.notes].count("fine") == 4, "and what was done is not done again"


def test_an_exit_status_is_named(stage: Stage) -> None:
    (ended,) = all_of(stage.executor(), job(act("ends")))
    assert ended.death and "exit status 7" in ended.death.reason


def test_a_worker_that_dies_between_two_jobs_costs_neither(stage: Stage) -> None:
    first, second = act("leaves"), act("fine")
    assert [one.death for one in all_of(stage.executor(), job(first), job(second))] == [None, None]
    assert set(stage.runs) == {str(first), str(second)}
    assert len({pid for _, pid in stage.notes}) == 2


def test_workers_that_cannot_even_begin_end_the_grid_with_one_error(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local, "WORKER_MODULE", "there_is_no_such_worker")
    with pytest.raises(ScalemarkError, match="ended before it began"):
        all_of(stage.executor(), job(act("fine")), job(act("fine")))


def test_a_refusal_reaches_the_caller(stage: Stage) -> None:
    with pytest.raises(DeviceError, match="there is no such device"):
        all_of(stage.executor(), job(act("refused")), job(act("fine")))


def test_a_worker_killed_while_it_trains_is_replaced_and_the_loss_is_that_of_an_undisturbed_run(
    stage: Stage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "dying_worker.py").write_text(DYING_WORKER)
    monkeypatch.setattr(local, "WORKER_MODULE", "dying_worker")
    files, configs = make_token_files(tmp_path), [tiny_config(8), tiny_config(20)]
    wanted = job(*configs, files=files, checkpoints=str(tmp_path / "checkpoints"), validation_windows=8)
    (ended,) = all_of(stage.executor(), wanted)
    assert (tmp_path / "died").exists()
    assert (ended.death, ended.left) == (None, ())
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    undisturbed = train_trunk(configs, files, lambda *_: None, Checkpoints(None), validation_windows=8)
    timed = {"seconds", "total_seconds"}
    assert [stage.runs[str(config)].model_dump(exclude=timed) for config in configs] == [
        run.model_dump(exclude=timed) for run in undisturbed
    ]
    torch.set_num_threads(before)
    told = [round(20 * one.fraction) for one in stage.heard if isinstance(one, Progress) and one.key == configs[1].key]
    assert told == list(range(7, 21)), "no step is taken twice"
    assert [one.key for one in stage.heard if isinstance(one, Began)] == [configs[0].key, *[configs[1].key] * 2]


# Leaving


def test_leaving_in_the_middle_ends_every_worker_and_begins_no_other_job(stage: Stage) -> None:
    def interrupted() -> None:
        with stage.executor(*[Place(1, None)] * 2) as executor:
            for name, me in (("sleeps", "a"), ("sleeps", "b"), ("fine", "c"), ("fine", "d")):
                executor.submit(job(act(name, me=me)))
            stage.wait_for("sleeps")
            assert workers()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    stage.wait_for_threads()
    assert not workers()
    assert {name for name, _ in stage.notes} == {"sleeps"}


def test_leaving_at_once_ends_a_worker_that_has_not_begun(stage: Stage) -> None:
    with stage.executor() as executor:
        executor.submit(job(act("sleeps")))
    stage.wait_for_threads()
    assert not workers()


def test_workers_are_ended_where_a_listener_raises(stage: Stage) -> None:
    def hear(_: Message) -> None:
        raise OSError("the disk is full")

    with pytest.raises(OSError, match="full"):
        all_of(open_pool((Place(1, None),), stage.folder / "log", hear), job(act("fine")), job(act("sleeps")))
    stage.wait_for_threads()
    assert not workers()


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system has no affinity")
def test_a_place_without_cpus_leaves_the_worker_where_it_is(stage: Stage) -> None:
    all_of(stage.executor(), job(act("fine"), affinity=(0,)))
    assert [run.reason for run in stage.runs.values()] == ["1 None 1"]
