"""Files read and written whole, or the one line that says why not. A name that ends in .gz is compressed."""

import gzip
import os
import secrets
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from scalemark.errors import SchemaError, StoreError

_FAST = 6


@contextmanager
def open_whole(path: Path) -> Iterator[IO[bytes]]:
    """A binary file to write to. A reader sees the old file or the whole new one; raises StoreError.

    The same content gives the same bytes, compressed or not.
    """
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("wb") as file:
            if path.suffix == ".gz":
                with gzip.GzipFile("", "wb", _FAST, file, mtime=0) as compressed:
                    yield compressed  # type: ignore[misc]
            else:
                yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        raise StoreError(f"cannot write {path} ({why(error)}): free it, or choose another file") from error
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


@contextmanager
def open_read(path: Path, noun: str) -> Iterator[IO[bytes]]:
    """The file's bytes, decompressed; raises StoreError where it cannot be read, SchemaError where it is cut off."""
    try:
        with gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb") as file:
            yield file  # type: ignore[misc]
    except FileNotFoundError as error:
        raise StoreError(f"there is no {noun} at {path}: {_advice(path.parent)}") from error
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise SchemaError(f"{path} is no whole gzip file: it was cut off or is another; restore it") from error
    except OSError as error:
        raise StoreError(f"cannot read the {noun} at {path} ({why(error)}): give a file that can be read") from error


def read_bytes(path: Path, noun: str) -> bytes:
    """All of the file; raises StoreError. noun: what it should be."""
    with open_read(path, noun) as file:
        return file.read()


def _advice(folder: Path) -> str:
    if (folder / "journal.jsonl").exists():
        return "this run was cut off before its end; run it again"
    return "check the path, or run `pytest bench/` to make one"


def why(error: OSError) -> str:
    """The system's own reason, in a few words."""
    return (error.strerror or type(error).__name__).lower()
