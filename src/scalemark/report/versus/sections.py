"""The order of a comparison's report: which charts and tables stand under which heading, as in `report.sections`."""

from scalemark.report.sections import Section
from scalemark.report.tables.table import Table
from scalemark.report.versus.tables import (
    best_table,
    cause_table,
    coefficient_table,
    contender_table,
    loss_law_tables,
    loss_table,
    memory_table,
    not_compared_table,
    other_shapes_table,
    time_table,
    token_cost_table,
    training_cost_table,
)
from scalemark.schema import SuiteComparison

FIGURE_NAMES = ("step-time", "speed-up", "price", "memory")


def comparison_sections(comparison: SuiteComparison, drawn: tuple[str, ...]) -> tuple[Section, ...]:
    """All that have something to say; the first has no heading: it is the first screen. drawn: names of charts."""
    drafts: tuple[tuple[str, tuple[str, ...], tuple[Table, ...]], ...] = (
        ("", FIGURE_NAMES, ()),
        ("Who is fastest", (), (best_table(comparison),)),
        ("Step time", (), (time_table(comparison),)),
        ("What training costs", (), (training_cost_table(comparison), token_cost_table(comparison))),
        ("Why they differ", (), (cause_table(comparison), coefficient_table(comparison))),
        ("Memory", (), (memory_table(comparison),)),
        ("Losses of equal configurations", (), (loss_table(comparison),)),
        ("Not compared, or not on equal terms", (), (not_compared_table(comparison),)),
        ("What is compared", (), (contender_table(comparison),)),
        ("For reference", (), (other_shapes_table(comparison), *loss_law_tables(comparison))),
    )
    sections = (
        Section(title, tuple(name for name in names if name in drawn), tuple(filter(_says_something, tables)))
        for title, names, tables in drafts
    )
    return tuple(section for section in sections if section.figures or section.tables)


def _says_something(table: Table) -> bool:
    return bool(table.rows or table.note)
