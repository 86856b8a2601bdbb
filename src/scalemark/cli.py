"""The command line: one command per stage, each a thin joint between stages.

Nothing but typer is imported until a command runs, so that `--help` is instant. The library raises; only this file
prints and exits.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from scalemark.errors import InputError, ScalemarkError, StoreError, TooFarError

if TYPE_CHECKING:
    from scalemark.schema import Analysis, Diff, PassedOver, Suite

EXIT_PASSED_OVER = 1
EXIT_BAD_INPUT = 2
_EXIT_INTERRUPTED = 130


class _Commands(TyperGroup):
    """Commands whose ScalemarkErrors become one line on stderr and exit code 2."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except ScalemarkError as error:
            typer.echo(f"scalemark: error: {error}", err=True)
            raise typer.Exit(EXIT_BAD_INPUT) from error


app = typer.Typer(
    cls=_Commands,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # plain help: drawing it with rich takes longer than all the rest
    context_settings={"help_option_names": ["-h", "--help"]},
    help="What it costs to train a language model as it grows, and what loss it reaches. Measure with: pytest bench/",
)
baseline_app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="Keep suites to compare with.")
app.add_typer(baseline_app, name="baseline")


class _Fits(TyperGroup):
    """`scalemark fit`, and `scalemark fit SUITE`, where what follows is no command of its own."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        helps = set(ctx.help_option_names)
        if not args or (args[0] not in self.commands and args[0] not in helps):
            args = ["suite", *args]
        return super().parse_args(ctx, args)


fit_app = typer.Typer(cls=_Fits, rich_markup_mode=None, help="Fit laws to a suite, or to a table of measurements.")
app.add_typer(fit_app, name="fit")

SuiteArgument = Annotated[
    Path | None, typer.Argument(metavar="SUITE", help="A suite.json or a run's folder; else the newest run.")
]
ResultsOption = Annotated[Path, typer.Option("--results", metavar="DIR", help="Folder of runs and baselines.")]
DEFAULT_RESULTS = Path("results")


def _print_version(wanted: bool) -> None:
    if wanted:
        from scalemark import __version__

        typer.echo(f"scalemark {__version__}")
        raise typer.Exit


@app.callback()
def main(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    pass  # typer reads the options off the signature


@app.command()
def doctor(as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False) -> None:
    """Say what this machine can measure, and what to change first."""
    from scalemark.doctor import examine, render

    findings = examine()
    typer.echo(findings.model_dump_json(indent=2) if as_json else render(findings))


@fit_app.command("suite")
def fit_suite(suite: SuiteArgument = None, results: ResultsOption = DEFAULT_RESULTS) -> None:
    """All laws of a suite, with their intervals; `scalemark fit SUITE` is the same."""
    from scalemark.analysis import analyse
    from scalemark.report.tables import law_tables
    from scalemark.report.terminal import table_lines

    analysis = analyse(_find_suite(suite, results))
    for table in law_tables(analysis):
        typer.echo("\n".join([*table_lines(table, _terminal_columns()), ""]))


ColumnsOption = Annotated[
    str | None,
    typer.Option("--columns", metavar="NAME=COLUMN,…", help="The file's own names, as in params=N,tokens=D,loss=L."),
]
JsonOption = Annotated[Path | None, typer.Option("--json", metavar="OUT", help="Write all of it as JSON.")]
PlotOption = Annotated[Path | None, typer.Option("--plot", metavar="FILE.svg", help="Draw rows and law.")]
SeedOption = Annotated[int, typer.Option("--seed", metavar="N", help="Seed of the bootstrap.")]
BootstrapOption = Annotated[
    int, typer.Option("--bootstrap", min=100, metavar="N", help="Refits that the intervals are taken from.")
]


@fit_app.command("loss")
def fit_loss(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A CSV file, a suite.json or a run's folder.")],
    columns: ColumnsOption = None,
    form: Annotated[
        str,
        typer.Option("--form", metavar="NAME", help="auto, chinchilla, tied, overlap, kaplan, saturating or repeated."),
    ] = "auto",
    drop_highest: Annotated[
        int, typer.Option("--drop-highest", min=0, metavar="K", help="Leave the K highest losses out first.")
    ] = 0,
    bootstrap: BootstrapOption = 4000,
    seed: SeedOption = 0,
    holdout_above_flops: Annotated[
        float | None,
        typer.Option("--holdout-above-flops", metavar="C", help="Hide and predict rows of more compute than this."),
    ] = None,
    json: JsonOption = None,
    plot: PlotOption = None,
) -> None:
    """A loss law from columns params, tokens and loss, with what it foretells of the largest rows."""
    from scalemark import fitting
    from scalemark.record.table import parse_columns
    from scalemark.report.fit_text import fit_lines

    found = fitting.fit_loss(file, form, parse_columns(columns), drop_highest, bootstrap, seed, holdout_above_flops)
    _write_fit(found, json, plot)
    typer.echo("\n".join(fit_lines(found.result, found.law.parameters, _terminal_columns())))


@fit_app.command("cost")
def fit_cost(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A CSV file, a suite.json or a run's folder.")],
    columns: ColumnsOption = None,
    target: Annotated[
        str, typer.Option("--target", metavar="NAME", help="What was measured: seconds (per step) or tokens_per_s.")
    ] = "seconds",
    holdout_above_params: Annotated[
        float | None,
        typer.Option("--holdout-above-params", metavar="N", help="Hide and predict rows of this size and above."),
    ] = None,
    seed: SeedOption = 0,
    json: JsonOption = None,
    plot: PlotOption = None,
) -> None:
    """A law of step time from columns params, width, depth, seq_len, batch, devices and seconds."""
    from scalemark import fitting
    from scalemark.record.table import parse_columns
    from scalemark.report.fit_text import fit_lines

    measured = _choice(target, ("seconds", "tokens_per_s"), "target")
    found = fitting.fit_cost(file, parse_columns(columns), measured, seed, holdout_above_params)
    _write_fit(found, json, plot)
    typer.echo("\n".join(fit_lines(found.result, found.fit.parameters, _terminal_columns())))


@app.command()
def train(
    budget: Annotated[
        str, typer.Option("--budget", metavar="TIME", help="Time for the whole run: 4m, 20m, 1h.")
    ] = "4m",
    out: Annotated[
        Path | None, typer.Option("--out", metavar="DIR", help="The run's folder; one that has begun goes on.")
    ] = None,
    corpus: Annotated[
        str,
        typer.Option(
            "--corpus",
            metavar="TEXT",
            help="kjv, stdlib, synthetic, hf:NAME, or a text, .jsonl or .parquet file or folder.",
        ),
    ] = "kjv",
    tokenizer: Annotated[str, typer.Option("--tokenizer", metavar="NAME", help="bytes, or bpe:SIZE.")] = "bytes",
    grid: Annotated[
        str, typer.Option("--grid", metavar="NAME", help="plain, or repeated: little text, many epochs.")
    ] = "plain",
    device: Annotated[str, typer.Option("--device", metavar="NAME", help="auto, cpu or cuda.")] = "auto",
    seed: Annotated[int, typer.Option("--seed", metavar="N", help="Seed of models and of the order of the text.")] = 0,
    jobs: Annotated[int | None, typer.Option("--jobs", min=1, metavar="N", help="Models trained at a time.")] = None,
    threads: Annotated[
        int | None, typer.Option("--threads-per-job", min=1, metavar="N", help="Threads of each (default 1 on a CPU).")
    ] = None,
    executor: Annotated[
        str, typer.Option("--executor", metavar="NAME", help="Who trains: local, ray or slurm (docs/cluster.md).")
    ] = "local",
    ray_address: Annotated[
        str | None,
        typer.Option("--ray-address", metavar="ADDRESS", help="A Ray cluster that runs; else one is started here."),
    ] = None,
    slurm_option: Annotated[
        list[str] | None,
        typer.Option("--slurm-option", metavar="K=V", help="For sbatch, as in partition=short; may be repeated."),
    ] = None,
    results: ResultsOption = DEFAULT_RESULTS,
) -> None:
    """Train a grid of small models within a budget, and fit the loss law to what they reach."""
    from scalemark.session import Request
    from scalemark.train.grid import find_grid
    from scalemark.training import run_training
    from scalemark.units import parse_duration_s

    request = Request(
        workloads=(),
        trainings=find_grid(grid, seed),
        budget_s=parse_duration_s(budget),
        device=_choice(device, ("auto", "cpu", "cuda"), "device"),
        seed=seed,
        results_root=results,
        corpus=corpus,
        tokenizer=tokenizer,
        out=out,
        jobs=jobs,
        threads_per_job=threads,
        placement=_placement(executor, ray_address, slurm_option or []),
    )
    typer.echo("\n".join(run_training(request, _terminal_columns())))


@app.command()
def measure(
    rungs: Annotated[
        str, typer.Option("--rungs", metavar="NAME,…", help="Rungs to spread over the ranks.")
    ] = "d4w256,d8w512",
    parallelism: Annotated[
        str, typer.Option("--parallelism", metavar="NAME,…", help="ddp, fsdp, or both.")
    ] = "ddp,fsdp",
    batch_per_rank: Annotated[int, typer.Option("--batch-per-rank", min=1, metavar="N", help="Sequences.")] = 2,
    seq_len: Annotated[int, typer.Option("--seq-len", min=1, metavar="T", help="Tokens of a sequence.")] = 256,
    dtype: Annotated[str, typer.Option("--dtype", metavar="NAME", help="float32 or bfloat16.")] = "float32",
    budget: Annotated[str, typer.Option("--budget", metavar="TIME", help="Time for all of it: 90s, 4m.")] = "4m",
    device: Annotated[str, typer.Option("--device", metavar="NAME", help="auto, cpu or cuda.")] = "auto",
    seed: Annotated[int, typer.Option("--seed", metavar="N", help="Seed of models, text and order.")] = 0,
    timeout: Annotated[
        str, typer.Option("--timeout", metavar="TIME", help="A rank that others wait for longer is given up.")
    ] = "5m",
    out: Annotated[
        Path | None, typer.Option("--out", metavar="DIR", help="The run's folder; one that has begun goes on.")
    ] = None,
    results: ResultsOption = DEFAULT_RESULTS,
) -> None:
    """Under torchrun: training steps on all ranks of a cluster (`torchrun … -m scalemark measure`)."""
    from scalemark.launched import LaunchedRequest, check_launched, measure_launched
    from scalemark.model.ladder import find_rung
    from scalemark.units import parse_duration_s

    check_launched()
    request = LaunchedRequest(
        rungs=tuple(find_rung(name.strip()) for name in rungs.split(",")),
        parallelisms=tuple(_choice(name.strip(), ("ddp", "fsdp"), "parallelism") for name in parallelism.split(",")),
        rank_batch=batch_per_rank,
        seq_len=seq_len,
        dtype=_choice(dtype, ("float32", "bfloat16"), "dtype"),
        budget_s=parse_duration_s(budget),
        device=_choice(device, ("auto", "cpu", "cuda"), "device"),
        seed=seed,
        results_root=results,
        out=out,
        timeout_s=parse_duration_s(timeout),
    )
    lines = measure_launched(request, _terminal_columns(), lambda words: typer.echo(f"scalemark: {words}", err=True))
    if lines:
        typer.echo("\n".join(lines))


@app.command()
def plan(
    suite: SuiteArgument = None,
    hours: Annotated[float | None, typer.Option("--hours", metavar="H", help="Time for training.")] = None,
    usd: Annotated[float | None, typer.Option("--usd", metavar="X", help="Money; takes --usd-per-hour.")] = None,
    kwh: Annotated[float | None, typer.Option("--kwh", metavar="E", help="Energy for training.")] = None,
    loss: Annotated[
        float | None, typer.Option("--loss", metavar="L", help="Validation loss to reach, nats per token.")
    ] = None,
    usd_per_hour: Annotated[
        float | None, typer.Option("--usd-per-hour", metavar="P", help="What an hour of this machine costs.")
    ] = None,
    size: Annotated[
        list[str] | None,
        typer.Option("--size", metavar="NAME", help="A model to compare with, like d6w384; may be repeated."),
    ] = None,
    memory_gib: Annotated[
        float | None, typer.Option("--memory-gib", metavar="M", help="Memory to fit into, if not this machine's.")
    ] = None,
    json: Annotated[Path | None, typer.Option("--json", metavar="OUT", help="Write the plan as JSON.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Plan even past 100 times the fitted range.")] = False,
    results: ResultsOption = DEFAULT_RESULTS,
) -> None:
    """Say what to train for a budget (--hours, --usd or --kwh), or what a loss takes (--loss)."""
    from scalemark.planning import plan as make_plan
    from scalemark.record.store import write_whole
    from scalemark.report.planning import plan_lines

    try:
        made = make_plan(
            _find_suite(suite, results),
            hours=hours,
            usd=usd,
            kwh=kwh,
            loss=loss,
            usd_per_hour=usd_per_hour,
            sizes=size or (),
            memory_gib=memory_gib,
            force=force,
        )
    except TooFarError as error:
        raise TooFarError(f"{error}, or insist with --force") from None
    if json:
        write_whole(made.model_dump_json(indent=1) + "\n", json)
    typer.echo("\n".join(plan_lines(made, _terminal_columns())))


@app.command()
def diff(
    base: Annotated[Path, typer.Argument(metavar="BASE", help="A suite.json or a run's folder.")],
    new: Annotated[Path, typer.Argument(metavar="NEW", help="The suite to judge.")],
    margin: Annotated[
        str | None,
        typer.Option("--margin", metavar="SHARE", help="No smaller change of time or energy is called one: 5%."),
    ] = None,
    json: Annotated[Path | None, typer.Option("--json", metavar="OUT", help="Write the comparisons as JSON.")] = None,
    markdown: Annotated[Path | None, typer.Option("--markdown", metavar="OUT", help="Write a table.")] = None,
    junit: Annotated[Path | None, typer.Option("--junit", metavar="OUT", help="Write JUnit XML.")] = None,
) -> None:
    """Compare two suites. Exit code: 0 nothing worse, 1 regressed, 2 bad input, 3 inconclusive, 4 not comparable."""
    from scalemark.comparing import compare_suites
    from scalemark.diff.text import diff_lines, diff_markdown
    from scalemark.export.junit import diff_junit
    from scalemark.record.store import load_suite, write_whole
    from scalemark.units import parse_fraction

    least = parse_fraction(margin) if margin is not None else None
    found = compare_suites(load_suite(base), load_suite(new), least)
    if json:
        write_whole(found.model_dump_json(indent=1) + "\n", json)
    if markdown:
        write_whole(diff_markdown(found), markdown)
    if junit:
        write_whole(diff_junit(found), junit)
    typer.echo("\n".join(diff_lines(found)))
    raise typer.Exit(_diff_exit_code(found))


@app.command()
def ab(
    base: Annotated[str, typer.Option("--base", metavar="REV", help="The revision to compare with.")],
    head: Annotated[
        str, typer.Option("--head", metavar="REV", help="The revision to judge; WORKTREE: the files as they are.")
    ] = "WORKTREE",
    rungs: Annotated[
        str | None, typer.Option("--rungs", metavar="NAME,…", help="Rungs to train on (default d2w128,d4w256,d6w384).")
    ] = None,
    task: Annotated[
        list[str] | None,
        typer.Option("--task", metavar="FILE:FUNCTION", help="Your own model, as in a bench file; may be repeated."),
    ] = None,
    time: Annotated[str, typer.Option("--time", metavar="TIME", help="At most so long: 90s, 3m.")] = "3m",
    margin: Annotated[
        str, typer.Option("--margin", metavar="PERCENT", help="A smaller slowdown does not count.")
    ] = "2%",
    device: Annotated[str, typer.Option("--device", metavar="NAME", help="auto, cpu or cuda.")] = "auto",
    seed: Annotated[int, typer.Option("--seed", metavar="N", help="Seed of models, text and order.")] = 0,
    json: Annotated[
        Path | None, typer.Option("--json", metavar="OUT", help="Write pairs and verdicts as JSON.")
    ] = None,
    markdown: Annotated[Path | None, typer.Option("--markdown", metavar="OUT", help="Write a table.")] = None,
) -> None:
    """Measure two revisions in turn. Exit code: 0 nothing worse, 1 regressed, 2 bad input, 3 inconclusive."""
    from scalemark.ab import parse_request, run_ab
    from scalemark.ab.text import ab_lines, ab_markdown
    from scalemark.record.store import write_whole

    chosen = _choice(device, ("auto", "cpu", "cuda"), "device")
    request = parse_request(base, head, rungs, task or [], time, margin, chosen, seed)
    try:
        found = run_ab(request, lambda words: typer.echo(f"scalemark: {words}", err=True))
    except KeyboardInterrupt:
        raise typer.Exit(_EXIT_INTERRUPTED) from None
    if json:
        write_whole(found.model_dump_json() + "\n", json)
    if markdown:
        write_whole(ab_markdown(found), markdown)
    typer.echo("\n".join(ab_lines(found)))
    raise typer.Exit(_diff_exit_code(found.diff))


@app.command()
def export(
    suite: SuiteArgument = None,
    format: Annotated[
        str,
        typer.Option("--format", metavar="NAME", help="github-action-benchmark, bencher, openmetrics, csv or junit."),
    ] = "csv",
    out: Annotated[Path | None, typer.Option("--out", metavar="FILE", help="Write a file; else print.")] = None,
    results: ResultsOption = DEFAULT_RESULTS,
) -> None:
    """Write a suite in the format of another tool."""
    from scalemark.export import FORMATS
    from scalemark.record.store import write_whole

    written = FORMATS[_choice(format, tuple(FORMATS), "format")](_find_suite(suite, results))
    if out:
        write_whole(written, out)
    else:
        typer.echo(written, nl=False)


@app.command()
def schema(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder to write the schemas into.")] = Path("schema"),
) -> None:
    """Write the JSON schemas of suites, journals, diffs, fits and plans."""
    from scalemark.record.json_schema import json_schemas
    from scalemark.record.store import write_whole

    for name, text in json_schemas().items():
        write_whole(text, folder / name)
        typer.echo(folder / name)


@app.command()
def report(
    suites: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="SUITE…",
            help="A suite.json or a run's folder; else the newest run. Several are compared: NAME=PATH names one,"
            " PATH:bfloat16 (sgd, compiled) takes its other training steps.",
        ),
    ] = None,
    html: Annotated[Path | None, typer.Option("--html", metavar="FILE", help="Write a self-contained page.")] = None,
    markdown: Annotated[
        Path | None, typer.Option("--markdown", metavar="NAME.md", help="Write text, and charts beside it.")
    ] = None,
    readme: Annotated[
        Path | None, typer.Option("--readme", metavar="FILE", help="Renew the numbers between a file's markers.")
    ] = None,
    open: Annotated[
        bool, typer.Option("--open", help="Show the page in a browser; a temporary file without --html.")
    ] = False,
    usd_per_hour: Annotated[
        list[str] | None,
        typer.Option("--usd-per-hour", metavar="NAME=P", help="Of several: what an hour of one costs; once for each."),
    ] = None,
    results: ResultsOption = DEFAULT_RESULTS,
) -> None:
    """Draw the report of a suite, against this machine's newest baseline where there is one; or compare several."""
    if open and not html:
        html = _temporary_page()
    if _asks_for_several(suites or (), usd_per_hour or ()):
        if readme:
            raise InputError("--readme takes the numbers of one suite: name only that")
        _report_comparison(suites or (), usd_per_hour or (), html, markdown)
    else:
        _report_one(_find_suite(Path(suites[0]) if suites else None, results), results, html, markdown, readme)
    if open and html:
        _show(html)


