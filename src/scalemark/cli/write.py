"""Commands that write a suite in another form: reports, other tools' formats, collections, schemas."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from scalemark.cli.app import (
    DEFAULT_RESULTS,
    EXIT_PASSED_OVER,
    ResultsOption,
    SuiteArgument,
    SuitesArgument,
    app,
    choice,
    find_suite,
    passed_over_lines,
    terminal_columns,
)
from scalemark.errors import InputError, StoreError

if TYPE_CHECKING:
    from scalemark.schema import Analysis, Suite


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
        _report_one(find_suite(Path(suites[0]) if suites else None, results), results, html, markdown, readme)
    if open and html:
        _show(html)


def _report_one(suite: "Suite", results: Path, html: Path | None, markdown: Path | None, readme: Path | None) -> None:
    from scalemark.report.terminal import terminal_summary

    analysis = _analyse_against_baseline(suite, results)
    paths = _write_reports(analysis, html, markdown)
    if readme:
        from scalemark.report.excerpt import fill

        readme.write_text(fill(readme.read_text(encoding="utf-8"), analysis), encoding="utf-8")
    typer.echo("\n".join(terminal_summary(analysis, paths, terminal_columns())))


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
    typer.echo("\n".join(comparison_summary(comparison, paths, terminal_columns())))


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

    written = FORMATS[choice(format, tuple(FORMATS), "format")](find_suite(suite, results))
    if out:
        write_whole(written, out)
    else:
        typer.echo(written, nl=False)


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
    for line in passed_over_lines(merged.passed_over):
        typer.echo(line, err=True)
    for suite_id in dict.fromkeys(merged.conflicts):
        typer.echo(f"scalemark: {suite_id} is there with several contents, and all of them are kept", err=True)
    found = [f"{merged.found_twice} found twice"] * bool(merged.found_twice)
    found += [f"{merged.joined} joined into others"] * bool(merged.joined)
    more = f" ({', '.join(found)})" if found else ""
    typer.echo(f"{out}: suites {merged.written}, machines {len(merged.machines)}{more}")
    raise typer.Exit(EXIT_PASSED_OVER if merged.passed_over else 0)


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
