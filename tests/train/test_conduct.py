"""Every configuration of a plan ends as one recorded run, whatever becomes of it, and the grid goes on."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Self

import pytest
import torch
from factories import make_token_files, tiny_config

from scalemark.errors import DeviceError
from scalemark.process import Death, Message
from scalemark.schema import JournalEntry, RunTrained, TrainingConfig, TrainingRun
from scalemark.train.conduct import Workshop, find_pace, run_grid, train_within
from scalemark.train.executors.pool import Ended
from scalemark.train.jobs import RunOrder, TokenFiles, TrunkJob
from scalemark.train.pace import Pace
from scalemark.train.plan import GridPlan, TrunkPlan
from scalemark.train.worker import work

SHORT, LONG = tiny_config(8), tiny_config(20)
ABSURD = tiny_config(8, learning_rate=1e30)
OTHER_SEED = tiny_config(8, seed=1)
TOO_LARGE = tiny_config(100_000)
DEADLY = tiny_config(8, seed=2)


@dataclass
class Here:
    """An executor that does each job in this process, at once; a job with a deadly run ends as if its worker died."""

    hear: Callable[[Message], None]
    slots: int = 1
    jobs: list[TrunkJob] = field(default_factory=list)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def submit(self, job: TrunkJob) -> None:
        self.jobs.append(job)

    def as_completed(self) -> Iterator[Ended]:
        for job in self.jobs:
            if DEADLY.key in [order.key for order in job.orders]:
                yield Ended(job, job.orders, Death(DEADLY.key, "oom", "the worker was killed (signal 9)"))
            else:
                work(job.model_copy(update={"validation_windows": 8}), self.hear)  # type: ignore[arg-type]
                yield Ended(job)


@dataclass(frozen=True)
class WorkshopHere(Workshop):
    """One whose executor is this process."""

    executors: list[Here] = field(default_factory=list)

    def executor(self, hear: Callable[[Message], None]) -> Here:  # type: ignore[override]
        self.executors.append(Here(hear, self.slots))
        return self.executors[-1]


@dataclass(frozen=True)
class Outcome:
    recorded: list[JournalEntry]
    told: list[str]
    last_left_s: float
    jobs: list[TrunkJob]

    @property
    def runs(self) -> dict[str, TrainingRun]:
        return {entry.run.config.key: entry.run for entry in self.recorded if isinstance(entry, RunTrained)}


@pytest.fixture(autouse=True, scope="module")
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def workshop(tmp_path_factory: pytest.TempPathFactory) -> WorkshopHere:
    folder = tmp_path_factory.mktemp("workshop")
    return WorkshopHere("cpu", 1, 1, None, make_token_files(folder), folder / "log", folder / "checkpoints")


def trunk(*configs: TrainingConfig, budget_s: float = 1000.0) -> TrunkPlan:
    return TrunkPlan(tuple(RunOrder(config=config, expected_s=0.001) for config in configs), budget_s)


def conducted(plan: GridPlan, workshop: WorkshopHere) -> Outcome:
    recorded: list[JournalEntry] = []
    told: list[str] = []
    left_s: list[float] = []

    def tell(progress: object) -> None:
        told.append(str(progress))
        left_s.append(progress.left_s)  # type: ignore[attr-defined]

    run_grid(plan, workshop, recorded.append, tell)
    return Outcome(recorded, told, left_s[-1], workshop.executors[-1].jobs)


@pytest.fixture(scope="module")
def outcome(workshop: WorkshopHere) -> Outcome:
    """A trunk of every kind: one that comes apart, one whose worker dies, one that the time does not hold."""
    trunks = (trunk(ABSURD), trunk(DEADLY), trunk(OTHER_SEED, budget_s=0.0), trunk(SHORT, LONG))
    return conducted(GridPlan(trunks, (RunOrder(config=TOO_LARGE, expected_s=5000.0),)), workshop)


def test_every_run_of_a_plan_ends_as_one_recorded_run(outcome: Outcome) -> None:
    assert len(outcome.recorded) == len(outcome.runs) == 5
    assert [run.status for run in outcome.runs.values()] == ["diverged", "failed", "skipped", "ok", "ok"]


def test_what_the_time_no_longer_holds_says_what_to_do(outcome: Outcome) -> None:
    assert "raise the budget" in (outcome.runs[OTHER_SEED.key].reason or "")


def test_a_run_that_comes_apart_is_recorded_with_advice_and_the_grid_goes_on(outcome: Outcome) -> None:
    run = outcome.runs[ABSURD.key]
    assert run.diverged_at_step is not None
    assert "lower the learning rate" in (run.reason or "")
    assert outcome.runs[LONG.key].status == "ok"


def test_a_death_costs_the_runs_of_its_worker_with_the_signal(outcome: Outcome) -> None:
    run = outcome.runs[DEADLY.key]
    assert (run.status, run.reason) == ("failed", "the worker was killed (signal 9)")


def test_progress_is_told_to_the_end(outcome: Outcome) -> None:
    assert outcome.told[-1] == "5 of 5 training runs done"
    assert outcome.last_left_s == 0
    assert any(str(LONG) in line and "loss" in line for line in outcome.told)


def test_runs_are_recorded_as_they_end(workshop: WorkshopHere) -> None:
    """What was recorded is there when progress is told, so that a crash just then loses nothing."""
    recorded: list[JournalEntry] = []
    seen: list[tuple[int, int]] = []
    plan = GridPlan((trunk(SHORT, OTHER_SEED.model_copy(update={"seed": 0, "tokens": LONG.tokens})),), ())
    run_grid(plan, workshop, recorded.append, lambda progress: seen.append((len(recorded), len(progress.runs))))
    assert all(n_recorded == n_runs for n_recorded, n_runs in seen)
    assert (1, 1) in seen


@pytest.mark.parametrize(("slots", "shared"), [(1, False), (2, True), (4, True)])
def test_runs_that_share_the_machine_say_so(slots: int, shared: bool, workshop: WorkshopHere) -> None:
    found = conducted(GridPlan((trunk(SHORT),), (), slots), replace(workshop, slots=slots))
    assert [run.shared for run in found.runs.values()] == [shared]


def test_a_job_holds_all_that_a_worker_needs(workshop: WorkshopHere, outcome: Outcome) -> None:
    job = outcome.jobs[-1]
    assert [order.config for order in job.orders] == [SHORT, LONG]
    assert (job.files, job.device, job.threads, job.budget_s) == (workshop.files, "cpu", 1, 1000.0)
    assert job.checkpoints == str(workshop.checkpoints)
    assert TrunkJob.model_validate_json(job.model_dump_json()) == job


def test_where_nothing_is_to_be_kept_no_folder_is_named(workshop: WorkshopHere) -> None:
    assert replace(workshop, checkpoints=None).job().checkpoints is None


def test_an_empty_plan_is_over_at_once(workshop: WorkshopHere) -> None:
    told: list[object] = []
    run_grid(GridPlan((), ()), workshop, told.append, told.append)
    assert told == []


# Plan, train, and again while there is time

PACE = Pace(per_layer_s=0.001, s_per_gflop=0.0, s_per_gb=0.0)


def within(budget_s: float, configs: list[TrainingConfig], workshop: Workshop) -> list[TrainingRun]:
    recorded: list[JournalEntry] = []
    train_within(budget_s, configs, (), PACE, workshop, recorded.append, lambda _: None)
    return [entry.run for entry in recorded if isinstance(entry, RunTrained)]


def test_every_configuration_ends_as_one_run_those_that_do_not_fit_too(workshop: WorkshopHere) -> None:
    runs = within(60.0, [SHORT, LONG, TOO_LARGE, OTHER_SEED], workshop)
    assert {run.config.key: run.status for run in runs} == {
        SHORT.key: "ok",
        LONG.key: "ok",
        OTHER_SEED.key: "ok",
        TOO_LARGE.key: "skipped",
    }
    assert len(runs) == 4
    (left_out,) = [run for run in runs if run.status == "skipped"]
    assert "raise the budget" in (left_out.reason or "")


@dataclass(frozen=True)
class HurriedWorkshop(WorkshopHere):
    """One in which the first jobs find that their time is over at once, all but those of `SHORT`'s trunk."""

    def executor(self, hear: Callable[[Message], None]) -> Here:  # type: ignore[override]
        here = super().executor(hear)
        if len(self.executors) == 1:
            submit = here.submit
            here.submit = lambda job: submit(  # type: ignore[method-assign]
                job if job.key == SHORT.trunk else job.model_copy(update={"budget_s": 0.0})
            )
        return here


