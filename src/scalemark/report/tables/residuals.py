"""Each measurement beside its law, and beside what the law foretold of it while it was hidden."""

from scalemark.report.numbers import LAW_WRITERS, change, reading, with_interval
from scalemark.report.sampled import some_of
from scalemark.report.tables.laws import LAW_TITLES
from scalemark.report.tables.table import Column, Table
from scalemark.schema import Analysis, Estimate, LawKind, Residual
from scalemark.units import MISSING

# A law of more measurements has all of them in its chart, and the furthest of them here.
MOST_RESIDUAL_ROWS = 60


def residual_tables(analysis: Analysis) -> tuple[Table, ...]:
    """One table for each law."""
    return tuple(_table(analysis, kind, found) for kind, found in analysis.residuals.items() if found)


def _table(analysis: Analysis, kind: LawKind, found: tuple[Residual, ...]) -> Table:
    columns = (
        Column("measurement", "prose"),
        Column("measured", "number"),
        Column("by the law", "number"),
        Column("measured less predicted", "number"),
        Column("foretold while hidden", "number"),
        Column("measured less foretold", "number"),
        Column("inside its interval"),
    )
    listed = _furthest(found)
    left_out = len(found) - len(listed)
    note = (
        "Intervals of the law are those of a new measurement. The largest measurements were also hidden and the law"
        " refitted without them: the last three columns say what it foretold, and whether its 90 % interval held."
    )
    note += f" {left_out:,} more lie nearer to the law than these." if left_out else ""
    law = analysis.law(kind)
    note += some_of(len(found), law.n, "runs", "their order") if law and left_out else ""
    title = f"Residuals of the {LAW_TITLES[kind].lower()}"
    return Table(title, columns, tuple(_row(one, kind) for one in listed), note, detail=True)


def _furthest(found: tuple[Residual, ...]) -> list[Residual]:
    """In their order, those furthest from the law where they are too many."""
    places = sorted(range(len(found)), key=lambda place: -abs(found[place].ratio.value - 1))
    return [found[place] for place in sorted(places[:MOST_RESIDUAL_ROWS])]


def _row(one: Residual, kind: LawKind) -> tuple[str, ...]:
    told, write = one.foretold, LAW_WRITERS[kind]
    return (
        one.subject,
        reading(one.measured, write),
        with_interval(one.predicted, write),
        change(one.ratio.value - 1),
        with_interval(told, write),
        change(one.measured.value / told.value - 1) if told else MISSING,
        _is_inside(one.measured, told) if told else MISSING,
    )


def _is_inside(measured: Estimate, told: Estimate) -> str:
    return "yes" if told.low <= measured.value <= told.high else "no"
