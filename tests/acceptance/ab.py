"""How often `scalemark ab` cries wolf, and what slowdown it finds, from real runs on this machine.

    python tests/acceptance/ab.py --identical 5 --planted 3 --slowdown 5 --seconds 120 --markdown docs/ab.md

Identical runs compare a commit with itself. Planted ones compare it with a commit of a scratch clone whose training
step also multiplies matrices, as many rows as take the asked share of a step here. What share that really is, is
measured apart: in one process, the product just after each step, so no luck of two processes is in it. Runs are kept
below --out, and a second call adds to them. Then runs are made anew out of pairs drawn with replacement from all pairs
of a kind, and judged as a real run is: that shows what few real runs cannot, rates below some per cent.
"""

import argparse
import json
import statistics
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from math import log
from pathlib import Path

import numpy as np
from scipy.stats import binomtest

import scalemark
from scalemark.ab import AbRequest, run_ab
from scalemark.ab.decide import ALL, compare_times, is_decided, look_levels, verdict_of
from scalemark.ab.run import DEFAULT_RUNGS
from scalemark.record.store import write_whole
from scalemark.schema import AbPair, AbResult, VerdictName

sys.path.insert(0, str(Path(__file__).parents[1]))

from planted import calibrated, clone, plant

BEGIN, END = "<!-- measured: begin -->", "<!-- measured: end -->"
RESAMPLED = 1000
IDENTICAL = "identical"


# --- runs, kept -------------------------------------------------------------------------------------------------------


def run(repository: Path, head: str, seconds: float, folder: Path) -> AbResult:
    """One real run, kept in the folder."""
    number = len(list(folder.glob("run-*.json")))
    request = AbRequest("HEAD", head, budget_s=seconds, seed=number, repository=repository)
    result = run_ab(request, lambda _: None)
    write_whole(result.model_dump_json() + "\n", folder / f"run-{number:03}.json")
    return result


@dataclass(frozen=True)
class Kind:
    """All runs of one kind. truth: the slowdown by rung, measured apart; empty for identical code."""

    name: str
    results: tuple[AbResult, ...]
    truth: dict[str, float]


def kept(root: Path) -> list[Kind]:
    """What is there, identical code first, then the smallest slowdown."""
    folders = sorted(root.glob("*"), key=lambda folder: (folder.name != IDENTICAL, folder.name))
    return [kind for kind in map(_kind, folders) if kind.results]


def _kind(folder: Path) -> Kind:
    paths = sorted(folder.glob("run-*.json"))
    results = tuple(AbResult.model_validate_json(path.read_text(encoding="utf-8")) for path in paths)
    planted = folder / "planted.json"
    truth = json.loads(planted.read_text(encoding="utf-8"))["truth"] if planted.exists() else {}
    return Kind(folder.name, results, truth)


# --- rates ------------------------------------------------------------------------------------------------------------


def resampled(results: Sequence[AbResult], added: float = 0.0) -> Counter[VerdictName]:
    """Verdicts of runs made of pairs drawn from all runs. added: a slowdown by which every head is stretched."""
    rng = np.random.default_rng(0)
    pool = [_stretched(pair, 1 + added) for result in results for pair in result.pairs if pair.lost is None]
    n = planned_pairs(results)
    drawn = ([pool[index] for index in rng.integers(len(pool), size=n)] for _ in range(RESAMPLED))
    return Counter(_judged(pairs, results[0]) for pairs in drawn)


def planned_pairs(results: Sequence[AbResult]) -> int:
    """Pairs that a run has time for: of those that stopped early, what their pace would have given."""
    pace = [
        len(result.pairs) / result.settings.looks[result.looks_taken - 1] for result in results if len(result.pairs) > 0
    ]
    return round(statistics.median(pace))


def _stretched(pair: AbPair, factor: float) -> AbPair:
    samples = [one.model_copy(update={"head_s": tuple(s * factor for s in one.head_s)}) for one in pair.samples]
    return pair.model_copy(update={"samples": tuple(samples)})


def _judged(pairs: Sequence[AbPair], like: AbResult) -> VerdictName:
    """As `run` judges, look after look."""
    settings, keys = like.settings, [workload.key for workload in like.workloads]
    for share, level in zip(settings.looks, look_levels(settings.alpha, settings.looks), strict=True):
        comparisons = compare_times(pairs[: round(share * len(pairs))], keys, level, settings.margin)
        if is_decided(comparisons):
            break
    return verdict_of(comparisons)


# --- text -------------------------------------------------------------------------------------------------------------


def report(kinds: Sequence[Kind]) -> str:
    """Markdown: real runs, what they read, and resampled ones."""
    first = kinds[0].results[0]
    cpu = f"{first.settings.threads} threads on {first.settings.device}"
    rungs = ", ".join(workload.rung for workload in first.workloads)
    return "\n".join(
        [
            f"{rungs}; {cpu}; margin {first.settings.margin:.0%}; scalemark {scalemark.__version__},"
            f" {datetime.now(UTC):%Y-%m-%d}.",
            "",
            *_rates_table(kinds),
            "",
            *_changes_table(kinds),
            "",
            *_resampled_table(kinds),
        ]
    )


