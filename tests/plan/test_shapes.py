"""The models that a plan chooses from."""

from itertools import pairwise

import pytest

from scalemark.errors import InputError
from scalemark.model.accounting import account
from scalemark.plan.shapes import MOST_WIDTH_PER_LAYER, Recipe, candidate_shapes, named_shape, shape
from scalemark.schema import ModelConfig

TRAINED = tuple(
    ModelConfig(n_layer=4, d_model=width, n_head=width // 16, vocab_size=512) for width in (16, 32, 64, 128)
)


def test_every_trained_shape_is_a_candidate() -> None:
    assert set(TRAINED) <= set(candidate_shapes(TRAINED, 1e9))


def test_candidates_are_no_shallower_than_what_was_trained_nor_wider_than_models_are() -> None:
    for model in candidate_shapes(TRAINED, 1e9):
        assert model.n_layer >= 4
        assert model.d_model <= MOST_WIDTH_PER_LAYER * model.n_layer
        assert model.vocab_size == 512


def test_candidates_fill_the_sizes_without_gaps() -> None:
    sizes = sorted({account(model, 1, 1).params_non_embedding for model in candidate_shapes(TRAINED, 1e9)})
    steps = [later / earlier for earlier, later in pairwise(sizes) if earlier > 1e5]
    assert max(steps) < 1.35
    assert 5e8 < sizes[-1] <= 1e9


def test_candidates_are_named_apart() -> None:
    models = candidate_shapes(TRAINED, 1e9)
    assert len({model.name for model in models}) == len(models)


@pytest.mark.parametrize(
    ("width", "heads"),
    [(16, 1), (48, 3), (128, 8), (160, 10), (256, 8), (320, 10), (512, 8), (1024, 16)],
)
def test_heads_are_as_trained_and_then_larger_but_never_fewer(width: int, heads: int) -> None:
    assert shape(4, width, TRAINED).n_head == heads


def test_a_name_gives_a_shape_with_the_vocabulary_of_the_text() -> None:
    assert named_shape("d6w384", TRAINED) == ModelConfig(n_layer=6, d_model=384, n_head=12, vocab_size=512)
    assert named_shape("d4w256-swiglu-tied", TRAINED).vocab_size == 512


@pytest.mark.parametrize("name", ["", "6x384", "d0w64", "d4w33", "gpt2"])
def test_a_name_that_gives_no_shape_is_refused_with_what_to_write(name: str) -> None:
    with pytest.raises(InputError, match=r"d6w384|even width"):
        named_shape(name, TRAINED)


def test_the_least_training_gets_past_its_warm_up() -> None:
    recipe = Recipe(4, 128, 256, "float32", "adamw", "cpu", warmup_steps=400, decay_share=0.2)
    assert recipe.least_steps * 0.8 > 400
    assert recipe.tokens_per_step == 512
