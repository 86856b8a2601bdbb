"""What a report shows of more than anybody can read: some, spread evenly, and always how many there are."""

from collections.abc import Sequence
from typing import TypeVar

_Item = TypeVar("_Item")

# Rows of a table, points of a chart and curves of a chart. A page of these stays well below two megabytes.
MOST_ROWS, MOST_POINTS, MOST_CURVES = 100, 400, 60
MOST_CURVE_POINTS = 40


def evenly(items: Sequence[_Item], most: int) -> list[_Item]:
    """At most so many of the items in their order, the first and the last among them."""
    if len(items) <= most:
        return list(items)
    return [items[round(place * (len(items) - 1) / (most - 1))] for place in range(most)]


def some_of(shown: int, total: int, what: str, order: str) -> str:
    """' 100 of 100,000 runs are shown, spread evenly over …'; empty where all are."""
    return "" if shown >= total else f" {shown:,} of {total:,} {what} are shown, spread evenly over {order}."
