"""The run itself: warnings with advice, and every setting."""

from collections.abc import Iterable

from scalemark.report.tables.table import Column, Table, fact
from scalemark.schema import Suite
from scalemark.units import format_seconds


def warning_table(suite: Suite) -> Table:
    """What makes numbers worse than they look, each with advice."""
    rows = [(warning.subject, warning.message) for warning in suite.warnings]
    rows += [("run", "Interrupted before it was complete: run it again for the rest.")] * (not suite.complete)
    rows += [("run", "This record is fake (made by a test): no baseline may come from it.")] * suite.fake
    return Table("Warnings", (Column("subject"), Column("what to do about it", "prose")), _unique(rows))


def _unique(rows: Iterable[tuple[str, str]]) -> tuple[tuple[str, str], ...]:
    return tuple(dict.fromkeys(rows))


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
