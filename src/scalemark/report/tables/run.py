"""The run itself: warnings with advice, and every setting."""

from collections.abc import Iterable

from scalemark.report.numbers import change, interval
from scalemark.report.tables.table import Column, Table, fact
from scalemark.schema import Analysis, Estimate, Reference, Suite, Tag
from scalemark.units import format_percent, format_seconds

NOISE_TITLE = "Noise"
_TAGS: dict[Tag, str] = {
    "stolen": "that met time given to other machines",
    "preempted": "that lost a CPU to other tasks",
    "pressured": "beside a task that waited for a CPU",
    "throttled": "held back by a quota or heat",
}
_KERNELS: dict[Reference, str] = {
    "gemm": "matrix product",
    "exchange": "cores that hand over data",
    "triad": "memory triad",
}


def warning_table(suite: Suite) -> Table:
    """What makes numbers worse than they look, each with advice."""
    rows = [(warning.subject, warning.message) for warning in suite.warnings]
    rows += [("run", "Interrupted before it was complete: run it again for the rest.")] * (not suite.complete)
    rows += [("run", "This record is fake (made by a test): no baseline may come from it.")] * suite.fake
    return Table("Warnings", (Column("subject"), Column("what to do about it", "prose")), _unique(rows))


def _unique(rows: Iterable[tuple[str, str]]) -> tuple[tuple[str, str], ...]:
    return tuple(dict.fromkeys(rows))


def noise_table(analysis: Analysis) -> Table:
    """How quiet the run was, in numbers; what to do about it stands among the warnings."""
    columns = (Column("what"), Column("in this run", "prose"))
    noise = analysis.noise
    if noise is None:
        return Table(NOISE_TITLE, columns, ())
    disturbed = [(f"rounds {_TAGS[tag]}", _of(count, noise.n_rounds)) for tag, count in sorted(noise.tagged.items())]
    kernels = [(f"{_KERNELS[kernel]} beside the rounds", _readings(e)) for kernel, e in noise.references_s.items()]
    rows = [
        ("cells timed", f"{noise.n_cells:,}, {noise.n_rounds:,} rounds"),
        *([("half of a cell's interval", _spread(noise.half_width))] if noise.half_width else []),
        *([("least certain", noise.widest)] if noise.widest else []),
        *disturbed,
        *kernels,
        *([("corrected over measured time", _shift(noise.shift))] if noise.shift else []),
    ]
    note = (
        "Disturbed rounds are kept. The kernels are the same work over and over: what moves them is the machine, and"
        " what a cell shared with their slow moments is taken out of its corrected time."
    )
    return Table(NOISE_TITLE, columns, tuple(rows), note if kernels else "")


def _of(count: int, total: int) -> str:
    return f"{count:,} of {total:,} ({format_percent(count / total)})" if total else f"{count:,}"


def _readings(seconds: Estimate) -> str:
    return f"{format_seconds(seconds.value)}, nine in ten from {interval(seconds, format_seconds)}"


def _spread(widths: Estimate) -> str:
    low, middle, high = (format_percent(width) for width in (widths.low, widths.value, widths.high))
    return f"± {middle} for the median cell, from ± {low} to ± {high}"


def _shift(shift: Estimate) -> str:
    return f"{change(shift.value - 1)} for the median cell, from {change(shift.low - 1)} to {change(shift.high - 1)}"


def setting_table(suite: Suite) -> Table:
    """Every effective value of the run, as recorded."""
    settings = suite.settings
    values = settings.model_dump(exclude={"environment"})
    rows = [
        ("suite", suite.id),
        ("created", suite.created),
        ("scalemark", suite.scalemark_version),
        ("commit", suite.commit or "unknown"),
        ("duration", format_seconds(suite.duration_s)),
        *((name, "none" if value is None else str(value)) for name, value in values.items()),
        *((f"environment {name}", value) for name, value in settings.environment.items()),
        *((f"context {name}", fact(name, value)) for name, value in suite.machine.context.items()),
        *((f"state {name}", fact(name, value)) for name, value in suite.machine.state.items()),
    ]
    return Table("Settings", (Column("setting"), Column("value", "prose")), tuple(rows), detail=True)
