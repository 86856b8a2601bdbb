"""How often each rule cries wolf, and what it finds: real runs of identical and of slower code, quiet and with a load.

    python tests/acceptance/power.py --measure identical=8 10%=3 20%=4 identical+load=4 20%+load=3 --seconds 60
    python tests/acceptance/power.py --suites 400 --markdown docs/gating.md

The first adds whole campaigns of the ladder's steps to the folders below --out. 20% is code whose step also multiplies
matrices, in a fifth of a step's time (`tests/planted.py`); +load has a neighbour that keeps a core busy by fits and
starts. The second makes suites of them: a recorded run with its blocks drawn with replacement, the same blocks in every
cell. Each is judged against runs of identical quiet code, never against itself, so that what differs from run to run is
real. Rules that know one base get one other run, the gate gets all the others as reruns.

    gate, reruns       scalemark diff against a baseline with reruns
    gate, none         the same without reruns: intervals against a margin of 10 %
    pytest-benchmark   --benchmark-compare-fail=min:5% and mean:5%, mean:10%: the ratio and nothing else
    asv                `asv continuous`: ratio of medians above 1.1, and Mann-Whitney U with p < 0.002
    criterion          the 95 % interval of the change of the mean lies above its noise threshold of 1 %

A suite counts as called slower where any of its cells is. In the first table slower suites are identical ones with
their rounds multiplied; in the second they are runs of slower code, judged by their times alone, as counters would see
a further product at once. Shares have Wilson intervals of 95 %.
"""

import argparse
import os
import random
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from scipy.stats import binomtest, mannwhitneyu

import scalemark
from scalemark.diff import compare
from scalemark.model.ladder import BATCH, SEQ_LEN, find_rung
from scalemark.record.control import corrected
from scalemark.record.repeats import with_repeats
from scalemark.record.store import load_suite, write_whole
from scalemark.record.times import time_fields
from scalemark.schema import Block, Cell, Suite, Workload
from scalemark.session import Request, finish, measure, start

sys.path.insert(0, str(Path(__file__).parents[1]))

from planted import calibrated, clone, git, plant

IDENTICAL, LOADED = "identical", "+load"
RUNGS = ("d1w64", "d2w128", "d3w192", "d4w256", "d5w320", "d6w384")
SLOWDOWNS = (0.0, 0.05, 0.10, 0.20)
VARIANTS = 12
BEGIN, END = "<!-- measured: begin -->", "<!-- measured: end -->"
# asv 0.6, `_stats.is_different` and `--factor`; criterion.rs 0.5, `noise_threshold`.
ASV_FACTOR, ASV_P = 1.1, 0.002
CRITERION_THRESHOLD, CRITERION_REPLICATES = 0.01, 300

# Seconds that the neighbour is busy and still, each drawn from an exponential distribution with this mean.
LOAD_MEAN_S = 3.0
NEIGHBOUR = f"""
import random, time
import numpy as np
factor = np.ones((384, 384), dtype=np.float32)
while True:
    end = time.monotonic() + random.expovariate(1 / {LOAD_MEAN_S})
    while time.monotonic() < end:
        factor @ factor
    time.sleep(random.expovariate(1 / {LOAD_MEAN_S}))
"""

Rule = Callable[[Sequence[Suite], Suite], bool]


# --- runs, kept -------------------------------------------------------------------------------------------------------


def measure_kind(name: str, seconds: float, root: Path) -> None:
    """One more campaign of this kind, in a process of its own that imports a scratch clone."""
    folder = root / name
    slowdown = _slowdown(name)
    with tempfile.TemporaryDirectory(prefix="scalemark-study-") as scratch:
        repository = clone(Path(scratch) / "clone")
        if slowdown:
            rows, _ = calibrated(root / name.removesuffix(LOADED), slowdown, RUNGS)
            git(repository, "checkout", "--quiet", plant(repository, rows))
        seed = len(list(folder.glob("runs/*")))
        with _neighbour() if name.endswith(LOADED) else _alone():
            _run_apart(repository, seconds, folder.resolve(), seed)
    print(f"{name}: {seed + 1} runs", flush=True)


def _slowdown(name: str) -> float:
    share = name.removesuffix(LOADED)
    return 0.0 if share == IDENTICAL else float(share.removesuffix("%")) / 100


