"""Does a plan hold? Plan for a budget, train exactly that model, and set the outcome against what was predicted.

    python tests/acceptance/planning.py --suite results/runs/ID --minutes 10 --markdown docs/planning.md

The model is trained as the plan prices it: alone on all threads where the suite has timed steps; on as few threads as
the grid's runs had, and beside as many others (of other seeds), where it has none. The machine must be quiet: the
whole takes the budget and a minute.
"""

import argparse
import re
import sys
from collections.abc import Sequence
from pathlib import Path

from scalemark.errors import InputError
from scalemark.plan.shapes import Recipe
from scalemark.planning import plan, survey
from scalemark.process import default_affinity
from scalemark.record.store import load_suite, write_whole
from scalemark.report.planning import describe_model
from scalemark.schema import Estimate, JournalEntry, RunTrained, Suite, TrainingConfig, TrainingPlan, TrainingRun
from scalemark.train.conduct import Workshop, run_grid
from scalemark.train.corpus import Corpus, open_corpus
from scalemark.train.jobs import TokenFiles
from scalemark.train.plan import plan_grid
from scalemark.train.schedule import learning_rate_for_width
from scalemark.units import format_amount, format_seconds, significant

MARKER = "outcome"


def planned_configs(made: TrainingPlan, like: TrainingConfig, corpus: Corpus, seeds: int) -> list[TrainingConfig]:
    """The plan's model and tokens in the recipe of a run of the suite, once for each seed."""
    best = made.best
    changes: dict[str, object] = {
        "model": best.model,
        "tokens": best.tokens,
        "batch": best.batch,
        "seq_len": best.seq_len,
        "learning_rate": learning_rate_for_width(best.model.d_model),
        "corpus": corpus.identity,
    }
    return [like.model_copy(update={**changes, "seed": seed}) for seed in range(seeds)]


def check_text(suite: Suite, corpus: Corpus) -> None:
    """A suite of before version 3 does not name its text."""
    if suite.corpus and suite.corpus.identity != corpus.identity:
        raise InputError(f"the suite was trained on {suite.corpus.identity}: give that text with --corpus")


def train(configs: Sequence[TrainingConfig], made: TrainingPlan, corpus: Corpus, log: Path) -> list[TrainingRun]:
    """Train them side by side, each on the plan's threads, and say on stderr how far it is."""
    runs: list[TrainingRun] = []

    def record(entry: JournalEntry) -> None:
        if isinstance(entry, RunTrained):
            runs.append(entry.run)

    workshop = Workshop(made.device, len(configs), made.threads, default_affinity(), TokenFiles.of(corpus), log)
    step_s = made.best.time_s.value / made.best.n_steps
    grid = plan_grid(configs, lambda _: step_s, budget_s=1e6, slots=len(configs))
    run_grid(grid, workshop, record, lambda progress: print(f"\r{progress}", end="", file=sys.stderr))
    return runs


def outcome_lines(suite: Suite, made: TrainingPlan, runs: Sequence[TrainingRun], minutes: float) -> list[str]:
    """The plan in a sentence, and a row for each thing predicted and each run."""
    best = made.best
    how = "beside each other" if made.shared else "alone"
    where = f"{made.threads} thread{'s' if made.threads > 1 else ''}" if made.device == "cpu" else "the GPU"
    lines = [
        f"Suite {suite.id} on {made.machine}; a budget of {minutes:g} minutes. The plan: {describe_model(best)} on "
        f"{format_amount(best.tokens)} tokens, {significant(best.loss_extrapolation, 2)} times beyond the loss law's "
        f"runs at the farthest, trained {how} on {where}.",
        "",
        "| | predicted | 90 % interval | outcome | off by | inside |",
        "|---|---:|---:|---:|---:|---|",
    ]
    for run in runs:
        seed = f", seed {run.config.seed}" if len(runs) > 1 else ""
        if run.status != "ok" or run.total_seconds is None or run.validation_loss is None:
            lines.append(f"| run{seed} | | | {run.status}: {run.reason} | | no |")
            continue
        lines.append(_row(f"time{seed}", best.time_s, run.total_seconds, "seconds"))
        lines.append(_row(f"validation loss{seed}", best.loss, run.validation_loss, "nats"))
    return lines


def _row(what: str, predicted: Estimate, outcome: float, unit: str) -> str:
    write = format_seconds if unit == "seconds" else (lambda value: f"{value:.3f}")
    inside = predicted.low <= outcome <= predicted.high
    interval = f"{write(predicted.low)} to {write(predicted.high)}"
    off = f"{outcome / predicted.value - 1:+.1%}"
    return (
        f"| {what} | {write(predicted.value)} | {interval} | {write(outcome)} | {off} | {'yes' if inside else 'no'} |"
    )


def fill(path: Path, lines: Sequence[str]) -> None:
    """Put the lines between the file's markers."""
    begin, end = f"<!-- {MARKER}: begin -->", f"<!-- {MARKER}: end -->"
    text = path.read_text(encoding="utf-8")
    body = "\n".join(lines)
    write_whole(re.sub(f"{begin}.*?{end}", lambda _: f"{begin}\n\n{body}\n\n{end}", text, flags=re.DOTALL), path)


def main() -> None:
    """Plan, train, compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--suite", type=Path, required=True, help="a suite.json or a run's folder, of this machine")
    parser.add_argument("--minutes", type=float, default=10.0, help="the budget of training")
    parser.add_argument("--corpus", default="kjv", help="the text that the suite was trained on")
    parser.add_argument("--out", type=Path, default=Path("build/planning"), help="folder of the text and the log")
    parser.add_argument("--markdown", type=Path, help="file to renew between its markers")
    options = parser.parse_args()

    suite = load_suite(options.suite)
    corpus = open_corpus(options.corpus, options.out / "corpora")
    check_text(suite, corpus)
    grounds = survey(suite)
    made = plan(grounds, hours=options.minutes / 60)
    seeds = max(1, suite.settings.threads // made.threads) if made.shared else 1
    like = next(run.config for run in grounds.trained if Recipe.of(run) == grounds.recipe)
    configs = planned_configs(made, like, corpus, seeds)
    lines = outcome_lines(suite, made, train(configs, made, corpus, options.out / "workers.log"), options.minutes)
    print("\n" + "\n".join(lines))
    if options.markdown:
        fill(options.markdown, lines)


if __name__ == "__main__":
    main()