def _report_one(suite: "Suite", results: Path, html: Path | None, markdown: Path | None, readme: Path | None) -> None:
    from scalemark.report.terminal import terminal_summary

    analysis = _analyse_against_baseline(suite, results)
    paths = _write_reports(analysis, html, markdown)
    if readme:
        from scalemark.report.excerpt import fill

        readme.write_text(fill(readme.read_text(encoding="utf-8"), analysis), encoding="utf-8")
    typer.echo("\n".join(terminal_summary(analysis, paths, _terminal_columns())))


SuitesArgument = Annotated[
    list[Path], typer.Argument(metavar="SUITE|DIR…", help="Suites, collections (.jsonl), or folders of them.")
]


@app.command()
def merge(
    suites: SuitesArgument,
    out: Annotated[Path, typer.Option("-o", "--out", metavar="FILE", help="The collection: NAME.jsonl or .jsonl.gz.")],
    join: Annotated[
        bool, typer.Option("--join", help="Make shards of one machine, code and settings one suite.")
    ] = False,
) -> None:
    """Many suites into one file, one a line. Exit code: 0 all merged, 1 files passed over, 2 bad input."""
    from scalemark.record.merge import merge as merge_suites

    merged = merge_suites(suites, out, join)
    for line in _passed_over_lines(merged.passed_over):
        typer.echo(line, err=True)
    for suite_id in dict.fromkeys(merged.conflicts):
        typer.echo(f"scalemark: {suite_id} is there with several contents, and all of them are kept", err=True)
    found = [f"{merged.found_twice} found twice"] * bool(merged.found_twice)
    found += [f"{merged.joined} joined into others"] * bool(merged.joined)
    more = f" ({', '.join(found)})" if found else ""
    typer.echo(f"{out}: suites {merged.written}, machines {len(merged.machines)}{more}")
    raise typer.Exit(EXIT_PASSED_OVER if merged.passed_over else 0)


