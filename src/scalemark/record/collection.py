"""What suites a path holds: one at a time, so that ten thousand take no more memory than one.

    suite.json              one suite                    any of them may be compressed: NAME.gz
    NAME.jsonl              a collection: one suite a line
    NAME.jsonl#ID           one suite of a collection
    a run's folder          its suite.json
    any other folder        all of the above below it

A file that somebody named must be readable; one that was only found in a folder is passed over, with its reason.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TypeVar

from scalemark.errors import StoreError
from scalemark.record.files import open_read, open_whole, read_bytes
from scalemark.record.parse import parse_suite
from scalemark.schema import SCHEMA_VERSION, PassedOver, Suite

SUITE_NAME = "suite.json"
COLLECTION_ENDINGS = (".jsonl", ".jsonl.gz")
SUITE_ENDINGS = (".json", ".json.gz", *COLLECTION_ENDINGS)
# A run's own log of what happened: its suite is beside it.
_NO_COLLECTION = "journal.jsonl"
_MOST_NAMED = 5

_View = TypeVar("_View")
Parse = Callable[[bytes, object], _View]


@dataclass(frozen=True, order=True)
class Place:
    """A file, or a line of one, counted from 1."""

    path: Path
    line: int | None = None

    def __str__(self) -> str:
        return str(self.path) if self.line is None else f"{self.path}, line {self.line}"


def is_suite_path(path: Path) -> bool:
    """Whether suites are to be found here: a folder, a suite's file or a collection, or a suite of one."""
    return path.is_dir() or _file_and_id(path)[0].name.endswith(SUITE_ENDINGS)


def file_of(path: Path) -> Path:
    """The file that is read for a single suite."""
    file, _ = _file_and_id(path)
    return file / SUITE_NAME if file.is_dir() else file


def read_suites(paths: Sequence[Path], passed_over: list[PassedOver]) -> Iterator[tuple[Place, Suite]]:
    """Every suite of these paths with its place, in the order of the names.

    passed_over: grows by each file, or line of a file, that lies below a folder and holds no suite. Raises StoreError
    for a path that was named and cannot be used.
    """
    return read_views(paths, passed_over, parse_suite)


def read_views(
    paths: Sequence[Path], passed_over: list[PassedOver], parse: Parse[_View]
) -> Iterator[tuple[Place, _View]]:
    """As `read_suites`, of what `parse` makes of a suite's bytes."""
    for path in paths:
        named = not path.is_dir() or (path / SUITE_NAME).exists()
        for file in [path] if named else _files_below(path):
            yield from _suites_of(file, parse, None if named else passed_over)


def _suites_of(path: Path, parse: Parse[_View], passed_over: list[PassedOver] | None) -> Iterator[tuple[Place, _View]]:
    """The suites of one file; where nothing collects what is bad, it is raised."""
    texts = _texts(path)
    while True:
        try:
            found = next(texts, None)
        except StoreError as error:  # the rest of the file is lost
            _pass_over(error, Place(path), passed_over)
            return
        if found is None:
            return
        try:
            yield found[0], parse(found[1], found[0])
        except StoreError as error:
            _pass_over(error, found[0], passed_over)


def _pass_over(error: StoreError, place: Place, passed_over: list[PassedOver] | None) -> None:
    if passed_over is None:
        raise error
    passed_over.append(PassedOver(place=str(place), reason=str(error)))


def _files_below(folder: Path) -> Iterator[Path]:
    """In the order of their names; hidden files and journals are none of ours."""
    found = sorted(path for path in folder.rglob("*") if path.name.endswith(SUITE_ENDINGS) and path.is_file())
    return (path for path in found if path.name != _NO_COLLECTION and not path.name.startswith("."))


def _texts(path: Path) -> Iterator[tuple[Place, bytes]]:
    """The bytes of each suite of one file, folder of a run, or suite of a collection."""
    file, wanted = _file_and_id(path)
    if file.is_dir():
        file = file / SUITE_NAME
    if not file.name.endswith(COLLECTION_ENDINGS):
        yield Place(file), read_bytes(file, "suite")
        return
    with open_read(file, "suite") as lines:
        for number, line in enumerate(lines, start=1):
            if line.strip() and (wanted is None or _has_id(line, wanted)):
                yield Place(file, number), line


def _file_and_id(path: Path) -> tuple[Path, str | None]:
    """('all.jsonl', 'ID') of 'all.jsonl#ID'; a file that is really called so is itself."""
    name, sign, wanted = path.name.rpartition("#")
    if not sign or path.exists() or not name.endswith(COLLECTION_ENDINGS):
        return path, None
    return path.with_name(name), wanted


def _has_id(line: bytes, wanted: str) -> bool:
    """Whether a line may be the suite of this id; cheap, since a line may be long and the id stands near its start."""
    return f'"id":"{wanted}"'.encode() in line


def read_one(path: Path) -> Suite:
    """The one suite that a path names.

    Raises StoreError where there is none, or are several: those of a collection are named.
    """
    file, wanted = _file_and_id(path)
    suites = (suite for _, suite in _suites_of(path, parse_suite, None) if wanted in (None, suite.id))
    found = list(islice(suites, 1))
    others = [suite.id for suite in islice(suites, _MOST_NAMED)]
    if not found:
        what = f"no suite {wanted!r}" if wanted else "no suite"
        raise StoreError(f"{file} holds {what}: list what it holds with `scalemark history {file}`")
    if others:
        ids = ", ".join([found[0].id, *others[: _MOST_NAMED - 1], *(["…"] if len(others) == _MOST_NAMED else [])])
        raise StoreError(f"{file} holds several suites ({ids}): name one, as in {file}#{found[0].id}")
    return found[0]


def write_collection(suites: Iterable[Suite], path: Path) -> int:
    """Write one suite a line, each as it comes, all of them or nothing; how many. Raises StoreError."""
    count = 0
    with open_whole(path) as file:
        for suite in suites:
            file.write(as_written(suite).model_dump_json().encode() + b"\n")
            count += 1
    return count


def as_written(suite: Suite) -> Suite:
    """The suite with the version of the format in which it is about to be written."""
    if suite.schema_version == SCHEMA_VERSION:
        return suite
    return suite.model_copy(update={"schema_version": SCHEMA_VERSION})
