"""Write a report as one HTML file that works without a network, a server or anything beside it."""

import gzip
import json
import re
from base64 import b64encode
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from scalemark.report.headline import headline, machine_line, verdict_line
from scalemark.report.interactive import interactive
from scalemark.report.missing import chart_libraries
from scalemark.report.prose import pieces
from scalemark.report.sections import Section, report_sections
from scalemark.report.tables import Table
from scalemark.schema import Analysis, Suite

if TYPE_CHECKING:
    from jinja2 import Environment
    from markupsafe import Markup

    from scalemark.report.charts import Figure

Titled = TypeVar("Titled", Section, Table)
_BEFORE_UNIT = re.compile(r"(?<=\d) (?=[A-Za-zµ%])|(?<=±) ")
_TEMPLATE = "report.html.j2"
_MARKED = ("regressed", "improved", "inconclusive", "missing", "failed", "oom", "not identified")
_NOT_IN_ANCHORS = re.compile(r"[^a-z0-9]+")


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
    """The whole page as text: words escaped, charts as Vega-Lite, the library that draws them inlined."""
    with chart_libraries():
        from scalemark.report.charts import figures
    words = Words(
        title=f"Training cost on {analysis.suite.machine.id}",
        headline=headline(analysis),
        machines=(machine_line(analysis),),
        verdict=verdict_line(analysis),
        verdict_name=analysis.diff.verdict if analysis.diff else "",
        origins=(origin(analysis.suite),),
    )
    return page_of(words, report_sections(analysis), figures(analysis))


@dataclass(frozen=True)
class Words:
    """What a page says around its sections. machines, origins: a line each; verdict_name: for a badge, if any."""

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


def page_of(words: Words, sections: Sequence[Section], figures: Sequence["Figure"]) -> str:
    """A page of these words and sections. figures: those that the sections name."""
    with chart_libraries():
        from scalemark.report.charts import theme, to_vega_lite
    drawn = {figure.name: figure for figure in figures}
    specifications = {name: interactive(to_vega_lite(figure)) for name, figure in drawn.items()}
    return (
        _environment()
        .get_template(_TEMPLATE)
        .render(
            words=words,
            figures=drawn,
            sections=_anchored(sections),
            details=_anchored(table for section in sections for table in section.tables if table.detail),
            marked=_MARKED,
            offers={name: specification["usermeta"] for name, specification in specifications.items()},
            packed=_packed({"specifications": specifications, "theme": theme(), "library": _library(bool(drawn))}),
            ink=theme()["text"]["color"],
            faint=theme()["axis"]["gridColor"],
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


def _anchored(parts: Iterable[Titled]) -> list[tuple[str, Titled]]:
    """Each section or table with the name that a link to it ends in."""
    return [(_NOT_IN_ANCHORS.sub("-", part.title.lower()).strip("-"), part) for part in parts]


def _unbroken(text: str) -> "Markup":
    """The text, its commands as code, with numbers held together with their units: no line ends in '1.70'."""
    from markupsafe import Markup, escape

    shown = (
        Markup("<code>{}</code>").format(part) if is_command else escape(_BEFORE_UNIT.sub("\u00a0", part))
        for part, is_command in pieces(text)
    )
    return Markup("").join(shown)


def _packed(data: dict[str, Any]) -> str:
    """The data as JSON, compressed and written in letters that mean nothing to HTML: half the size of the page or less.

    The page unpacks it. The same data give the same text, whenever they are packed.
    """
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return b64encode(gzip.compress(text.encode(), mtime=0)).decode("ascii")


@cache
def _library(needed: bool) -> str:
    """Vega, Vega-Lite and vega-embed in one script, as vl-convert carries them, for the version that altair writes.

    Bundling takes about a second and always gives the same text, so it happens once.
    """
    if not needed:
        return ""
    import vl_convert

    from scalemark.report.charts import VEGA_LITE

    return str(vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;", vl_version=VEGA_LITE))
