"""What an executor costs: tiny runs one after another, and a worker that is killed in the middle of a run.

    python tests/acceptance/executors.py --markdown docs/cluster.md       three rounds of all three, some minutes

Needs the extras [ray] and [slurm]; Slurm is submitit's stand-in of processes on this machine, so there is no queue.

first    from the first submission until the first run is there: processes are started, torch is imported
further  each further run, over what the run itself says that it took
killed   how much longer a run takes whose worker is killed half-way, and the steps that were taken twice
"""

import argparse
import re
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

import numpy as np
import psutil

from scalemark.process import Message, Progress, default_affinity
from scalemark.record.store import write_whole
from scalemark.schema import ModelConfig, RunTrained, TrainingConfig
from scalemark.train.conduct import Workshop
from scalemark.train.executors.pool import Pool
from scalemark.train.jobs import RunOrder, TokenFiles, TrunkJob
from scalemark.train.placement import Placement

N_RUNS, ROUNDS = 5, 3
TINY_STEPS, SHORT_STEPS, LONG_STEPS = 8, 200, 1000
MARKER = "executors"
PLACEMENTS = {
    "local": Placement(),
    "ray": Placement("ray"),
    "slurm (stand-in)": Placement("slurm", slurm_options={"cluster": "local"}),
}
# What the process that trains is called, by executor.
TRAINERS = {"local": "scalemark.train.worker", "ray": "ray::_train", "slurm (stand-in)": "submitit.core._submit"}


@dataclass(frozen=True)
class Cost:
    """Seconds, and steps. See the top of the file."""

    first_s: float
    further_s: float
    killed_s: float
    steps_again: float


@dataclass
class Heard:
    """What is reported, and when. act: done once, when the run of this key is half-way."""

    half_way: str = ""
    act: Callable[[], None] = lambda: None
    runs: list[tuple[float, RunTrained]] = field(default_factory=list)
    shares: list[float] = field(default_factory=list)
    acted_at: int | None = None

    def __call__(self, message: Message) -> None:
        if isinstance(message, RunTrained):
            self.runs.append((time.monotonic(), message))
        if isinstance(message, Progress) and message.key == self.half_way:
            self.shares.append(message.fraction)
            if message.fraction >= 0.5 and self.acted_at is None:
                self.acted_at = len(self.shares)
                self.act()


def config(n_steps: int, seed: int = 0) -> TrainingConfig:
    """A model of width 16 on 512 tokens a step."""
    return TrainingConfig(
        model=ModelConfig(n_layer=2, d_model=16, n_head=1),
        tokens=n_steps * 512,
        batch=8,
        seq_len=64,
        learning_rate=0.016,
        warmup_steps=4,
        decay_share=0.25,
        optimizer="adamw",
        seed=seed,
    )


def make_text(folder: Path) -> TokenFiles:
    """Random bytes: what is learnt does not matter here."""
    rng = np.random.default_rng(0)
    paths = folder / "train.bin", folder / "validation.bin"
    for path, count in zip(paths, (2**20, 2**14), strict=True):
        path.write_bytes(rng.integers(97, 123, count).astype(np.uint8).tobytes())
    return TokenFiles(train_path=str(paths[0]), validation_path=str(paths[1]))


def workshop(placement: Placement, slots: int, files: TokenFiles, folder: Path) -> Workshop:
    return Workshop(
        "cpu", slots, 1, default_affinity(), files, folder / "workers.log", folder / "checkpoints", placement
    )


def job(shop: Workshop, *configs: TrainingConfig) -> TrunkJob:
    orders = tuple(RunOrder(config=one, expected_s=0.001) for one in configs)
    return shop.job(orders, budget_s=600.0).model_copy(update={"validation_windows": 8})


def work_through(pool: Pool, jobs: Sequence[TrunkJob]) -> float:
    """When the first was submitted."""
    started = time.monotonic()
    with pool:
        for one in jobs:
            pool.submit(one)
        assert all(ended.death is None for ended in pool.as_completed())
    return started


def time_tiny_runs(placement: Placement, files: TokenFiles, folder: Path) -> tuple[float, float]:
    """(first, further), seconds."""
    heard = Heard()
    shop = workshop(placement, 1, files, folder)
    started = work_through(shop.executor(heard), [job(shop, config(TINY_STEPS, seed)) for seed in range(N_RUNS)])
    gaps_s = [now - before - (message.run.total_seconds or 0.0) for (before, _), (now, message) in pairwise(heard.runs)]
    return heard.runs[0][0] - started, float(np.median(gaps_s))


def time_kill(name: str, files: TokenFiles, folder: Path) -> tuple[float, float]:
    """(seconds longer, steps taken twice) of a run whose worker was killed half-way; its trunk was kept before."""
    configs = config(SHORT_STEPS), config(LONG_STEPS)
    took_s, again = [], 0.0
    for place, act in (("whole", None), ("killed", lambda: kill_trainer(name))):
        (folder / place).mkdir()
        heard = Heard(configs[1].key, act or (lambda: None))
        shop = workshop(PLACEMENTS[name], 1, files, folder / place)
        started = work_through(shop.executor(heard), [job(shop, *configs)])
        took_s.append(heard.runs[-1][0] - started)
        if act and heard.acted_at:
            after = heard.shares[heard.acted_at :]
            again = max(0.0, heard.shares[heard.acted_at - 1] - min(after)) * LONG_STEPS
    return took_s[1] - took_s[0], again


def kill_trainer(name: str) -> None:
    for process in trainers(name):
        process.kill()


def trainers(name: str) -> Iterator[psutil.Process]:
    """The processes that train for this one: below it, or below a cluster that it has started."""
    for process in psutil.Process().children(recursive=True):
        with suppress(psutil.Error):  # it has just ended
            if TRAINERS[name] in process.cmdline():
                yield process


def measure(files: TokenFiles, folder: Path, rounds: int) -> dict[str, Cost]:
    """Medians over rounds, in each of which all have their turn."""
    found: dict[str, list[Cost]] = {name: [] for name in PLACEMENTS}
    for index in range(rounds):
        for name, placement in PLACEMENTS.items():
            own = folder / f"{name.split()[0]}-{index}"
            own.mkdir()
            tiny = time_tiny_runs(placement, files, own)
            found[name].append(Cost(*tiny, *time_kill(name, files, own)))
            print(name, found[name][-1], flush=True)
    return {
        name: Cost(*np.median([list(vars(one).values()) for one in costs], axis=0)) for name, costs in found.items()
    }


def table(costs: dict[str, Cost]) -> list[str]:
    lines = [
        "| executor | first run after | each further run, over its own time | a worker killed half-way |",
        "|---|---:|---:|---:|",
    ]
    for name, cost in costs.items():
        again = f"{cost.killed_s:+.1f} s, {cost.steps_again:.0f} of {LONG_STEPS} steps again"
        lines.append(f"| {name} | {cost.first_s:.1f} s | {cost.further_s:.2f} s | {again} |")
    return lines


def fill(path: Path, lines: Sequence[str]) -> None:
    """Put the lines between the file's markers."""
    begin, end = f"<!-- {MARKER}: begin -->", f"<!-- {MARKER}: end -->"
    body = "\n".join([begin, "", *lines, "", end])
    write_whole(re.sub(f"{begin}.*?{end}", lambda _: body, path.read_text(encoding="utf-8"), flags=re.DOTALL), path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--markdown", type=Path, help="file to renew between its markers")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        costs = measure(make_text(Path(folder)), Path(folder), options.rounds)
    print("\n".join(table(costs)))
    if options.markdown:
        fill(options.markdown, table(costs))


if __name__ == "__main__":
    main()
