"""The excerpt of a report that a README shows, between two markers, so that its numbers are generated and not typed."""

import re
from collections import Counter
from dataclasses import replace

from scalemark.errors import InputError
from scalemark.report.headline import headline, machine_line
from scalemark.report.markdown import escape, markdown_table
from scalemark.report.tables import MFU_TITLE, Table, cost_table, price_table
from scalemark.schema import Analysis

BEGIN, END = "<!-- generated: begin -->", "<!-- generated: end -->"
COST_COLUMNS = ("model", "parameters", "step time", "tokens/s", MFU_TITLE, "peak memory")
PRICE_COLUMNS = ("model", "parameters", "tokens", "training time", "memory", "fitted range")


def fill(text: str, analysis: Analysis) -> str:
    """The text with everything between its markers replaced; raises InputError where it has no markers."""
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise InputError(f"there is no place for the numbers: put {BEGIN} and {END} on lines of their own")
    return "\n".join([before + BEGIN, *_excerpt(analysis), END + after])


def _excerpt(analysis: Analysis) -> list[str]:
    cost = _narrow(_ladder(cost_table(analysis.suite)), COST_COLUMNS)
    price = _narrow(price_table(analysis), PRICE_COLUMNS)
    parts = [f"**{escape(headline(analysis))}**", escape(machine_line(analysis))]
    parts += ["Measured, the whole training step:", markdown_table(cost)]
    parts += ["Predicted, with 90 % intervals:", markdown_table(price)]
    return ["", *(line for part in parts for line in (part, ""))]


def _ladder(table: Table) -> Table:
    """The rows of one growing model: those in the proportions and at the batch that most rows have."""
    titles = [column.title for column in table.columns]
    kinds = [(_proportions(row[titles.index("model")]), row[titles.index("batch")]) for row in table.rows]
    counts = Counter(kind for kind in kinds if kind[0] is not None)
    commonest = max(counts, key=lambda kind: counts[kind], default=None)
    return replace(table, rows=tuple(row for row, kind in zip(table.rows, kinds, strict=True) if kind == commonest))


def _proportions(name: str) -> float | None:
    """Width over depth of a plain rung, from its name; None for any other model."""
    found = re.fullmatch(r"d(\d+)w(\d+)", name)
    return int(found[2]) / int(found[1]) if found else None


def _narrow(table: Table, titles: tuple[str, ...]) -> Table:
    """The table with only these columns."""
    chosen = [index for index, column in enumerate(table.columns) if column.title in titles]
    columns = tuple(table.columns[index] for index in chosen)
    return replace(table, columns=columns, rows=tuple(tuple(row[index] for index in chosen) for row in table.rows))
