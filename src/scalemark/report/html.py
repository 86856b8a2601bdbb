"""Write a report as one HTML file that works without a network, a server or anything beside it."""

import re
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scalemark.report.headline import headline, machine_line, verdict_line
from scalemark.report.missing import chart_libraries
from scalemark.report.tables import report_tables
from scalemark.schema import Analysis

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
    page = html_page(analysis)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(page, encoding="utf-8")
    return path


def html_page(analysis: Analysis) -> str:
    """The whole page as text: words escaped, charts as Vega-Lite, the libraries that draw them inlined."""
    with chart_libraries():
        from markupsafe import Markup

        from scalemark.report.charts import figures
    drawn = figures(analysis)
    tables = report_tables(analysis)
    return (
        environment()
        .get_template(_TEMPLATE)
        .render(
            suite=analysis.suite,
            headline=headline(analysis),
            machine=machine_line(analysis),
            verdict=verdict_line(analysis),
            verdict_name=analysis.diff.verdict if analysis.diff else "none",
            figures=drawn,
            tables=[table for table in tables if not table.detail],
            details=[table for table in tables if table.detail],
            marked=_MARKED,
            charts=chart_data(drawn),
            library=Markup(library()) if drawn else "",
        )
    )


def environment() -> "Environment":
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


def chart_data(drawn: tuple["Figure", ...]) -> dict[str, Any]:
    from scalemark.report.charts import theme, to_vega_lite

    return {
        "specifications": {figure.name: to_vega_lite(figure) for figure in drawn},
        "light": theme(background="transparent"),
        "dark": theme(_DARK_INK, _DARK_FAINT, "transparent"),
    }


@cache
def library() -> str:
    """Vega, Vega-Lite and vega-embed in one script, as vl-convert carries them, for the version that altair writes.

    Bundling takes about a second and always gives the same text, so it happens once.
    """
    import vl_convert

    from scalemark.report.charts import VEGA_LITE

    script = str(vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;", vl_version=VEGA_LITE))
    assert "</script" not in script.lower(), "the bundled script would end its own element"
    return script