def _rates_table(kinds: Sequence[Kind]) -> list[str]:
    titles = "real runs | time of one | pairs | regressed | 95 % (Wilson) | improved | inconclusive | same"
    return [f"| {titles} |", "|---|" + "---:|" * 7, *map(_rates_row, kinds)]


def _rates_row(kind: Kind) -> str:
    counts = Counter(verdict_of(result.times) for result in kind.results)
    n = len(kind.results)
    longest = max(result.duration_s for result in kind.results)
    pairs = statistics.median(len(result.pairs) for result in kind.results)
    return (
        f"| {kind.name} | ≤ {longest:.0f} s | {pairs:.0f} | {counts['regressed']} of {n} |"
        f" {_wilson(counts['regressed'], n)} | {counts['improved']} | {counts['inconclusive']} | {counts['same']} |"
    )


def _wilson(k: int, n: int) -> str:
    interval = binomtest(k, n).proportion_ci(method="wilson")
    return f"{interval.low:.1%} to {interval.high:.1%}"


def _changes_table(kinds: Sequence[Kind]) -> list[str]:
    titles = "change read | workload | truth | mean of runs | spread of runs | their own 90 % half-width"
    rows = [_changes_row(kind, subject) for kind in kinds for subject in _subjects(kind)]
    return [f"| {titles} |", "|---|---|" + "---:|" * 4, *rows]


def _subjects(kind: Kind) -> list[str]:
    return [time.subject for time in kind.results[0].times]


def _changes_row(kind: Kind, subject: str) -> str:
    ratios = [time.ratio for result in kind.results for time in result.times if time.subject == subject and time.ratio]
    read = [log(ratio.value) for ratio in ratios]
    rung = subject.partition("/")[0]
    truth = statistics.mean(kind.truth.values()) if kind.truth and subject == ALL else kind.truth.get(rung, 0.0)
    spread = f"{statistics.stdev(read):.2%}" if len(read) > 1 else "–"
    width = statistics.median(log(ratio.high / ratio.value) for ratio in ratios)
    return f"| {kind.name} | {rung} | {truth:+.1%} | {statistics.mean(read):+.2%} | {spread} | ± {width:.2%} |"


def _resampled_table(kinds: Sequence[Kind]) -> list[str]:
    titles = f"{RESAMPLED} resampled runs of | pairs each | regressed | 95 % (Wilson) | improved | inconclusive | same"
    rows = [_resampled_row(kind.name, kind.results) for kind in kinds]
    rows += [
        _resampled_row(f"{IDENTICAL}, stretched by {added:.0%}", kinds[0].results, added)
        for added in (0.03, 0.05)
        if kinds[0].name == IDENTICAL
    ]
    return [f"| {titles} |", "|---|" + "---:|" * 6, *rows]


def _resampled_row(name: str, results: Sequence[AbResult], added: float = 0.0) -> str:
    counts = resampled(results, added)
    shares = [f"{counts[verdict] / RESAMPLED:.1%}" for verdict in ("improved", "inconclusive", "same")]
    regressed = counts["regressed"]
    return (
        f"| {name} | {planned_pairs(results)} | {regressed / RESAMPLED:.1%} | {_wilson(regressed, RESAMPLED)} |"
        f" {' | '.join(shares)} |"
    )


def fill(path: Path, text: str) -> None:
    """Put the text between the file's markers."""
    before, _, rest = path.read_text(encoding="utf-8").partition(BEGIN)
    _, _, after = rest.partition(END)
    write_whole(f"{before}{BEGIN}\n\n{text}\n\n{END}{after}", path)


def main() -> None:
    """Run, each result as it is there; without new runs, or with --markdown, print what all of them say."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--identical", type=int, default=0, metavar="N", help="new runs of identical code")
    parser.add_argument("--planted", type=int, default=0, metavar="N", help="new runs against a slower commit")
    parser.add_argument("--calibrate", action="store_true", help="only find out what to plant, a minute and a half")
    parser.add_argument("--slowdown", type=float, default=5.0, help="of the slower commit, per cent (default 5)")
    parser.add_argument("--seconds", type=float, default=180.0, help="time of each run (default 180)")
    parser.add_argument("--out", type=Path, default=Path("build/ab"), help="folder of the runs")
    parser.add_argument("--markdown", type=Path, help="file to renew between its markers")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="scalemark-study-") as scratch:
        repository = clone(Path(scratch) / "clone")
        for _ in range(options.identical):
            _tell(run(repository, "HEAD", options.seconds, options.out / IDENTICAL))
        folder = options.out / f"planted {options.slowdown:g} %"
        if options.calibrate:
            print(calibrated(folder, options.slowdown / 100, DEFAULT_RUNGS))
            return
        for _ in range(options.planted):
            commit = plant(repository, calibrated(folder, options.slowdown / 100, DEFAULT_RUNGS)[0])
            _tell(run(repository, commit, options.seconds, folder))
    if options.markdown or not options.identical + options.planted:
        text = report(kept(options.out))
        print(text)
        if options.markdown:
            fill(options.markdown, text)


def _tell(result: AbResult) -> None:
    changes = [
        f"{time.subject.partition('/')[0]} {time.ratio.value - 1:+.1%} {time.verdict}"
        for time in result.times
        if time.ratio
    ]
    print(f"{result.duration_s:.0f} s, {len(result.pairs)} pairs: {', '.join(changes)}", flush=True)


if __name__ == "__main__":
    main()
