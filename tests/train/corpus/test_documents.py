"""Every eighth document is held out, and too few documents are cut into pieces without losing a byte."""

import pytest

from scalemark.train.corpus.documents import Document, between_characters, cut, document, enough, pieces


def cut_text(text: bytes, n_pieces: int) -> list[bytes]:
    return texts_of_pieces([document("text", text)], n_pieces)


def texts_of_pieces(documents: list[Document], n_pieces: int) -> list[bytes]:
    return [b"".join(piece.parts) for piece in cut(documents, n_pieces)]


def test_every_eighth_document_from_the_fourth_on_is_held_out() -> None:
    held_out = [piece.text for piece in pieces(document("", b"%d" % index) for index in range(20)) if piece.held_out]
    assert held_out == [b"3", b"11", b"19"]


def test_a_document_in_parts_is_on_one_side_and_ends_once() -> None:
    before = [document("", b"x")] * 3
    parts = list(pieces([*before, Document("long", 9, iter([b"abc", b"def", b"ghi"]))]))[3:]
    assert [piece.text for piece in parts] == [b"abc", b"def", b"ghi"]
    assert [piece.ends for piece in parts] == [False, False, True]
    assert all(piece.held_out for piece in parts)


def test_eight_documents_stay_as_they_are_and_seven_are_cut() -> None:
    eight = [document("", b"%d\n" % index * 100) for index in range(8)]
    assert [b"".join(each.parts) for each in enough(iter(eight))] == [b"%d\n" % index * 100 for index in range(8)]
    assert len([b"".join(each.parts) for each in enough(iter(eight[:7]))]) == 64


def test_documents_are_not_asked_for_before_they_are_used() -> None:
    asked: list[int] = []

    def endless():
        for index in range(10**9):
            asked.append(index)
            yield document("", b"x")

    stream = pieces(enough(endless()))
    for _ in range(20):
        next(stream)
    assert len(asked) == 20


def test_a_text_is_cut_at_line_ends_into_pieces_of_about_one_size() -> None:
    text = b"".join(b"line %d\n" % index for index in range(1000))
    cuts = cut_text(text, 10)
    assert b"".join(cuts) == text
    assert len(cuts) == 10 and all(piece.endswith(b"\n") for piece in cuts)
    assert max(map(len, cuts)) - min(map(len, cuts)) < 20


def test_a_text_without_lines_is_cut_between_characters() -> None:
    text = "äöü€".encode() * 250
    cuts = cut_text(text, 7)
    assert len(cuts) == 7
    assert "".join(piece.decode() for piece in cuts).encode() == text + b"\n"
    assert max(map(len, cuts)) - min(map(len, cuts)) < 10


def test_one_very_long_line_does_not_make_a_piece_empty() -> None:
    text = b"short\n" * 100 + b"x" * 10_000 + b"\n" + b"short\n" * 100
    cuts = cut_text(text, 16)
    assert b"".join(cuts) == text
    assert len(cuts) == 16 and min(map(len, cuts)) > 300


def test_where_a_text_is_cut_does_not_depend_on_the_parts_it_comes_in() -> None:
    text = b"".join(b"line %d\n" % index for index in range(1000))
    whole = cut_text(text, 9)
    lines = text.splitlines(keepends=True)
    assert texts_of_pieces([Document("", len(text), lines)], 9) == whole


def test_documents_that_are_cut_together_do_not_run_into_one_another() -> None:
    cuts = texts_of_pieces([document("", b"one two"), document("", b"three\n"), document("", b"four")], 1)
    assert cuts == [b"one two\nthree\nfour\n"]


@pytest.mark.parametrize(("text", "wanted", "place"), [("a€b", 1, 1), ("a€b", 2, 1), ("a€b", 3, 1), ("a€b", 4, 4)])
def test_a_character_is_not_divided(text: str, wanted: int, place: int) -> None:
    assert between_characters(text.encode(), wanted) == place


def test_bytes_that_are_no_characters_are_divided_anywhere() -> None:
    assert between_characters(b"\x80" * 10, 7) == 7
