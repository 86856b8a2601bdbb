"""Every table of a report as formatted text, built once and drawn as Markdown, HTML or plain text.

    Analysis ─> sections ─> Table, Table, … ─> markdown | html | terminal

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
