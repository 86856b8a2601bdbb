"""`scalemark train` on a small grid: in this process, and in one of its own that can be killed.

All of it is real, but for the grid, the first look at the machine, and the pace.
"""

import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from scalemark import session
from scalemark.cli import app
from scalemark.measure.orders import Scouted
from scalemark.process import Progress
from scalemark.record.store import RunFolder, read_journal
from scalemark.schema import JournalEntry, RunTrained, TrainingConfig, TrainingRun
from scalemark.train import grid
from scalemark.train.pace import Pace

TEXT, OTHER_TEXT = "synthetic:200k", "synthetic:100k"
# A machine that was looked at before, so that not every run here takes its time for it.
SCOUTED = Scouted(
    device="cpu",
    available_bytes=2**36,
    per_layer_s=0.003,
    s_per_flop=1e-11,
    energy_reason="no counter",
    worker_start_s=2.0,
    facts={},
)
PACE = Pace(per_layer_s=0.001, s_per_gflop=0.01, s_per_gb=0.1)
# The command in a process of its own; `{worker}`: the module of local workers.
COMMAND = """
from scalemark import session
from scalemark.cli import app
from scalemark.measure.orders import Scouted
from scalemark.schema import TrainingConfig
from scalemark.train import grid
from scalemark.train.executors import local
from scalemark.train.pace import Pace

CONFIGS = [TrainingConfig.model_validate_json(text) for text in {configs}]
SCOUTED = Scouted.model_validate_json({scouted!r})
grid.find_grid = lambda name, seed: CONFIGS
session.scout, session.find_pace = lambda site: SCOUTED, lambda workshop: {pace!r}
local.WORKER_MODULE = {worker!r}
app()
"""


def write_command(path: Path, configs: Sequence[TrainingConfig], worker: str = "scalemark.train.worker") -> Path:
    """The file of a process that is `scalemark` with this grid."""
    texts = [config.model_dump_json() for config in configs]
    path.write_text(COMMAND.format(configs=texts, scouted=SCOUTED.model_dump_json(), pace=PACE, worker=worker))
    return path


def start(command: Path, out: Path, *arguments: str) -> "subprocess.Popen[bytes]":
    """`scalemark train` in a process of its own."""
    words = ["train", "--budget", "60m", "--corpus", TEXT, *arguments, "--out", str(out)]
    return subprocess.Popen([sys.executable, str(command), *words], stderr=subprocess.PIPE, start_new_session=True)


def train(out: Path, *arguments: str) -> Result:
    """`scalemark train` in this process. Baselines are looked for where there are none."""
    places = ["--out", str(out), "--results", str(out.parent / "results")]
    command = ["train", "--budget", "60m", "--device", "cpu", "--corpus", TEXT, *places, *arguments]
    return CliRunner().invoke(app, command)


def known_machine(patch: pytest.MonkeyPatch, configs: Sequence[TrainingConfig]) -> None:
    """Nothing of the machine is looked at, the grid is a small one, and no report is drawn."""
    patch.setattr("scalemark.report.html.write_html", lambda analysis, path: path)
    patch.setattr("scalemark.report.markdown.write_markdown", lambda analysis, folder: folder / "report.md")
    patch.setattr(grid, "find_grid", lambda name, seed: tuple(configs))
    patch.setattr(session, "scout", lambda site: SCOUTED)
    patch.setattr(session, "find_pace", lambda workshop: PACE)


def losses(runs: Sequence[TrainingRun]) -> dict[str, object]:
    """All of each run but for its times, its place and what trained beside it, by its name."""
    times = {"seconds", "total_seconds", "shared", "place"}
    return {str(run.config): run.model_dump(exclude=times) for run in runs}


def trained(entries: Sequence[JournalEntry]) -> list[TrainingRun]:
    return [entry.run for entry in entries if isinstance(entry, RunTrained)]


def wait_for_runs(folder: RunFolder, count: int, process: "subprocess.Popen[bytes]", wait_s: float = 120.0) -> None:
    """Until the journal of a run in another process holds so many runs."""
    deadline = time.monotonic() + wait_s
    while not folder.journal_path.exists() or len(trained(read_journal(folder.journal_path))) < count:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.05)


def shares(heard: Sequence[object], config: TrainingConfig) -> list[float]:
    """How far a run was each time that it was told."""
    return [message.fraction for message in heard if isinstance(message, Progress) and message.key == config.key]
