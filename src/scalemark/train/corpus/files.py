"""Documents from files: plain text, JSON lines, parquet, folders of them, and the interpreter's own source.

A text file is a document; in JSON lines and parquet every row is one, its `text`. Text files are taken as the bytes
they are. Files of a folder come sorted, hidden ones left out.
"""

import json
import re
import sysconfig
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from hashlib import sha256
from itertools import chain
from pathlib import Path
from typing import Any

from scalemark.errors import InputError, StoreError
from scalemark.train.corpus.documents import Document, Source, between_characters, document
from scalemark.train.extras import needed

# Small enough that several are tokenized at a time.
PART_BYTES = 1 << 16
# Text has no zero byte; whether a file is text shows in its beginning, as for git and grep.
SNIFFED_BYTES = 8192
PARQUET_ROWS = 256
LONGEST_NAME = 40
# Not the interpreter's own: what was installed into it, and its tests, which hold source that is wrong on purpose.
NOT_STDLIB = frozenset({"site-packages", "dist-packages", "test", "tests", "idle_test"})


def stdlib_source() -> Source:
    """The Python source of the interpreter's standard library."""
    root = Path(sysconfig.get_paths()["stdlib"])
    paths = [path for path in _walk(root, lambda name: name in NOT_STDLIB) if path.suffix == ".py"]
    return Source("stdlib", stamp_of(paths), partial(_documents, paths))


def path_source(path: Path) -> Source:
    """A file, or a folder of files; raises InputError where there is none."""
    paths = list(_walk(path, lambda name: name.startswith("."))) if path.is_dir() else [path]
    if not paths:
        raise InputError(f"there is no file in {path}: name a folder with text in it")
    name = path.resolve().name if path.is_dir() else path.stem
    return Source(tidy_name(name), stamp_of(paths), partial(_documents, paths))


def tidy_name(name: str) -> str:
    """What can be a file's name anywhere: other characters become dashes."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", name)[:LONGEST_NAME].strip(".-") or "corpus"


def stamp_of(paths: Iterable[Path]) -> str:
    """Changes when any of the files moves, or gets another size or time."""
    digest = sha256()
    for path in paths:
        with reading(path):
            status = path.stat()
        digest.update(f"{path.resolve()}\0{status.st_size}\0{status.st_mtime_ns}\n".encode(errors="surrogateescape"))
    return digest.hexdigest()


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """What the system refuses becomes a StoreError that names the file."""
    try:
        yield
    except OSError as error:
        raise StoreError(f"cannot read {path} ({error.strerror or error}): check the file and its rights") from error


def _walk(folder: Path, is_left_out: Callable[[str], bool]) -> Iterator[Path]:
    """The files below, sorted in each folder; links to folders are not followed, as they may lead in a circle."""
    with reading(folder):
        inside = sorted(path for path in folder.iterdir() if not is_left_out(path.name))
    for path in inside:
        if path.is_dir() and not path.is_symlink():
            yield from _walk(path, is_left_out)
        elif path.is_file():
            yield path


def _documents(paths: list[Path]) -> Iterator[Document]:
    """Those of every file in turn; empty ones are left out."""
    every = chain.from_iterable(_READERS.get(path.suffix.lower(), text_documents)(path) for path in paths)
    return (each for each in every if each.size_bytes)


def text_documents(path: Path) -> Iterator[Document]:
    """The whole file as one document, read when it is used."""
    with reading(path):
        size_bytes = path.stat().st_size
    yield Document(str(path), size_bytes, read_parts(path))


def read_parts(path: Path, part_bytes: int = PART_BYTES) -> Iterator[bytes]:
    """The file in parts that end at line ends, or between characters where lines are very long."""
    with reading(path), path.open("rb") as file:
        rest = b""
        while block := file.read(part_bytes):
            if not rest and b"\0" in block[:SNIFFED_BYTES]:
                raise StoreError(f"{path} is not text (it has zero bytes): leave it out, or convert it to UTF-8")
            rest += block
            end = rest.rfind(b"\n") + 1 or between_characters(rest, len(rest) - 1)
            if end:
                yield rest[:end]
            rest = rest[end:]
        if rest:
            yield rest


def jsonl_documents(path: Path) -> Iterator[Document]:
    """The `text` of every line; raises StoreError with the line that has none."""
    with reading(path), path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            if line.strip():
                yield document(f"{path}:{number}", _text_of_line(line, f"{path}:{number}"))


def _text_of_line(line: bytes, origin: str) -> bytes:
    try:
        row = json.loads(line.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise StoreError(f"{origin} is not UTF-8 (byte {error.start + 1}): convert the file to UTF-8") from error
    except ValueError as error:
        raise StoreError(f"{origin} is not JSON ({error}): write one object per line") from error
    return text_of(row.get("text") if isinstance(row, dict) else None, origin)


def text_of(value: Any, origin: str) -> bytes:
    """A row's text in UTF-8; raises StoreError where it is none."""
    if not isinstance(value, str):
        raise StoreError(f'{origin} has no text: every row needs a string named "text"')
    try:
        return value.encode()
    except UnicodeEncodeError as error:
        raise StoreError(f"{origin} has half a surrogate pair, which is no character: remove it") from error


def parquet_documents(path: Path) -> Iterator[Document]:
    """The column `text`, a row at a time; an empty cell is an empty document."""
    parquet = needed("pyarrow.parquet", "parquet")
    with reading(path), path.open("rb") as opened:
        try:
            file = parquet.ParquetFile(opened)
            if "text" not in file.schema_arrow.names:
                raise StoreError(f'{path} has no column "text": rename the one that holds the text')
            for number, value in enumerate(_column(file), start=1):
                yield document(
                    f"{path}, row {number}", text_of("" if value is None else value, f"{path}, row {number}")
                )
        except ValueError as error:  # what pyarrow raises for a file that it does not understand
            raise StoreError(f"{path} is not parquet that can be read ({error}): write it again") from error


def _column(file: Any) -> Iterator[Any]:
    for batch in file.iter_batches(batch_size=PARQUET_ROWS, columns=["text"]):
        yield from batch.column(0).to_pylist()


_READERS: dict[str, Callable[[Path], Iterator[Document]]] = {
    ".jsonl": jsonl_documents,
    ".parquet": parquet_documents,
}
