"""How often each rule cries wolf, and what it finds: recorded runs of identical code, resampled and rescaled.

    python tests/acceptance/power.py build/measuring … --suites 400 --markdown docs/gating.md

Each folder holds whole runs of identical code on one machine, as `tests/acceptance/measuring.py` leaves them. A suite
is made of a recorded run by drawing its blocks with replacement, the same blocks in every cell, and its rounds are
multiplied by the slowdown. It is judged against other runs of its folder, never against itself, so that what differs
from run to run is real. Rules that know one base get one other run, the gate gets all the others as reruns.

    gate, reruns       scalemark diff against a baseline with reruns
    gate, none         the same without reruns: intervals against a margin of 10 %
    pytest-benchmark   --benchmark-compare-fail=min:5% and mean:5%, mean:10%: the ratio and nothing else
    asv                `asv continuous`: ratio of medians above 1.1, and Mann-Whitney U with p < 0.002
    criterion          the 95 % interval of the change of the mean lies above its noise threshold of 1 %

A suite counts as called slower where any of its cells is. Shares have Wilson intervals of 95 %.
"""

import argparse
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from scipy.stats import binomtest, mannwhitneyu

from scalemark.diff import compare
from scalemark.record.control import corrected
from scalemark.record.repeats import with_repeats
from scalemark.record.store import load_suite, write_whole
from scalemark.record.times import time_fields
from scalemark.schema import Block, Cell, Suite

SLOWDOWNS = (0.0, 0.05, 0.10, 0.20)
VARIANTS = 12
BEGIN, END = "<!-- measured: begin -->", "<!-- measured: end -->"
# asv 0.6, `_stats.is_different` and `--factor`; criterion.rs 0.5, `noise_threshold`.
ASV_FACTOR, ASV_P = 1.1, 0.002
CRITERION_THRESHOLD, CRITERION_REPLICATES = 0.01, 300

Rule = Callable[[Sequence[Suite], Suite], bool]


# --- suites -----------------------------------------------------------------------------------------------------------


def recorded(folder: Path) -> list[Suite]:
    """The runs of one folder, each with the cells that all of them timed."""
    suites = [load_suite(path.parent) for path in sorted((folder / "runs").glob("*/suite.json"))]
    timed = [{cell.workload.key for cell in suite.cells if cell.time_s and cell.control} for suite in suites]
    shared = set.intersection(*timed)
    return [
        suite.model_copy(
            update={
                "cells": tuple(cell for cell in suite.cells if cell.workload.key in shared),
                "training_runs": (),
                "complete": True,
            }
        )
        for suite in suites
    ]


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


def trials(folders: Sequence[Sequence[Suite]], n: int, rng: random.Random) -> list[Trial]:
    """Each of a run drawn at random, against one variant of each other run of its folder."""
    variants = [[[resampled(run, rng) for _ in range(VARIANTS)] for run in runs] for runs in folders]
    found = []
    for _ in range(n):
        runs = rng.choice(variants)
        chosen = rng.randrange(len(runs))
        others = [rng.choice(run) for index, run in enumerate(runs) if index != chosen]
        found.append(Trial(tuple(rng.sample(others, len(others))), rng.choice(runs[chosen])))
    return found


def share(rule: Rule, found: Sequence[Trial], change: Callable[[Suite], Suite]) -> str:
    """'4.5 % (2.9–7.0)'."""
    called = sum(rule(trial.others, change(trial.new)) for trial in found)
    limits = binomtest(called, len(found)).proportion_ci(0.95, method="wilson")
    return f"{called / len(found):.1%} ({limits.low:.1%}–{limits.high:.1%})"


def report(folders: Sequence[Sequence[Suite]], n: int, seed: int) -> str:
    """The table: rules down, slowdowns across."""
    rng = random.Random(seed)
    found = trials(folders, n, rng)
    changes = [partial(slowed, slowdown=slowdown) for slowdown in SLOWDOWNS]
    titles = ["rule", "unchanged", *(f"all cells +{slowdown:.0%}" for slowdown in SLOWDOWNS[1:]), "one cell +20%"]
    lines = [f"| {' | '.join(titles)} |", "|---|" + "---:|" * (len(titles) - 1)]
    for name, rule in RULES.items():
        shares = [share(rule, found, change) for change in (*changes, one_cell_slower(random.Random(seed)))]
        lines.append(f"| {name} | {' | '.join(shares)} |")
    return "\n".join([_heading(folders, n), "", *lines])


def one_cell_slower(rng: random.Random) -> Callable[[Suite], Suite]:
    """A fifth slower in one cell that is drawn anew for each suite."""
    return lambda suite: slowed(suite, 0.20, [rng.randrange(len(suite.cells))])


def _heading(folders: Sequence[Sequence[Suite]], n: int) -> str:
    first = folders[0][0]
    runs = " and ".join(
        f"{len(runs)} runs of {runs[0].settings.budget_s:.0f} s with {len(runs[0].cells)} cells" for runs in folders
    )
    return (
        f"{n} suites made of {runs} on {first.machine.summary} ({first.machine.id}); in brackets 95 % Wilson "
        "intervals, which count the suites as independent though they come of few runs."
    )


def main() -> None:
    """Judge, print, and renew the table where asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", type=Path, nargs="+", help="folders of runs of identical code")
    parser.add_argument("--suites", type=int, default=400, help="how many suites to judge (default 400)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--markdown", type=Path, help="file to renew between its markers")
    options = parser.parse_args()
    text = report([recorded(folder) for folder in options.folders], options.suites, options.seed)
    print(text)
    if options.markdown:
        before, _, rest = options.markdown.read_text(encoding="utf-8").partition(BEGIN)
        _, _, after = rest.partition(END)
        write_whole(f"{before}{BEGIN}\n\n{text}\n\n{END}{after}", options.markdown)


if __name__ == "__main__":
    main()
