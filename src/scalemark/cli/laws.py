"""Commands that fit laws, and plan by them."""

from pathlib import Path
from typing import Annotated, Any

import typer

from scalemark.cli.app import (
    DEFAULT_RESULTS,
    JsonOption,
    ResultsOption,
    SuiteArgument,
    app,
    choice,
    find_suite,
    fit_app,
    terminal_columns,
)
from scalemark.errors import TooFarError


@fit_app.command("suite")
def fit_suite(suite: SuiteArgument = None, results: ResultsOption = DEFAULT_RESULTS) -> None:
    """All laws of a suite, with their intervals; `scalemark fit SUITE` is the same."""
    from scalemark.analysis import analyse
    from scalemark.report.tables import law_tables
    from scalemark.report.terminal import table_lines

    analysis = analyse(find_suite(suite, results))
    for table in law_tables(analysis):
        typer.echo("\n".join([*table_lines(table, terminal_columns()), ""]))


ColumnsOption = Annotated[
    str | None,
    typer.Option("--columns", metavar="NAME=COLUMN,…", help="The file's own names, as in params=N,tokens=D,loss=L."),
]
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
    typer.echo("\n".join(fit_lines(found.result, found.law.parameters, terminal_columns())))


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

    measured = choice(target, ("seconds", "tokens_per_s"), "target")
    found = fitting.fit_cost(file, parse_columns(columns), measured, seed, holdout_above_params)
    _write_fit(found, json, plot)
    typer.echo("\n".join(fit_lines(found.result, found.fit.parameters, terminal_columns())))


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
            find_suite(suite, results),
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
    typer.echo("\n".join(plan_lines(made, terminal_columns())))


def _write_fit(found: Any, json: Path | None, plot: Path | None) -> None:
    from scalemark.record.store import write_whole

    if json:
        write_whole(found.result.model_dump_json(indent=1) + "\n", json)
    if plot:
        from scalemark.report.missing import chart_libraries

        with chart_libraries():
            from scalemark.report.law_chart import save_chart

            save_chart(found.chart, plot)
