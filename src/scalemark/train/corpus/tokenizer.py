"""Text to tokens: every byte one, byte-level BPE trained on the spot, or symbols that are tokens already."""

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Literal, Protocol

import numpy as np

from scalemark.errors import InputError, StoreError
from scalemark.train.corpus.documents import Piece, Source, enough, pieces
from scalemark.train.extras import needed

TokenDtype = Literal["uint8", "uint16", "uint32"]

BYTE_VOCABULARY = 256
END_OF_TEXT = "<|endoftext|>"
# 256 bytes and the end of text, before any merge.
SMALLEST_BPE, LARGEST_BPE = BYTE_VOCABULARY + 1, 1 << 20
# Merges hardly change with more text, but training takes time and memory in proportion to it.
BPE_TRAINING_BYTES = 64 << 20


def token_dtype(vocab_size: int) -> TokenDtype:
    """The smallest unsigned integer that holds every token."""
    if vocab_size <= 1 << 8:
        return "uint8"
    return "uint16" if vocab_size <= 1 << 16 else "uint32"


class Tokenizer(Protocol):
    """name: as facts tell it. vocab_size: tokens lie below it."""

    name: str
    vocab_size: int

    def encode(self, batch: Sequence[Piece]) -> list[np.ndarray]:
        """Tokens of each piece, with what separates documents after a piece that ends one."""

    def bytes_per_token(self, text_bytes: int, n_tokens: int) -> float | None:
        """Of so many bytes of text that became so many tokens; None where tokens are not text."""


class ByteTokenizer:
    """Every byte is a token. Every document ends in a line end; one that has none gets one."""

    name, vocab_size = "bytes", BYTE_VOCABULARY

    def encode(self, batch: Sequence[Piece]) -> list[np.ndarray]:
        return [np.frombuffer(piece.text + b"\n" * _lacks_line_end(piece), dtype=np.uint8) for piece in batch]

    def bytes_per_token(self, text_bytes: int, n_tokens: int) -> float:
        return 1.0


def _lacks_line_end(piece: Piece) -> bool:
    return piece.ends and not piece.text.endswith(b"\n")


class SymbolTokenizer:
    """The bytes are tokens of a small alphabet already, and nothing separates documents."""

    name = "none"

    def __init__(self, vocab_size: int) -> None:
        self.vocab_size = vocab_size

    def encode(self, batch: Sequence[Piece]) -> list[np.ndarray]:
        return [np.frombuffer(piece.text, dtype=np.uint8) for piece in batch]

    def bytes_per_token(self, text_bytes: int, n_tokens: int) -> None:
        return None


class BpeTokenizer:
    """Byte-level BPE (Radford et al. 2019, section 2.2) of the `tokenizers` package; a token ends every document.

    texts: what it is trained on. Raises InputError where the package is missing.
    """

    def __init__(self, size: int, texts: Iterable[str]) -> None:
        package = needed("tokenizers", "bpe")
        self.name = f"bpe:{size}"
        self._bpe = package.Tokenizer(package.models.BPE())
        self._bpe.pre_tokenizer = package.pre_tokenizers.ByteLevel(add_prefix_space=False)
        self._bpe.encode_special_tokens = True  # a text that spells the end of text does not end there
        self._bpe.train_from_iterator(texts, _trainer(package, size))
        self.vocab_size: int = self._bpe.get_vocab_size()
        self._end = [self._bpe.token_to_id(END_OF_TEXT)]

    def encode(self, batch: Sequence[Piece]) -> list[np.ndarray]:
        encoded = self._bpe.encode_batch_fast([decoded(piece) for piece in batch], add_special_tokens=False)
        dtype = token_dtype(self.vocab_size)
        return [np.array(each.ids + self._end * piece.ends, dtype) for piece, each in zip(batch, encoded, strict=True)]

    def bytes_per_token(self, text_bytes: int, n_tokens: int) -> float:
        return text_bytes / n_tokens


def _trainer(package: Any, size: int) -> Any:
    return package.trainers.BpeTrainer(
        vocab_size=size,
        special_tokens=[END_OF_TEXT],
        initial_alphabet=sorted(package.pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )


def decoded(piece: Piece) -> str:
    """The piece as text; raises StoreError where it is not UTF-8."""
    try:
        return piece.text.decode()
    except UnicodeDecodeError as error:
        raise StoreError(
            f"{piece.origin} is not UTF-8, which BPE needs: convert it, or use the tokenizer bytes"
        ) from error


def check_tokenizer(name: str, source: Source) -> None:
    """Raises InputError where there is no such tokenizer, or the source takes none."""
    _bpe_size(name)
    if source.symbols and name != ByteTokenizer.name:
        raise InputError(f"{source.name} is made of tokens, not of text: leave out the tokenizer {name}")


def make_tokenizer(name: str, source: Source) -> Tokenizer:
    """The tokenizer of this name, trained on the source's training documents where it has to be."""
    if source.symbols:
        return SymbolTokenizer(source.symbols)
    size = _bpe_size(name)
    return BpeTokenizer(size, _training_texts(source)) if size else ByteTokenizer()


def _bpe_size(name: str) -> int | None:
    """SIZE of 'bpe:SIZE', None for 'bytes'."""
    if name == ByteTokenizer.name:
        return None
    match = re.fullmatch(r"bpe:(\d+)", name)
    if not match or not SMALLEST_BPE <= int(match[1]) <= LARGEST_BPE:
        raise InputError(
            f"there is no tokenizer {name!r}: use bytes, or bpe:SIZE with a size from {SMALLEST_BPE} to {LARGEST_BPE}"
        )
    return int(match[1])


def _training_texts(source: Source) -> Iterator[str]:
    left_bytes = BPE_TRAINING_BYTES
    for piece in pieces(enough(source.documents())):
        if left_bytes <= 0:
            return
        if not piece.held_out:
            left_bytes -= len(piece.text)
            yield decoded(piece)