@app.command()
def history(
    suites: SuitesArgument,
    html: Annotated[Path | None, typer.Option("--html", metavar="FILE", help="Write a self-contained page.")] = None,
    markdown: Annotated[
        Path | None, typer.Option("--markdown", metavar="NAME.md", help="Write text, and charts beside it.")
    ] = None,
    json: Annotated[Path | None, typer.Option("--json", metavar="OUT", help="Write all of it as JSON.")] = None,
) -> None:
    """How times, memory and laws moved from suite to suite. Exit code: 0 all read, 1 files passed over, 2 bad input."""
    from scalemark.history import read_history
    from scalemark.record.store import write_whole
    from scalemark.report.history.writers import history_lines, write_history_html, write_history_markdown

    found = read_history(suites)
    if json:
        write_whole(found.model_dump_json() + "\n", json)
    try:
        if html:
            write_history_html(found, html)
        if markdown:
            write_history_markdown(found, markdown)
    except OSError as error:
        raise StoreError(f"cannot write the history ({error}): choose another file") from error
    typer.echo("\n".join(history_lines(found, _terminal_columns())))
    raise typer.Exit(EXIT_PASSED_OVER if found.passed_over else 0)


def _asks_for_several(suites: Sequence[str], usd_per_hour: Sequence[str]) -> bool:
    """Whether it is a comparison that is asked for, though perhaps one with too few suites."""
    names_one = any("=" in suite and not Path(suite).exists() for suite in suites)
    return len(suites) > 1 or names_one or bool(usd_per_hour) or _holds_several(suites)


