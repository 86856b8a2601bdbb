"""Runs on disk: a journal that survives a kill, and the suite that is made of it.

results/runs/<id>/journal.jsonl   one line per entry, on disk before the next thing is measured
                  suite.json      the record, derived from the journal, written at once or not at all
                  workers.log     what the workers printed
                  checkpoints/    states of models in training, where the run is one that can go on
                  report.md, report.html
"""

import os
import re
import secrets
import tempfile
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from scalemark.errors import SchemaError, StoreError
from scalemark.record.collection import SUITE_NAME, as_written, read_one
from scalemark.record.files import open_whole, read_bytes, why
from scalemark.record.parse import first_problem
from scalemark.schema import JournalEntry, Suite

_ENTRIES: TypeAdapter[JournalEntry] = TypeAdapter(JournalEntry)
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
        return self.path / SUITE_NAME

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
                f"cannot write results to {self.root} ({why(error)}): free it, or choose another results folder"
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
                f"cannot make {folder.path} ({why(error)}): free it, or choose another results folder"
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
                f"cannot write to {self.path} ({why(error)}): make room; what was measured so far is kept"
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
    lines = read_bytes(path, "journal").split(b"\n")
    unfinished = lines.pop()  # empty where the last line was ended
    if _is_entry(unfinished):
        lines.append(unfinished)
    return [_parse_entry(line, number, path) for number, line in enumerate(lines, start=1)]


def _parse_entry(line: bytes, number: int, path: Path) -> JournalEntry:
    try:
        return _ENTRIES.validate_json(line)
    except ValidationError as error:
        raise SchemaError(
            f"{path}, line {number}, is not a journal entry ({first_problem(error)}): "
            "remove that line, or read the journal with the version that wrote it"
        ) from error


def save_suite(suite: Suite, path: Path) -> None:
    """Write the suite so that a reader sees the old file or the whole new one; raises StoreError."""
    write_whole(_numbers_in_line(as_written(suite).model_dump_json(indent=1)) + "\n", path)


def _numbers_in_line(indented: str) -> str:
    """The JSON with each list of plain numbers on one line. No text is touched: inside of one, a line cannot end."""
    return _NUMBERS.sub(lambda match: re.sub(r"\s+", " ", match[0]).replace("[ ", "[").replace(" ]", "]"), indented)


def write_whole(text: str, path: Path) -> None:
    """Write so that a reader sees all of the text or the old file; compressed where the name ends in .gz."""
    with open_whole(path) as file:
        file.write(text.encode())


def load_suite(path: Path | str) -> Suite:
    """The suite in this file, in this run's folder, or of this name in a collection ('all.jsonl#ID').

    Raises StoreError where there is none to read, or more than one; SchemaError where it is truncated, foreign or of a
    newer schema.
    """
    return read_one(Path(path))


def latest_suite(results_root: Path) -> Path:
    """suite.json of the newest finished run, by run id; raises StoreError where there is none."""
    found = sorted((results_root / "runs").glob(f"*/{SUITE_NAME}"), key=lambda path: path.parent.name)
    if not found:
        raise StoreError(f"no finished run below {results_root / 'runs'}: run `pytest bench/` first, or name a suite")
    return found[-1]


def is_file_name(text: str) -> bool:
    """Whether this is one plain name, and so cannot lead out of the folder that it is put into."""
    return bool(text) and text not in {".", ".."} and not set(text) & set('/\\:\0"')
