"""The grid is sizes times tokens, and a configuration's identity is all that decides its loss."""

import pytest

from scalemark.model.accounting import account
from scalemark.schema import ModelConfig, TaskRef, TrainingConfig
from scalemark.train.grid import (
    BATCH,
    OVERHEAD_S,
    SEQ_LEN,
    TOKENS,
    WIDTHS,
    expected_run_s,
    grid_shape,
    training_grid,
)
from scalemark.train.schedule import learning_rate_for_width

LANGUAGE_MODEL = TrainingConfig(
    model=grid_shape(16), tokens=8192, batch=8, seq_len=128, learning_rate=0.01, optimizer="adamw", corpus="kjv@1"
)
TASK = TaskRef(path="here/bench_mine.py", function="mine", arguments=(("width", 3),))
OTHER_VALUES = {
    "model": ModelConfig(n_layer=2, d_model=16, n_head=2),
    "task": TASK,
    "tokens": 8193,
    "batch": 4,
    "seq_len": 64,
    "learning_rate": 0.02,
    "optimizer": "sgd",
    "seed": 1,
    "dtype": "bfloat16",
    "device": "cuda",
    "corpus": "kjv@2",
}


def test_every_field_has_another_value_here() -> None:
    assert set(OTHER_VALUES) == set(TrainingConfig.model_fields)


@pytest.mark.parametrize("field", OTHER_VALUES)
def test_a_configurations_hash_changes_with_every_field(field: str) -> None:
    changed = TrainingConfig.model_validate({**LANGUAGE_MODEL.model_dump(), field: OTHER_VALUES[field]})
    assert changed.key != LANGUAGE_MODEL.key


@pytest.mark.parametrize("field", ModelConfig.model_fields)
def test_a_configurations_hash_changes_with_every_field_of_its_model(field: str) -> None:
    other = {"activation": "swiglu", "tied_head": True, "n_head": 2}.get(field, 48)
    model = ModelConfig.model_validate({**grid_shape(16).model_dump(), field: other})
    assert TrainingConfig.model_validate({**LANGUAGE_MODEL.model_dump(), "model": model}).key != LANGUAGE_MODEL.key


def test_a_tasks_hash_changes_with_its_function_and_arguments_but_not_with_its_place() -> None:
    def key(**changes: object) -> str:
        return TrainingConfig(task=TaskRef.model_validate({**TASK.model_dump(), **changes}), tokens=10).key

    assert key() == key(path="elsewhere/bench_mine.py")
    assert len({key(), key(function="other"), key(arguments=(("width", 4),)), key(arguments=())}) == 4


def test_the_hash_survives_the_way_through_a_file() -> None:
    again = TrainingConfig.model_validate_json(LANGUAGE_MODEL.model_dump_json())
    assert again == LANGUAGE_MODEL and again.key == LANGUAGE_MODEL.key


def test_the_grid_holds_every_size_with_every_token_count_that_is_enough_for_it_once() -> None:
    grid = training_grid()
    held = [(config.model.d_model, config.tokens) for config in grid if config.model]
    assert held == [(width, count) for width in WIDTHS for count in TOKENS if count >= 5_000 * width]
    assert len({config.key for config in grid}) == len(grid)
    assert all(sum(width == one for one, _ in held) >= 2 for width in WIDTHS), "a width needs two counts to tell D"


def test_tokens_given_as_an_iterator_serve_every_width() -> None:
    assert len(training_grid(widths=iter([16, 32]), tokens=iter([1024, 2048]))) == 4


def test_every_size_has_whole_heads_and_its_own_learning_rate() -> None:
    for config in training_grid():
        assert config.model and config.model.n_head * config.model.d_head == config.model.d_model
        assert config.learning_rate == learning_rate_for_width(config.model.d_model)


def test_a_run_takes_as_many_steps_as_its_tokens_fill() -> None:
    assert LANGUAGE_MODEL.n_steps == 8
    assert all(config.n_steps * BATCH * SEQ_LEN == config.tokens for config in training_grid())


def test_the_expected_time_is_steps_times_the_step_and_an_overhead() -> None:
    accounting = account(grid_shape(16), 8, 128)
    assert expected_run_s(LANGUAGE_MODEL, accounting, lambda _: 0.25) == pytest.approx(8 * 0.25 + OVERHEAD_S)


def test_a_task_whose_steps_nobody_knows_is_expected_to_take_the_overhead() -> None:
    assert expected_run_s(TrainingConfig(task=TASK, tokens=10), None, lambda _: 0.25) == OVERHEAD_S
