"""An epoch shows every window once; a part of the text is spread over all of it and stays the same."""

import numpy as np
import pytest
import torch
from factories import tiny_config

from scalemark.errors import InputError
from scalemark.schema import TrainingConfig
from scalemark.train.batches import TextBatches
from scalemark.train.grid import grid_shape

# 40 windows of 64, each token its own place in the text: the first of a window is where the window starts.
TEXT = np.arange(40 * 64 + 1, dtype=np.uint32)
RUN = tiny_config(20)
PART = tiny_config(20, unique_tokens=16 * 64)


def batches(config: TrainingConfig = RUN, n_tokens: int = len(TEXT)) -> TextBatches:
    return TextBatches(TEXT[:n_tokens], config)


def starts(batches: TextBatches, steps: range) -> list[int]:
    return [start for step in steps for start in batches(step)[0][:, 0].tolist()]


def test_an_epoch_shows_every_window_once_and_the_next_one_in_another_order() -> None:
    shown = batches()
    first, second = starts(shown, range(5)), starts(shown, range(5, 10))
    assert sorted(first) == sorted(second) == list(range(0, 40 * 64, 64))
    assert first != second


def test_targets_are_the_next_tokens() -> None:
    inputs, targets = batches()(3)
    assert inputs.shape == targets.shape == (8, 64)
    assert torch.equal(targets, inputs + 1)


def test_a_batch_is_the_same_whatever_was_asked_for_before() -> None:
    """A run that goes on from the middle sees what it would have seen."""
    one, other = batches(), batches()
    in_order = [starts(one, range(step, step + 1)) for step in range(12)]
    assert [starts(other, range(step, step + 1)) for step in reversed(range(12))] == in_order[::-1]


def test_the_order_follows_from_the_seed_and_from_nothing_else() -> None:
    other_size = tiny_config(99, model=grid_shape(48), learning_rate=0.5)
    assert starts(batches(other_size), range(10)) == starts(batches(), range(10))
    assert starts(batches(tiny_config(20, seed=1)), range(5)) != starts(batches(), range(5))


def test_a_remainder_shorter_than_a_batch_waits_for_the_next_epoch() -> None:
    shown = batches(n_tokens=35 * 64 + 1)
    assert shown.steps_per_epoch == 4
    assert len(set(starts(shown, range(4)))) == 32
    assert set(starts(shown, range(40))) == set(range(0, 35 * 64, 64))


# A part of the text


def test_unique_tokens_are_exactly_so_many_windows_in_every_epoch() -> None:
    shown = batches(PART)
    epochs = [starts(shown, range(2 * epoch, 2 * epoch + 2)) for epoch in range(6)]
    assert len(set(epochs[0])) == 16
    assert all(sorted(epoch) == sorted(epochs[0]) for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) == 6


def test_a_part_is_spread_evenly_over_the_whole_text() -> None:
    """16 of 40 windows: from the first to the last, each two or three windows after the one before."""
    chosen = sorted(starts(batches(PART), range(2)))
    assert (chosen[0], chosen[-1]) == (0, 39 * 64)
    assert set(np.diff(chosen)) == {2 * 64, 3 * 64}


def test_every_seed_sees_the_same_part() -> None:
    other = tiny_config(20, unique_tokens=16 * 64, seed=3)
    assert set(starts(batches(other), range(2))) == set(starts(batches(PART), range(2)))


def test_epochs_are_steps_over_the_steps_of_one() -> None:
    assert [batches(PART).epochs(n_steps) for n_steps in (1, 2, 20)] == [0.5, 1.0, 10.0]
    assert batches().epochs(20) == 4.0


def test_all_of_the_text_may_be_asked_for_and_no_more() -> None:
    whole = batches(tiny_config(20, unique_tokens=40 * 64))
    assert sorted(starts(whole, range(5))) == list(range(0, 40 * 64, 64))
    with pytest.raises(InputError, match=r"2624 unique tokens are more than the text has .* use a longer text"):
        batches(tiny_config(20, unique_tokens=41 * 64))


@pytest.mark.parametrize("unique_tokens", [7 * 64, 63])
def test_a_part_smaller_than_a_batch_is_refused(unique_tokens: int) -> None:
    with pytest.raises(InputError, match="fewer than a batch of 8"):
        batches(tiny_config(20, unique_tokens=unique_tokens))


def test_a_text_shorter_than_a_batch_is_refused() -> None:
    with pytest.raises(InputError, match="use a longer text"):
        batches(n_tokens=7 * 64)


# What was seen


@pytest.mark.parametrize("n_steps", [1, 3, 4, 5, 9])
def test_what_was_seen_are_windows_that_were_shown(n_steps: int) -> None:
    """Of 35 windows an epoch shows 32: the others may be shown in later ones, or not."""
    shown = batches(n_tokens=35 * 64 + 1)
    inputs, targets = shown.seen(n_steps, 100)
    assert set(inputs[:, 0].tolist()) <= set(starts(shown, range(n_steps)))
    assert len(inputs) == min(8 * n_steps, 32)
    assert torch.equal(targets, inputs + 1)


def test_of_what_was_seen_no_more_is_taken_than_asked_and_none_twice() -> None:
    inputs, _ = batches().seen(5, 10)
    assert len(set(inputs[:, 0].tolist())) == len(inputs) == 10