def _run_apart(repository: Path, seconds: float, folder: Path, seed: int) -> None:
    environment = {**os.environ, "PYTHONPATH": str(repository / "src")}
    asked = ["--one", str(folder), "--seconds", str(seconds), "--seed", str(seed)]
    subprocess.run([sys.executable, str(Path(__file__).resolve()), *asked], cwd=repository, env=environment, check=True)


@contextmanager
def _neighbour() -> Iterator[None]:
    one_thread = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    process = subprocess.Popen([sys.executable, "-c", NEIGHBOUR], env=one_thread)
    try:
        yield
    finally:
        process.kill()
        process.wait()


@contextmanager
def _alone() -> Iterator[None]:
    yield


def run_here(folder: Path, seconds: float, seed: int) -> None:
    """The campaign itself: whole steps up the ladder, by the code of the clone that this process runs in."""
    assert Path(scalemark.__file__).is_relative_to(Path.cwd()), "another scalemark than the clone's is imported"
    steps = [
        Workload(phase="step", model=find_rung(rung), batch=BATCH, seq_len=SEQ_LEN, optimizer="adamw") for rung in RUNGS
    ]
    session = start(Request(tuple(steps), (), seconds, "auto", seed, folder))
    measure(session, lambda _: None)
    finish(session, complete=True)


# --- suites -----------------------------------------------------------------------------------------------------------


def recorded(folder: Path) -> list[Suite]:
    """The runs of one folder, their times alone."""
    suites = [load_suite(path.parent) for path in sorted((folder / "runs").glob("*/suite.json"))]
    return [suite.model_copy(update={"training_runs": (), "complete": True}) for suite in suites]


def all_recorded(root: Path) -> dict[str, list[Suite]]:
    """By kind, identical code first; of the cells those that every run of identical code timed, without counters."""
    folders = sorted((path.parent for path in root.glob("*/runs")), key=_order)
    runs = {folder.name: recorded(folder) for folder in folders}
    shared = set.intersection(*map(_timed, runs[IDENTICAL]))
    return {name: [_of_times(suite, shared) for suite in suites] for name, suites in runs.items()}


def _order(folder: Path) -> tuple[bool, float]:
    return folder.name.endswith(LOADED), _slowdown(folder.name)


def _timed(suite: Suite) -> set[str]:
    return {cell.workload.key for cell in suite.cells if cell.time_s and cell.control}


def _of_times(suite: Suite, keys: set[str]) -> Suite:
    """Of these cells those that it timed: a run beside others has time for fewer."""
    nothing_exact = {"accounting": None, "operators": None, "memory": None}
    cells = [c.model_copy(update=nothing_exact) for c in suite.cells if c.workload.key in keys & _timed(suite)]
    return suite.model_copy(update={"cells": tuple(cells)})


def resampled(suite: Suite, rng: random.Random) -> Suite:
    """Another run that this one could have been: its blocks drawn with replacement, the same in every cell."""
    indices = sorted({block.index for cell in suite.cells for block in cell.blocks})
    drawn = [rng.choice(indices) for _ in indices]
    return suite.model_copy(update={"cells": tuple(_redrawn(cell, drawn) for cell in suite.cells)})


def _redrawn(cell: Cell, drawn: Sequence[int]) -> Cell:
    by_index = {block.index: block for block in cell.blocks}
    blocks = tuple(by_index.get(index, cell.blocks[0]) for index in drawn)
    again = cell.model_copy(update={"blocks": blocks})
    assert cell.control is not None, "only cells with a control are taken"
    return again.model_copy(update={**time_fields(again), "corrected_s": corrected(again, cell.control)})


def slowed(suite: Suite, slowdown: float, which: Sequence[int] | None = None) -> Suite:
    """The suite with all of its cells, or those of these numbers, slower by so much."""
    chosen = range(len(suite.cells)) if which is None else which
    cells = [_slowed(cell, 1 + slowdown) if i in chosen else cell for i, cell in enumerate(suite.cells)]
    return suite.model_copy(update={"cells": tuple(cells)})


