"""The grid spends its budget from the cheapest run up, and a worker that dies costs one run."""

import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from pydantic import BaseModel

from scalemark.errors import DeviceError
from scalemark.process import Began, Refused
from scalemark.schema import Accounting, RunTrained, TaskRef, TrainingConfig, TrainingRun
from scalemark.train.corpus import Corpus, prepare_kjv
from scalemark.train.executor import WORKER_START_S, GridPlan, Place, RunOrder, TrainJob, plan_grid, run_grid
from scalemark.train.grid import OVERHEAD_S, grid_shape, training_grid
from scalemark.train.run import train_language_model
from scalemark.train.worker import work

TASKS = """
import os
import signal
import torch
import scalemark

def raises():
    raise ValueError("no weights here\\nand a second line")

def killed():
    os.kill(os.getpid(), signal.SIGKILL)

def fine():
    model = torch.nn.Linear(2, 2)
    data = (torch.randn(8, 2), torch.arange(8) % 2)
    print("a stray print is no report")
    return scalemark.Task(model, torch.optim.SGD(model.parameters(), lr=0.1), torch.nn.functional.cross_entropy,
                          data, data, batch_size=4)
"""
TINY = TrainingConfig(
    model=grid_shape(16), tokens=8192, batch=8, seq_len=64, learning_rate=0.016, optimizer="adamw", corpus="kjv"
)
TOO_LARGE = TrainingConfig.model_validate({**TINY.model_dump(), "tokens": 4_000_000})


def same_step_s(_: Accounting) -> float:
    return 0.1


def proportional_step_s(accounting: Accounting) -> float:
    return accounting.flops.model_flops("step") / 1e10


def affordable(budget_s: float) -> GridPlan:
    return plan_grid(training_grid(), proportional_step_s, budget_s)


@pytest.fixture(autouse=True, scope="module")
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    return prepare_kjv(tmp_path_factory.mktemp("corpus"))


# What the budget holds


def test_the_cheapest_runs_come_first() -> None:
    plan = affordable(300)
    expected = [order.expected_s for order in (*plan.orders, *plan.left_out)]
    assert expected == sorted(expected)
    assert 0 < len(plan.orders) < len(training_grid())


def test_no_configuration_is_lost_or_taken_twice() -> None:
    plan = affordable(300)
    keys = [order.key for order in (*plan.orders, *plan.left_out)]
    assert sorted(keys) == sorted(config.key for config in training_grid())


@pytest.mark.parametrize("budget_s", [6, 30, 300, 3000])
def test_a_plan_fits_its_budget_and_one_more_run_would_not(budget_s: float) -> None:
    plan = affordable(budget_s)
    assert plan.expected_s <= budget_s
    spent_s = WORKER_START_S + sum(order.expected_s for order in plan.orders)
    assert not plan.left_out or spent_s + plan.left_out[0].expected_s > budget_s


def test_a_budget_that_holds_everything_leaves_nothing_out() -> None:
    plan = affordable(1e9)
    assert not plan.left_out and len(plan.orders) == len(training_grid())


def test_a_budget_that_holds_nothing_takes_no_time() -> None:
    plan = affordable(WORKER_START_S)
    assert not plan.orders and plan.expected_s == 0


def test_a_run_is_expected_to_take_its_steps_and_the_overhead() -> None:
    plan = plan_grid([TINY], same_step_s, budget_s=100)
    assert plan.orders[0].expected_s == pytest.approx(16 * 0.1 + OVERHEAD_S)
    assert plan.expected_s == pytest.approx(WORKER_START_S + 16 * 0.1 + OVERHEAD_S)


# A grid with a run of every kind, trained for real


@dataclass(frozen=True)
class Trained:
    runs: dict[str, TrainingRun]
    order: list[str]
    told: list[str]
    log: str


@pytest.fixture(scope="module")
def trained(corpus: Corpus, tmp_path_factory: pytest.TempPathFactory) -> Trained:
    folder = tmp_path_factory.mktemp("grid")
    path = folder / "bench_executor_tasks.py"
    path.write_text(TASKS)
    tasks = [
        TrainingConfig(task=TaskRef(path=str(path), function=name), tokens=40) for name in ("raises", "killed", "fine")
    ]
    plan = plan_grid([TOO_LARGE, TINY, *tasks], same_step_s, budget_s=100)
    entries: list[RunTrained] = []
    told: list[str] = []
    run_grid(plan, corpus, Place("cpu", 1, None, folder / "workers.log"), entries.append, told.append)  # type: ignore[arg-type]
    names = {config.key: str(config) for config in (TOO_LARGE, TINY, *tasks)}
    runs = {names[entry.run.config.key]: entry.run for entry in entries}
    order = [names[entry.run.config.key] for entry in entries]
    return Trained(runs, order, told, (folder / "workers.log").read_text())


