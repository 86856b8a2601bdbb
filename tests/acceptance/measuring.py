"""How far the measurements can be trusted on this machine, from repeated real runs of identical code.

    python tests/acceptance/measuring.py --runs 8 --seconds 60 --out build/measuring --markdown docs/measuring.md

Each run is a whole campaign: memory pass, blocks in fresh processes, reference kernels. Shown are, for each cell,

    within     half of the 90 % interval that a run gives itself, median over runs
    between    standard deviation of the log time from run to run: the truth that the interval must cover
    corrected  the same with the reference kernel taken out, each run at the reference that is typical of all
    covered    pairs of runs whose times differ by no more than their two intervals, combined, allow
    memory     the peak that the shape predicts against the allocator's

and the harness's own cost against a bare loop around the same step. Runs are kept, so a second call with the same
folder adds to them. A quiet machine and about `runs × seconds` of time are needed.
"""

import argparse
import itertools
import math
import statistics
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

import scalemark
from scalemark.errors import StoreError
from scalemark.model.ladder import BATCH, SEQ_LEN, find_rung
from scalemark.record.control import REFERENCES, corrected, turn_references_s
from scalemark.record.store import load_suite, write_whole
from scalemark.schema import Cell, Estimate, Phase, Reference, Suite, Workload
from scalemark.session import Request, finish, measure, start
from scalemark.units import format_seconds

RUNGS = ("d1w64", "d2w128", "d3w192", "d4w256", "d5w320", "d6w384")
FURTHER: tuple[tuple[str, Phase], ...] = (("d4w256", "forward"), ("d4w256", "backward"), ("d4w256", "optimizer"))
OVERHEAD_RUNGS = ("d1w64", "d2w128", "d4w256")
BEGIN, END = "<!-- measured: begin -->", "<!-- measured: end -->"


def workloads() -> tuple[Workload, ...]:
    """Whole steps up the ladder, and the single phases of one rung."""
    cells = [*((rung, "step") for rung in RUNGS), *FURTHER]
    return tuple(
        Workload(phase=phase, model=find_rung(rung), batch=BATCH, seq_len=SEQ_LEN, optimizer="adamw")
        for rung, phase in cells
    )


def run_once(seconds: float, root: Path, seed: int) -> Suite:
    """One campaign of its own, recorded below `root`."""
    session = start(Request(workloads(), (), seconds, "auto", seed, root))
    measure(session, lambda _: None)
    return finish(session, complete=True)


def recorded(root: Path) -> list[Suite]:
    """The runs that are there already, oldest first."""
    found = []
    for folder in sorted((root / "runs").glob("*")):
        try:
            found.append(load_suite(folder))
        except StoreError as error:
            print(f"left out: {error}", file=sys.stderr)
    return found


@dataclass(frozen=True)
class Row:
    """One cell over all runs. Spreads are of logarithms, so 0.01 reads 1 %."""

    key: str
    time_s: float
    within: float
    between: float
    corrected_within: float
    corrected_between: float
    covered: float
    memory_error: float | None


def rows(suites: Sequence[Suite]) -> list[Row]:
    """A row for each cell that every run timed, from the fastest up."""
    by_key = {cell.workload.key: [_cell(suite, cell.workload.key) for suite in suites] for cell in suites[0].cells}
    timed = {key: cells for key, cells in by_key.items() if all(cell and cell.time_s for cell in cells)}
    references_s = _typical_references_s(suites)
    found = [_row(key, [cell for cell in cells if cell], references_s) for key, cells in timed.items()]
    return sorted(found, key=lambda row: row.time_s)


def _cell(suite: Suite, key: str) -> Cell | None:
    return next((cell for cell in suite.cells if cell.workload.key == key), None)


def _row(key: str, cells: Sequence[Cell], references_s: dict[Reference, float]) -> Row:
    raw = [cell.time_s for cell in cells if cell.time_s]
    at_references = [_at_references(cell, references_s) for cell in cells]
    return Row(
        key=key,
        time_s=statistics.median(one.value for one in raw),
        within=statistics.median(one.relative_half_width for one in raw),
        between=_spread([one.value for one in raw]),
        corrected_within=statistics.median(one.relative_half_width for one in at_references),
        corrected_between=_spread([one.value for one in at_references]),
        covered=_covered(raw),
        memory_error=_memory_error(cells[-1]),
    )


def _typical_references_s(suites: Sequence[Suite]) -> dict[Reference, float]:
    """What each reference kernel takes on the whole, over all runs."""
    controls = [next(cell.control for cell in suite.cells if cell.control) for suite in suites]
    kernels = controls[0].references_s
    return {kernel: statistics.median(control.references_s[kernel] for control in controls) for kernel in kernels}


def _at_references(cell: Cell, references_s: dict[Reference, float]) -> Estimate:
    """The corrected time at what is typical of all runs, and not of its own."""
    assert cell.control
    return corrected(cell, cell.control, references_s)


def _spread(values: Sequence[float]) -> float:
    return float(np.std(np.log(values), ddof=1)) if len(values) > 1 else math.nan


def _covered(estimates: Sequence[Estimate]) -> float:
    """Share of pairs of runs whose difference their intervals allow."""
    pairs = list(itertools.combinations(estimates, 2))
    held = [abs(math.log(a.value / b.value)) <= math.hypot(_reach(a), _reach(b)) for a, b in pairs]
    return statistics.mean(held) if held else math.nan


