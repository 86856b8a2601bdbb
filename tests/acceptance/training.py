"""How good the training grid is on this machine: what its law foretells, and what its recipe is worth.

    python tests/acceptance/training.py default standard synthetic repeated sweep --markdown docs/training.md

    default    a grid of 4 minutes: its largest quarter hidden and predicted from the rest
    standard   the same of 20 minutes
    synthetic  4 minutes on text made with a known entropy rate: is it what the law says no model goes below?
    repeated   4 minutes on small parts of the text, seen many times: what repetition costs
    sweep      learning rates around the rule at several widths, two seeds each: does the best one stay near it?

Each grid is a `scalemark train` of its own; a folder that has one is read and not trained again. Together they take
three quarters of an hour of a quiet machine.
"""

import argparse
import itertools
import re
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from scalemark.analysis import analyse
from scalemark.errors import FitError
from scalemark.fit.loss_holdout import HiddenRuns, hold_out_largest
from scalemark.fit.repeated import compare_with_plain, worse_with_size
from scalemark.process import default_affinity, default_threads
from scalemark.record.store import load_suite, write_whole
from scalemark.schema import JournalEntry, Law, RunTrained, Suite, TrainingConfig, TrainingRun
from scalemark.train.conduct import Workshop, run_grid
from scalemark.train.corpus import open_corpus
from scalemark.train.grid import training_grid
from scalemark.train.jobs import TokenFiles
from scalemark.train.plan import plan_grid
from scalemark.units import format_count

GRIDS = {
    "default": ["--budget", "4m"],
    "standard": ["--budget", "20m"],
    "synthetic": ["--budget", "4m", "--corpus", "synthetic"],
    "repeated": ["--budget", "4m", "--grid", "repeated"],
}
SWEPT_WIDTHS, SWEPT_TOKENS, SWEPT_SEEDS = (16, 64, 128), 2**19, (0, 1)
SWEPT_RATES = (0.5, 0.71, 1.0, 1.41, 2.0)


# --- grids ------------------------------------------------------------------------------------------------------------


def trained(name: str, root: Path) -> Suite:
    """The suite of this grid, trained now where it is not there."""
    folder = root / name
    if not (folder / "suite.json").is_file():
        started = time.monotonic()
        command = [sys.executable, "-m", "scalemark", "train", *GRIDS[name], "--out", str(folder)]
        subprocess.run(command, check=True)
        (folder / "wall_s").write_text(f"{time.monotonic() - started:.0f}")
    return load_suite(folder)


def grid_lines(name: str, root: Path) -> list[str]:
    """What came of a grid: its runs, its law, and what the law foretells."""
    suite = trained(name, root)
    wall_s = float((root / name / "wall_s").read_text())
    runs = [run for run in suite.training_runs if run.status == "ok"]
    law = analyse(suite).law("loss")
    lines = [
        f"`scalemark train {' '.join(GRIDS[name])}`: {len(runs)} runs of {len({run.config.trunk for run in runs})} "
        f"trunks in {wall_s / 60:.1f} minutes, {suite.machine.summary}.",
        "",
        *run_table(runs, law),
    ]
    if law is None:
        return [*lines, "", f"No loss law: {analyse(suite).missing_laws.get('loss')}."]
    return [*lines, "", law_line(law), "", *holdout_lines(runs)]


def run_table(runs: Sequence[TrainingRun], law: Law | None) -> list[str]:
    """Validation losses by size and tokens, and how far the law is off, in percent."""
    counts = sorted({run.config.tokens for run in runs})
    widths = sorted({run.config.model.d_model for run in runs if run.config.model})
    residuals = dict(zip((run.config.key for run in runs), law.residuals, strict=True)) if law else {}
    by_place = {(run.config.model.d_model, run.config.tokens): run for run in runs if run.config.model}
    rows = [
        f"| {width} | " + " | ".join(_place(by_place.get((width, count)), residuals) for count in counts) + " |"
        for width in widths
    ]
    titles = " | ".join(format_count(count) for count in counts)
    return [f"| width | {titles} |", "|---:|" + "---:|" * len(counts), *rows]


def _place(run: TrainingRun | None, residuals: dict[str, float]) -> str:
    if run is None or run.validation_loss is None:
        return ""
    residual = residuals.get(run.config.key)
    return f"{run.validation_loss:.3f}" + (f" ({residual:+.1%})" if residual is not None else "")


def law_line(law: Law) -> str:
    told = [
        f"{parameter.name} {parameter.estimate.value:.3g} ({parameter.estimate.low:.3g} to "
        f"{parameter.estimate.high:.3g}{'' if parameter.identified else ', not identified'})"
        for parameter in law.parameters
    ]
    return f"Law: {', '.join(told)}; residual standard deviation {law.residual_sd:.2%}."


