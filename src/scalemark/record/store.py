"""Runs on disk: a journal that survives a kill, and the suite that is made of it.

results/runs/<id>/journal.jsonl   one line per entry, on disk before the next thing is measured
                  suite.json      the record, derived from the journal, written at once or not at all
                  workers.log     what the workers printed
                  checkpoints/    states of models in training, where the run is one that can go on
                  report.md, report.html
"""

import json
import os
import re
import secrets
import tempfile
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from scalemark.errors import SchemaError, StoreError
from scalemark.schema import SCHEMA_VERSION, JournalEntry, Suite

_ENTRIES: TypeAdapter[JournalEntry] = TypeAdapter(JournalEntry)
_SUITE_NAME = "suite.json"
_NUMBERS = re.compile(r"\[\n[-+.,\deE\s]+\n\s*\]")


def new_run_id(now: datetime) -> str:
    """'20260101-120000-ab12': sorts by time, and two runs of one second still differ."""
    return f"{now:%Y%m%d-%H%M%S}-{secrets.token_hex(2)}"


@dataclass(frozen=True)
class RunFolder:
    """Where one run keeps its files."""

    path: Path

    @property
    def id(self) -> str:
        return self.path.name

    @property
    def journal_path(self) -> Path:
        return self.path / "journal.jsonl"

    @property
    def suite_path(self) -> Path:
        return self.path / _SUITE_NAME

    @property
    def checkpoints_path(self) -> Path:
        return self.path / "checkpoints"

    @property
    def log_path(self) -> Path:
        return self.path / "workers.log"

    @property
    def markdown_path(self) -> Path:
        return self.path / "report.md"

    @property
    def html_path(self) -> Path:
        return self.path / "report.html"


@dataclass(frozen=True)
class ResultsFolder:
    """The folder that runs and baselines live in."""

    root: Path

    def check_writable(self) -> None:
        """Write and remove a file, so that a run fails before it measures and not after.

        Raises StoreError.
        """
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            with tempfile.NamedTemporaryFile(dir=self.root, prefix=".write-test-") as file:
                file.write(b"scalemark")
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise StoreError(
                f"cannot write results to {self.root} ({_why(error)}): free it, or choose another results folder"
            ) from error

    def start_run(self, run_id: str) -> RunFolder:
        """A new folder for this run; raises StoreError where it exists or cannot be made."""
        folder = RunFolder(self.root / "runs" / run_id)
        try:
            folder.path.mkdir(parents=True)
        except FileExistsError as error:
            raise StoreError(f"there is a run at {folder.path} already: start this one under another id") from error
        except OSError as error:
            raise StoreError(
                f"cannot make {folder.path} ({_why(error)}): free it, or choose another results folder"
            ) from error
        return folder


class Journal:
    """The file that a run appends to. Opening one that a kill cut off removes the half-written line."""

    def __init__(self, path: Path) -> None:
        self.path = path
        _mend_last_line(path)

    def append(self, entry: JournalEntry) -> None:
        """Write one line and wait until it is on disk; raises StoreError where it cannot be."""
        line = _ENTRIES.dump_json(entry) + b"\n"
        try:
            with self.path.open("ab") as file:
                file.write(line)
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise StoreError(
                f"cannot write to {self.path} ({_why(error)}): make room; what was measured so far is kept"
            ) from error


def _mend_last_line(path: Path) -> None:
    """End the last line, or drop it, so that the next entry starts on a line of its own."""
    if not path.exists():
        return
    content = path.read_bytes()
    last = content[content.rfind(b"\n") + 1 :]
    if not last:
        return
    with path.open("r+b") as file:
        file.truncate(len(content) - (0 if _is_entry(last) else len(last)))
        file.seek(0, os.SEEK_END)
        if _is_entry(last):
            file.write(b"\n")


def _is_entry(line: bytes) -> bool:
    try:
        _ENTRIES.validate_json(line)
    except ValidationError:
        return False
    return True


