"""Commands that hold one suite or revision against another, or against many."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from scalemark.cli.app import (
    DEFAULT_RESULTS,
    EXIT_INTERRUPTED,
    EXIT_PASSED_OVER,
    ResultsOption,
    SuiteArgument,
    SuitesArgument,
    app,
    baseline_app,
    choice,
    find_suite,
    terminal_columns,
)
from scalemark.errors import StoreError

if TYPE_CHECKING:
    from scalemark.schema import Diff


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

    chosen = choice(device, ("auto", "cpu", "cuda"), "device")
    request = parse_request(base, head, rungs, task or [], time, margin, chosen, seed)
    try:
        found = run_ab(request, lambda words: typer.echo(f"scalemark: {words}", err=True))
    except KeyboardInterrupt:
        raise typer.Exit(EXIT_INTERRUPTED) from None
    if json:
        write_whole(found.model_dump_json() + "\n", json)
    if markdown:
        write_whole(ab_markdown(found), markdown)
    typer.echo("\n".join(ab_lines(found)))
    raise typer.Exit(_diff_exit_code(found.diff))


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
    typer.echo("\n".join(history_lines(found, terminal_columns())))
    raise typer.Exit(EXIT_PASSED_OVER if found.passed_over else 0)


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

    kept = find_suite(suite, results)
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


def _diff_exit_code(diff: "Diff") -> int:
    from scalemark.diff.gate import EXIT_CODES, outcome

    return EXIT_CODES[outcome(diff)]
