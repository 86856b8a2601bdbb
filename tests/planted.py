"""Code that is really slower: a scratch clone of this repository whose training step multiplies further matrices.

How much slower is measured apart: in one process, the product just after each step, so no luck of two processes is in
it. Studies under `tests/acceptance/` build on this.
"""

import json
import random
import statistics
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch

from scalemark.measure.phases import build_task, make_round
from scalemark.model.accounting import account
from scalemark.model.ladder import BATCH, SEQ_LEN, find_rung
from scalemark.process import default_threads
from scalemark.record.store import write_whole
from scalemark.schema import ModelConfig, Workload

PHASES = Path("src/scalemark/measure/phases.py")
# Where the step ends, in that file.
PLACE = "        self.update()\n\n    def _parts"
TRUTH_SECONDS = 10.0


def clone(folder: Path) -> Path:
    """A scratch clone of this repository's commit, on a branch of its own."""
    here = Path(__file__).resolve().parents[1]
    git(here, "clone", "--quiet", "--no-hardlinks", str(here), str(folder))
    return folder


def plant(repository: Path, rows: dict[int, int]) -> str:
    """A commit whose step also multiplies (rows, d) × (d, 4·d) for a model of width d; returns it.

    The files are as before when this returns.
    """
    path = repository / PHASES
    text = path.read_text(encoding="utf-8")
    assert PLACE in text, "the step is not where it was: adapt PLACE"
    extra = (
        "        self.update()\n"
        "        config = self.workload.model\n"
        "        if config is not None:\n"
        "            if not hasattr(self, 'planted'):\n"
        f"                rows = {rows}.get(config.d_model, 0)\n"
        "                width = config.d_model\n"
        "                self.planted = torch.randn(rows, width), torch.randn(width, 4 * width)\n"
        "            self.planted[0] @ self.planted[1]\n"
    )
    path.write_text(text.replace(PLACE, extra + PLACE.removeprefix("        self.update()\n")), encoding="utf-8")
    identity = ("-c", "user.name=planted", "-c", "user.email=planted@localhost")
    git(repository, *identity, "commit", "--quiet", "--all", "-m", "slower on purpose")
    commit = git(repository, "rev-parse", "HEAD")
    git(repository, "reset", "--quiet", "--hard", "HEAD~1")
    return commit


def git(folder: Path, *arguments: str) -> str:
    """What git says to this in the folder; raises CalledProcessError where it refuses."""
    done = subprocess.run(["git", "-C", str(folder), *arguments], check=True, capture_output=True, text=True)
    return done.stdout.strip()


class Stepper:
    """A rung's step in this process, and a product to follow it."""

    def __init__(self, model: ModelConfig) -> None:
        workload = Workload(phase="step", model=model, batch=BATCH, seq_len=SEQ_LEN, optimizer="adamw")
        tokens = np.frombuffer(random.Random(0).randbytes(1 << 16), dtype=np.uint8)
        self.step = make_round(build_task(workload, tokens, 0), workload).timed
        self.model = model
        self.factors = self._factors(1)
        for _ in range(3):
            self.step()

    def _factors(self, rows: int) -> tuple[torch.Tensor, torch.Tensor]:
        width = self.model.d_model
        return torch.randn(rows, width), torch.randn(width, 4 * width)

    def rows_for(self, slowdown: float) -> int:
        """Rows of the product that take this share of a step: by FLOPs, then by what those rows were seen to take."""
        rows = max(1, round(slowdown * self._flops() / (8 * self.model.d_model**2)))
        return max(1, round(rows * slowdown / self.true_slowdown(rows)))

    def _flops(self) -> float:
        return account(self.model, BATCH, SEQ_LEN).flops.model_flops("step")

    def true_slowdown(self, rows: int) -> float:
        """Median time of the product over that of the step just before it."""
        self.factors = self._factors(rows)
        end = time.monotonic() + TRUTH_SECONDS
        shares = []
        while time.monotonic() < end:
            step_s = _seconds(self.step)
            shares.append(_seconds(self.multiply) / step_s)
        return statistics.median(shares)

    def multiply(self) -> None:
        """The product that is planted."""
        _ = self.factors[0] @ self.factors[1]


def _seconds(run: Callable[[], object]) -> float:
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def calibrated(folder: Path, slowdown: float, rungs: Sequence[str]) -> tuple[dict[int, int], dict[str, float]]:
    """Rows to plant by width, and the true slowdown by rung. Found once: all runs of a folder have the same planted."""
    path = folder / "planted.json"
    if not path.exists():
        rows, truth = _calibrate(slowdown, rungs)
        write_whole(json.dumps({"rows": rows, "truth": truth}), path)
    known = json.loads(path.read_text(encoding="utf-8"))
    return {int(width): count for width, count in known["rows"].items()}, known["truth"]


def _calibrate(slowdown: float, rungs: Sequence[str]) -> tuple[dict[int, int], dict[str, float]]:
    torch.set_num_threads(default_threads())
    rows, truth = {}, {}
    for name in rungs:
        stepper = Stepper(find_rung(name))
        rows[stepper.model.d_model] = stepper.rows_for(slowdown)
        truth[name] = stepper.true_slowdown(rows[stepper.model.d_model])
    return rows, truth
