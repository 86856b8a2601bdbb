"""Learning rates rise, stay and fall; up to the fall they do not depend on how long the run is."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scalemark.model.transformer import Transformer
from scalemark.schema import ModelConfig, TrainingConfig
from scalemark.train.grid import grid_shape, training_grid
from scalemark.train.schedule import (
    BASE_LEARNING_RATE,
    BASE_WIDTH,
    TABLE_SCALE,
    learning_rate_for_width,
    parameter_groups,
    warmup_stable_decay,
)

RUN = training_grid([64], [100_352])[0].model_copy(update={"warmup_steps": 20, "decay_share": 0.25})


def rates(config: TrainingConfig) -> list[float]:
    return [warmup_stable_decay(step, config) for step in range(config.n_steps)]


def test_the_rate_rises_to_its_peak_stays_and_falls_to_one_last_step() -> None:
    peak = RUN.learning_rate or 0.0
    of_peak = [rate / peak for rate in rates(RUN)]
    assert RUN.n_steps == 196 and RUN.decay_from == 147
    assert of_peak[0] == pytest.approx(1 / 20) and of_peak[9] == pytest.approx(0.5)
    assert of_peak[19:148] == pytest.approx([1.0] * 129)
    assert of_peak[148] == pytest.approx(48 / 49) and of_peak[-1] == pytest.approx(1 / 49)


@given(st.integers(2, 40), st.integers(1, 200), st.integers(0, 300), st.floats(0.05, 1.0))
def test_two_runs_of_one_trunk_have_the_same_rates_up_to_where_the_shorter_one_leaves(
    short: int, more: int, warmup: int, decay: float
) -> None:
    def run(steps: int) -> TrainingConfig:
        return RUN.model_copy(update={"tokens": steps * 512, "warmup_steps": warmup, "decay_share": decay})

    one, other = run(short), run(short + more)
    assert one.trunk == other.trunk and one.key != other.key
    assert rates(one)[: one.decay_from] == rates(other)[: one.decay_from]


@given(st.integers(1, 400), st.integers(0, 500), st.floats(0.01, 1.0))
def test_the_rate_is_never_zero_nor_above_its_peak(steps: int, warmup: int, decay: float) -> None:
    changes = {"tokens": steps * 512, "warmup_steps": warmup, "decay_share": decay}
    assert all(0 < rate <= (RUN.learning_rate or 0.0) for rate in rates(RUN.model_copy(update=changes)))


def test_wider_models_learn_at_lower_rates() -> None:
    assert learning_rate_for_width(BASE_WIDTH) == BASE_LEARNING_RATE
    assert learning_rate_for_width(16) == pytest.approx(2 * learning_rate_for_width(64))


@pytest.mark.parametrize(
    ("changes", "scaled"),
    [({}, ["table.weight"]), ({"tied_head": True}, [])],
    ids=["a table of its own", "a table that is also the head"],
)
def test_every_parameter_is_in_one_group_and_the_token_table_learns_faster(
    changes: dict[str, bool], scaled: list[str]
) -> None:
    model = Transformer(ModelConfig.model_validate({**grid_shape(16).model_dump(), **changes}), 8)
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    groups = parameter_groups(model)
    grouped = [names[id(parameter)] for group in groups for parameter in group["params"]]
    assert sorted(grouped) == sorted(names.values())
    faster = [group for group in groups if group["scale"] == TABLE_SCALE]
    assert [names[id(parameter)] for group in faster for parameter in group["params"]] == scaled
