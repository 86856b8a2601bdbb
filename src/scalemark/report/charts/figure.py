"""A chart with its words."""

from dataclasses import dataclass

import altair as alt

from scalemark.report.sections import TITLES


@dataclass(frozen=True)
class Figure:
    """A chart with its words. name: stem of its file. caption: how to read it, for every reader."""

    name: str
    title: str
    caption: str
    chart: alt.LayerChart


def titled(name: str, caption: str, chart: alt.LayerChart) -> Figure:
    """A figure of a report, under the title that all forms of the report know it by."""
    return Figure(name, TITLES[name], caption, chart)
