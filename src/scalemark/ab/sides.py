"""Check out both revisions, each into a folder of its own, and take all of it away again whatever happens.

    <temporary>/base/   git worktree of --base
    <temporary>/head/   git worktree of --head; WORKTREE is made into a commit first, so both sides lie there alike

Only the repository's own index, branches and files stay as they are: the commit of a WORKTREE belongs to no branch, and
git drops it some day.
"""

import os
import shutil
import signal
import subprocess
import tempfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from scalemark.errors import InputError, ScalemarkError
from scalemark.schema import AbSide

WORKTREE = "WORKTREE"
# Of a machine with no name for its user: a commit needs an author, and nobody reads this one.
_IDENTITY = ("-c", "user.name=scalemark", "-c", "user.email=scalemark@localhost")


@dataclass(frozen=True)
class Checkout:
    """A side on disk. folder: the root of its files."""

    side: AbSide
    folder: Path

    @property
    def import_path(self) -> str:
        """PYTHONPATH that puts this side's modules before any that are installed, in either layout."""
        inherited = os.environ.get("PYTHONPATH")
        return os.pathsep.join(filter(None, [str(self.folder / "src"), str(self.folder), inherited]))

    @property
    def own_package(self) -> Path | None:
        """The scalemark in these files, or None where they are another project's."""
        places = [self.folder / "src" / "scalemark", self.folder / "scalemark"]
        return next((place for place in places if (place / "__init__.py").is_file()), None)


@contextmanager
def checked_out(base: str, head: str, repository: Path) -> Iterator[tuple[Checkout, Checkout, Path]]:
    """Base and head checked out, and the temporary folder that they lie in, which is removed at the end.

    repository: any folder of it. Raises InputError where it is none, or where it has no such revision. SIGTERM ends
    the body as Ctrl-C does, so that a cancelled CI job leaves nothing behind either.
    """
    root = Path(_git(repository, "rev-parse", "--show-toplevel", what=f"{repository} is in no git repository"))
    sides = (_resolve("base", base, root), _resolve("head", head, root))
    temporary = Path(tempfile.mkdtemp(prefix="scalemark-ab-")).resolve()
    with _terminable():
        try:
            first, second = (_check_out(side, root, temporary / side.name) for side in sides)
            yield first, second, temporary
        finally:
            with _uninterrupted():
                _remove(root, temporary)


def _resolve(name: str, revision: str, root: Path) -> AbSide:
    if revision == WORKTREE:
        commit = _commit_of_files(root)
    else:
        unknown = f"there is no revision {revision!r} here: name a branch, tag or commit (in CI, fetch it first)"
        commit = _git(root, "rev-parse", "--verify", "--quiet", f"{revision}^{{commit}}", what=unknown)
    return AbSide.model_validate({"name": name, "revision": revision, "commit": commit})


def _commit_of_files(root: Path) -> str:
    """The files as they are, new ones that git does not ignore among them, as a commit that no branch knows.

    An index of its own keeps what the user has staged untouched.
    """
    with tempfile.TemporaryDirectory(prefix="scalemark-index-") as folder:
        index = {"GIT_INDEX_FILE": str(Path(folder) / "index")}
        why = "cannot read the files of the working tree"
        _git(root, "read-tree", "HEAD", what="WORKTREE needs a first commit: commit something", environment=index)
        _git(root, "add", "--all", what=why, environment=index)
        tree = _git(root, "write-tree", what=why, environment=index)
        return _git(root, *_IDENTITY, "commit-tree", tree, "-p", "HEAD", "-m", "scalemark ab", what=why)


def _check_out(side: AbSide, root: Path, folder: Path) -> Checkout:
    _git(root, "worktree", "add", "--detach", str(folder), side.commit, what=f"cannot check out {side.revision!r}")
    return Checkout(side, folder)


def _remove(root: Path, temporary: Path) -> None:
    """Both worktrees, half-made ones too: once its folder is gone, git forgets a worktree when told to look."""
    for name in ("base", "head"):
        _run_git(root, "worktree", "remove", "--force", "--force", str(temporary / name))
    shutil.rmtree(temporary, ignore_errors=True)
    _run_git(root, "worktree", "prune")


def _git(folder: Path, *arguments: str, what: str, environment: Mapping[str, str] | None = None) -> str:
    """What git prints; raises InputError that says `what` is wrong, and git's own word on it."""
    done = _run_git(folder, *arguments, environment=environment)
    if done.returncode:
        said = (done.stderr.strip().splitlines() or [""])[-1]
        raise InputError(f"{what} (git: {said})" if said else what)
    return done.stdout.strip()


def _run_git(
    folder: Path, *arguments: str, environment: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """In a session of its own: Ctrl-C must not stop git halfway. A hook's GIT_ variables mean another repository."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    try:
        return subprocess.run(
            ["git", "-C", str(folder), *arguments],
            capture_output=True,
            text=True,
            check=False,
            start_new_session=True,
            stdin=subprocess.DEVNULL,
            env={**clean, "GIT_TERMINAL_PROMPT": "0", **(environment or {})},
        )
    except FileNotFoundError as error:
        raise ScalemarkError("git was not found: install it, or put it on PATH") from error


@contextmanager
def _terminable() -> Iterator[None]:
    """SIGTERM raises KeyboardInterrupt inside; only the main thread may say so, others leave it as it is."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, _interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


@contextmanager
def _uninterrupted() -> Iterator[None]:
    """A second Ctrl-C does not stop the tidying up."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = [signal.signal(number, signal.SIG_IGN) for number in numbers]
    try:
        yield
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)