def _holds_several(suites: Sequence[str]) -> bool:
    """Whether what is named is a collection of more than one suite."""
    from itertools import islice

    from scalemark.record.collection import read_suites
    from scalemark.versus.asked import is_collection

    paths = [Path(suite) for suite in suites if is_collection(Path(suite))]
    return len(list(islice(read_suites(paths, []), 2))) > 1


def _report_comparison(
    suites: Sequence[str], usd_per_hour: Sequence[str], html: Path | None, markdown: Path | None
) -> None:
    from scalemark.report.versus.documents import comparison_summary, write_comparison
    from scalemark.versus import compare_contenders, contenders_asked

    comparison = compare_contenders(contenders_asked(suites, usd_per_hour))
    with _writing():
        paths = write_comparison(comparison, html, markdown)
    typer.echo("\n".join(comparison_summary(comparison, paths, _terminal_columns())))


@baseline_app.command("save")
def save(
    suite: SuiteArgument = None,
    repeat: Annotated[
        int,
        typer.Option(
            "--repeat", min=0, metavar="N", help="Run its cells N times more, so that margins come from their noise."
        ),
    ] = 0,
    results: ResultsOption = DEFAULT_RESULTS,
) -> None:
    """Keep a suite as a baseline of its machine; with --repeat 10, how far runs of the same code differ beside it."""
    from scalemark.record.baseline import check_usable, save_baseline

    kept = _find_suite(suite, results)
    if repeat:
        from scalemark.repeating import repeat_cells

        check_usable(kept)
        kept = repeat_cells(kept, repeat, results, lambda line: typer.echo(line, err=True))
    typer.echo(f"baseline: {save_baseline(kept, results)}")


