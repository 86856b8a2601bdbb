"""A training run is repeatable, learns real text, and says so when it fails to."""

import json
import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from scalemark.model.task import Task, load_task, make_optimizer
from scalemark.model.transformer import Transformer, next_token_loss
from scalemark.schema import TaskRef, TrainingConfig, TrainingRun
from scalemark.train.corpus import Corpus, open_tokens, prepare_kjv, spread_windows
from scalemark.train.grid import grid_shape
from scalemark.train.run import CURVE_POINTS, VALIDATION_WINDOWS, train_language_model, train_task, validate

SHORT = TrainingConfig(
    model=grid_shape(16), tokens=4096, batch=8, seq_len=64, learning_rate=0.016, optimizer="adamw", corpus="kjv"
)
LONGER = TrainingConfig.model_validate({**SHORT.model_dump(), "tokens": 65_536})

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

def breaks_late():
    steps = []
    model = torch.nn.Linear(1, 1)
    def loss(outputs, targets):
        steps.append(1)
        return outputs.square().mean() * (float("nan") if len(steps) > 60 else 1.0)
    return scalemark.Task(model, torch.optim.SGD(model.parameters(), lr=0.01), loss,
                          (torch.ones(4, 1), torch.ones(4, 1)), batch_size=4)
"""


@pytest.fixture(autouse=True, scope="module")
def _one_thread() -> Iterator[None]:
    """The order of additions, and so the last bit of a loss, depends on the number of threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    return prepare_kjv(tmp_path_factory.mktemp("corpus"))


@pytest.fixture(scope="module")
def tasks_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("tasks") / "bench_run_tasks.py"
    path.write_text(TASKS)
    return path


def trained(config: TrainingConfig, corpus: Corpus, smoke: bool = False) -> TrainingRun:
    return train_language_model(config, corpus.train_path, corpus.validation_path, lambda *_: None, smoke)


def changed(config: TrainingConfig, **changes: object) -> TrainingConfig:
    return TrainingConfig.model_validate({**config.model_dump(), **changes})


@pytest.fixture(scope="module")
def short_run(corpus: Corpus) -> TrainingRun:
    return trained(SHORT, corpus)


@pytest.fixture(scope="module")
def longer_run(corpus: Corpus) -> TrainingRun:
    return trained(LONGER, corpus)


@pytest.fixture(scope="module")
def diverged_run(corpus: Corpus) -> TrainingRun:
    return trained(changed(SHORT, learning_rate=1e6), corpus)


# Language models


def test_the_same_seed_gives_the_same_losses_to_the_last_bit(short_run: TrainingRun, corpus: Corpus) -> None:
    again = trained(SHORT, corpus)
    assert again.curve == short_run.curve
    assert again.validation_loss == short_run.validation_loss
    assert again.validation_accuracy == short_run.validation_accuracy


def test_another_seed_gives_other_losses(short_run: TrainingRun, corpus: Corpus) -> None:
    other = trained(changed(SHORT, seed=1), corpus)
    assert all(one.train_loss != two.train_loss for one, two in zip(other.curve[1:], short_run.curve[1:], strict=True))
    assert other.validation_loss != short_run.validation_loss


def test_the_first_loss_is_that_of_a_model_that_knows_nothing(short_run: TrainingRun) -> None:
    assert short_run.curve[0].step == 1
    assert short_run.curve[0].train_loss == pytest.approx(math.log(256), rel=1e-5)


def test_a_second_of_training_beats_knowing_only_how_frequent_each_byte_is(
    longer_run: TrainingRun, corpus: Corpus
) -> None:
    counts = np.unique(np.fromfile(corpus.validation_path, dtype=np.uint8), return_counts=True)[1]
    shares = counts / counts.sum()
    unigram_entropy_nats = -float(np.sum(shares * np.log(shares)))
    assert longer_run.validation_loss is not None
    assert 1.0 < longer_run.validation_loss < unigram_entropy_nats - 0.4
    assert (longer_run.validation_accuracy or 0.0) > shares.max()


def test_more_tokens_reach_a_lower_loss(short_run: TrainingRun, longer_run: TrainingRun) -> None:
    assert short_run.validation_loss and longer_run.validation_loss
    assert longer_run.validation_loss < short_run.validation_loss - 0.3


def test_bits_per_byte_are_the_loss_in_base_two(longer_run: TrainingRun) -> None:
    assert longer_run.validation_loss
    assert 2 ** (longer_run.bits_per_byte or 0.0) == pytest.approx(math.exp(longer_run.validation_loss))


def test_the_curve_reaches_the_last_step_and_counts_its_tokens(longer_run: TrainingRun) -> None:
    assert len(longer_run.curve) == CURVE_POINTS
    assert longer_run.curve[-1].step == LONGER.n_steps
    assert longer_run.curve[-1].tokens == LONGER.tokens
    assert all(point.tokens == point.step * 8 * 64 for point in longer_run.curve)


def test_validation_covers_the_windows_that_every_run_shares(short_run: TrainingRun, longer_run: TrainingRun) -> None:
    assert short_run.validation_items == longer_run.validation_items == VALIDATION_WINDOWS * SHORT.seq_len


def test_the_clock_of_the_loop_is_inside_that_of_the_run(longer_run: TrainingRun) -> None:
    assert 0 < (longer_run.seconds or 0) < (longer_run.total_seconds or 0)


