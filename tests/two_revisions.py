"""A tiny git repository with a stand-in for scalemark and for torch, so that an A/B run takes seconds and no maths."""

import subprocess
import textwrap
from pathlib import Path

_FILES = {
    "src/torch.py": """
        class cuda:
            is_available = staticmethod(lambda: False)

        def set_num_threads(n):
            pass
    """,
    "src/scalemark/__init__.py": "",
    "src/scalemark/schema.py": """
        from types import SimpleNamespace

        class Workload:
            @staticmethod
            def model_validate(fields):
                return SimpleNamespace(**fields)
    """,
    "src/scalemark/measure/__init__.py": "",
    "src/scalemark/model/__init__.py": "",
    "src/scalemark/model/accounting.py": """
        from types import SimpleNamespace

        def account(model, batch, seq_len, dtype, optimizer):
            fields = {"params_total": PARAMS, "items": 2, "flops": {"matmul": 1.0}, "parameter_bytes": 4,
                      "gradient_bytes": 4, "optimizer_state_bytes": 8, "field_of_another_version": 1}
            return SimpleNamespace(model_dump=lambda mode: fields)

        PARAMS = 100
    """,
}
_PHASES = """
import os, sys, time
from types import SimpleNamespace

def build_task(workload, tokens, seed):
    {build}

def make_round(task, workload):
    return SimpleNamespace(prepare=lambda: None, timed=step)

def step():
    {step}
"""


def git(folder: Path, *arguments: str) -> str:
    """What git prints."""
    command = ["git", "-C", str(folder), "-c", "user.name=t", "-c", "user.email=t@localhost", *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def make_repository(folder: Path, step: str = "time.sleep(0.002)", build: str = "pass") -> Path:
    """A repository with one commit on `main`, whose step and build are these statements."""
    folder.mkdir()
    git(folder, "init", "--quiet", "--initial-branch=main")
    for name, text in _FILES.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text))
    write_phases(folder, step, build)
    commit(folder, "first")
    return folder


def write_phases(folder: Path, step: str, build: str = "pass") -> None:
    """Change what a step and a build do, without a commit."""
    (folder / "src/scalemark/measure/phases.py").write_text(_PHASES.format(step=step, build=build))


def commit(folder: Path, message: str) -> str:
    """Commit everything; returns the commit."""
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "-m", message)
    return git(folder, "rev-parse", "HEAD")


def worktrees(folder: Path) -> list[str]:
    """Folders of all worktrees that git knows of, the repository's own first."""
    lines = git(folder, "worktree", "list", "--porcelain").splitlines()
    return [line.removeprefix("worktree ") for line in lines if line.startswith("worktree ")]