@baseline_app.command("list")
def list_(results: ResultsOption = DEFAULT_RESULTS) -> None:
    """List the baselines, by machine, oldest first."""
    from scalemark.record.baseline import list_baselines

    baselines = list_baselines(results)
    for baseline in baselines:
        commit = (baseline.suite.commit or "unknown commit")[:12]
        typer.echo(f"{baseline.suite.machine.id}  {baseline.suite.id}  {baseline.created:%Y-%m-%d %H:%M}  {commit}")
    if not baselines:
        typer.echo(f"no baselines below {results}: keep one with `scalemark baseline save`", err=True)


def _write_fit(found: Any, json: Path | None, plot: Path | None) -> None:
    from scalemark.record.store import write_whole

    if json:
        write_whole(found.result.model_dump_json(indent=1) + "\n", json)
    if plot:
        from scalemark.report.missing import chart_libraries

        with chart_libraries():
            from scalemark.report.law_chart import save_chart

            save_chart(found.chart, plot)


def _choice(name: str, choices: Sequence[str], what: str) -> Any:
    if name in choices:
        return name
    raise InputError(f"there is no {what} {name!r}: choose from {', '.join(choices)}")


def _placement(executor: str, ray_address: str | None, slurm_options: Sequence[str]) -> Any:
    from scalemark.train.placement import EXECUTORS, Placement

    pairs = [option.partition("=") for option in slurm_options]
    if not all(key for key, _, _ in pairs):
        raise InputError("--slurm-option takes K=V, as in --slurm-option partition=short")
    options = {key: value for key, _, value in pairs}
    return Placement(_choice(executor, EXECUTORS, "executor"), ray_address, options)