def holdout_lines(runs: Sequence[TrainingRun]) -> list[str]:
    """Predictions of the hidden quarter: from all other runs, and from those with a quarter of its compute at most."""
    lines = []
    for apart in (1.0, 4.0):
        try:
            lines.append(_holdout_line(hold_out_largest(runs, apart=apart), apart))
        except FitError as error:
            lines.append(f"- apart {apart:.0f}: {error}.")
    return lines


def _holdout_line(hidden: HiddenRuns, apart: float) -> str:
    rule = "from all other runs" if apart == 1 else f"from runs of at most 1/{apart:.0f} of any hidden run's compute"
    return (
        f"- {len(hidden.errors)} largest runs hidden and predicted {rule} ({hidden.n_kept}; the largest is "
        f"{hidden.reach:.1f} × beyond them): mean absolute error **{hidden.mean_error:.2%}**, "
        f"{', '.join(f'{error:+.1%}' for error in hidden.errors)}; {hidden.covered} of {len(hidden.errors)} inside "
        "their 90 % intervals."
    )


def synthetic_lines(name: str, root: Path) -> list[str]:
    """The grid on made-up text, and its floor against the truth."""
    suite = trained(name, root)
    law = analyse(suite).law("loss")
    assert suite.corpus and suite.corpus.entropy_rate
    truth = suite.corpus.entropy_rate
    lines = [*grid_lines(name, root), ""]
    if law is None:
        return lines
    floor = law.parameters[0]
    told = "" if floor.identified else " The law says that it is **not identified**."
    error = floor.estimate.value / truth - 1
    return [*lines, f"Entropy rate {truth:.4f}, fitted E {floor.estimate.value:.4f}: **{error:+.1%}**.{told}"]


def repeated_lines(name: str, root: Path) -> list[str]:
    """The grid on repeated text: losses by size and epochs, where size hurts, and the two laws."""
    suite = trained(name, root)
    runs = [run for run in suite.training_runs if run.status == "ok"]
    lines = [f"`scalemark train {' '.join(GRIDS[name])}`: {len(runs)} runs.", ""]
    for unique in sorted({run.config.unique_tokens for run in runs if run.config.unique_tokens}):
        lines += [*_repeated_table([run for run in runs if run.config.unique_tokens == unique], unique), ""]
    worse = [
        f"{w.params:,} parameters, {w.epochs:.0f} epochs of {w.unique_tokens:,}: {w.excess:+.1%}"
        for w in worse_with_size(runs)
    ]
    lines += [f"A larger model did worse than a smaller one: {'; '.join(worse) or 'nowhere'}.", ""]
    return [*lines, *_comparison_lines(runs, suite)]


def _repeated_table(runs: Sequence[TrainingRun], unique: int) -> list[str]:
    epochs = sorted({round(run.config.tokens / unique) for run in runs})
    by_place = {(run.config.model.d_model, round(run.config.tokens / unique)): run for run in runs if run.config.model}
    widths = sorted({width for width, _ in by_place})
    rows = [
        f"| {width} | " + " | ".join(_with_gap(by_place.get((width, count))) for count in epochs) + " |"
        for width in widths
    ]
    titles = " | ".join(f"{count} ×" for count in epochs)
    return [f"{unique:,} different tokens; validation loss (gap to the training loss):", "",
            f"| width | {titles} |", "|---:|" + "---:|" * len(epochs), *rows]  # fmt: skip


def _with_gap(run: TrainingRun | None) -> str:
    return "" if run is None or run.validation_loss is None else f"{run.validation_loss:.3f} ({run.gap:+.3f})"


def _comparison_lines(runs: Sequence[TrainingRun], suite: Suite) -> list[str]:
    law = analyse(suite).law("repeated_loss")
    try:
        errors = compare_with_plain(runs).mean_errors
    except FitError as error:
        return [f"The laws were not compared: {error}."]
    names = {
        "discounted": "with the discount",
        "all_new": "every token as new",
        "fitted_to_all": "plain, fitted to all",
    }
    compared = ", ".join(f"{names[name]} {error:.1%}" for name, error in errors.items())
    return [
        *([law_line(law)] if law else []),
        "",
        f"Repeats predicted without their trunk, mean absolute error: {compared}.",
    ]


# --- the learning rate ------------------------------------------------------------------------------------------------


def sweep_lines(_: str, root: Path) -> list[str]:
    """Losses over learning rates by width, and where their best lies as a multiple of the rule."""
    runs = swept(root)
    tables = [
        "Validation loss after 0.52 M tokens, mean of two seeds, by learning rate as a multiple of the rule; best: "
        "the lowest point of a parabola through the five.",
        "",
        f"| width | {' | '.join(f'{rate:.2f}' for rate in SWEPT_RATES)} | best | scatter of seeds |",
        "|---:|" + "---:|" * (len(SWEPT_RATES) + 2),
    ]
    best = {}
    for width in SWEPT_WIDTHS:
        losses = np.array([[_loss(runs, width, rate, seed) for seed in SWEPT_SEEDS] for rate in SWEPT_RATES])
        best[width] = best_rate(losses.mean(axis=1))
        scatter = float(np.mean(losses.std(axis=1, ddof=1) / losses.mean(axis=1)))
        cells = " | ".join(f"{loss:.3f}" for loss in losses.mean(axis=1))
        tables.append(f"| {width} | {cells} | {best[width]:.2f} | {scatter:.1%} |")
    drift = max(best.values()) / min(best.values())
    return [*tables, "", f"The best multiple drifts by a factor of **{drift:.2f}** from width to width."]


