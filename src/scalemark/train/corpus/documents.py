"""Documents: texts that come in parts. Which of them are held out, and what becomes of too few of them."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import chain, groupby, islice
from typing import NamedTuple

VALIDATION_EVERY, VALIDATION_FIRST = 8, 3
# Fewer documents than one turn of the split are cut into so many pieces, of which an eighth is held out.
FEWEST_DOCUMENTS, N_PIECES = VALIDATION_EVERY, 64


@dataclass(frozen=True)
class Document:
    """One text. origin: where it is from, for messages. parts: its bytes in order, to be gone through once."""

    origin: str
    size_bytes: int
    parts: Iterable[bytes]


@dataclass(frozen=True)
class Source:
    """What a spec names. stamp: changes when its documents may have. documents: all of them, from the start.

    symbols: the size of the alphabet, where bytes are tokens already and not text; they then have an entropy rate.
    """

    name: str
    stamp: str
    documents: Callable[[], Iterator[Document]]
    symbols: int | None = None
    entropy_rate: Callable[[], float] | None = None


class Piece(NamedTuple):
    """One part of a document on its way to a token file. ends: whether it is the document's last."""

    held_out: bool
    origin: str
    text: bytes
    ends: bool


def document(origin: str, text: bytes) -> Document:
    """A document of one part."""
    return Document(origin, len(text), (text,))


def is_held_out(index: int) -> bool:
    """Whether the document of this index is for validation."""
    return index % VALIDATION_EVERY == VALIDATION_FIRST


def pieces(documents: Iterable[Document]) -> Iterator[Piece]:
    """All parts of all documents in order, each with the side that its document is on."""
    for index, each in enumerate(documents):
        for part, ends in _with_last(each.parts):
            yield Piece(is_held_out(index), each.origin, part, ends)


def _with_last(parts: Iterable[bytes]) -> Iterator[tuple[bytes, bool]]:
    """Each part, and whether it is the last."""
    remaining = iter(parts)
    held = next(remaining, None)
    for part in remaining:
        assert held is not None
        yield held, False
        held = part
    if held is not None:
        yield held, True


def enough(documents: Iterator[Document]) -> Iterator[Document]:
    """The documents as they come; too few to be split are cut into pieces, which are documents from then on."""
    first = list(islice(documents, FEWEST_DOCUMENTS))
    return chain(first, documents) if len(first) == FEWEST_DOCUMENTS else cut(first, N_PIECES)


def cut(documents: list[Document], n_pieces: int) -> Iterator[Document]:
    """The documents end to end, cut into about equal pieces: at line ends where there are any near."""
    total = sum(each.size_bytes for each in documents)
    origin = ", ".join(each.origin for each in documents)
    placed = _placed(chain.from_iterable(map(_terminated, documents)), total, n_pieces)
    for _, group in groupby(placed, key=lambda item: item[0]):
        yield Document(origin, total // n_pieces, (part for _, part in group))


def _terminated(each: Document) -> Iterator[bytes]:
    """The document's parts, and a line end if it has none: the next document is to begin on a line of its own."""
    for part, ends in _with_last(each.parts):
        yield part + b"\n" if ends and not part.endswith(b"\n") else part


def _placed(parts: Iterable[bytes], total_bytes: int, n_pieces: int) -> Iterator[tuple[int, bytes]]:
    """Each part with the index of its piece; a part that reaches over the end of a piece is divided there."""
    index, position = 0, 0
    for whole in parts:
        part = whole
        while index < n_pieces - 1 and position + len(part) > (index + 1) * total_bytes // n_pieces:
            at = _place_to_cut(part, (index + 1) * total_bytes // n_pieces - position, total_bytes // n_pieces // 2)
            yield index, part[:at]
            index, position, part = index + 1, position + at, part[at:]
        yield index, part
        position += len(part)


def _place_to_cut(text: bytes, wanted: int, reach: int) -> int:
    """After the first line end from `wanted` on, else after the last before it, in reach; else between characters."""
    after = text.find(b"\n", max(wanted - 1, 0), wanted + reach) + 1
    before = text.rfind(b"\n", max(wanted - reach, 0), wanted) + 1
    return after or before or between_characters(text, wanted)


def between_characters(text: bytes, wanted: int) -> int:
    """The last place up to `wanted` that divides no UTF-8 character; `wanted` where the bytes are no UTF-8."""
    places = range(wanted, max(wanted - 4, -1), -1)
    return next((place for place in places if place == len(text) or text[place] & 0xC0 != 0x80), wanted)
