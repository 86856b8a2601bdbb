"""A history for a terminal, as Markdown with charts beside it, and as one HTML page."""

import re
from collections.abc import Sequence
from pathlib import Path
from textwrap import wrap
from typing import TYPE_CHECKING

from scalemark.report.history.tables import (
    headline,
    machine_line,
    machine_tables,
    machine_title,
    passed_over_table,
)
from scalemark.report.markdown import escape, write_sections
from scalemark.report.missing import chart_libraries
from scalemark.report.sections import Section
from scalemark.report.terminal import NARROWEST, table_lines
from scalemark.schema import History

if TYPE_CHECKING:
    from scalemark.report.charts import Figure

TITLE = "How the numbers moved"
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
    drawn = _figures(history)
    for old in path.parent.glob(f"{_literal(path.stem)}-history-*.svg"):
        old.unlink()
    opening = [f"# {TITLE}", f"**{escape(headline(history))}**"]
    return write_sections(opening, _sections(history, drawn), _all(drawn), path.parent, path.stem)


def write_history_html(history: History, path: Path) -> Path:
    """Write the page, making its folder where it is missing; the path written. Raises as the Markdown does."""
    from scalemark.report.html import write_page

    return write_page(history_page(history), path)


def history_page(history: History) -> str:
    """The whole page as text, with the libraries that draw its charts."""
    drawn = _figures(history)
    with chart_libraries():
        from scalemark.report.html import Words, page_of
    words = Words(
        title=TITLE,
        headline=headline(history),
        machines=tuple(machine.machine.summary for machine in history.machines[:MOST_DRAWN]),
        verdict="",
        verdict_name="",
        origins=(),
    )
    return page_of(words, _sections(history, drawn), _all(drawn))


def _figures(history: History) -> dict[str, tuple["Figure", ...]]:
    """By machine id; of many machines, those with most suites, and fewer points for each."""
    with chart_libraries():
        from scalemark.report.history.charts import MOST_MOMENTS, machine_figures
    machines = sorted(history.machines, key=lambda machine: -len(machine.suites))[:MOST_DRAWN]
    moments = max(MOST_MOMENTS // max(len(machines), 1), MOST_MOMENTS // 4)
    return {machine.machine.id: machine_figures(machine, moments) for machine in machines}


def _all(drawn: dict[str, tuple["Figure", ...]]) -> list["Figure"]:
    return [figure for figures in drawn.values() for figure in figures]


def _sections(history: History, drawn: dict[str, tuple["Figure", ...]]) -> Sequence[Section]:
    """One per machine, and one for what was passed over."""
    sections = [
        Section(
            title=machine_title(machine),
            figures=tuple(figure.name for figure in drawn.get(machine.machine.id, ())),
            tables=machine_tables(machine, history.false_alarms),
            missing=(machine_line(machine),),
        )
        for machine in history.machines
    ]
    if history.passed_over:
        sections.append(Section("Passed over", (), (passed_over_table(history),)))
    return sections


def _literal(stem: str) -> str:
    """A name as a pattern that matches itself alone."""
    return re.sub(r"([*?[])", r"[\1]", stem)