def _reach(estimate: Estimate) -> float:
    return math.log(estimate.high / estimate.value)


def _memory_error(cell: Cell) -> float | None:
    measured = cell.memory.allocated_bytes if cell.memory else None
    return cell.predicted_memory.peak_bytes / measured - 1 if cell.predicted_memory and measured else None


# --- the harness's own cost -------------------------------------------------------------------------------------------


def overheads() -> dict[str, list[Estimate]]:
    """Per rung, in a process of its own: the ratios to a bare loop that `overhead.py` prints."""
    return {rung: _overhead(rung) for rung in OVERHEAD_RUNGS}


def _overhead(rung: str) -> list[Estimate]:
    command = [sys.executable, str(Path(__file__).with_name("overhead.py")), rung, "40"]
    printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return [Estimate.model_validate_json(line) for line in printed.splitlines()]


# --- text -------------------------------------------------------------------------------------------------------------


def report(suites: Sequence[Suite], costs: dict[str, list[Estimate]]) -> str:
    """Markdown: where and when, the spreads, the harness's cost."""
    first = suites[0]
    lines = [
        f"{len(suites)} runs of {first.settings.budget_s:.0f} s on {first.machine.summary} ({first.machine.id}), "
        f"scalemark {scalemark.__version__}, {datetime.now(UTC):%Y-%m-%d}.",
        "",
        *_spread_table(rows(suites)),
        "",
        " ".join(_control_lines(suites)),
        "",
        *_overhead_table(costs),
    ]
    return "\n".join(lines)


def _spread_table(found: Sequence[Row]) -> list[str]:
    titles = "cell | time | within | between | corrected within | corrected between | covered | memory model"
    cells = [
        f"| {row.key} | {format_seconds(row.time_s)} | ± {row.within:.1%} | {row.between:.2%} |"
        f" ± {row.corrected_within:.1%} | {row.corrected_between:.2%} | {row.covered:.0%} |"
        f" {'–' if row.memory_error is None else format(row.memory_error, '+.2%')} |"
        for row in found
    ]
    pooled = [_pooled([getattr(row, name) for row in found]) for name in ("between", "corrected_between")]
    ratio = f"Between runs, all cells pooled: {pooled[0]:.2%} raw, {pooled[1]:.2%} corrected."
    return [f"| {titles} |", "|---|" + "---:|" * 7, *cells, "", ratio]


def _pooled(spreads: Sequence[float]) -> float:
    return math.sqrt(statistics.mean(spread**2 for spread in spreads))


def _control_lines(suites: Sequence[Suite]) -> list[str]:
    """How far the cells followed the reference kernels, and how much those moved."""
    cells = [cell for suite in suites for cell in suite.cells if cell.control]
    moved = {kernel: _spread(list(readings)) for kernel, readings in _readings(cells).items()}
    return [
        f"The {kernel} moved by {moved[kernel]:.0%} (standard deviation over visits); cells followed it"
        f" by {_range_of([cell.control.coefficients[kernel] for cell in cells if cell.control])}."
        for kernel in moved
    ]


def _readings(cells: Sequence[Cell]) -> dict[Reference, list[float]]:
    found: dict[Reference, list[float]] = {}
    for block in itertools.chain.from_iterable(cell.blocks for cell in cells):
        for kernel in REFERENCES:
            readings = turn_references_s(block.conditions, kernel) if block.conditions else None
            if readings:
                found.setdefault(kernel, []).append(statistics.median(readings))
    return found


def _range_of(values: Sequence[float]) -> str:
    return f"{min(values):.2f} to {max(values):.2f} (median {statistics.median(values):.2f})"


def _overhead_table(costs: dict[str, list[Estimate]]) -> list[str]:
    titles = "| rung | recorded time over a bare loop | time passed | around a round that does nothing |"
    lines = [f"| {rung} | {' | '.join(map(_percent, ratios))} |" for rung, ratios in costs.items()]
    return [titles, "|---|---:|---:|---:|", *lines]


def _percent(ratio: Estimate) -> str:
    return f"{ratio.value - 1:+.2%} ({ratio.low - 1:+.2%} to {ratio.high - 1:+.2%})"


def fill(path: Path, text: str) -> None:
    """Put the text between the file's markers."""
    before, _, rest = path.read_text(encoding="utf-8").partition(BEGIN)
    _, _, after = rest.partition(END)
    write_whole(f"{before}{BEGIN}\n\n{text}\n\n{END}{after}", path)


def main() -> None:
    """Run, and print what was found."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=8, help="how many new runs to add (default 8)")
    parser.add_argument("--seconds", type=float, default=60.0, help="budget of each (default 60)")
    parser.add_argument("--out", type=Path, default=Path("build/measuring"), help="folder of the runs")
    parser.add_argument("--markdown", type=Path, help="file to renew between its markers")
    options = parser.parse_args()
    for number in range(options.runs):
        suite = run_once(options.seconds, options.out, seed=number)
        print(f"run {number + 1} of {options.runs}: {suite.duration_s:.0f} s", flush=True)
    text = report(recorded(options.out), overheads())
    print(text)
    if options.markdown:
        fill(options.markdown, text)


if __name__ == "__main__":
    main()
