"""A corpus is prepared once, whole or not at all, in little memory, and its name tells its tokens."""

import os
import time
import tracemalloc
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from scalemark.errors import InputError, StoreError
from scalemark.schema import CorpusFacts
from scalemark.train.corpus import Corpus, open_corpus
from scalemark.train.corpus.documents import Document, Source, document
from scalemark.train.corpus.prepared import prepare

LINE = b"a line of text that says nothing, again and again\n"
MIB = 1 << 20


@pytest.fixture
def text(tmp_path: Path) -> Path:
    path = tmp_path / "notes.txt"
    path.write_bytes(b"".join(b"%d " % index + LINE for index in range(400)))
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "corpora"


def files_of(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def written_at(corpus: Corpus) -> list[int]:
    return [path.stat().st_mtime_ns for path in (corpus.train_path, corpus.validation_path)]


# Once


def test_what_is_on_disk_is_two_token_files_their_facts_and_where_to_find_them(text: Path, folder: Path) -> None:
    corpus = open_corpus(str(text), folder)
    name = corpus.identity.replace("@", "-")
    *prepared, index = files_of(folder)[1:] + files_of(folder)[:1]
    assert prepared == [f"{name}/{file}" for file in ("facts.json", "train.bin", "validation.bin")]
    assert index.startswith("index/")
    assert CorpusFacts.model_validate_json((folder / name / "facts.json").read_text()) == corpus.facts


def test_a_second_time_nothing_is_tokenized(text: Path, folder: Path) -> None:
    first = open_corpus(str(text), folder)
    written = written_at(first)
    assert open_corpus(str(text), folder) == first
    assert written_at(first) == written


def test_finding_the_default_corpus_takes_no_time(tmp_path: Path) -> None:
    open_corpus("kjv", tmp_path)
    started_s = time.perf_counter()
    open_corpus("kjv", tmp_path)
    assert time.perf_counter() - started_s < 0.1


def test_a_text_that_changed_is_tokenized_again(text: Path, folder: Path) -> None:
    first = open_corpus(str(text), folder)
    text.write_bytes(text.read_bytes() + b"more\n")
    longer = open_corpus(str(text), folder)
    assert longer.identity != first.identity
    assert longer.facts.train_tokens + longer.facts.validation_tokens == text.stat().st_size


def test_a_change_that_keeps_the_size_is_seen_by_the_time(text: Path, folder: Path) -> None:
    first = open_corpus(str(text), folder)
    text.write_bytes(text.read_bytes().replace(b"again", b"never"))
    os.utime(text, ns=(0, 0))
    assert open_corpus(str(text), folder).identity != first.identity


def test_the_same_tokens_have_one_name_wherever_the_text_and_the_files_lie(text: Path, tmp_path: Path) -> None:
    moved = tmp_path / "elsewhere" / "notes.md"
    moved.parent.mkdir()
    moved.write_bytes(text.read_bytes())
    assert open_corpus(str(moved), tmp_path / "a").identity == open_corpus(str(text), tmp_path / "b").identity


def test_one_byte_makes_another_name(text: Path, folder: Path) -> None:
    first = open_corpus(str(text), folder).identity
    text.write_bytes(text.read_bytes().replace(b"1 a line", b"1 a Line", 1))
    assert open_corpus(str(text), folder).identity != first


def test_what_is_on_which_side_is_part_of_the_name(folder: Path) -> None:
    def source(texts: list[bytes]) -> Source:
        return Source("made", "", lambda: (document("", text) for text in texts))

    parts = [b"%d" % index * 2000 + b"\n" for index in range(9)]
    moved = [*parts[:3], parts[8], parts[3], *parts[4:8]]
    identities = {prepare(source(texts), "bytes", folder, "key").identity for texts in (parts, moved)}
    assert len(identities) == 2


# Whole or not at all


@pytest.mark.parametrize(
    "damage", ["cut train.bin", "cut validation.bin", "no train.bin", "cut facts.json", "no index"]
)
def test_what_is_damaged_is_made_again(text: Path, folder: Path, damage: str) -> None:
    corpus = open_corpus(str(text), folder)
    whole = corpus.train_path.read_bytes(), corpus.validation_path.read_bytes()
    what, name = damage.split()
    (path,) = (folder / "index").iterdir() if name == "index" else [corpus.train_path.parent / name]
    if what == "no":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[:-10])
    assert open_corpus(str(text), folder) == corpus
    assert (corpus.train_path.read_bytes(), corpus.validation_path.read_bytes()) == whole


def test_several_may_prepare_the_same_corpus_at_once(text: Path, folder: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        corpora = list(pool.map(lambda _: open_corpus(str(text), folder), range(16)))
    assert len(set(corpora)) == 1
    assert len(files_of(folder)) == 4
    assert [path.name for path in folder.iterdir() if path.name.startswith(".")] == []
    assert corpora[0].train_path.stat().st_size == corpora[0].facts.train_tokens


def test_what_fails_on_the_way_leaves_nothing(tmp_path: Path, folder: Path) -> None:
    path = tmp_path / "texts.jsonl"
    path.write_bytes(b'{"text": "fine, and long enough to be written before the fault"}\n' * 50_000 + b"{\n")
    with pytest.raises(StoreError, match=r"texts\.jsonl:50001"):
        open_corpus(str(path), folder)
    assert list(folder.iterdir()) == []


def test_a_folder_that_cannot_be_written_is_told(text: Path, tmp_path: Path) -> None:
    (tmp_path / "taken").write_bytes(b"")
    with pytest.raises(StoreError, match=r"cannot write a corpus to .*taken .*choose another folder"):
        open_corpus(str(text), tmp_path / "taken")


# Long enough


@pytest.mark.parametrize(("content", "fault"), [(b"", "has no text"), (b"short\n", "fewer than 4096 and 1024")])
def test_a_text_that_is_too_short_is_told_and_leaves_nothing(
    tmp_path: Path, folder: Path, content: bytes, fault: str
) -> None:
    path = tmp_path / "notes.txt"
    path.write_bytes(content)
    with pytest.raises(InputError, match=rf"notes .*{fault}"):
        open_corpus(str(path), folder)
    assert list(folder.iterdir()) == []


def test_a_side_that_is_too_short_is_told_with_its_length(folder: Path) -> None:
    texts = [LINE * 100] * 3 + [b"tiny\n"] + [LINE * 100] * 5
    source = Source("made", "", lambda: (document("", text) for text in texts))
    with pytest.raises(InputError, match="40000 tokens to train on and 5 to validate on"):
        prepare(source, "bytes", folder, "key")


# In little memory


def peak_bytes_of_preparing(source: Source, folder: Path) -> int:
    tracemalloc.start()
    try:
        prepare(source, "bytes", folder, "key")
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_memory_does_not_grow_with_the_number_of_documents(folder: Path) -> None:
    def documents() -> Iterator[Document]:
        return (document("", bytes([index % 256]) * MIB) for index in range(128))

    assert peak_bytes_of_preparing(Source("many", "", documents), folder) < 16 * MIB


def test_memory_does_not_grow_with_the_length_of_a_document(tmp_path: Path, folder: Path) -> None:
    path = tmp_path / "long.txt"
    with path.open("wb") as file:
        for _ in range(128):
            file.write(LINE * (MIB // len(LINE)))
    tracemalloc.start()
    try:
        corpus = open_corpus(str(path), folder)
        assert tracemalloc.get_traced_memory()[1] < 16 * MIB
    finally:
        tracemalloc.stop()
    assert corpus.facts.documents == 64
    assert corpus.facts.train_tokens + corpus.facts.validation_tokens == path.stat().st_size
