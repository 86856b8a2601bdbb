"""A chart with its words."""

from dataclasses import dataclass

import altair as alt


@dataclass(frozen=True)
class Figure:
    """A chart with its words. name: stem of its file. caption: how to read it, for every reader."""

    name: str
    title: str
    caption: str
    chart: alt.LayerChart
