"""The grid is sizes times tokens, and a configuration's identity is all that decides its loss."""

import pytest

from scalemark.errors import InputError
from scalemark.schema import ModelConfig, TaskRef, TrainingConfig
from scalemark.train.grid import (
    BATCH,
    MORE_TOKENS,
    REPEATED_EPOCHS,
    REPEATED_WIDTHS,
    SEQ_LEN,
    TOKENS,
    UNIQUE_TOKENS,
    WIDTHS,
    find_grid,
    fits_text,
    grid_shape,
    repeated_grid,
    training_grid,
)
from scalemark.train.schedule import DECAY_SHARE, WARMUP_STEPS, learning_rate_for_width

LANGUAGE_MODEL = TrainingConfig(
    model=ModelConfig(n_layer=2, d_model=16, n_head=1),
    tokens=8192,
    batch=8,
    seq_len=128,
    learning_rate=0.01,
    warmup_steps=10,
    decay_share=0.5,
    optimizer="adamw",
    corpus="kjv@1",
)
TASK = TaskRef(path="here/bench_mine.py", function="mine", arguments=(("width", 3),))
OTHER_VALUES = {
    "model": ModelConfig(n_layer=2, d_model=16, n_head=2),
    "task": TASK,
    "tokens": 8193,
    "batch": 4,
    "seq_len": 64,
    "learning_rate": 0.02,
    "warmup_steps": 11,
    "decay_share": 0.25,
    "optimizer": "sgd",
    "seed": 1,
    "dtype": "bfloat16",
    "device": "cuda",
    "corpus": "kjv@2",
    "unique_tokens": 2048,
}


def changed(field: str) -> TrainingConfig:
    return TrainingConfig.model_validate({**LANGUAGE_MODEL.model_dump(), field: OTHER_VALUES[field]})


def test_every_field_has_another_value_here() -> None:
    assert set(OTHER_VALUES) == set(TrainingConfig.model_fields)


@pytest.mark.parametrize("field", OTHER_VALUES)
def test_a_configurations_hash_changes_with_every_field(field: str) -> None:
    assert changed(field).key != LANGUAGE_MODEL.key


@pytest.mark.parametrize("field", OTHER_VALUES)
def test_a_trunk_is_shared_by_runs_that_differ_in_their_tokens_and_by_no_others(field: str) -> None:
    assert (changed(field).trunk == LANGUAGE_MODEL.trunk) == (field == "tokens")


def test_a_run_and_its_trunk_have_different_names() -> None:
    """Their states lie in one folder."""
    assert LANGUAGE_MODEL.key != LANGUAGE_MODEL.trunk


@pytest.mark.parametrize("field", ModelConfig.model_fields)
def test_a_configurations_hash_changes_with_every_field_of_its_model(field: str) -> None:
    other = {"activation": "swiglu", "tied_head": True, "n_head": 2}.get(field, 48)
    assert LANGUAGE_MODEL.model
    model = ModelConfig.model_validate({**LANGUAGE_MODEL.model.model_dump(), field: other})
    assert TrainingConfig.model_validate({**LANGUAGE_MODEL.model_dump(), "model": model}).key != LANGUAGE_MODEL.key


def test_a_tasks_hash_changes_with_its_function_and_arguments_but_not_with_its_place() -> None:
    def key(**changes: object) -> str:
        return TrainingConfig(task=TaskRef.model_validate({**TASK.model_dump(), **changes}), tokens=10).key

    assert key() == key(path="elsewhere/bench_mine.py")
    assert len({key(), key(function="other"), key(arguments=(("width", 4),)), key(arguments=())}) == 4


def test_the_hash_survives_the_way_through_a_file() -> None:
    again = TrainingConfig.model_validate_json(LANGUAGE_MODEL.model_dump_json())
    assert again == LANGUAGE_MODEL and again.key == LANGUAGE_MODEL.key


# The grids