def read_journal(path: Path) -> list[JournalEntry]:
    """All entries. A last line that was cut off, as a kill leaves it, is dropped.

    Raises StoreError where the file cannot be read, SchemaError with the line number where another line is bad.
    """
    lines = _read_bytes(path, "journal").split(b"\n")
    unfinished = lines.pop()  # empty where the last line was ended
    if _is_entry(unfinished):
        lines.append(unfinished)
    return [_parse_entry(line, number, path) for number, line in enumerate(lines, start=1)]


def _parse_entry(line: bytes, number: int, path: Path) -> JournalEntry:
    try:
        return _ENTRIES.validate_json(line)
    except ValidationError as error:
        raise SchemaError(
            f"{path}, line {number}, is not a journal entry ({_first_problem(error)}): "
            "remove that line, or read the journal with the version that wrote it"
        ) from error


def save_suite(suite: Suite, path: Path) -> None:
    """Write the suite so that a reader sees the old file or the whole new one; raises StoreError."""
    write_whole(_numbers_in_line(suite.model_dump_json(indent=1)) + "\n", path)


def _numbers_in_line(indented: str) -> str:
    """The JSON with each list of plain numbers on one line. No text is touched: inside of one, a line cannot end."""
    return _NUMBERS.sub(lambda match: re.sub(r"\s+", " ", match[0]).replace("[ ", "[").replace(" ]", "]"), indented)


def write_whole(text: str, path: Path) -> None:
    """Write through a temporary file and a rename: all of the text or nothing; raises StoreError."""
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("w", encoding="utf-8", newline="\n") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise StoreError(f"cannot write {path} ({_why(error)}): free it, or choose another file") from error


def load_suite(path: Path) -> Suite:
    """The suite in this file, or in this run's folder.

    Raises StoreError where there is none to read, SchemaError where it is truncated, foreign or of a newer schema.
    """
    file = path / _SUITE_NAME if path.is_dir() else path
    try:
        content = json.loads(_read_bytes(file, "suite"))
    except ValueError as error:
        raise SchemaError(
            f"{file} is not complete JSON: it was cut off or is no suite; restore it or measure again"
        ) from error
    _check_version(content, file)
    try:
        return Suite.model_validate(content)
    except ValidationError as error:
        raise SchemaError(
            f"{file} is not a valid suite ({_first_problem(error)}): restore it or measure again"
        ) from error


def _check_version(content: Any, file: Path) -> None:
    """Raises SchemaError unless this is a suite whose fields this version knows."""
    version = content.get("schema_version") if isinstance(content, dict) else None
    if not isinstance(version, int) or "machine" not in content:
        raise SchemaError(f"{file} is JSON but no scalemark suite: give a suite.json or a run's folder")
    if version > SCHEMA_VERSION:
        raise SchemaError(
            f"{file} has schema version {version}, this scalemark reads up to {SCHEMA_VERSION}: upgrade scalemark"
        )


def latest_suite(results_root: Path) -> Path:
    """suite.json of the newest finished run, by run id; raises StoreError where there is none."""
    found = sorted((results_root / "runs").glob(f"*/{_SUITE_NAME}"), key=lambda path: path.parent.name)
    if not found:
        raise StoreError(f"no finished run below {results_root / 'runs'}: run `pytest bench/` first, or name a suite")
    return found[-1]


def is_file_name(text: str) -> bool:
    """Whether this is one plain name, and so cannot lead out of the folder that it is put into."""
    return bool(text) and text not in {".", ".."} and not set(text) & set('/\\:\0"')


def _read_bytes(path: Path, noun: str) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError as error:
        raise StoreError(f"there is no {noun} at {path}: {_advice(path.parent)}") from error
    except OSError as error:
        raise StoreError(f"cannot read the {noun} at {path} ({_why(error)}): give a file that can be read") from error


def _advice(folder: Path) -> str:
    if RunFolder(folder).journal_path.exists():
        return "this run was cut off before its end; run it again"
    return "check the path, or run `pytest bench/` to make one"


def _why(error: OSError) -> str:
    return (error.strerror or type(error).__name__).lower()


def _first_problem(error: ValidationError) -> str:
    problems: Iterable[Any] = error.errors(include_url=False, include_context=False, include_input=False)
    first, *others = problems
    place = ".".join(map(str, first["loc"])) or "the whole"
    return f"{place}: {first['msg']}" + (f", and {len(others)} more" if others else "")