def _slowed(cell: Cell, factor: float) -> Cell:
    assert cell.time_s and cell.corrected_s
    return cell.model_copy(
        update={
            "blocks": tuple(_slowed_block(block, factor) for block in cell.blocks),
            "time_s": cell.time_s.scaled(factor),
            "corrected_s": cell.corrected_s.scaled(factor),
        }
    )


def _slowed_block(block: Block, factor: float) -> Block:
    return block.model_copy(update={"rounds_s": tuple(second * factor for second in block.rounds_s)})


# --- rules ------------------------------------------------------------------------------------------------------------


def gate_with_reruns(others: Sequence[Suite], new: Suite) -> bool:
    """A regression by the margins of all other runs."""
    return compare(with_repeats(others[0], others), new).verdict == "regressed"


def gate_without(others: Sequence[Suite], new: Suite) -> bool:
    return compare(others[0], new).verdict == "regressed"


def pytest_benchmark(others: Sequence[Suite], new: Suite, of: Callable[[np.ndarray], float], limit: float) -> bool:
    return any(of(after) > of(before) * (1 + limit) for before, after in _rounds(others[0], new))


def asv(others: Sequence[Suite], new: Suite) -> bool:
    return any(
        np.median(after) > np.median(before) * ASV_FACTOR and mannwhitneyu(before, after).pvalue < ASV_P
        for before, after in _rounds(others[0], new)
    )


def criterion(others: Sequence[Suite], new: Suite) -> bool:
    return any(_criterion_low(before, after) > CRITERION_THRESHOLD for before, after in _rounds(others[0], new))


def _criterion_low(before: np.ndarray, after: np.ndarray) -> float:
    """Lower limit of the 95 % bootstrap interval of mean after / mean before, less 1."""
    rng = np.random.default_rng(0)
    means = [rng.choice(side, (CRITERION_REPLICATES, len(side))).mean(axis=1) for side in (before, after)]
    return float(np.quantile(means[1] / means[0] - 1, 0.025))


def _rounds(base: Suite, new: Suite) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    before = {cell.workload.key: cell.samples_s for cell in base.cells}
    for cell in new.cells:
        yield np.array(before[cell.workload.key]), np.array(cell.samples_s)


RULES: dict[str, Rule] = {
    "gate, reruns": gate_with_reruns,
    "gate, none": gate_without,
    "pytest-benchmark min:5%": partial(pytest_benchmark, of=np.min, limit=0.05),
    "pytest-benchmark mean:5%": partial(pytest_benchmark, of=np.mean, limit=0.05),
    "pytest-benchmark mean:10%": partial(pytest_benchmark, of=np.mean, limit=0.10),
    "asv": asv,
    "criterion": criterion,
}


# --- the study --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Trial:
    """A suite to judge, and the runs that it may be judged against, in an order drawn for it."""

    others: tuple[Suite, ...]
    new: Suite


def trials(identical: Sequence[Suite], new: Sequence[Suite], n: int, rng: random.Random) -> list[Trial]:
    """Suites made of `new`, each against one variant of every run of identical code but the one that it is made of."""
    variants = {suite.id: [resampled(suite, rng) for _ in range(VARIANTS)] for suite in (*identical, *new)}
    found = []
    for _ in range(n):
        chosen = rng.choice(new)
        others = [rng.choice(variants[suite.id]) for suite in identical if suite.id != chosen.id]
        shared = [_of_times(suite, _timed(chosen)) for suite in rng.sample(others, len(others))]
        found.append(Trial(tuple(shared), rng.choice(variants[chosen.id])))
    return found


def share(rule: Rule, found: Sequence[Trial], change: Callable[[Suite], Suite] = lambda suite: suite) -> str:
    """'4.5 % (2.9–7.0)'."""
    called = sum(rule(trial.others, change(trial.new)) for trial in found)
    limits = binomtest(called, len(found)).proportion_ci(0.95, method="wilson")
    return f"{called / len(found):.1%} ({limits.low:.1%}–{limits.high:.1%})"


