"""Write a report as Markdown with its charts as SVG beside it, as GitHub shows them."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from scalemark.report.headline import headline, machine_line, verdict_line
from scalemark.report.missing import chart_libraries
from scalemark.report.prose import pieces
from scalemark.report.sections import FIGURE_NAMES, Section, report_sections
from scalemark.report.tables import Column, Table
from scalemark.schema import Analysis

if TYPE_CHECKING:
    from scalemark.report.charts import Figure

_SPECIAL = re.compile(r"([\\`*_\[\]<>|~$#&])")


def write_markdown(analysis: Analysis, folder: Path, name: str = "report") -> Path:
    """Write `name`.md and its charts into the folder, made where it is missing; the path of the Markdown file.

    Charts of an earlier report of this name are replaced, and removed where this one has nothing to draw.
    Raises ScalemarkError where the chart libraries are not installed.
    """
    with chart_libraries():
        from scalemark.report.charts import figures
    opening = [
        "# What training costs here",
        f"**{escape(headline(analysis))}**",
        escape(machine_line(analysis)),
        escape(verdict_line(analysis)),
    ]
    remove_charts(folder, name, FIGURE_NAMES)
    return write_sections(opening, report_sections(analysis), figures(analysis), folder, name)


def write_sections(
    opening: Sequence[str], sections: Sequence[Section], drawn: Sequence["Figure"], folder: Path, name: str
) -> Path:
    """Write paragraphs of Markdown, then sections with their charts and tables; the path of the Markdown file."""
    from scalemark.report.charts import to_svg

    folder.mkdir(parents=True, exist_ok=True)
    for figure in drawn:
        (folder / _file_name(name, figure)).write_text(to_svg(figure), encoding="utf-8")
    charts = {figure.name: _chart(figure, name) for figure in drawn}
    parts = [part for section in sections for part in _section(section, charts)]
    path = folder / f"{name}.md"
    path.write_text("\n\n".join([*opening, *parts]) + "\n", encoding="utf-8")
    return path


def remove_charts(folder: Path, name: str, figure_names: Sequence[str]) -> None:
    """Of an earlier report of this name, since this one may have nothing to draw."""
    for figure_name in figure_names:
        (folder / f"{name}-{figure_name}.svg").unlink(missing_ok=True)


def _file_name(name: str, figure: "Figure") -> str:
    return f"{name}-{figure.name}.svg"


def _section(section: Section, charts: dict[str, list[str]]) -> list[str]:
    heading = [f"## {escape(section.title)}"] if section.title else []
    drawn = [part for figure_name in section.figures for part in charts[figure_name]]
    missing = [escape(reason) for reason in section.missing]
    return [*heading, *drawn, *missing, *(part for table in section.tables for part in _table(table, section.title))]


def _chart(figure: "Figure", name: str) -> list[str]:
    return [f"![{escape(figure.title)}]({_file_name(name, figure).replace(' ', '%20')})", escape(figure.caption)]


def _table(table: Table, heading: str) -> list[str]:
    """The table, under its title where that is not the heading that it stands under."""
    body = [*([markdown_table(table)] if table.rows else []), *([escape(table.note)] if table.note else [])]
    if table.detail:
        return ["<details>", f"<summary>{escape(table.title)}</summary>", *body, "</details>"]
    return body if table.title == heading else [f"### {escape(table.title)}", *body]


def markdown_table(table: Table) -> str:
    """The table in GitHub's pipe syntax; numbers align right."""
    lines = [[escape(column.title) for column in table.columns], [_rule(column) for column in table.columns]]
    lines += [[escape(text) for text in row] for row in table.rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _rule(column: Column) -> str:
    return "---:" if column.kind == "number" else "---"


def escape(text: str) -> str:
    """The text on one line, its commands as code, with nothing else in it that Markdown or HTML would act on."""
    parts = pieces(" ".join(text.split()))
    return "".join(f"`{part}`" if is_command else _SPECIAL.sub(_harmless, part) for part, is_command in parts)


def _harmless(found: re.Match[str]) -> str:
    return {"<": "&lt;", ">": "&gt;", "&": "&amp;"}.get(found.group(), f"\\{found.group()}")
