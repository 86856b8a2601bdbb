"""A history for a terminal, as Markdown with charts beside it, and as one HTML page."""

import re
from pathlib import Path
from textwrap import wrap
from typing import TYPE_CHECKING, Any

from scalemark.report.history.tables import (
    headline,
    machine_line,
    machine_tables,
    machine_title,
    passed_over_table,
)
from scalemark.report.html import chart_data, environment, library
from scalemark.report.markdown import escape, markdown_table
from scalemark.report.missing import chart_libraries
from scalemark.report.tables import Table
from scalemark.report.terminal import NARROWEST, table_lines
from scalemark.schema import History, MachineHistory

if TYPE_CHECKING:
    from scalemark.report.charts import Figure

_TEMPLATE = "history.html.j2"
# Machines that are drawn, those with most suites first; tables have all of them.
MOST_DRAWN = 6


def history_lines(history: History, width: int = 100) -> list[str]:
    """For a terminal: what moved on each machine, and the files that were passed over."""
    width = max(width, NARROWEST)
    lines = wrap(headline(history), width)
    for machine in history.machines:
        lines += ["", machine_title(machine), *wrap(machine_line(machine), width)]
        for table in machine_tables(machine, history.false_alarms):
            lines += ["", *table_lines(table, width)]
    if history.passed_over:
        lines += ["", *table_lines(passed_over_table(history), width)]
    return lines


def write_history_markdown(history: History, path: Path) -> Path:
    """Write the text, and its charts as SVG beside it; the path written.

    Charts of an earlier history of this name are replaced, and removed where this one has none. Raises ScalemarkError
    where the chart libraries are not installed.
    """
    with chart_libraries():
        from scalemark.report.charts import to_svg
    drawn = _figures(history)
    path.parent.mkdir(parents=True, exist_ok=True)
    for old in path.parent.glob(f"{_literal(path.stem)}-history-*.svg"):
        old.unlink()
    for figures in drawn.values():
        for figure in figures:
            (path.parent / _file_name(path.stem, figure)).write_text(to_svg(figure), encoding="utf-8")
    path.write_text(_document(history, drawn, path.stem), encoding="utf-8")
    return path


def write_history_html(history: History, path: Path) -> Path:
    """Write the page, making its folder where it is missing; the path written. Raises as the Markdown does."""
    page = history_page(history)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(page, encoding="utf-8")
    return path


def history_page(history: History) -> str:
    """The whole page as text, with the libraries that draw its charts."""
    drawn = _figures(history)
    every = tuple(figure for figures in drawn.values() for figure in figures)
    with chart_libraries():
        from markupsafe import Markup
    return (
        environment()
        .get_template(_TEMPLATE)
        .render(
            headline=headline(history),
            machines=[_machine_part(machine, history, drawn) for machine in history.machines],
            passed_over=passed_over_table(history),
            charts=chart_data(every),
            library=Markup(library()) if every else "",
        )
    )


def _machine_part(machine: MachineHistory, history: History, drawn: dict[str, tuple["Figure", ...]]) -> dict[str, Any]:
    return {
        "title": machine_title(machine),
        "line": machine_line(machine),
        "figures": drawn.get(machine.machine.id, ()),
        "tables": machine_tables(machine, history.false_alarms),
    }


def _figures(history: History) -> dict[str, tuple["Figure", ...]]:
    """By machine id; of many machines, those with most suites, and fewer points for each."""
    with chart_libraries():
        from scalemark.report.history.charts import MOST_MOMENTS, machine_figures
    machines = sorted(history.machines, key=lambda machine: -len(machine.suites))[:MOST_DRAWN]
    moments = max(MOST_MOMENTS // max(len(machines), 1), MOST_MOMENTS // 4)
    return {machine.machine.id: machine_figures(machine, moments) for machine in machines}


def _document(history: History, drawn: dict[str, tuple["Figure", ...]], stem: str) -> str:
    parts = ["# How the numbers moved", f"**{escape(headline(history))}**"]
    for machine in history.machines:
        parts += [f"## {escape(machine_title(machine))}", escape(machine_line(machine))]
        for figure in drawn.get(machine.machine.id, ()):
            name = _file_name(stem, figure).replace(" ", "%20")
            parts += [f"![{escape(figure.title)}]({name})", escape(figure.caption)]
        for table in machine_tables(machine, history.false_alarms):
            parts += _section(table, "###")
    if history.passed_over:
        parts += _section(passed_over_table(history), "##")
    return "\n\n".join(parts) + "\n"


def _section(table: Table, mark: str) -> list[str]:
    body = [*([markdown_table(table)] if table.rows else []), *([escape(table.note)] if table.note else [])]
    return [f"{mark} {escape(table.title)}", *body]


def _file_name(stem: str, figure: "Figure") -> str:
    return f"{stem}-history-{re.sub(r'[^A-Za-z0-9._-]+', '-', figure.name)}.svg"


def _literal(stem: str) -> str:
    """A name as a pattern that matches itself alone."""
    return re.sub(r"([*?[])", r"[\1]", stem)
