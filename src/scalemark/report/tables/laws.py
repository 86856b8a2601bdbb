"""The fitted laws: parameters with intervals, form, range and what was hidden from them."""

from collections.abc import Sequence

from scalemark.report.numbers import change, fitted_range, interval, parameter_writer, quantity
from scalemark.report.tables.table import Column, Table
from scalemark.schema import Analysis, Holdout, Law, LawKind, Parameter
from scalemark.units import format_amount, format_percent

LAW_TITLES: dict[LawKind, str] = {
    "step_time": "Step time law",
    "memory": "Memory law",
    "energy": "Energy law",
    "loss": "Loss law",
    "repeated_loss": "Law of repeated text",
    "communication": "Law of communication",
}
MOST_ERRORS_LISTED = 6


def law_tables(analysis: Analysis) -> tuple[Table, ...]:
    """One table per law that holds, one note per law that could not be fitted."""
    fitted = tuple(map(law_table, analysis.laws))
    missing = tuple(
        Table(LAW_TITLES[kind], (), (), f"No law: {reason}") for kind, reason in analysis.missing_laws.items()
    )
    return fitted + missing


def law_table(law: Law) -> Table:
    """A law's parameters, and in its note the form, what it was fitted to and how it did on what was hidden."""
    return parameter_table(LAW_TITLES[law.kind], law.parameters, _law_note(law))


def parameter_table(title: str, parameters: Sequence[Parameter], note: str) -> Table:
    """Parameters with their intervals, units and meanings."""
    columns = (
        Column("parameter"),
        Column("value", "number"),
        Column("90 % interval"),
        Column("unit", "text", 1),
        Column("meaning", "prose"),
    )
    return Table(title, columns, tuple(map(_parameter_row, parameters)), note)


def _parameter_row(parameter: Parameter) -> tuple[str, ...]:
    write = parameter_writer(parameter.unit)
    value = write(parameter.estimate.value) if parameter.identified else "not identified"
    unit = parameter.unit if parameter.unit not in ("", "1") else "none"
    return (parameter.name, value, interval(parameter.estimate, write), unit, parameter.meaning)


def _law_note(law: Law) -> str:
    largest = max(map(abs, law.residuals), default=None)
    parts = [
        f"{law.form} ({law.unit}), for {law.subject}.",
        "The measurements leave some of its parameters open." if law.status == "not_identified" else "",
        f"Fitted to {law.n} measurements, {fitted_range(law)}." if law.domain else f"Fitted to {law.n} measurements.",
        "" if largest is None else f"Largest residual {format_percent(largest)}.",
        _holdout(law.holdout),
        *map(_sentence, law.notes),
    ]
    return " ".join(filter(None, parts))


def _sentence(note: str) -> str:
    """A note that stands on its own line elsewhere, among others."""
    return f"{note[:1].upper()}{note[1:]}."


def _holdout(holdout: Holdout | None) -> str:
    if holdout is None:
        return "Not tried on hidden measurements."
    if len(holdout.errors) > MOST_ERRORS_LISTED:
        typical = sum(map(abs, holdout.errors)) / len(holdout.errors)
        errors = f"{format_percent(typical)} on average"
    else:
        errors = ", ".join(map(change, holdout.errors))
    above = quantity(holdout.variable, holdout.above)
    if not holdout.variable.endswith(("_s", "_bytes")):
        above = format_amount(holdout.above)
    return (
        f"With {holdout.variable.replace('_', ' ')} above {above} hidden and the law refitted, its predictions missed"
        f" by {errors}; {holdout.covered} of {len(holdout.errors)} lay inside their intervals.{_rivals(holdout)}"
    )


def _rivals(holdout: Holdout) -> str:
    """' Others missed them by: constant MFU 21.0 %, …': mean absolute errors of other laws on the same rows."""
    missed = [
        f"{name} {format_percent(sum(map(abs, errors)) / len(errors))}"
        for name, errors in holdout.rivals.items()
        if errors
    ]
    return f" Others missed them by: {', '.join(missed)} (mean absolute)." if missed else ""
