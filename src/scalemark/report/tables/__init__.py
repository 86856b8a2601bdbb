"""Every table of a report as formatted text, built once and drawn as Markdown, HTML or plain text.

    Analysis ─> report_tables ─> Table, Table, … ─> markdown | html | terminal

A law's parameter never appears without its interval, a prediction never without its distance from what was fitted.
"""

from scalemark.report.tables.cells import cell_table, operator_table
from scalemark.report.tables.cost import MFU_TITLE, cost_table, peak_bytes
from scalemark.report.tables.energy import energy_table
from scalemark.report.tables.laws import LAW_TITLES, law_table, law_tables, parameter_table
from scalemark.report.tables.machine import machine_table, product_table
from scalemark.report.tables.plans import plan_table
from scalemark.report.tables.prices import price_table
from scalemark.report.tables.ranks import scaling_table, scaling_tables
from scalemark.report.tables.raw import raw_table
from scalemark.report.tables.residuals import residual_tables
from scalemark.report.tables.run import noise_table, setting_table, warning_table
from scalemark.report.tables.splits import split_table
from scalemark.report.tables.table import UNAVAILABLE, Column, Table
from scalemark.report.tables.training import repeated_table, run_model, training_table
from scalemark.report.tables.verdicts import diff_table
from scalemark.report.tables.what_if import what_if_table
from scalemark.schema import Analysis

__all__ = [
    "LAW_TITLES",
    "MFU_TITLE",
    "UNAVAILABLE",
    "Column",
    "Table",
    "cell_table",
    "cost_table",
    "diff_table",
    "energy_table",
    "law_table",
    "law_tables",
    "machine_table",
    "noise_table",
    "operator_table",
    "parameter_table",
    "peak_bytes",
    "plan_table",
    "price_table",
    "product_table",
    "raw_table",
    "repeated_table",
    "report_tables",
    "residual_tables",
    "run_model",
    "scaling_table",
    "scaling_tables",
    "setting_table",
    "split_table",
    "training_table",
    "warning_table",
    "what_if_table",
]


def report_tables(analysis: Analysis) -> tuple[Table, ...]:
    """All tables that have something to say, in reading order; those for reference come last."""
    suite = analysis.suite
    ranks = scaling_tables(analysis.scaling, suite)
    tables = (
        price_table(analysis),
        plan_table(analysis),
        diff_table(analysis),
        warning_table(suite),
        cost_table(suite),
        split_table(analysis),
        what_if_table(analysis),
        energy_table(suite),
        *(table for table in ranks if not table.detail),
        training_table(suite),
        repeated_table(analysis),
        *law_tables(analysis),
        noise_table(analysis),
        machine_table(suite),
        *residual_tables(analysis),
        *(table for table in ranks if table.detail),
        product_table(suite),
        operator_table(suite),
        cell_table(suite),
        raw_table(suite),
        setting_table(suite),
    )
    return tuple(table for table in tables if table.rows or table.note)
