"""A figure as SVG or PNG to commit, and as Vega-Lite for the HTML report."""

import re
from typing import Any

import altair as alt
import vl_convert

from scalemark.report.charts.figure import Figure

_CLIP_PATH = re.compile(r"\bclip\d+\b")
VEGA_LITE = ".".join(alt.SCHEMA_VERSION.removeprefix("v").split(".")[:2])
_FONT = "DejaVu Sans, Verdana, Helvetica, Arial, sans-serif"


def to_vega_lite(figure: Figure) -> dict[str, Any]:
    """The chart as Vega-Lite, as wide as the box it stands in. Colours of the page are the page's business."""
    specification: dict[str, Any] = figure.chart.to_dict(validate=False)
    specification.pop("config", None)
    return {**specification, "width": "container", "autosize": {"type": "fit-x", "contains": "padding"}}


def to_svg(figure: Figure) -> str:
    """The chart as SVG on white; the same figure gives the same text."""
    drawn = vl_convert.vegalite_to_svg(_printed(figure), vl_version=VEGA_LITE, config=theme())
    return _renumbered(str(drawn))


def _renumbered(svg: str) -> str:
    """Clip paths counted from 1: the renderer goes on counting from one chart to the next."""
    order = {name: f"clip{place}" for place, name in enumerate(dict.fromkeys(_CLIP_PATH.findall(svg)), start=1)}
    return _CLIP_PATH.sub(lambda found: order[found.group()], svg)


def to_png(figure: Figure, scale: float = 2.0) -> bytes:
    """The chart as PNG on white, for places that take no SVG."""
    return bytes(vl_convert.vegalite_to_png(_printed(figure), vl_version=VEGA_LITE, config=theme(), scale=scale))


def _printed(figure: Figure) -> dict[str, Any]:
    specification: dict[str, Any] = figure.chart.to_dict(validate=False)
    specification.pop("config", None)
    return {**specification, "title": figure.title}


def theme(ink: str = "#24292f", faint: str = "#e3e6ea", background: str = "#ffffff") -> dict[str, Any]:
    """Vega-Lite configuration: quiet axes, words large enough to read, legend above the plot."""
    words = {
        "labelColor": ink,
        "titleColor": ink,
        "labelFontSize": 12,
        "titleFontSize": 13,
        "titleFontWeight": "normal",
    }
    return {
        "background": background,
        "font": _FONT,
        "padding": 12,
        "view": {"stroke": "transparent"},
        "axis": {**words, "gridColor": faint, "domainColor": ink, "tickColor": ink, "titlePadding": 10},
        "legend": {
            **words,
            "orient": "top",
            "columns": 4,
            "symbolStrokeWidth": 2,
            "labelLimit": 260,
            "titleLimit": 400,
        },
        "text": {"color": ink},
        "title": {"anchor": "start", "color": ink, "fontSize": 16, "offset": 12},
    }
