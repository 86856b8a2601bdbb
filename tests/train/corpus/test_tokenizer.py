"""Text becomes tokens that hold all of it, documents are kept apart, and BPE is the same each time."""

import random
import sys
from pathlib import Path

import numpy as np
import pytest

from scalemark.errors import InputError, StoreError
from scalemark.train.corpus import Corpus, open_corpus, open_tokens
from scalemark.train.corpus.documents import Piece
from scalemark.train.corpus.tokenizer import ByteTokenizer, token_dtype

WORDS = ["the", "a", "wind", "river", "stone", "Über", "naïve", "run", "東京", "over", "12", "under,", "again.", "and"]


def line(seed: int, n_words: int) -> str:
    return " ".join(random.Random(seed).choices(WORDS, k=n_words)) + "\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Sixteen documents, two of them held out."""
    folder = tmp_path / "prose"
    folder.mkdir()
    for index in range(16):
        text = "".join(line(100 * index + number, 12) for number in range(60))
        (folder / f"{index:02}.txt").write_text(text, encoding="utf-8")
    return folder


@pytest.mark.parametrize(
    ("vocab_size", "dtype"), [(32, "uint8"), (256, "uint8"), (257, "uint16"), (65_536, "uint16"), (65_537, "uint32")]
)
def test_tokens_are_as_small_as_the_vocabulary_allows(vocab_size: int, dtype: str) -> None:
    assert token_dtype(vocab_size) == dtype
    assert vocab_size - 1 <= np.iinfo(dtype).max


def test_as_bytes_a_document_without_a_line_end_gets_one_and_no_other_does() -> None:
    batch = [Piece(False, "", text, ends) for text, ends in [(b"a", False), (b"b", True), (b"c\n", True), (b"", True)]]
    assert [tokens.tobytes() for tokens in ByteTokenizer().encode(batch)] == [b"a", b"b\n", b"c\n", b"\n"]


@pytest.mark.parametrize("name", ["words", "bpe", "bpe:", "bpe:256", "bpe:9999999", "bpe:1e3", "BPE:300", ""])
def test_a_tokenizer_that_is_unknown_is_told_with_those_there_are(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match="use bytes, or bpe:SIZE with a size from 257"):
        open_corpus("kjv", tmp_path, tokenizer=name)


def test_bpe_without_its_package_is_told_with_what_to_install(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "tokenizers", None)
    with pytest.raises(InputError, match=r'pip install "scalemark\[bpe\]"'):
        open_corpus(str(folder), tmp_path, tokenizer="bpe:300")


class TestBpe:
    """With the package that trains it."""

    @pytest.fixture(autouse=True)
    def _package(self) -> None:
        pytest.importorskip("tokenizers", reason="needs scalemark[bpe]")

    @pytest.fixture
    def corpus(self, folder: Path, tmp_path: Path) -> Corpus:
        return open_corpus(str(folder), tmp_path, tokenizer="bpe:300")

    def test_it_makes_fewer_tokens_of_the_same_text(self, corpus: Corpus, folder: Path, tmp_path: Path) -> None:
        plain = open_corpus(str(folder), tmp_path)
        assert (corpus.facts.vocab_size, corpus.facts.tokenizer, corpus.dtype) == (300, "bpe:300", "uint16")
        assert corpus.facts.train_tokens < 0.7 * plain.facts.train_tokens
        tokens = open_tokens(corpus.train_path, corpus.dtype)
        assert len(tokens) == corpus.facts.train_tokens
        assert 290 < tokens.max() < 300

    def test_bytes_per_token_are_those_of_the_validation_text(self, corpus: Corpus, folder: Path) -> None:
        held_out = (folder / "03.txt").stat().st_size + (folder / "11.txt").stat().st_size
        assert corpus.facts.bytes_per_token == held_out / corpus.facts.validation_tokens

    def test_every_document_ends_in_the_one_token_that_no_text_has(self, corpus: Corpus) -> None:
        ends = [open_tokens(path, corpus.dtype) == 0 for path in (corpus.train_path, corpus.validation_path)]
        assert [int(end.sum()) for end in ends] == [14, 2]
        assert all(end[-1] for end in ends)

    def test_it_is_the_same_each_time(self, corpus: Corpus, folder: Path, tmp_path: Path) -> None:
        assert open_corpus(str(folder), tmp_path / "elsewhere", tokenizer="bpe:300").identity == corpus.identity

    def test_another_size_is_another_corpus(self, corpus: Corpus, folder: Path, tmp_path: Path) -> None:
        assert open_corpus(str(folder), tmp_path, tokenizer="bpe:290").identity != corpus.identity

    def test_a_text_with_fewer_merges_than_asked_for_has_a_smaller_vocabulary(self, tmp_path: Path) -> None:
        (tmp_path / "ab.txt").write_text("ab\n" * 5000)
        corpus = open_corpus(str(tmp_path / "ab.txt"), tmp_path, tokenizer="bpe:400")
        assert (corpus.facts.vocab_size, corpus.facts.tokenizer) == (258, "bpe:400")

    def test_what_is_held_out_does_not_train_it(self, corpus: Corpus, folder: Path, tmp_path: Path) -> None:
        text = "zyxw " * 800
        (folder / "03.txt").write_text(text, encoding="utf-8")
        changed = open_corpus(str(folder), tmp_path, tokenizer="bpe:300")
        assert changed.train_path.read_bytes() == corpus.train_path.read_bytes()

    def test_a_text_that_spells_the_end_of_text_does_not_end_there(self, folder: Path, tmp_path: Path) -> None:
        (folder / "00.txt").write_text("before <|endoftext|> after\n" * 100, encoding="utf-8")
        corpus = open_corpus(str(folder), tmp_path, tokenizer="bpe:300")
        assert int((open_tokens(corpus.train_path, corpus.dtype) == 0).sum()) == 14

    def test_bytes_that_are_not_utf_8_are_told_with_their_file(self, folder: Path, tmp_path: Path) -> None:
        (folder / "05.txt").write_bytes(b"caf\xe9 \n" * 100)
        with pytest.raises(StoreError, match=r"05\.txt is not UTF-8"):
            open_corpus(str(folder), tmp_path, tokenizer="bpe:300")
        assert open_corpus(str(folder), tmp_path).facts.documents == 16
