"""The application, its groups of commands, and what several of them take or ask for."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from scalemark.errors import InputError, ScalemarkError

if TYPE_CHECKING:
    from scalemark.schema import PassedOver, Suite

EXIT_PASSED_OVER = 1
EXIT_BAD_INPUT = 2
EXIT_INTERRUPTED = 130


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
SuitesArgument = Annotated[
    list[Path], typer.Argument(metavar="SUITE|DIR…", help="Suites, collections (.jsonl), or folders of them.")
]
JsonOption = Annotated[Path | None, typer.Option("--json", metavar="OUT", help="Write all of it as JSON.")]
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


def choice(name: str, choices: Sequence[str], what: str) -> Any:
    """The name, if it is one of the choices; raises InputError with all of them."""
    if name in choices:
        return name
    raise InputError(f"there is no {what} {name!r}: choose from {', '.join(choices)}")


def find_suite(path: Path | None, results: Path) -> "Suite":
    """The suite at this path, or that of the newest run; raises StoreError where there is none."""
    from scalemark.record.store import latest_suite, load_suite

    return load_suite(path or latest_suite(results))


def terminal_columns() -> int:
    """How wide the terminal is; 100 where nobody knows."""
    from shutil import get_terminal_size

    return get_terminal_size((100, 24)).columns


def passed_over_lines(passed_over: Sequence["PassedOver"]) -> list[str]:
    """A line for each file that holds no suite, and how many they are."""
    lines = [f"scalemark: passed over: {one.reason}" for one in passed_over]
    return [*lines, f"scalemark: {len(passed_over)} passed over"] if lines else []
