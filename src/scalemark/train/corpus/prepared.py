"""Token files on disk: written once, found again.

<folder>/<name>-<digest>/train.bin, validation.bin   tokens, flat, of the smallest unsigned integer that holds them
                         facts.json                  what they are
         index/<key>                                 the folder of a source with its tokenizer, so that it is found
         .partial-*/                                 what is being written; a folder that a kill left may be removed

Files are complete when they get their name, and what their name promises is their content: processes that prepare the
same corpus at a time replace one another's files with equal ones.
"""

import hashlib
import json
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np

from scalemark.errors import InputError, StoreError
from scalemark.schema import CorpusFacts
from scalemark.train.corpus.documents import Piece, Source, enough, pieces
from scalemark.train.corpus.tokenizer import TokenDtype, Tokenizer, make_tokenizer, token_dtype

FEWEST_TRAIN_TOKENS, FEWEST_VALIDATION_TOKENS = 4096, 1024
# How documents become tokens; another number when that changes, so that nothing older is found.
RECIPE = 1
# Tokenized at a time: enough for every core to have some.
BATCH_BYTES, BATCH_PIECES = 1 << 20, 1024

_TRAIN, _VALIDATION, _FACTS, _INDEX = "train.bin", "validation.bin", "facts.json", "index"


@dataclass(frozen=True)
class Corpus:
    """Two token files and what they are. dtype: of the tokens in them."""

    facts: CorpusFacts
    train_path: Path
    validation_path: Path
    dtype: TokenDtype = "uint8"

    @property
    def identity(self) -> str:
        """name@digest: the same tokens have the same, wherever they lie."""
        return self.facts.identity


def cache_key(source: Source, tokenizer: str) -> str:
    """Changes with whatever may change the tokens."""
    content = json.dumps([RECIPE, source.name, source.stamp, tokenizer])
    return hashlib.sha256(content.encode()).hexdigest()[:24]


def find_prepared(folder: Path, key: str) -> Corpus | None:
    """The corpus that was prepared under this key; None where there is none, or not all of it."""
    try:
        target = folder / (folder / _INDEX / key).read_text(encoding="utf-8")
        corpus = _corpus(target, CorpusFacts.model_validate_json((target / _FACTS).read_bytes()))
        return corpus if _is_whole(corpus) else None
    except (OSError, ValueError):  # never written, or damaged: it is made again
        return None


def prepare(source: Source, tokenizer: str, folder: Path, key: str) -> Corpus:
    """Write the token files; raises InputError where the text is too short, StoreError where it cannot be."""
    made = make_tokenizer(tokenizer, source)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder, prefix=".partial-") as partial:
            return _prepare(source, made, Path(partial), folder, key)
    except OSError as error:
        raise StoreError(
            f"cannot write a corpus to {folder} ({error.strerror or error}): free it, or choose another folder"
        ) from error


def _prepare(source: Source, tokenizer: Tokenizer, partial: Path, folder: Path, key: str) -> Corpus:
    facts = _write(source, tokenizer, partial)
    (partial / _FACTS).write_text(facts.model_dump_json(indent=1) + "\n", encoding="utf-8")
    target = folder / facts.identity.replace("@", "-")
    (partial / _INDEX).write_text(target.name, encoding="utf-8")
    target.mkdir(exist_ok=True)
    (folder / _INDEX).mkdir(exist_ok=True)
    for name in (_TRAIN, _VALIDATION, _FACTS):
        (partial / name).replace(target / name)
    (partial / _INDEX).replace(folder / _INDEX / key)
    return _corpus(target, facts)


def _corpus(target: Path, facts: CorpusFacts) -> Corpus:
    return Corpus(facts, target / _TRAIN, target / _VALIDATION, token_dtype(facts.vocab_size))