def test_every_configuration_ends_as_one_run(trained: Trained) -> None:
    assert trained.order == ["raises-40", "killed-40", "fine-40", str(TINY), str(TOO_LARGE)]


def test_what_does_not_fit_is_skipped_with_what_to_do(trained: Trained) -> None:
    run = trained.runs[str(TOO_LARGE)]
    assert run.status == "skipped"
    assert "raise --scale-budget" in (run.reason or "")
    assert float((run.reason or "").split()[2]) > 100, "the seconds named must be more than the budget"


def test_a_run_in_a_worker_is_the_run_in_this_process_to_the_last_bit(trained: Trained, corpus: Corpus) -> None:
    run = trained.runs[str(TINY)]
    here = train_language_model(TINY, corpus.train_path, corpus.validation_path, lambda *_: None)
    assert run.status == "ok"
    timed = {"seconds", "total_seconds"}
    assert run.model_dump(exclude=timed) == here.model_dump(exclude=timed)


def test_a_task_that_raises_fails_alone_and_in_one_line(trained: Trained) -> None:
    run = trained.runs["raises-40"]
    assert (run.status, run.reason) == ("failed", "ValueError: no weights here")


def test_a_task_that_kills_its_process_costs_only_its_own_run(trained: Trained) -> None:
    run = trained.runs["killed-40"]
    assert run.status == "failed"
    assert f"signal {signal.SIGKILL.value}" in (run.reason or "")
    assert [name for name, run in trained.runs.items() if run.status == "ok"] == ["fine-40", str(TINY)]


def test_a_stray_print_of_a_task_goes_to_the_log(trained: Trained) -> None:
    assert "a stray print is no report" in trained.log


def test_progress_names_the_run_and_its_place_in_the_grid(trained: Trained) -> None:
    assert any(line.startswith(f"training run 4 of 4: {TINY}, 100%, loss ") for line in trained.told)


# The worker's own decisions


def work_here(corpus: Corpus, **changes: object) -> list[BaseModel]:
    job = {
        "device": "cpu",
        "threads": 1,
        "train_path": str(corpus.train_path),
        "validation_path": str(corpus.validation_path),
        "budget_s": 100.0,
        "orders": (RunOrder(config=TINY, expected_s=1.0),),
    }
    said: list[BaseModel] = []
    work(TrainJob.model_validate({**job, **changes}), said.append)
    return said


def test_a_run_that_the_time_left_no_longer_holds_is_skipped(corpus: Corpus) -> None:
    began, ended = work_here(corpus, budget_s=0.5)
    assert isinstance(began, Began) and began.key == TINY.key
    assert isinstance(ended, RunTrained)
    assert ended.run.status == "skipped"
    assert "raise --scale-budget" in (ended.run.reason or "")


def test_a_machine_slower_than_expected_is_told_by_how_much(corpus: Corpus) -> None:
    """The first run takes far longer than the microsecond expected, so the second cannot fit."""
    orders = (RunOrder(config=TINY, expected_s=1e-6), RunOrder(config=TINY, expected_s=1.0))
    first, second = [said.run for said in work_here(corpus, orders=orders) if isinstance(said, RunTrained)]
    assert (first.status, second.status) == ("ok", "skipped")
    assert float((second.reason or "").split()[2]) > 1000


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without CUDA")
def test_a_device_that_is_not_there_is_refused_before_anything_is_trained(corpus: Corpus) -> None:
    (said,) = work_here(corpus, device="cuda")
    assert isinstance(said, Refused) and "--scale-device cpu" in said.reason


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without CUDA")
def test_a_refusal_reaches_whoever_runs_the_grid(corpus: Corpus, tmp_path: Path) -> None:
    plan = plan_grid([TINY], same_step_s, budget_s=100)
    with pytest.raises(DeviceError, match="no CUDA device"):
        run_grid(plan, corpus, Place("cuda", 1, None, tmp_path / "log"), lambda _: None, lambda _: None)
