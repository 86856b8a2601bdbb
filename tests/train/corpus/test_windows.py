"""Windows predict the next token, an epoch shows every token once, and validation windows are always the same."""

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from scalemark.train.corpus import epoch_order, open_tokens, spread_windows, windows

COUNTED = np.arange(101, dtype=np.uint8)


def test_targets_are_the_inputs_shifted_by_one() -> None:
    inputs, targets = windows(COUNTED, np.array([0, 40]), seq_len=5)
    assert inputs.tolist() == [[0, 1, 2, 3, 4], [40, 41, 42, 43, 44]]
    assert targets.tolist() == [[1, 2, 3, 4, 5], [41, 42, 43, 44, 45]]


@pytest.mark.parametrize("seq_len", [1, 7, 10, 50, 100])
def test_an_epoch_shows_every_token_once(seq_len: int) -> None:
    """All but the first byte, which nothing precedes, and a remainder shorter than a window."""
    starts = epoch_order(len(COUNTED), seq_len, seed=0)
    predicted = windows(COUNTED, starts, seq_len)[1].flatten().tolist()
    assert sorted(predicted) == list(range(1, 1 + 100 // seq_len * seq_len))


def test_an_epoch_is_shuffled_by_its_seed() -> None:
    one, again, other = (epoch_order(10_000, 10, seed).tolist() for seed in (0, 0, 1))
    assert one == again
    assert one != other and sorted(one) == sorted(other)
    assert one != sorted(one)


def test_validation_windows_are_disjoint_spread_over_the_text_and_always_the_same() -> None:
    inputs, _ = spread_windows(COUNTED, count=5, seq_len=4)
    starts = inputs[:, 0].tolist()
    assert len(starts) == 5
    assert starts[0] == 0 and starts[-1] == 96
    assert all(15 <= later - earlier <= 30 for earlier, later in pairwise(starts))
    assert spread_windows(COUNTED, count=5, seq_len=4)[0].equal(inputs)


def test_more_validation_windows_than_the_text_holds_are_all_it_holds() -> None:
    _, targets = spread_windows(COUNTED, count=1000, seq_len=10)
    assert targets.flatten().tolist() == list(range(1, 101))


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "uint32"])
def test_tokens_of_any_width_come_back_as_they_were_written(tmp_path: Path, dtype: str) -> None:
    highest = np.iinfo(dtype).max
    path = tmp_path / "tokens.bin"
    path.write_bytes(np.array([0, 1, highest, 2], dtype=dtype).tobytes())
    inputs, targets = windows(open_tokens(path, dtype), np.array([0]), seq_len=3)  # type: ignore[arg-type]
    assert inputs.tolist() == [[0, 1, highest]] and targets.tolist() == [[1, highest, 2]]
