"""Learners on disk: one file each, whole or not at all, read back without running any code that it may hold."""

import os
import platform
import zipfile
from pathlib import Path

import torch

from scalemark.errors import StoreError
from scalemark.train.learner import State


class Checkpoints:
    """A folder of states by name; without a folder nothing is kept and nothing is found."""

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder

    def save(self, name: str, state: State) -> None:
        """Keep this state; the one before it is there until the new one is whole. Raises StoreError."""
        if self._folder is None:
            return
        path = self._path(name)
        # Nobody else's: where a node is cut off and not dead, another may train the same meanwhile.
        partial = path.with_suffix(f".{platform.node()}-{os.getpid()}.partial")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            torch.save(state, partial)
            partial.replace(path)
        except (OSError, RuntimeError) as error:  # torch's writer raises RuntimeError on a full disk
            raise StoreError(f"cannot write the checkpoint {path} ({error}): make room and run again") from error

    def load(self, name: str) -> State | None:
        """The state of this name; None where there is none, or none that can be read: then the work is done anew."""
        if self._folder is None or not self._path(name).is_file():
            return None
        try:
            return _read(self._path(name))
        except Exception:  # a damaged file can raise anything
            return None

    def drop(self, name: str) -> None:
        """Forget this state."""
        if self._folder is not None:
            self._path(name).unlink(missing_ok=True)

    def _path(self, name: str) -> Path:
        assert self._folder is not None
        return self._folder / f"{name}.pt"


def _read(path: Path) -> State | None:
    """torch's reader does not look at the checksums that its writer leaves: a flipped bit would pass for a weight."""
    with zipfile.ZipFile(path) as archive:
        if archive.testzip() is not None:
            return None
    state = torch.load(path, weights_only=True)
    return state if isinstance(state, dict) else None