def _is_whole(corpus: Corpus) -> bool:
    item_bytes = np.dtype(corpus.dtype).itemsize
    sizes = corpus.train_path.stat().st_size, corpus.validation_path.stat().st_size
    return sizes == (corpus.facts.train_tokens * item_bytes, corpus.facts.validation_tokens * item_bytes)


def _write(source: Source, tokenizer: Tokenizer, partial: Path) -> CorpusFacts:
    """Both token files in `partial`, and what they are."""
    dtype = token_dtype(tokenizer.vocab_size)
    n_documents = 0
    with _TokenFile(partial / _TRAIN, dtype) as train, _TokenFile(partial / _VALIDATION, dtype) as validation:
        for batch in _batches(pieces(enough(source.documents()))):
            for piece, tokens in zip(batch, tokenizer.encode(batch), strict=True):
                (validation if piece.held_out else train).write(piece, tokens)
                n_documents += piece.ends
    _check_length(source, train.n_tokens, validation.n_tokens)
    return CorpusFacts(
        identity=f"{source.name}@{_digest(train, validation, tokenizer.name)}",
        train_tokens=train.n_tokens,
        validation_tokens=validation.n_tokens,
        vocab_size=tokenizer.vocab_size,
        tokenizer=tokenizer.name,
        documents=n_documents,
        bytes_per_token=tokenizer.bytes_per_token(validation.text_bytes, validation.n_tokens),
        entropy_rate=source.entropy_rate and source.entropy_rate(),
    )


class _TokenFile:
    """A file that tokens are written to, hashed on the way."""

    def __init__(self, path: Path, dtype: TokenDtype) -> None:
        self.path, self.n_tokens, self.text_bytes, self.hash = path, 0, 0, hashlib.sha256()
        self._dtype, self._file = dtype, path.open("wb")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def write(self, piece: Piece, tokens: np.ndarray) -> None:
        content = tokens.astype(self._dtype, copy=False).tobytes()
        self._file.write(content)
        self.hash.update(content)
        self.n_tokens += len(tokens)
        self.text_bytes += len(piece.text)


def _batches(parts: Iterable[Piece]) -> Iterator[list[Piece]]:
    batch: list[Piece] = []
    size_bytes = 0
    for piece in parts:
        batch.append(piece)
        size_bytes += len(piece.text)
        if size_bytes >= BATCH_BYTES or len(batch) >= BATCH_PIECES:
            yield batch
            batch, size_bytes = [], 0
    if batch:
        yield batch


def _check_length(source: Source, n_train: int, n_validation: int) -> None:
    if not n_train + n_validation:
        raise InputError(f"{source.name} has no text in it: give a corpus that has")
    if n_train < FEWEST_TRAIN_TOKENS or n_validation < FEWEST_VALIDATION_TOKENS:
        raise InputError(
            f"{source.name} gives {n_train} tokens to train on and {n_validation} to validate on, fewer than "
            f"{FEWEST_TRAIN_TOKENS} and {FEWEST_VALIDATION_TOKENS}: give more text, or all of it in one file, which "
            "is cut evenly"
        )


def _digest(train: _TokenFile, validation: _TokenFile, tokenizer: str) -> str:
    """What `digest_of` gives for both, whose first has been hashed on the way."""
    return _finished(train.hash.copy(), validation.path, tokenizer)


def digest_of(train_path: Path, validation_path: Path, tokenizer: str) -> str:
    """The second half of a corpus's identity: twelve digits of the SHA-256 of all tokens, those for training first,
    and of the tokenizer unless it is bytes."""
    with train_path.open("rb") as file:
        return _finished(hashlib.file_digest(file, "sha256"), validation_path, tokenizer)


def _finished(digest: "hashlib._Hash", validation_path: Path, tokenizer: str) -> str:
    digest.update(b"\0")
    with validation_path.open("rb") as file:
        hashlib.file_digest(file, lambda: digest)
    if tokenizer != "bytes":
        digest.update(b"\0" + tokenizer.encode())
    return digest.hexdigest()[:12]
