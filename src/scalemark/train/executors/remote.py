"""A job on another machine: what must be the same there, where its text is, and what its times are worth.

driver ── Ticket ──> perform ─┬─ versions differ ──────────────> Refused
                              ├─ text by path, or by content ──> checked against its hash
                              ├─ checkpoints not shared ───────> a warning, and none are kept
                              └─ scalemark.train.worker.work ──> runs, each with the place where it was trained
"""

import os
import platform
import re
import secrets
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import cache
from importlib import metadata
from pathlib import Path

import psutil
from pydantic import BaseModel

from scalemark import __version__
from scalemark.errors import ScalemarkError, StoreError
from scalemark.process import Refused
from scalemark.schema import (
    Frozen,
    MeasurementWarning,
    RemoteExecutor,
    RunPlace,
    RunTrained,
    WarningRaised,
)
from scalemark.system import ROOT, read_text
from scalemark.train.jobs import TokenFiles, TrunkJob

Emit = Callable[[BaseModel], None]
# The training text and the validation text, as bytes; asked for only where the files are not there.
Content = Callable[[], Sequence[bytes]]

_MARKER = ".shared"


class Ticket(Frozen):
    """A job for another machine. versions: what decides losses and must be the same there.

    marker: what the file `.shared` in the folder of checkpoints says, for whoever sees that folder.
    """

    job: TrunkJob
    executor: RemoteExecutor
    versions: dict[str, str]
    marker: str | None = None


def write_ticket(job: TrunkJob, executor: RemoteExecutor) -> Ticket:
    """The ticket of this job, its folder of checkpoints marked. CPU numbers mean nothing on another machine."""
    marker = mark(Path(job.checkpoints)) if job.checkpoints else None
    job = job.model_copy(update={"affinity": None})
    return Ticket(job=job, executor=executor, versions=versions(), marker=marker)


def versions() -> dict[str, str]:
    """Of the packages that decide losses; read without importing them."""
    return {"scalemark": __version__, "torch": metadata.version("torch")}


def mark(checkpoints: Path) -> str:
    """What the folder's marker says; it is written where there is none. Raises StoreError."""
    path = checkpoints / _MARKER
    if (said := read_text(path)) is not None:
        return said
    marker = secrets.token_hex(8)
    try:
        checkpoints.mkdir(parents=True, exist_ok=True)
        path.write_text(marker, encoding="utf-8")
    except OSError as error:
        raise StoreError(
            f"cannot write to {checkpoints} ({error.strerror}): choose another folder with --out"
        ) from error
    return marker


def perform(ticket: Ticket, exclusive: bool | None, emit: Emit, content: Content | None = None) -> None:
    """Do the ticket's job here and report it. What can be done on no machine like this one is refused.

    exclusive: whether the scheduler gave all of this machine to it. emit: may raise, which ends the job after a report
    of progress with its state kept.
    """
    try:
        check_versions(ticket.versions)
        files = find_text(ticket.job.files, content)
    except ScalemarkError as error:
        emit(Refused(reason=f"{platform.node()}: {error}"))
        return
    job = ticket.job.model_copy(update={"files": files})
    if job.checkpoints and read_text(Path(job.checkpoints) / _MARKER) != ticket.marker:
        emit(WarningRaised(warning=_not_shared(job.checkpoints)))
        job = job.model_copy(update={"checkpoints": None})
    from scalemark.train.worker import work  # torch reads its environment now and not before

    work(job, _Located(ticket.executor, exclusive, emit))


def check_versions(wanted: dict[str, str]) -> None:
    """Raises ScalemarkError where a package here is not what the driver has."""
    for name, here in versions().items():
        if here != wanted.get(name):
            raise ScalemarkError(f"it has {name} {here}, the driver {wanted.get(name)}: install the same on all nodes")


def _not_shared(checkpoints: str) -> MeasurementWarning:
    return MeasurementWarning(
        subject=f"node {platform.node()}",
        message=f"does not see {checkpoints}, so a run that is interrupted there starts again from the beginning, to "
        "the same loss: give --out a folder that all nodes share",
    )