@dataclass(frozen=True)
class Swept:
    """A run of the sweep and the multiple of the rule that it was trained at."""

    rate: float
    run: TrainingRun


def swept(root: Path) -> list[Swept]:
    """The runs of the sweep, those that are there already and those trained now."""
    wanted = [
        (rate, config.model_copy(update={"learning_rate": rate * (config.learning_rate or 0.0)}))
        for rate, config in itertools.product(SWEPT_RATES, training_grid(SWEPT_WIDTHS, [SWEPT_TOKENS], SWEPT_SEEDS))
    ]
    journal = root / "sweep.jsonl"
    journal.parent.mkdir(parents=True, exist_ok=True)
    corpus = open_corpus("kjv", root / "corpora")
    configs = {rate_config[1].model_copy(update={"corpus": corpus.identity}).key: rate_config for rate_config in wanted}
    runs = _recorded(journal)
    missing = [
        config.model_copy(update={"corpus": corpus.identity}) for key, (_, config) in configs.items() if key not in runs
    ]
    if missing:
        _train(missing, TokenFiles.of(corpus), root, journal)
        runs = _recorded(journal)
    return [Swept(configs[key][0], run) for key, run in runs.items() if key in configs]


def _recorded(journal: Path) -> dict[str, TrainingRun]:
    lines = journal.read_text().splitlines() if journal.exists() else []
    runs = [TrainingRun.model_validate_json(line) for line in lines]
    return {run.config.key: run for run in runs if run.status in ("ok", "diverged")}


def _train(configs: Sequence[TrainingConfig], files: TokenFiles, root: Path, journal: Path) -> None:
    def record(entry: JournalEntry) -> None:
        if isinstance(entry, RunTrained):
            with journal.open("a") as file:
                file.write(entry.run.model_dump_json() + "\n")

    slots = default_threads()
    workshop = Workshop("cpu", slots, 1, default_affinity(), files, root / "sweep.log")
    plan = plan_grid(configs, lambda _: 0.02, budget_s=1e6, slots=slots)
    run_grid(plan, workshop, record, lambda progress: print(f"\r{progress}", end="", file=sys.stderr))


def _loss(runs: Sequence[Swept], width: int, rate: float, seed: int) -> float:
    """Of a run that came apart: not a number, which is never the lowest."""
    found = [
        one.run.validation_loss
        for one in runs
        if one.rate == rate
        and one.run.config.seed == seed
        and one.run.config.model
        and one.run.config.model.d_model == width
    ]
    return found[0] if found and found[0] is not None else float("nan")


def best_rate(losses: np.ndarray) -> float:
    """The multiple of the rule at the bottom of a parabola in its logarithm, within the rates that were tried."""
    logs = np.log(np.array(SWEPT_RATES))
    sound = np.isfinite(losses)
    curve, slope, _ = np.polyfit(logs[sound], losses[sound], 2)
    bottom = -slope / (2 * curve) if curve > 0 else logs[np.nanargmin(losses)]
    return float(np.exp(np.clip(bottom, logs[0], logs[-1])))


# --- text -------------------------------------------------------------------------------------------------------------

PARTS: dict[str, Callable[[str, Path], list[str]]] = {
    "default": grid_lines,
    "standard": grid_lines,
    "synthetic": synthetic_lines,
    "repeated": repeated_lines,
    "sweep": sweep_lines,
}


def fill(path: Path, name: str, lines: Sequence[str]) -> None:
    """Put the lines between the file's markers of this name."""
    begin, end = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
    text = path.read_text(encoding="utf-8")
    body = "\n".join(lines)
    write_whole(re.sub(f"{begin}.*?{end}", lambda _: f"{begin}\n\n{body}\n\n{end}", text, flags=re.DOTALL), path)


def main() -> None:
    """Train what is asked for, and print what was found."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="+", choices=list(PARTS), help="what to show")
    parser.add_argument("--out", type=Path, default=Path("build/training"), help="folder of the runs")
    parser.add_argument("--markdown", type=Path, help="file to renew between its markers")
    options = parser.parse_args()
    for name in options.parts:
        lines = PARTS[name](name, options.out)
        print("\n".join([f"## {name}", "", *lines, ""]), flush=True)
        if options.markdown:
            fill(options.markdown, name, lines)


if __name__ == "__main__":
    main()