def test_what_a_slow_moment_cut_off_is_trained_in_the_time_that_is_left(workshop: WorkshopHere) -> None:
    hurried = HurriedWorkshop("cpu", 1, 1, None, workshop.files, workshop.log_path, workshop.checkpoints)
    runs = within(60.0, [SHORT, OTHER_SEED], hurried)
    assert [(run.config.key, run.status) for run in runs] == [
        (OTHER_SEED.key, "skipped"),
        (SHORT.key, "ok"),
        (OTHER_SEED.key, "ok"),
    ] or [(run.config.key, run.status) for run in runs] == [
        (SHORT.key, "ok"),
        (OTHER_SEED.key, "skipped"),
        (OTHER_SEED.key, "ok"),
    ]


def test_what_is_trained_already_is_not_trained_again(workshop: WorkshopHere) -> None:
    recorded: list[JournalEntry] = []
    train_within(60.0, [SHORT, LONG], {SHORT.key}, PACE, workshop, recorded.append, lambda _: None)
    assert [entry.run.config.key for entry in recorded if isinstance(entry, RunTrained)] == [LONG.key]


def test_the_pace_is_found_with_the_workshops_own_workers(workshop: WorkshopHere, tmp_path: Path) -> None:
    """Here the text is missing, so no step can be timed."""
    gone = replace(workshop, files=TokenFiles(train_path=str(tmp_path / "no"), validation_path=str(tmp_path / "no")))
    with pytest.raises(DeviceError, match=r"workers\.log"):
        find_pace(gone)
    assert len(gone.executors[-1].jobs) == 1
