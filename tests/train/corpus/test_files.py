"""Any folder of text is a corpus; what is not text, or not there, is told with its place and what to do."""

import json
import os
import sys
from pathlib import Path

import pytest

from scalemark.errors import InputError, StoreError
from scalemark.train.corpus import Corpus, open_corpus, open_tokens
from scalemark.train.corpus.files import read_parts, tidy_name

LINE = b"a line of text that says nothing, again and again\n"


def both_sides(corpus: Corpus) -> tuple[bytes, bytes]:
    return open_tokens(corpus.train_path).tobytes(), open_tokens(corpus.validation_path).tobytes()


def numbered(index: int) -> bytes:
    return b"document %d\n" % index + LINE * 30


def rows(path: Path, texts: list[str]) -> Path:
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts), encoding="utf-8")
    return path


# Text


@pytest.mark.parametrize("name", ["notes.txt", "notes.md", "notes", "notes.unheard-of"])
def test_a_text_file_is_cut_into_64_documents_that_hold_all_of_it(tmp_path: Path, name: str) -> None:
    text = b"".join(b"%d\n" % index for index in range(5000))
    (tmp_path / name).write_bytes(text)
    corpus = open_corpus(str(tmp_path / name), tmp_path)
    train, validation = both_sides(corpus)
    assert corpus.identity.startswith("notes@") and corpus.facts.documents == 64
    assert sorted((train + validation).splitlines()) == sorted(text.splitlines())
    assert 0.1 < len(validation) / len(text) < 0.15


def test_a_text_file_need_not_be_utf_8(tmp_path: Path) -> None:
    (tmp_path / "latin.txt").write_bytes(b"caf\xe9\n" * 2000)
    assert both_sides(open_corpus(str(tmp_path / "latin.txt"), tmp_path))[1].count(b"\xe9") > 200


def test_a_file_with_zero_bytes_is_no_text(tmp_path: Path) -> None:
    (tmp_path / "photo.raw").write_bytes(b"\x01\x00\x02\n" * 5000)
    with pytest.raises(StoreError, match=r"photo\.raw is not text .*: leave it out"):
        open_corpus(str(tmp_path / "photo.raw"), tmp_path)


@pytest.mark.parametrize("part_bytes", [1, 2, 3, 7, 64, 10_000])
@pytest.mark.parametrize("text", ["", "ä", "a\n", "€€€€€€€€", "one\ntwo\nthree €\n", "no end"])
def test_parts_hold_the_whole_file_and_divide_no_character(tmp_path: Path, text: str, part_bytes: int) -> None:
    (tmp_path / "text").write_text(text, encoding="utf-8")
    parts = list(read_parts(tmp_path / "text", part_bytes))
    assert "".join(part.decode() for part in parts) == text
    assert all(parts)


# Folders


def test_a_file_of_a_folder_is_a_document_and_hidden_ones_are_left_out(tmp_path: Path) -> None:
    folder = tmp_path / "prose"
    for index in range(10):
        path = folder / f"part {index % 3}" / f"{index}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(numbered(index))
    for hidden in (".git/config", "part 0/.draft.txt"):
        (folder / hidden).parent.mkdir(exist_ok=True)
        (folder / hidden).write_bytes(b"\0")
    (folder / "empty.txt").touch()
    corpus = open_corpus(str(folder), tmp_path)
    order = [0, 3, 6, 9, 1, 4, 7, 2, 5, 8]
    assert corpus.facts.documents == 10 and corpus.identity.startswith("prose@")
    assert both_sides(corpus) == (b"".join(numbered(i) for i in order if i != 9), numbered(9))


def test_a_folder_may_hold_several_kinds_of_files(tmp_path: Path) -> None:
    folder = tmp_path / "mixed"
    folder.mkdir()
    rows(folder / "a.jsonl", [numbered(index).decode() for index in range(6)])
    (folder / "b.txt").write_bytes(numbered(6))
    (folder / "c.md").write_bytes(numbered(7))
    corpus = open_corpus(str(folder), tmp_path)
    assert both_sides(corpus) == (b"".join(numbered(i) for i in range(8) if i != 3), numbered(3))


def test_a_link_to_a_folder_that_leads_in_a_circle_is_not_followed(tmp_path: Path) -> None:
    folder = tmp_path / "prose"
    folder.mkdir()
    (folder / "again").symlink_to(folder)
    (folder / "text.txt").write_bytes(LINE * 300)
    assert sum(map(len, both_sides(open_corpus(str(folder), tmp_path)))) == 300 * len(LINE)


def test_a_folder_without_files_is_told(tmp_path: Path) -> None:
    (tmp_path / "prose" / "empty").mkdir(parents=True)
    with pytest.raises(InputError, match=r"no file in .*prose"):
        open_corpus(str(tmp_path / "prose"), tmp_path)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read_is_told(tmp_path: Path) -> None:
    (tmp_path / "locked.txt").write_bytes(LINE * 300)
    (tmp_path / "locked.txt").chmod(0)
    with pytest.raises(StoreError, match=r"cannot read .*locked\.txt"):
        open_corpus(str(tmp_path / "locked.txt"), tmp_path)


