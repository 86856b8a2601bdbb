"""What larger models cost here."""

from scalemark.report.numbers import rate, with_interval
from scalemark.report.tables.table import Column, Table
from scalemark.schema import Analysis, PriceTag
from scalemark.units import format_amount, format_bytes, format_count, format_seconds, significant


def price_table(analysis: Analysis) -> Table:
    """What larger models would cost here, each with its distance from what was measured."""
    with_energy = any(tag.training_j for tag in analysis.prices)
    columns = (
        Column("model", "text", 5),
        Column("parameters", "number"),
        Column("tokens", "number", 3),
        Column("step time", "number", 6),
        Column("tokens/s", "number", 2),
        Column("training time", "number"),
        *((Column("energy", "number", 7),) if with_energy else ()),
        Column("memory", "number", 1),
        Column("fits?", "text", 4),
        Column("fitted range"),
    )
    note = (
        "Predicted by the laws, with 90 % intervals. How far beyond the fitted range counts non-embedding parameters,"
        " from the largest model that was fitted."
    )
    rows = tuple(_price_row(tag, with_energy) for tag in analysis.prices)
    return Table("What larger models cost here", columns, rows, note * bool(rows))


def _price_row(tag: PriceTag, with_energy: bool) -> tuple[str, ...]:
    return (
        tag.model.name,
        format_amount(tag.params_total),
        format_amount(tag.training_tokens),
        with_interval(tag.step_s, format_seconds),
        with_interval(tag.tokens_per_s, rate),
        with_interval(tag.training_s, format_seconds),
        *((with_interval(tag.training_j, _watt_hours),) if with_energy else ()),
        with_interval(tag.memory_bytes, format_bytes),
        {True: "yes", False: "no", None: "unknown"}[tag.fits_memory],
        "within" if tag.extrapolation <= 1 else f"{significant(tag.extrapolation, 2)}× beyond",
    )


def _watt_hours(joules: float) -> str:
    return format_count(joules / 3600, "Wh")
