"""Every table of a comparison as formatted text: one column for each, in the order in which they were named."""

from scalemark.report.tables.table import Table
from scalemark.report.versus.tables.causes import cause_table, coefficient_table
from scalemark.report.versus.tables.costs import token_cost_table, training_cost_table
from scalemark.report.versus.tables.losses import loss_law_tables, loss_table
from scalemark.report.versus.tables.shapes import best_table, memory_table, other_shapes_table, time_table
from scalemark.report.versus.tables.suites import contender_table, not_compared_table
from scalemark.schema import SuiteComparison

__all__ = [
    "best_table",
    "cause_table",
    "coefficient_table",
    "contender_table",
    "leading_tables",
    "loss_law_tables",
    "loss_table",
    "memory_table",
    "not_compared_table",
    "other_shapes_table",
    "time_table",
    "token_cost_table",
    "training_cost_table",
]


def leading_tables(comparison: SuiteComparison) -> tuple[Table, ...]:
    """What a terminal shows."""
    tables = (
        best_table(comparison),
        time_table(comparison),
        training_cost_table(comparison),
        token_cost_table(comparison),
        cause_table(comparison),
        memory_table(comparison),
        loss_table(comparison),
        not_compared_table(comparison),
    )
    return tuple(table for table in tables if table.rows or table.note)