def _find_suite(path: Path | None, results: Path) -> "Suite":
    from scalemark.record.store import latest_suite, load_suite

    return load_suite(path or latest_suite(results))


def _analyse_against_baseline(suite: "Suite", results: Path) -> "Analysis":
    from scalemark.analysis import analyse
    from scalemark.record.baseline import find_baseline

    baseline = find_baseline(results, suite.machine.id)
    if baseline is None:
        return analyse(suite, no_diff_reason="no baseline of this machine: keep one with `scalemark baseline save`")
    if baseline.id == suite.id:
        return analyse(suite, no_diff_reason="this suite is itself the newest baseline of its machine")
    return analyse(suite, baseline=baseline)


def _write_reports(analysis: "Analysis", html: Path | None, markdown: Path | None) -> dict[str, Path]:
    """The files asked for, by name; raises StoreError where one cannot be written."""
    paths = {}
    with _writing():
        if html:
            from scalemark.report.html import write_html

            paths["html"] = write_html(analysis, html)
        if markdown:
            from scalemark.report.markdown import write_markdown

            paths["report"] = write_markdown(analysis, markdown.parent, name=markdown.stem)
    return paths


@contextmanager
def _writing() -> Iterator[None]:
    """Around the files of a report: one that cannot be written is a user's business."""
    try:
        yield
    except OSError as error:
        raise StoreError(f"cannot write the report ({error}): choose another file") from error


def _temporary_page() -> Path:
    from tempfile import mkdtemp

    return Path(mkdtemp(prefix="scalemark-")) / "report.html"


def _show(page: Path) -> None:
    """Open the page in the user's browser; where there is none, say what to do."""
    import webbrowser

    if not webbrowser.open(page.resolve().as_uri()):
        typer.echo(f"scalemark: no browser here: copy {page} to a machine that has one, it is a single file", err=True)


def _passed_over_lines(passed_over: Sequence["PassedOver"]) -> list[str]:
    """A line for each file that holds no suite, and how many they are."""
    lines = [f"scalemark: passed over: {one.reason}" for one in passed_over]
    return [*lines, f"scalemark: {len(passed_over)} passed over"] if lines else []


def _terminal_columns() -> int:
    from shutil import get_terminal_size

    return get_terminal_size((100, 24)).columns


def _diff_exit_code(diff: "Diff") -> int:
    from scalemark.diff.gate import EXIT_CODES, outcome

    return EXIT_CODES[outcome(diff)]
