"""The ladder spans what a law needs, and its names find its rungs."""

from itertools import pairwise

import pytest

from scalemark.errors import UnknownRungError
from scalemark.model.accounting import account
from scalemark.model.ladder import DIAGONAL, LARGE_DIAGONAL, OFF_DIAGONAL, RUNGS, find_rung, shape


def non_embedding(rungs: object) -> list[int]:
    return [account(rung, 1, 1).params_non_embedding for rung in rungs]  # type: ignore[attr-defined]


def test_the_diagonal_spans_nearly_three_decades_of_parameters() -> None:
    counts = non_embedding(DIAGONAL)
    assert len(counts) >= 8
    assert counts[0] <= 0.06e6
    assert counts[-1] >= 30e6
    assert counts == sorted(counts)


def test_no_step_of_the_diagonal_is_wider_than_a_decade() -> None:
    counts = non_embedding((*DIAGONAL, *LARGE_DIAGONAL))
    assert all(1 < larger / smaller < 10 for smaller, larger in pairwise(counts))


def test_the_diagonal_grows_as_the_cube_of_depth() -> None:
    for rung in DIAGONAL:
        assert account(rung, 1, 1).params_non_embedding == pytest.approx(49_152 * rung.n_layer**3, rel=0.01)


def test_off_the_diagonal_every_shape_departs_in_its_own_way() -> None:
    ratios = {rung.d_model / rung.n_layer for rung in DIAGONAL}
    wide, deep, large_vocabulary, gated = OFF_DIAGONAL
    assert wide.d_model / wide.n_layer > max(ratios)
    assert deep.d_model / deep.n_layer < min(ratios)
    assert large_vocabulary.vocab_size > 256
    assert gated.activation == "swiglu" and gated.tied_head


def test_every_rung_has_whole_heads() -> None:
    assert all(rung.n_head * rung.d_head == rung.d_model for rung in RUNGS.values())


def test_every_rung_is_found_by_its_name() -> None:
    assert len(RUNGS) == len(DIAGONAL) + len(LARGE_DIAGONAL) + len(OFF_DIAGONAL)
    assert all(find_rung(rung.name) is rung for rung in (*DIAGONAL, *LARGE_DIAGONAL, *OFF_DIAGONAL))


def test_an_unknown_rung_is_refused_with_the_names_that_exist() -> None:
    with pytest.raises(UnknownRungError) as caught:
        find_rung("d4w255")
    assert "'d4w255'" in str(caught.value)
    assert all(name in str(caught.value) for name in RUNGS)


def test_a_field_that_no_model_has_is_refused() -> None:
    with pytest.raises(ValueError, match="colour"):
        shape(2, 128, colour="red")
