"""A comparison as a terminal's text, as Markdown with charts beside it, and as one HTML file."""

from collections.abc import Mapping
from pathlib import Path
from textwrap import wrap

from scalemark.report.markdown import escape, remove_charts, write_sections
from scalemark.report.missing import chart_libraries
from scalemark.report.terminal import path_lines, table_lines
from scalemark.report.versus.headline import cause_line, contender_lines, doubt_line, headline, price_line
from scalemark.report.versus.sections import FIGURE_NAMES, comparison_sections
from scalemark.report.versus.tables import leading_tables
from scalemark.schema import SuiteComparison

TITLE = "What training costs, side by side"
_NARROWEST = 40


def comparison_summary(comparison: SuiteComparison, paths: Mapping[str, Path], width: int = 100) -> list[str]:
    """The comparison's lines, none longer than `width` but the paths; what is for reference is left to the files."""
    width = max(width, _NARROWEST)
    opening = [line for text in _opening(comparison) for line in wrap(text, width)]
    sections = [line for table in leading_tables(comparison) for line in ["", *table_lines(table, width)]]
    return [*opening, *sections, *path_lines(paths)]


def _opening(comparison: SuiteComparison) -> list[str]:
    texts = [headline(comparison), cause_line(comparison), price_line(comparison)]
    texts += [*contender_lines(comparison), doubt_line(comparison)]
    return [text for text in texts if text]


def write_comparison(comparison: SuiteComparison, html: Path | None, markdown: Path | None) -> dict[str, Path]:
    """The files asked for, by name; raises OSError, or ScalemarkError where the chart libraries are missing."""
    paths = {}
    if html:
        paths["html"] = write_comparison_html(comparison, html)
    if markdown:
        paths["report"] = write_comparison_markdown(comparison, markdown.parent, markdown.stem)
    return paths


def write_comparison_markdown(comparison: SuiteComparison, folder: Path, name: str = "comparison") -> Path:
    """Write `name`.md and its charts into the folder; the path of the Markdown file."""
    with chart_libraries():
        from scalemark.report.versus.charts import comparison_figures
    first, *others = _opening(comparison)
    opening = [f"# {TITLE}", f"**{escape(first)}**", *map(escape, others)]
    drawn = comparison_figures(comparison)
    sections = comparison_sections(comparison, tuple(figure.name for figure in drawn))
    remove_charts(folder, name, FIGURE_NAMES)
    return write_sections(opening, sections, drawn, folder, name)


def write_comparison_html(comparison: SuiteComparison, path: Path) -> Path:
    """Write the page as one file that works offline; the path written."""
    with chart_libraries():
        from scalemark.report.html import Words, origin, page_of, write_page
        from scalemark.report.versus.charts import comparison_figures
    words = Words(
        title=f"Training cost: {', '.join(comparison.names)}",
        headline=headline(comparison),
        machines=tuple(contender_lines(comparison)),
        verdict=" ".join(filter(None, [cause_line(comparison), price_line(comparison), doubt_line(comparison)])),
        verdict_name="",
        origins=tuple(f"{one.name}: {origin(one.suite)}" for one in comparison.contenders),
    )
    drawn = comparison_figures(comparison)
    sections = comparison_sections(comparison, tuple(figure.name for figure in drawn))
    return write_page(page_of(words, sections, drawn), path)
