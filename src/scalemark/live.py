"""Training as it goes on, for a person: bars with times left, losses, and what law the runs so far give.

On a terminal the screen is rewritten; in a log a line is added now and then.
"""

import sys
import time
from types import TracebackType
from typing import Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from scalemark.errors import FitError
from scalemark.fit.loss_law import FEWEST_ROWS, fit_loss_law
from scalemark.schema import Law, TrainingRun
from scalemark.train.progress import GridProgress
from scalemark.units import format_seconds

LINE_EVERY_S = 15.0
BAR_WIDTH = 30
LAST_SHOWN = 6


class LiveGrid:
    """Call it with the progress of a grid; leave it, and the last state stays on the screen."""

    def __init__(self, console: Console | None = None) -> None:
        self._console = console or Console(file=sys.stderr)
        self._live = Live(console=self._console, refresh_per_second=4, transient=True)
        self._law: Law | None = None
        self._fitted_to = 0
        self._said_s = time.monotonic()

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            self._live.start()
        return self

    def __exit__(self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None) -> None:
        if self._console.is_terminal:
            self._live.stop()

    def say(self, text: str) -> None:
        """A line of its own."""
        self._console.print(Text(text), soft_wrap=True)

    def __call__(self, progress: GridProgress) -> None:
        self._refit(progress)
        if self._console.is_terminal:
            self._live.update(screen(progress, self._law))
        elif time.monotonic() - self._said_s >= LINE_EVERY_S:
            self._said_s = time.monotonic()
            self.say(f"  {progress}; about {format_seconds(progress.left_s, 2)} left")

    def _refit(self, progress: GridProgress) -> None:
        """The law of what there is, whenever a run is added."""
        if len(progress.runs) == self._fitted_to or not self._console.is_terminal:
            return
        self._fitted_to = len(progress.runs)
        self._law = live_law(progress.runs)


def live_law(runs: list[TrainingRun]) -> Law | None:
    """The loss law of the runs that are done; None while they are too few."""
    if sum(run.status == "ok" and run.config.model is not None for run in runs) < FEWEST_ROWS:
        return None
    try:
        return fit_loss_law(runs, with_holdout=False)
    except FitError:
        return None


def screen(progress: GridProgress, law: Law | None) -> RenderableType:
    """What is seen at one moment."""
    done, all_runs = len(progress.runs), len(progress.plan.orders)
    parts: list[RenderableType] = [_bars(progress)]
    if progress.runs:
        parts.append(_last(progress.runs))
    parts.append(Text(_law_line(law), style="cyan"))
    parts.append(Text(f"{done} of {all_runs} runs done, about {format_seconds(progress.left_s, 2)} left", style="bold"))
    return Group(*parts)


def _bars(progress: GridProgress) -> Table:
    table = Table.grid(padding=(0, 2))
    for config, share, note in progress.running:
        table.add_row(str(config), ProgressBar(total=1.0, completed=share, width=BAR_WIDTH), f"{share:.0%}", note)
    return table


def _last(runs: list[TrainingRun]) -> Table:
    table = Table.grid(padding=(0, 2))
    for run in runs[-LAST_SHOWN:]:
        table.add_row(str(run.config), *_outcome(run), style=None if run.status == "ok" else "yellow")
    return table


def _outcome(run: TrainingRun) -> tuple[str, str]:
    if run.status != "ok" or run.validation_loss is None:
        return run.status, run.reason or ""
    gap = f"gap to the training text {run.gap:+.3f}" if run.gap is not None else ""
    return f"loss {run.validation_loss:.4f}", gap


def _law_line(law: Law | None) -> str:
    if law is None:
        return f"no law yet: it needs {FEWEST_ROWS} runs"
    floor = law.parameters[0]
    low, high = floor.estimate.low, floor.estimate.high
    told = "" if floor.identified else ", not identified"
    return (
        f"law so far: no model goes below {floor.estimate.value:.2f} ({low:.2f} to {high:.2f}{told}); "
        f"runs scatter by {law.residual_sd:.1%} about it"
    )