def test_the_grid_holds_every_size_with_every_token_count_once() -> None:
    grid = training_grid()
    held = [(config.model.d_model, config.tokens) for config in grid if config.model]
    assert held == [(width, count) for width in WIDTHS for count in TOKENS]
    assert len({config.key for config in grid}) == len(grid)


def test_the_token_counts_of_one_size_are_branches_of_one_trunk() -> None:
    assert len({config.trunk for config in training_grid()}) == len(WIDTHS)


def test_every_seed_has_the_whole_grid() -> None:
    grid = training_grid(widths=[16, 32], tokens=[2**18], seeds=[0, 7])
    assert [(config.seed, config.model.d_model) for config in grid if config.model] == [
        (0, 16),
        (0, 32),
        (7, 16),
        (7, 32),
    ]


def test_the_repeated_grid_shows_each_part_of_the_text_so_many_times() -> None:
    grid = repeated_grid()
    held = [(config.unique_tokens, config.model.d_model, config.tokens) for config in grid if config.model]
    assert held == [
        (unique, width, unique * epochs)
        for unique in UNIQUE_TOKENS
        for width in REPEATED_WIDTHS
        for epochs in REPEATED_EPOCHS
    ]
    assert len({config.key for config in grid}) == len(grid)
    assert len({config.trunk for config in grid}) == len(UNIQUE_TOKENS) * len(REPEATED_WIDTHS)
    assert all(unique % (BATCH * SEQ_LEN) == 0 for unique in UNIQUE_TOKENS), "an epoch is a whole number of steps"


def test_a_grid_is_found_by_its_name_and_has_the_seed_that_is_asked() -> None:
    assert find_grid("plain", 3) == training_grid(tokens=MORE_TOKENS, seeds=[3])
    assert set(repeated_grid(seed=3)) < set(find_grid("repeated", 3))
    assert {config.seed for config in find_grid("repeated", 3)} == {3}


def test_beside_repeated_text_enough_runs_on_new_text_are_trained_for_a_law_to_start_from() -> None:
    new = [config for config in find_grid("repeated", 0) if config.unique_tokens is None]
    assert len(new) >= 6
    assert len({config.tokens for config in new}) >= 2


def test_a_grid_that_does_not_exist_is_refused_with_those_that_do() -> None:
    with pytest.raises(InputError, match="there is no grid 'huge': choose from plain, repeated"):
        find_grid("huge", 0)


def test_tokens_given_as_an_iterator_serve_every_width() -> None:
    assert len(training_grid(widths=iter([16, 32]), tokens=iter([1024, 2048]))) == 4


@pytest.mark.parametrize("config", [*training_grid(), *repeated_grid()], ids=str)
def test_every_run_has_whole_heads_its_own_learning_rate_and_whole_steps(config: TrainingConfig) -> None:
    assert config.model and config.model.n_head * config.model.d_head == config.model.d_model
    assert config.learning_rate == learning_rate_for_width(config.model.d_model)
    assert (config.warmup_steps, config.decay_share) == (WARMUP_STEPS, DECAY_SHARE)
    assert config.n_steps * BATCH * SEQ_LEN == config.tokens
    assert config.corpus is None, "the text is named when the run begins"


@pytest.mark.parametrize(("width", "n_head"), [(16, 1), (48, 3), (128, 8)])
def test_heads_are_sixteen_wide(width: int, n_head: int) -> None:
    assert grid_shape(width).n_head == n_head


def test_a_run_takes_as_many_steps_as_its_tokens_fill_and_leaves_its_trunk_where_its_rate_falls() -> None:
    assert (LANGUAGE_MODEL.n_steps, LANGUAGE_MODEL.decay_from) == (8, 4)
    assert changed("decay_share").decay_from == 6


def test_a_text_is_not_repeated_but_where_that_is_meant() -> None:
    run, repeated = training_grid([16], [1000])[0], repeated_grid([16], [1024], [100])[0]
    assert fits_text(run, train_tokens=1000) and fits_text(run, train_tokens=800)
    assert not fits_text(run, train_tokens=799)
    assert fits_text(repeated, train_tokens=2000)