class _Located:
    """An `emit` that adds to each run where it was trained."""

    def __init__(self, executor: RemoteExecutor, exclusive: bool | None, emit: Emit) -> None:
        self._executor, self._exclusive, self._emit = executor, exclusive, emit
        self._neighbours = Neighbours()

    def __call__(self, message: BaseModel) -> None:
        if isinstance(message, RunTrained):
            run, beside = message.run, self._neighbours.lap()
            place = RunPlace(
                executor=self._executor,
                node=platform.node(),
                cpu=processor_name(),
                exclusive=self._exclusive,
                beside_cpus=beside,
            )
            # Of a node that others may use, nobody knows what ran beside it.
            shared = self._exclusive is not True
            message = RunTrained(run=run.model_copy(update={"place": place, "shared": shared}))
        self._emit(message)


class Neighbours:
    """How much of this machine's processor time goes to others than this process."""

    def __init__(self) -> None:
        self._process = psutil.Process()
        self._last = self._look()

    def lap(self) -> float:
        """CPUs that others kept busy, on average since the last lap."""
        before, self._last = self._last, self._look()
        passed, busy, own = (now - then for now, then in zip(self._last, before, strict=True))
        return max(0.0, (busy - own) / passed) if passed > 0 else 0.0

    def _look(self) -> tuple[float, float, float]:
        """Seconds: on the clock, busy of all CPUs, and of this process. Guests are counted in `user` already."""
        all_cpus, own = psutil.cpu_times(), self._process.cpu_times()
        busy = sum(getattr(all_cpus, name, 0.0) for name in ("user", "nice", "system", "irq", "softirq"))
        return time.monotonic(), busy, own.user + own.system


def processor_name(root: Path = ROOT) -> str | None:
    """As /proc/cpuinfo calls it; None where it does not."""
    match = re.search(r"^model name\s*:\s*(.+)$", read_text(root / "proc/cpuinfo") or "", re.MULTILINE)
    return match[1].strip() if match else None


# --- text -------------------------------------------------------------------------------------------------------------


def find_text(files: TokenFiles, content: Content | None = None, folder: Path | None = None) -> TokenFiles:
    """The token files as this machine has them: where the driver has them, or made of their content in `folder`.

    Raises StoreError where they are neither here nor sent, or are not those that the driver means.
    """
    if files.identity is None or is_same_text(files):
        return files
    if content is None:
        raise StoreError(
            f"{files.train_path} is not the text {files.identity}: give --out a folder that all nodes share"
        )
    kept = kept_at(files, folder or own_folder())
    if not is_same_text(kept):
        _keep(kept, content())
    if not is_same_text(kept):
        raise StoreError(
            f"the text that was sent is not {files.identity}: the driver's files were changed; run it again"
        )
    return kept


def is_same_text(files: TokenFiles) -> bool:
    """Whether the files are here, and their hash is that of their identity."""
    paths = Path(files.train_path), Path(files.validation_path)
    try:
        stamps = tuple((str(path), path.stat().st_size, path.stat().st_mtime_ns) for path in paths)
        return (files.identity or "").endswith(f"@{_digest(stamps, files.tokenizer)}")
    except OSError:
        return False


@cache
def _digest(stamps: tuple[tuple[str, int, int], ...], tokenizer: str) -> str:
    """Worked out once in a process for files that stay as they are."""
    from scalemark.train.corpus.prepared import digest_of  # torch comes with it

    train_path, validation_path = (Path(name) for name, _, _ in stamps)
    return digest_of(train_path, validation_path, tokenizer)


def kept_at(files: TokenFiles, folder: Path) -> TokenFiles:
    """Where content that was sent is kept."""
    assert files.identity
    target = folder / re.sub(r"[^\w.-]", "-", files.identity)
    changes = {"train_path": str(target / "train.bin"), "validation_path": str(target / "validation.bin")}
    return files.model_copy(update=changes)


def own_folder() -> Path:
    """Of this user: what others have put into a common folder is not trusted, nor in the way."""
    return Path(tempfile.gettempdir()) / f"scalemark-text-{os.getuid() if hasattr(os, 'getuid') else 'own'}"


def _keep(files: TokenFiles, content: Sequence[bytes]) -> None:
    """Write both files under other names first: processes that do so at a time replace equal files with equal ones."""
    for name, one in zip((files.train_path, files.validation_path), content, strict=True):
        path, partial = Path(name), Path(f"{name}.{os.getpid()}.partial")
        try:
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            partial.write_bytes(one)
            partial.replace(path)
        except OSError as error:
            with suppress(OSError):
                partial.unlink()
            raise StoreError(f"cannot write the text to {path} ({error.strerror}): make room there") from error
