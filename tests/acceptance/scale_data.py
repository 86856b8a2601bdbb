"""What many training runs and many suites cost to read, fit and report, in seconds and bytes of memory.

    python tests/acceptance/scale_data.py            1,000 to 100,000 training runs, 100 to 10,000 suites; half an hour
    python tests/acceptance/scale_data.py --quick    a tenth of that

Suites are made from known laws and stamped fake. Each row is a process of its own: processor seconds, which other work
on the machine changes little, and the highest resident set so far. Rewrites the table in docs/scaling_data.md.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

ROOT = Path(__file__).parents[2]
DOCUMENT = ROOT / "docs" / "scaling_data.md"
BEGIN, END = "<!-- measured: begin -->", "<!-- measured: end -->"
RUNS, SUITES = (1_000, 10_000, 100_000), (100, 1_000, 10_000)
sys.path.insert(0, str(ROOT / "tests"))

Lap = dict[str, float]


def timed(laps: list[Lap], name: str, work: Callable[[], object]) -> object:
    """Do the work and note its processor seconds and the peak of the process until then."""
    started = time.process_time()
    found = work()
    peak_bytes = 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    laps.append({"name": name, "seconds": time.process_time() - started, "peak_bytes": peak_bytes})  # type: ignore[dict-item]
    return found


def make_grid(n: int, folder: Path) -> list[Lap]:
    from scale_suites import grid_suite, write_suite

    write_suite(grid_suite(n), folder / "grid.json")
    return []


def read_grid(n: int, folder: Path) -> list[Lap]:
    """As `scalemark report` does it."""
    from scalemark.analysis import analyse
    from scalemark.fit.loss_law import fit_loss_law
    from scalemark.record.store import load_suite
    from scalemark.report.html import html_page

    laps: list[Lap] = []
    suite = timed(laps, "load", lambda: load_suite(folder / "grid.json"))
    timed(laps, "fit", lambda: fit_loss_law(suite.training_runs))  # type: ignore[attr-defined]

    def report() -> str:
        return html_page(analyse(suite))  # type: ignore[arg-type]

    page = timed(laps, "report", report)
    laps.append({"name": "page", "seconds": 0.0, "peak_bytes": float(len(str(page).encode()))})  # type: ignore[dict-item]
    return laps


def make_history(n: int, folder: Path) -> list[Lap]:
    from scale_suites import history_suites

    from scalemark.record.collection import write_collection

    write_collection(history_suites(n, step_at=n // 2), folder / "all.jsonl")
    return []


def read_whole_history(n: int, folder: Path) -> list[Lap]:
    from scalemark.history import read_history
    from scalemark.record.merge import merge
    from scalemark.report.history.writers import history_page

    laps: list[Lap] = []
    timed(laps, "merge", lambda: merge([folder / "all.jsonl"], folder / "merged.jsonl"))
    history = timed(laps, "history", lambda: read_history([folder / "all.jsonl"]))
    page = timed(laps, "page", lambda: history_page(history))  # type: ignore[arg-type]
    marks = [change.index for change in history.machines[0].changes]  # type: ignore[attr-defined]
    assert any(abs(mark - n // 2) <= 2 for mark in marks), f"the step at {n // 2} is not among {marks}"
    laps.append({"name": "size", "seconds": 0.0, "peak_bytes": float(len(str(page).encode()))})  # type: ignore[dict-item]
    return laps


STEPS = {function.__name__: function for function in (make_grid, read_grid, make_history, read_whole_history)}


def in_a_process(step: str, n: int, folder: Path) -> list[Lap]:
    command = [sys.executable, __file__, "--step", step, str(n), str(folder)]
    finished = subprocess.run(command, capture_output=True, text=True, check=False)
    if finished.returncode:
        sys.exit(f"{step} of {n} failed: {finished.stderr[-2000:]}")
    return json.loads(finished.stdout)


def measured(make: str, read: str, n: int) -> list[Lap]:
    with tempfile.TemporaryDirectory() as folder:
        in_a_process(make, n, Path(folder))
        print(f"made {n:,}", file=sys.stderr)
        return in_a_process(read, n, Path(folder))


def lines(runs: Sequence[int], suites: Sequence[int]) -> Iterator[str]:
    yield "| training runs | load | fit the loss law | report | peak memory | page |"
    yield "| ---: | ---: | ---: | ---: | ---: | ---: |"
    for n in runs:
        load, fit, report, page = measured("make_grid", "read_grid", n)
        yield f"| {n:,} | {_s(load)} | {_s(fit)} | {_s(report)} | {_mib(report)} | {_mib(page)} |"
    yield ""
    yield "| suites | merge | history | page | peak memory | size of the page |"
    yield "| ---: | ---: | ---: | ---: | ---: | ---: |"
    for n in suites:
        merge, history, page, size = measured("make_history", "read_whole_history", n)
        yield f"| {n:,} | {_s(merge)} | {_s(history)} | {_s(page)} | {_mib(page)} | {_mib(size)} |"


def _s(lap: Lap) -> str:
    return f"{lap['seconds']:.3g} s"


def _mib(lap: Lap) -> str:
    mib = lap["peak_bytes"] / 2**20
    return f"{mib:.3g} MiB" if mib < 999 else f"{mib / 1024:.3g} GiB"


def write(table: Sequence[str]) -> None:
    text = DOCUMENT.read_text(encoding="utf-8")
    before, after = text.split(BEGIN)[0], text.split(END)[1]
    DOCUMENT.write_text(before + "\n".join([BEGIN, "", *table, "", END]) + after, encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--step", nargs=3, metavar=("NAME", "N", "FOLDER"), help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.step:
        name, n, folder = asked.step
        print(json.dumps(STEPS[name](int(n), Path(folder))))
        return
    share = 10 if asked.quick else 1
    table = list(lines([n // share for n in RUNS], [n // share for n in SUITES]))
    print("\n".join(table))
    if not asked.quick:
        write(table)


if __name__ == "__main__":
    main()