def report(runs: Mapping[str, Sequence[Suite]], n: int, seed: int) -> str:
    """Both tables: rules down, slowdowns across."""
    identical = runs[IDENTICAL]
    found = trials(identical, identical, n, random.Random(seed))
    changes = [partial(slowed, slowdown=slowdown) for slowdown in SLOWDOWNS]
    columns: dict[str, Callable[[Rule], str]] = {
        title: partial(share, found=found, change=change)
        for title, change in zip(
            ["unchanged", *(f"all cells +{slowdown:.0%}" for slowdown in SLOWDOWNS[1:]), "one cell +20%"],
            [*changes, one_cell_slower(random.Random(seed))],
            strict=True,
        )
    }
    real: dict[str, Callable[[Rule], str]] = {
        _title(name, suites): partial(share, found=trials(identical, suites, n, random.Random(seed)))
        for name, suites in runs.items()
        if name != IDENTICAL
    }
    tables = [_table(columns), *([_table(real), _read(runs)] if real else [])]
    return "\n\n".join([_heading(runs, n), *tables])


def one_cell_slower(rng: random.Random) -> Callable[[Suite], Suite]:
    """A fifth slower in one cell that is drawn anew for each suite."""
    return lambda suite: slowed(suite, 0.20, [rng.randrange(len(suite.cells))])


def _table(columns: Mapping[str, Callable[[Rule], str]]) -> str:
    titles = f"| rule | {' | '.join(columns)} |"
    rows = [f"| {name} | {' | '.join(column(rule) for column in columns.values())} |" for name, rule in RULES.items()]
    return "\n".join([titles, "|---|" + "---:|" * len(columns), *rows])


def _title(name: str, suites: Sequence[Suite]) -> str:
    code = "unchanged" if _slowdown(name) == 0 else f"really +{_slowdown(name):.0%}"
    return f"{code}{', with a load' if name.endswith(LOADED) else ''} ({len(suites)} runs)"


def _read(runs: Mapping[str, Sequence[Suite]]) -> str:
    """What the runs of each kind read on average over those of identical quiet code, and how they scatter."""
    base_s = np.mean([_mean_log_s(suite) for suite in runs[IDENTICAL]])
    told = [
        f"{_title(name, suites)} {np.mean(changes):+.1%} (from {min(changes):+.1%} to {max(changes):+.1%})"
        for name, suites in runs.items()
        if (changes := [float(np.exp(_mean_log_s(suite) - base_s)) - 1 for suite in suites])
    ]
    return f"Mean change of the corrected times that the runs read: {'; '.join(told)}."


def _mean_log_s(suite: Suite) -> float:
    return float(np.mean([np.log(cell.typical_s.value) for cell in suite.cells if cell.typical_s]))


def _heading(runs: Mapping[str, Sequence[Suite]], n: int) -> str:
    first = runs[IDENTICAL][0]
    return (
        f"{n} suites made of {len(runs[IDENTICAL])} runs of {first.settings.budget_s:.0f} s with {len(first.cells)} "
        f"cells on {first.machine.summary} ({first.machine.id}); in brackets 95 % Wilson intervals, which count the "
        "suites as independent though they come of few runs."
    )


def main() -> None:
    """Measure what is asked for; else judge, print, and renew the tables where asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--measure", nargs="+", default=[], metavar="KIND=N", help="runs to add, as in 20%%+load=3")
    parser.add_argument("--seconds", type=float, default=60.0, help="time of each run (default 60)")
    parser.add_argument("--out", type=Path, default=Path("build/power"), help="folder of the runs")
    parser.add_argument("--one", type=Path, metavar="DIR", help=argparse.SUPPRESS)
    parser.add_argument("--suites", type=int, default=400, help="how many suites to judge (default 400)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--markdown", type=Path, help="file to renew between its markers")
    options = parser.parse_args()
    if options.one:
        run_here(options.one, options.seconds, options.seed)
    elif options.measure:
        for name, _, count in (asked.partition("=") for asked in options.measure):
            for _ in range(int(count)):
                measure_kind(name, options.seconds, options.out)
    else:
        _tell(report(all_recorded(options.out), options.suites, options.seed), options.markdown)


def _tell(text: str, path: Path | None) -> None:
    print(text)
    if path:
        before, _, rest = path.read_text(encoding="utf-8").partition(BEGIN)
        _, _, after = rest.partition(END)
        write_whole(f"{before}{BEGIN}\n\n{text}\n\n{END}{after}", path)


if __name__ == "__main__":
    main()