def test_a_file_that_vanishes_meanwhile_is_told(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"cannot read .*gone\.txt"):
        list(read_parts(tmp_path / "gone.txt"))


def test_the_interpreters_own_source_is_a_corpus_without_tests_and_packages(tmp_path: Path) -> None:
    corpus = open_corpus("stdlib", tmp_path)
    train, validation = both_sides(corpus)
    assert corpus.identity.startswith("stdlib@") and corpus.facts.documents > 300
    assert Path(json.__file__).read_bytes() in train + validation
    assert Path(pytest.__file__).read_bytes() not in train + validation


# JSON lines


def test_a_line_is_a_document_its_other_fields_and_empty_ones_left_out(tmp_path: Path) -> None:
    texts = [f"täxt {index} " * 150 for index in range(10)]
    path = rows(tmp_path / "texts.jsonl", ["", *texts])
    path.write_text(path.read_text(encoding="utf-8") + '\n{"id": 1, "text": "last"}', encoding="utf-8")
    train, validation = both_sides(open_corpus(str(path), tmp_path))
    assert train.decode() == "".join(text + "\n" for text in [*texts[:3], *texts[4:], "last"])
    assert validation.decode() == texts[3] + "\n"


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        (b'{"text": "cut off', "is not JSON"),
        (b"plain text", "is not JSON"),
        (b'{"content": "x"}', 'needs a string named "text"'),
        (b'{"text": 5}', 'needs a string named "text"'),
        (b'{"text": null}', 'needs a string named "text"'),
        (b'["text"]', 'needs a string named "text"'),
        (b'{"text": "caf\xe9"}', r"is not UTF-8 \(byte 14\)"),
        (b'{"text": "\\ud800"}', "surrogate"),
    ],
)
def test_a_line_that_cannot_be_used_is_told_with_its_number(tmp_path: Path, line: bytes, fault: str) -> None:
    path = tmp_path / "texts.jsonl"
    path.write_bytes(b'{"text": "fine"}\n\n' + line + b"\n")
    with pytest.raises(StoreError, match=rf"texts\.jsonl:3 .*{fault}"):
        open_corpus(str(path), tmp_path)


# Parquet


def parquet_file(path: Path, **columns: list[object]) -> Path:
    pyarrow = pytest.importorskip("pyarrow", reason="needs scalemark[parquet]")
    from pyarrow import parquet

    parquet.write_table(pyarrow.table(columns), path, row_group_size=4)
    return path


def test_a_row_of_parquet_is_a_document(tmp_path: Path) -> None:
    texts = [numbered(index).decode() for index in range(10)]
    path = parquet_file(tmp_path / "texts.parquet", id=list(range(12)), text=[*texts[:5], None, "", *texts[5:]])
    train, validation = both_sides(open_corpus(str(path), tmp_path))
    assert train.decode() == "".join(texts[:3] + texts[4:]) and validation.decode() == texts[3]


def test_parquet_without_a_text_is_told(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match='no column "text"'):
        open_corpus(str(parquet_file(tmp_path / "a.parquet", content=["x"])), tmp_path)
    with pytest.raises(StoreError, match='row 1 has no text: every row needs a string named "text"'):
        open_corpus(str(parquet_file(tmp_path / "b.parquet", text=[1])), tmp_path)


def test_a_damaged_parquet_file_is_told(tmp_path: Path) -> None:
    path = parquet_file(tmp_path / "texts.parquet", text=["x" * 1000])
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(StoreError, match=r"texts\.parquet is not parquet"):
        open_corpus(str(path), tmp_path)


def test_parquet_without_its_package_is_told_with_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "texts.parquet").write_bytes(b"PAR1")
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    with pytest.raises(InputError, match=r'needs pyarrow: run `pip install "scalemark\[parquet\]"`'):
        open_corpus(str(tmp_path / "texts.parquet"), tmp_path)


# Names


@pytest.mark.parametrize(
    ("name", "tidy"),
    [("my notes (2)", "my-notes-2"), ("..", "corpus"), ("東京", "corpus"), ("x" * 90, "x" * 40), ("a@b/c", "a-b-c")],
)
def test_a_name_can_be_that_of_a_folder(name: str, tidy: str) -> None:
    assert tidy_name(name) == tidy


@pytest.mark.parametrize("spec", ["no/such/path", "KJV", "kjv:2", "", "stdlib:", "synthetics"])
def test_a_spec_that_names_nothing_is_told_with_what_there_is(tmp_path: Path, spec: str) -> None:
    with pytest.raises(InputError, match="give the path of one, or one of kjv, stdlib, synthetic"):
        open_corpus(spec, tmp_path)
