"""Tables of why contenders differ: the terms of their laws in one form, as time and as coefficients."""

from scalemark.report.numbers import parameter_writer, with_interval
from scalemark.report.tables.table import Column, Table
from scalemark.report.versus.tables.shapes import without_blank
from scalemark.report.versus.words import speedup, told
from scalemark.schema import Estimate, Parameter, SuiteComparison
from scalemark.units import format_seconds

# A term that takes less of a step hides behind another.
_HIDDEN_SHARE = 1e-3


def cause_table(comparison: SuiteComparison) -> Table:
    """Where the time of one step goes, by laws in one form."""
    columns = (Column("what a step pays for", "prose"), *(Column(name, "number") for name in comparison.names))
    steps_s = [
        sum(seconds.value for one in comparison.coefficients if (seconds := one.seconds[index]))
        for index in range(len(comparison.names))
    ]
    rows = tuple(
        (one.meaning, *(_taken(seconds, step_s) for seconds, step_s in zip(one.seconds, steps_s, strict=True)))
        for one in comparison.coefficients
        if any(one.seconds)
    )
    note = (
        f"What each term of the law takes of one step of {comparison.cause_shape}, batch 2 × 256; where terms overlap,"
        " the one that hides behind another counts little, so that all add up to the step. All laws have the form"
        f" '{comparison.common_form}', which describes all together best; predictions come from the form that describes"
        " each best."
    )
    return Table("Where a step's time goes", columns, rows, note * bool(rows))


def _taken(seconds: Estimate | None, step_s: float) -> str:
    """What a term takes of a step of `step_s`; one that another hides is told by its upper end alone."""
    if seconds and seconds.value < _HIDDEN_SHARE * step_s:
        return f"hidden, at most {format_seconds(seconds.high)}"
    return with_interval(seconds, format_seconds)


def coefficient_table(comparison: SuiteComparison) -> Table:
    """The coefficients of these laws side by side, as rates where they can be."""
    names = comparison.names
    columns = (
        Column("what a step pays for", "prose"),
        *(Column(name, "number") for name in names),
        *(Column("ratio" if len(names) == 2 else f"ratio, {name}", "number", 1) for name in names[1:]),
    )
    rows = tuple(
        (one.meaning, *map(parameter_text, one.parameters), *map(speedup, one.ratios[1:]))
        for one in comparison.coefficients
    )
    note = (
        "Of the laws of step time in that form. 'Not identified' is what the measurements leave open, or what the law"
        f" holds at the measured ceiling. Ratio: over {names[0]}; of a rate, above 1 is faster."
    )
    return without_blank(Table("Coefficients of the laws", columns, rows, note * bool(rows)))


def parameter_text(parameter: Parameter | None) -> str:
    """A coefficient with its interval, or why there is none."""
    if parameter is None:
        return "no law"
    if not parameter.identified:
        return "not identified"
    return told(parameter.estimate, parameter_writer(parameter.unit))
