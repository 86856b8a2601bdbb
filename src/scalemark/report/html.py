"""Write a report as one HTML file that works without a network, a server or anything beside it."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scalemark.report.headline import headline, machine_line, verdict_line
from scalemark.report.missing import chart_libraries
from scalemark.report.tables import Table, report_tables
from scalemark.schema import Analysis, Suite

if TYPE_CHECKING:
    from jinja2 import Environment

    from scalemark.report.charts import Figure

_BEFORE_UNIT = re.compile(r"(?<=\d) (?=[A-Za-zµ%])|(?<=±) ")
_TEMPLATE = "report.html.j2"
_MARKED = ("regressed", "improved", "inconclusive", "missing", "failed", "oom", "not identified")
_DARK_INK, _DARK_FAINT = "#d7dde4", "#343b44"


def write_html(analysis: Analysis, path: Path) -> Path:
    """Write the page, making its folder where it is missing; the path written.

    Raises ScalemarkError where the chart or template libraries are not installed.
    """
    return write_page(html_page(analysis), path)


def write_page(page: str, path: Path) -> Path:
    """Write the text into this file, making its folder where it is missing; the path written."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(page, encoding="utf-8")
    return path


def html_page(analysis: Analysis) -> str:
    """The whole page as text: words escaped, charts as Vega-Lite, the libraries that draw them inlined."""
    with chart_libraries():
        from scalemark.report.charts import figures
    suite = analysis.suite
    words = Words(
        title=f"Training cost on {suite.machine.id}",
        headline=headline(analysis),
        machines=(machine_line(analysis),),
        verdict=verdict_line(analysis),
        verdict_name=analysis.diff.verdict if analysis.diff else "none",
        origins=(origin(suite),),
    )
    return page_of(words, figures(analysis), report_tables(analysis))


@dataclass(frozen=True)
class Words:
    """What a page says around its charts and tables. machines, origins: a line each."""

    title: str
    headline: str
    machines: tuple[str, ...]
    verdict: str
    verdict_name: str
    origins: tuple[str, ...]


def origin(suite: Suite) -> str:
    """Which suite it is, and what made it."""
    commit = f", commit {suite.commit}" if suite.commit else ""
    return f"scalemark {suite.scalemark_version}, suite {suite.id}, {suite.created}{commit}"


def page_of(words: Words, drawn: Sequence["Figure"], tables: Sequence[Table]) -> str:
    """A page of these words, charts and tables, in this order."""
    with chart_libraries():
        from markupsafe import Markup
    return (
        _environment()
        .get_template(_TEMPLATE)
        .render(
            words=words,
            figures=drawn,
            tables=[table for table in tables if not table.detail],
            details=[table for table in tables if table.detail],
            marked=_MARKED,
            charts=_chart_data(drawn),
            library=Markup(_library()) if drawn else "",
        )
    )


def _environment() -> "Environment":
    with chart_libraries():
        from jinja2 import Environment, PackageLoader, StrictUndefined
    loader = PackageLoader("scalemark.report", "templates")
    environment = Environment(
        loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["unbroken"] = _unbroken
    return environment


def _unbroken(text: str) -> str:
    """The text with numbers held together with their units, so that no line ends in '1.70'."""
    return _BEFORE_UNIT.sub("\u00a0", text)


def _chart_data(drawn: Sequence["Figure"]) -> dict[str, Any]:
    from scalemark.report.charts import theme, to_vega_lite

    return {
        "specifications": {figure.name: to_vega_lite(figure) for figure in drawn},
        "light": theme(background="transparent"),
        "dark": theme(_DARK_INK, _DARK_FAINT, "transparent"),
    }


@cache
def _library() -> str:
    """Vega, Vega-Lite and vega-embed in one script, as vl-convert carries them, for the version that altair writes.

    Bundling takes about a second and always gives the same text, so it happens once.
    """
    import vl_convert

    from scalemark.report.charts import VEGA_LITE

    script = str(vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;", vl_version=VEGA_LITE))
    assert "</script" not in script.lower(), "the bundled script would end its own element"
    return script
