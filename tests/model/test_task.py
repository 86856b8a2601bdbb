"""A task hands out its batches as promised, and a factory that cannot be used is told in one line."""

from pathlib import Path

import pytest
import torch
from torch import nn

from scalemark.errors import InputError
from scalemark.model.task import Batch, Task, language_model_task, load_task, make_optimizer
from scalemark.schema import ModelConfig, TaskRef, Workload

FACTORY = """
import torch
import scalemark

def linear(width, count=10):
    model = torch.nn.Linear(width, 2)
    data = (torch.randn(count, width), torch.arange(count) % 2)
    return scalemark.Task(model, torch.optim.SGD(model.parameters(), lr=0.1), torch.nn.functional.cross_entropy,
                          data, batch_size=4)

def number():
    return 3
"""


def numbered(count: int) -> Batch:
    return torch.arange(count, dtype=torch.float32)[:, None], torch.arange(count)


def make_task(count: int, batch_size: int, validation: Batch | None = None) -> Task:
    model = nn.Linear(1, 2)
    return Task(
        model, make_optimizer("sgd", model), nn.functional.cross_entropy, numbered(count), validation, batch_size
    )


def reference(tmp_path: Path, function: str, content: str = FACTORY, name: str = "bench_mine.py") -> TaskRef:
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(content)
    arguments = (("width", 3),) if function == "linear" else ()
    return TaskRef(path=str(path), function=function, arguments=arguments)


def test_batches_come_in_order_and_start_over_at_the_end() -> None:
    task = make_task(count=6, batch_size=2)
    shown = [task.batch(index)[1].tolist() for index in range(5)]
    assert shown == [[0, 1], [2, 3], [4, 5], [0, 1], [2, 3]]


def test_a_remainder_shorter_than_a_batch_is_never_used() -> None:
    task = make_task(count=8, batch_size=3)
    assert {sample for index in range(20) for sample in task.batch(index)[1].tolist()} == set(range(6))


def test_inputs_stay_with_their_targets() -> None:
    task = make_task(count=9, batch_size=4)
    assert all(task.batch(index)[0][:, 0].tolist() == task.batch(index)[1].tolist() for index in range(5))


def test_inputs_without_targets_are_refused() -> None:
    model = nn.Linear(1, 2)
    train = (torch.zeros(5, 1), torch.zeros(4))
    with pytest.raises(InputError, match="5 inputs and 4 targets: give one"):
        Task(model, make_optimizer("sgd", model), nn.functional.mse_loss, train, batch_size=2)


def test_validation_inputs_without_targets_are_refused_before_training() -> None:
    with pytest.raises(InputError, match="3 inputs and 2 targets: give one"):
        make_task(count=8, batch_size=2, validation=(torch.zeros(3, 1), torch.zeros(2)))


@pytest.mark.parametrize(("batch_size", "fix"), [(9, "lower batch_size"), (0, "at least 1"), (-1, "at least 1")])
def test_a_batch_that_cannot_be_taken_is_refused(batch_size: int, fix: str) -> None:
    with pytest.raises(InputError, match=fix):
        make_task(count=8, batch_size=batch_size)


def test_a_rung_becomes_a_task_on_the_windows_given() -> None:
    config = ModelConfig(n_layer=1, d_model=16, n_head=1)
    windows = (torch.zeros(4, 8, dtype=torch.int64), torch.ones(4, 8, dtype=torch.int64))
    task = language_model_task(Workload(phase="step", model=config, batch=2, seq_len=8, optimizer="adamw"), windows)
    assert isinstance(task.optimizer, torch.optim.AdamW)
    assert task.model(task.batch(0)[0]).shape == (2, 8, config.vocab_size)


def test_the_optimizer_holds_every_parameter_of_the_model() -> None:
    model = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 1))
    for name in ("adamw", "sgd"):
        groups = make_optimizer(name, model, learning_rate=0.25).param_groups
        assert [id(parameter) for group in groups for parameter in group["params"]] == list(map(id, model.parameters()))
        assert {group["lr"] for group in groups} == {0.25}


# A user's own factory


def test_a_factory_is_called_with_its_arguments(tmp_path: Path) -> None:
    task = load_task(reference(tmp_path, "linear"))
    assert task.batch(0)[0].shape == (4, 3)


def test_the_same_seed_loads_the_same_task(tmp_path: Path) -> None:
    where = reference(tmp_path, "linear")
    same, again, other = (load_task(where, seed).train[0] for seed in (1, 1, 2))
    assert torch.equal(same, again)
    assert not torch.equal(same, other)


def test_a_factory_that_returns_something_else_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"number in bench_mine\.py must return a scalemark\.Task"):
        load_task(reference(tmp_path, "number"))


def test_a_factory_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"bench_mine\.py has no absent"):
        load_task(reference(tmp_path, "absent"))


@pytest.mark.parametrize("name", ["absent.py", "notes.txt", "folder"])
def test_a_place_that_holds_no_python_file_is_told(tmp_path: Path, name: str) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "notes.txt").write_text("not a module")
    with pytest.raises(InputError, match="keep the factory in a Python file"):
        load_task(TaskRef(path=str(tmp_path / name), function="linear"))


def test_two_files_of_one_name_do_not_stand_in_for_each_other(tmp_path: Path) -> None:
    other = FACTORY.replace("torch.nn.Linear(width, 2)", "torch.nn.Linear(width, 2, bias=False)")
    first = load_task(reference(tmp_path / "first", "linear"))
    second = load_task(reference(tmp_path / "second", "linear", other))
    assert [len(list(task.model.parameters())) for task in (first, second)] == [2, 1]


def test_a_file_that_failed_to_import_fails_alike_the_next_time(tmp_path: Path) -> None:
    where = reference(tmp_path, "linear", "def linear(width): pass\nraise RuntimeError('no such weights')\n")
    for _ in range(2):
        with pytest.raises(RuntimeError, match="no such weights"):
            load_task(where)