def test_progress_is_told_and_ends_at_one(corpus: Corpus) -> None:
    told: list[float] = []
    train_language_model(
        SHORT, corpus.train_path, corpus.validation_path, lambda fraction, _: told.append(fraction), smoke=True
    )
    assert told == sorted(told) and told[-1] == 1


def test_a_smoke_run_takes_two_steps_and_is_no_divergence(corpus: Corpus) -> None:
    run = trained(LONGER, corpus, smoke=True)
    assert (run.status, run.curve[-1].step) == ("ok", 2)


def test_bfloat16_trains_to_about_the_same_loss(short_run: TrainingRun, corpus: Corpus) -> None:
    run = trained(changed(SHORT, dtype="bfloat16"), corpus)
    assert run.validation_loss != short_run.validation_loss
    assert run.validation_loss == pytest.approx(short_run.validation_loss, rel=0.02)


def test_more_than_one_epoch_starts_the_text_over(corpus: Corpus, tmp_path: Path) -> None:
    """2,000 bytes hold 31 windows of 64; eight steps of eight take 64 windows."""
    text = tmp_path / "short.bin"
    text.write_bytes(corpus.train_path.read_bytes()[:2000])
    run = train_language_model(SHORT, text, corpus.validation_path, lambda *_: None)
    assert run.status == "ok" and run.curve[-1].step == SHORT.n_steps


# Divergence


def test_an_absurd_learning_rate_ends_as_diverged_with_what_to_do(diverged_run: TrainingRun) -> None:
    assert diverged_run.status == "diverged"
    assert "lower the learning rate" in (diverged_run.reason or "")
    assert diverged_run.validation_loss is None
    assert diverged_run.validation_accuracy is None
    assert diverged_run.bits_per_byte is None


def test_what_diverged_is_written_without_a_nan(diverged_run: TrainingRun) -> None:
    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} in the JSON")

    json.loads(diverged_run.model_dump_json(), parse_constant=refuse)
    assert all(math.isfinite(point.train_loss) for point in diverged_run.curve)


def test_a_loss_that_breaks_late_is_a_divergence_even_without_validation(tasks_path: Path) -> None:
    config = TrainingConfig(task=TaskRef(path=str(tasks_path), function="breaks_late"), tokens=400)
    run = train_task(config, lambda *_: None)
    assert run.status == "diverged"
    assert 0 < run.curve[-1].step <= 60


# A user's own task


def test_a_task_trains_exactly_as_a_loop_written_by_hand(tasks_path: Path) -> None:
    reference = TaskRef(path=str(tasks_path), function="line")
    run = train_task(TrainingConfig(task=reference, tokens=400, seed=5), lambda *_: None)

    task = load_task(reference, seed=5)
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


def test_a_task_is_trained_on_as_many_samples_as_asked(tasks_path: Path) -> None:
    run = train_task(TrainingConfig(task=TaskRef(path=str(tasks_path), function="line"), tokens=400), lambda *_: None)
    assert (run.curve[-1].step, run.curve[-1].tokens) == (50, 400)
    assert run.config.batch is None, "the batch is the task's own"


def test_a_task_without_classes_has_a_loss_and_no_accuracy(tasks_path: Path) -> None:
    run = train_task(TrainingConfig(task=TaskRef(path=str(tasks_path), function="line"), tokens=8), lambda *_: None)
    assert run.validation_loss is not None
    assert run.validation_accuracy is None
    assert run.bits_per_byte is None


def test_a_task_with_classes_has_an_accuracy(tasks_path: Path) -> None:
    run = train_task(
        TrainingConfig(task=TaskRef(path=str(tasks_path), function="classes"), tokens=600), lambda *_: None
    )
    assert run.validation_accuracy == 1.0
    assert run.validation_items == 60


def test_a_task_without_validation_is_trained_all_the_same(tasks_path: Path) -> None:
    reference = TaskRef(path=str(tasks_path), function="classes", arguments=(("validated", False),))
    run = train_task(TrainingConfig(task=reference, tokens=600), lambda *_: None)
    assert (run.status, run.validation_loss, run.validation_accuracy) == ("ok", None, None)


# Validation


def test_evaluation_is_what_a_loop_over_single_windows_gives(corpus: Corpus) -> None:
    torch.manual_seed(0)
    model = Transformer(grid_shape(16), 32)
    nn.init.normal_(model.head.weight, std=0.3)
    held_out = spread_windows(open_tokens(corpus.validation_path), 21, 32)
    task = Task(model, make_optimizer("sgd", model), next_token_loss, held_out, batch_size=1)
    losses, right = [], 0
    with torch.no_grad():
        for inputs, targets in zip(*held_out, strict=True):
            log_probabilities = model(inputs[None])[0].log_softmax(-1)
            losses += [-log_probabilities[place, target].item() for place, target in enumerate(targets)]
            right += sum(int(row.argmax() == target) for row, target in zip(log_probabilities, targets, strict=True))
    validation = validate(task, held_out, batch_size=8)  # 8 + 8 + 5: the last batch weighs less
    assert validation.loss == pytest.approx(sum(losses) / len(losses), rel=1e-5)
    assert (validation.accuracy, validation.items) == (right / (21 * 32), 21 * 32)


def test_evaluation_turns_dropout_off_and_on_again() -> None:
    model = nn.Sequential(nn.Dropout(0.9), nn.Linear(4, 2))
    held_out = (torch.ones(30, 4), torch.zeros(30, dtype=torch.int64))
    task = Task(model, make_optimizer("sgd", model), nn.functional.cross_entropy, held_out, batch_size=10)
    assert validate(task, held_out) == validate(task, held_out)
    assert model.training
