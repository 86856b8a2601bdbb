"""Draw a report as plain text for a terminal: aligned columns, the least needed dropped before anything wraps."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from textwrap import wrap

from scalemark.report.headline import headline, machine_line, verdict_line
from scalemark.report.tables import (
    Column,
    Table,
    cost_table,
    diff_table,
    law_tables,
    plan_table,
    price_table,
    scaling_table,
    training_table,
    warning_table,
    what_if_table,
)
from scalemark.report.tables.plans import missing_plans_note
from scalemark.report.tables.splits import split_summary
from scalemark.schema import Analysis

_GAP = "  "
_SHORTEST_PROSE = 24
NARROWEST = 40


def terminal_summary(analysis: Analysis, paths: Mapping[str, Path], width: int = 100) -> list[str]:
    """The report's lines, none longer than `width` but the paths, which stay whole so that they can be copied.

    paths: what was written, by name ('suite', 'html', …).
    """
    width = max(width, NARROWEST)
    opening = [
        *wrap(headline(analysis), width),
        *wrap(machine_line(analysis), width),
        *wrap(verdict_line(analysis), width),
    ]
    sections = [line for table in _tables(analysis) for line in ["", *table_lines(table, width)]]
    return [*opening, *sections, *path_lines(paths)]


def _tables(analysis: Analysis) -> list[Table]:
    """What fits a terminal: the diff only where something differs, since its verdict stands at the top."""
    suite = analysis.suite
    diff = diff_table(analysis)
    tables = [
        cost_table(suite),
        split_summary(analysis),
        *([scaling_table(analysis.scaling)] if analysis.scaling else []),
        what_if_table(analysis, largest_only=True),
        training_table(suite),
        *law_tables(analysis),
        price_table(analysis),
        replace(plan_table(analysis), note=missing_plans_note(analysis)),
        *([diff] if diff.rows else []),
        warning_table(suite),
    ]
    return [table for table in tables if table.rows or table.note]


def path_lines(paths: Mapping[str, Path]) -> list[str]:
    """What was written and where, after an empty line; nothing where nothing was."""
    longest = max(map(len, paths), default=0)
    lines = [f"{name:<{longest}}{_GAP}{path.resolve()}" for name, path in paths.items()]
    return ["", *lines] if lines else []


def table_lines(table: Table, width: int) -> list[str]:
    """The table under its title, with its note; prose wraps in its column, numbers never do."""
    kept = _narrowed(table, width)
    lines = [kept.title]
    if kept.rows:
        widths = _widths(kept, width)
        lines += _row_lines([column.title for column in kept.columns], kept.columns, widths)
        lines += [line for row in kept.rows for line in _row_lines(row, kept.columns, widths)]
    return [*lines, *wrap(kept.note, width)]


def _narrowed(table: Table, width: int) -> Table:
    """Without the columns that do not fit and that nothing fills, highest rank first."""
    table = _without(table, [index for index in range(len(table.columns)) if _is_blank(table, index)])
    while sum(_least_widths(table)) + len(_GAP) * (len(table.columns) - 1) > width:
        rank, index = max(((column.rank, index) for index, column in enumerate(table.columns)), default=(0, 0))
        if rank == 0:
            return table
        table = _without(table, [index])
    return table


def _is_blank(table: Table, index: int) -> bool:
    return bool(table.rows) and not any(row[index] for row in table.rows)


def _without(table: Table, dropped: Sequence[int]) -> Table:
    kept = [index for index in range(len(table.columns)) if index not in dropped]
    columns = tuple(table.columns[index] for index in kept)
    return replace(table, columns=columns, rows=tuple(tuple(row[index] for index in kept) for row in table.rows))


def _natural_widths(table: Table) -> list[int]:
    return [
        max(map(len, [column.title, *(row[index] for row in table.rows)])) for index, column in enumerate(table.columns)
    ]


def _least_widths(table: Table) -> list[int]:
    """As narrow as each column may become: prose down to a few words, the rest not at all."""
    return [
        min(natural, _SHORTEST_PROSE) if column.kind == "prose" else natural
        for column, natural in zip(table.columns, _natural_widths(table), strict=True)
    ]


def _widths(table: Table, width: int) -> list[int]:
    """Widths that fill the line: what the others leave goes to the prose."""
    least, natural = _least_widths(table), _natural_widths(table)
    spare = max(0, width - sum(least) - len(_GAP) * (len(least) - 1))
    widths = []
    for narrow, wide in zip(least, natural, strict=True):
        widths.append(narrow + min(spare, wide - narrow))
        spare -= widths[-1] - narrow
    return widths


def _row_lines(row: Sequence[str], columns: Sequence[Column], widths: Sequence[int]) -> list[str]:
    """One row, over as many lines as its longest prose needs."""
    cells = [
        (wrap(text, size) or [""]) if column.kind == "prose" else [text]
        for text, column, size in zip(row, columns, widths, strict=True)
    ]
    height = max(map(len, cells))
    lines = [[cell[line] if line < len(cell) else "" for cell in cells] for line in range(height)]
    return [_aligned(line, columns, widths) for line in lines]


def _aligned(texts: Sequence[str], columns: Sequence[Column], widths: Sequence[int]) -> str:
    padded = [
        text.rjust(size) if column.kind == "number" else text.ljust(size)
        for text, column, size in zip(texts, columns, widths, strict=True)
    ]
    return _GAP.join(padded).rstrip()
