"""Write a report as one HTML file that works without a network, a server or anything beside it."""

import re
from collections import Counter
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scalemark.report.headline import headline, machine_line, verdict_line
from scalemark.report.interactive import interactive
from scalemark.report.missing import chart_libraries
from scalemark.report.tables import Table, report_tables
from scalemark.schema import Analysis

if TYPE_CHECKING:
    from jinja2 import Environment

    from scalemark.report.charts import Figure

_BEFORE_UNIT = re.compile(r"(?<=\d) (?=[A-Za-zµ%])|(?<=±) ")
_TEMPLATE = "report.html.j2"
_MARKED = ("regressed", "improved", "inconclusive", "missing", "failed", "oom", "not identified")
_NOT_IN_ANCHORS = re.compile(r"[^a-z0-9]+")


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

        from scalemark.report.charts import figures, theme
    drawn = figures(analysis)
    tables = _anchored(report_tables(analysis))
    return (
        _environment()
        .get_template(_TEMPLATE)
        .render(
            suite=analysis.suite,
            headline=headline(analysis),
            machine=machine_line(analysis),
            verdict=verdict_line(analysis),
            verdict_name=analysis.diff.verdict if analysis.diff else "",
            figures=drawn,
            tables=[(anchor, table) for anchor, table in tables if not table.detail],
            details=[(anchor, table) for anchor, table in tables if table.detail],
            marked=_MARKED,
            charts=_chart_data(drawn),
            ink=theme()["text"]["color"],
            faint=theme()["axis"]["gridColor"],
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
    environment.policies["json.dumps_kwargs"] = {"separators": (",", ":"), "ensure_ascii": False}
    return environment


def _anchored(tables: Iterable[Table]) -> list[tuple[str, Table]]:
    """Each table with a name that a link can end in, its own even where two tables share a title."""
    seen: Counter[str] = Counter()
    anchored = []
    for table in tables:
        stem = _NOT_IN_ANCHORS.sub("-", table.title.lower()).strip("-")
        seen[stem] += 1
        anchored.append((stem if seen[stem] == 1 else f"{stem}-{seen[stem]}", table))
    return anchored


def _unbroken(text: str) -> str:
    """The text with numbers held together with their units, so that no line ends in '1.70'."""
    return _BEFORE_UNIT.sub("\u00a0", text)


def _chart_data(drawn: tuple["Figure", ...]) -> dict[str, Any]:
    """What the page draws from. One theme, on white: the page's style sheet recolours its ink and its grid."""
    from scalemark.report.charts import theme, to_vega_lite

    specifications = {figure.name: interactive(to_vega_lite(figure)) for figure in drawn}
    return {"specifications": specifications, "theme": theme()}


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
