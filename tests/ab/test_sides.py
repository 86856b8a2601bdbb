"""Both revisions on disk while they are needed, and nothing left afterwards."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from two_revisions import commit, git, make_repository, worktrees, write_phases

from scalemark.ab.sides import checked_out
from scalemark.errors import InputError

PHASES = "src/scalemark/measure/phases.py"


def test_each_side_holds_its_own_revision(tmp_path: Path) -> None:
    repository = make_repository(tmp_path / "r", step="first = 1")
    write_phases(repository, step="second = 2")
    commit(repository, "second")
    with checked_out("HEAD~1", "main", repository) as (base, head, _):
        assert "first = 1" in (base.folder / PHASES).read_text()
        assert "second = 2" in (head.folder / PHASES).read_text()
        assert base.side.commit == git(repository, "rev-parse", "HEAD~1")
        assert len(str(base.folder)) == len(str(head.folder)), "paths of one length: no side may be longer to import"


def test_the_working_tree_is_taken_as_it_lies_there(tmp_path: Path) -> None:
    """Changed, new and removed files count; ignored ones do not, and what is staged stays staged."""
    repository = make_repository(tmp_path / "r")
    (repository / ".gitignore").write_text("ignored.txt\n")
    (repository / "staged.txt").write_text("staged")
    git(repository, "add", "staged.txt")
    for name in ("ignored.txt", "new.txt"):
        (repository / name).write_text(name)
    write_phases(repository, step="changed = 1")
    (repository / "src/torch.py").unlink()
    before = git(repository, "status", "--porcelain")
    with checked_out("main", "WORKTREE", repository) as (base, head, _):
        assert "changed = 1" in (head.folder / PHASES).read_text()
        assert "changed = 1" not in (base.folder / PHASES).read_text()
        assert (head.folder / "new.txt").exists() and (head.folder / "staged.txt").exists()
        assert not (head.folder / "ignored.txt").exists()
        assert not (head.folder / "src/torch.py").exists()
    assert git(repository, "status", "--porcelain") == before
    assert git(repository, "branch", "--list") == "* main"


def test_nothing_is_left_when_the_body_fails(tmp_path: Path) -> None:
    repository = make_repository(tmp_path / "r")
    folders = []
    with pytest.raises(ZeroDivisionError), checked_out("main", "WORKTREE", repository) as (base, _, folder):
        (base.folder / "src" / "left_over.pyc").write_text(f"{folders.append(folder)}{1 / 0}")
    assert worktrees(repository) == [str(repository)]
    assert not folders[0].exists()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_nothing_is_left_after_an_interruption(tmp_path: Path, number: signal.Signals) -> None:
    repository = make_repository(tmp_path / "r")
    program = (
        "import sys, time\nfrom pathlib import Path\nfrom scalemark.ab.sides import checked_out\n"
        f"with checked_out('main', 'main', Path({str(repository)!r})) as (_, _, folder):\n"
        "    print(folder, flush=True)\n    time.sleep(60)\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        preexec_fn=_mind_interrupts,
    )
    assert process.stdout is not None
    folder = Path(process.stdout.readline().strip())
    assert (folder / "base" / PHASES).exists()
    process.send_signal(number)
    assert process.wait(timeout=30) != 0
    assert not folder.exists()
    assert worktrees(repository) == [str(repository)]


def _mind_interrupts() -> None:
    """A shell starts background jobs with interrupts ignored, and their children inherit that."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def test_an_unknown_revision_is_named(tmp_path: Path) -> None:
    repository = make_repository(tmp_path / "r")
    with pytest.raises(InputError, match="no revision 'nowhere'"), checked_out("nowhere", "main", repository):
        pass
    assert worktrees(repository) == [str(repository)]


def test_a_revision_cannot_be_an_option_of_git(tmp_path: Path) -> None:
    repository = make_repository(tmp_path / "r")
    with pytest.raises(InputError, match="no revision"), checked_out("--all", "main", repository):
        pass


def test_outside_of_a_repository_that_is_said(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="in no git repository"), checked_out("main", "main", tmp_path):
        pass


def test_a_hook_s_environment_does_not_lead_to_another_repository(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    repository, other = make_repository(tmp_path / "r"), make_repository(tmp_path / "other")
    write_phases(other, step="other = 1")
    commit(other, "other")
    monkeypatch.setenv("GIT_DIR", str(other / ".git"))
    with checked_out("main", "main", repository) as (base, _, _):
        assert "other = 1" not in (base.folder / PHASES).read_text()


def test_a_relative_pythonpath_comes_after_the_side_s_own_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    repository = make_repository(tmp_path / "r")
    monkeypatch.setenv("PYTHONPATH", "elsewhere")
    with checked_out("main", "main", repository) as (base, _, _):
        assert base.import_path.split(os.pathsep) == [str(base.folder / "src"), str(base.folder), "elsewhere"]


def test_tidying_up_leaves_the_handlers_of_signals_as_they_were(tmp_path: Path) -> None:
    repository = make_repository(tmp_path / "r")
    before = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)
    with checked_out("main", "main", repository):
        time.sleep(0)
    assert (signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)) == before
