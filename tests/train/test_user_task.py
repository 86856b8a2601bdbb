"""A user's own task is trained as a loop written by hand would train it, and says so when it comes apart."""

import json
import math
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import nn

from scalemark.model.task import load_task
from scalemark.schema import TaskRef, TrainingConfig, TrainingRun
from scalemark.train import learner
from scalemark.train.user_task import train_task

TASKS = """
import torch
import scalemark

def line():
    inputs = torch.randn(40, 3)
    targets = inputs @ torch.tensor([[1.0], [-2.0], [0.5]]) + 0.1 * torch.randn(40, 1)
    model = torch.nn.Linear(3, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.5)
    return scalemark.Task(model, optimizer, torch.nn.functional.mse_loss, (inputs[:32], targets[:32]),
                          (inputs[32:], targets[32:]), batch_size=8)

def classes(validated=True):
    targets = torch.arange(60) % 3
    inputs = torch.eye(3)[targets] + 0.1 * torch.randn(60, 3)
    model = torch.nn.Linear(3, 3)
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
    return scalemark.Task(model, optimizer, torch.nn.functional.cross_entropy, (inputs, targets),
                          (inputs, targets) if validated else None, batch_size=10)

def breaks(after):
    steps = []
    model = torch.nn.Linear(1, 1)
    def loss(outputs, targets):
        steps.append(1)
        return outputs.square().mean() * (float("nan") if len(steps) > after else 1.0)
    return scalemark.Task(model, torch.optim.SGD(model.parameters(), lr=0.01), loss,
                          (torch.ones(4, 1), torch.ones(4, 1)), batch_size=4)

def breaks_in_validation():
    model = torch.nn.Linear(1, 1)
    return scalemark.Task(model, torch.optim.SGD(model.parameters(), lr=0.01), torch.nn.functional.mse_loss,
                          (torch.ones(4, 1), torch.ones(4, 1)), (torch.ones(4, 1), torch.full((4, 1), float("inf"))),
                          batch_size=4)
"""


@pytest.fixture(autouse=True, scope="module")
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def tasks_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("tasks") / "bench_run_tasks.py"
    path.write_text(TASKS)
    return path


def trained(path: Path, function: str, samples: int, seed: int = 0, **arguments: int | bool) -> TrainingRun:
    reference = TaskRef(path=str(path), function=function, arguments=tuple(arguments.items()))
    return train_task(TrainingConfig(task=reference, tokens=samples, seed=seed), lambda *_: None)


def test_a_task_trains_exactly_as_a_loop_written_by_hand(tasks_path: Path) -> None:
    run = trained(tasks_path, "line", 400, seed=5)
    task = load_task(run.config.task, seed=5)  # type: ignore[arg-type]
    assert isinstance(task.model, nn.Linear) and task.validation
    weight, bias = (parameter.detach().clone() for parameter in (task.model.weight, task.model.bias))
    velocity = [torch.zeros_like(weight), torch.zeros_like(bias)]
    for step in range(50):
        rows = slice(8 * (step % 4), 8 * (step % 4) + 8)
        inputs, targets = task.train[0][rows], task.train[1][rows]
        error = inputs @ weight.T + bias - targets
        gradients = [2 / 8 * error.T @ inputs, 2 / 8 * error.sum(0)]  # of the mean squared error
        velocity = [0.5 * v + gradient for v, gradient in zip(velocity, gradients, strict=True)]
        weight, bias = weight - 0.05 * velocity[0], bias - 0.05 * velocity[1]
    error = task.validation[0] @ weight.T + bias - task.validation[1]
    assert run.status == "ok"
    assert run.validation_loss == pytest.approx(error.square().mean().item(), rel=1e-4)


def test_the_same_seed_gives_the_same_to_the_last_bit_and_another_does_not(tasks_path: Path) -> None:
    one, again, other = (trained(tasks_path, "line", 400, seed) for seed in (5, 5, 6))
    assert (one.curve, one.validation_loss) == (again.curve, again.validation_loss)
    assert one.validation_loss != other.validation_loss


def test_a_task_is_trained_on_as_many_samples_as_asked(tasks_path: Path) -> None:
    run = trained(tasks_path, "line", 400)
    assert (run.curve[-1].step, run.curve[-1].tokens) == (50, 400)
    assert run.config.batch is None, "the batch is the task's own"


def test_a_task_has_no_epochs_no_gap_and_no_bits_but_threads_and_times(tasks_path: Path) -> None:
    run = trained(tasks_path, "line", 8)
    assert (run.epochs, run.gap, run.bits_per_byte, run.validation_accuracy) == (None,) * 4
    assert run.validation_loss is not None
    assert run.threads == 1
    assert 0 < (run.seconds or 0) < (run.total_seconds or 0)


def test_a_task_with_classes_has_an_accuracy(tasks_path: Path) -> None:
    run = trained(tasks_path, "classes", 600)
    assert (run.validation_accuracy, run.validation_items) == (1.0, 60)


def test_a_task_without_validation_is_trained_all_the_same(tasks_path: Path) -> None:
    run = trained(tasks_path, "classes", 600, validated=False)
    assert (run.status, run.validation_loss, run.validation_accuracy) == ("ok", None, None)


def test_progress_is_told_and_ends_at_one(tasks_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(learner, "LOOK_EVERY_S", -1.0)
    told: list[float] = []
    config = TrainingConfig(task=TaskRef(path=str(tasks_path), function="line"), tokens=40)
    train_task(config, lambda _, fraction, __: told.append(fraction))
    assert told == [0.2, 0.4, 0.6, 0.8, 1.0]


@pytest.mark.parametrize("after", [0, 1, 60, 99])
def test_a_loss_that_is_no_number_is_a_divergence_at_its_step_even_without_validation(
    after: int, tasks_path: Path
) -> None:
    run = trained(tasks_path, "breaks", 400, after=after)
    assert (run.status, run.diverged_at_step) == ("diverged", after)
    assert run.reason == f"the loss blew up after step {after}: lower the learning rate"
    assert all(point.step <= after and math.isfinite(point.train_loss) for point in run.curve)


def test_a_validation_loss_without_end_is_a_divergence_and_is_written_without_it(tasks_path: Path) -> None:
    run = trained(tasks_path, "breaks_in_validation", 400)
    assert (run.status, run.validation_loss, run.diverged_at_step) == ("diverged", None, 100)

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} in the JSON")

    json.loads(run.model_dump_json(), parse_constant=refuse)
