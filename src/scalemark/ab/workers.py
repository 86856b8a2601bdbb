"""The parent's end of `worker.py`: start one side's process, ask it, and tell a lost process from a side that cannot.

A process that dies or falls silent is `Lost`: chance, memory or a stuck machine, and the next pair may do better. A
side that answers with an error would do so again, so that is `SideError`, for the user.
"""

import json
import os
import queue
import subprocess
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

from scalemark.ab.sides import Checkout
from scalemark.errors import ScalemarkError

WORKER_PATH = Path(__file__).with_name("worker.py")
Answer = dict[str, Any]


class Lost(Exception):  # noqa: N818 - what became of a process, never an error of the user's
    """A process ended or fell silent before it answered."""


class SideError(ScalemarkError):
    """A side's own code cannot do what is asked of it."""


class SideWorker:
    """One fresh process of one side. Use as a context manager: leaving it kills the process."""

    def __init__(self, checkout: Checkout, environment: Mapping[str, str], log_path: Path) -> None:
        self.checkout = checkout
        self.has_cuda = False
        with log_path.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-P", str(WORKER_PATH)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                cwd=checkout.folder,
                env={**os.environ, **environment, "PYTHONPATH": checkout.import_path},
                start_new_session=True,  # Ctrl-C belongs to the parent, which then ends the child
                text=True,
                encoding="utf-8",
            )
        self._lines: queue.Queue[str | None] = queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._lines.put(line)
        self._lines.put(None)

    def tell(self, do: str, **order: object) -> None:
        """Give an order without waiting for the answer, which `hear` then gives."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps({"do": do, **order}) + "\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            raise Lost(self._how_it_ended()) from None

    def hear(self, silence_s: float) -> Answer:
        """The next answer; raises Lost after so long a silence or at the process's end, SideError where it cannot."""
        try:
            line = self._lines.get(timeout=silence_s)
        except queue.Empty:
            raise Lost(f"{self.checkout.side.name}: no answer within {silence_s:.0f} s") from None
        if line is None:
            raise Lost(self._how_it_ended())
        answer: Answer = json.loads(line)
        if "error" in answer:
            side = self.checkout.side
            said = f"{side.name} ({side.revision}) cannot be measured ({answer['error']})"
            raise SideError(f"{said}: mend it, or name a revision that can")
        return answer

    def ask(self, silence_s: float, do: str, **order: object) -> Answer:
        """Give an order and wait for its answer."""
        self.tell(do, **order)
        return self.hear(silence_s)

    def _how_it_ended(self) -> str:
        status = self._process.wait()
        how = f"was killed by signal {-status}" if status < 0 else f"ended with exit status {status}"
        return f"{self.checkout.side.name}: its process {how}"
