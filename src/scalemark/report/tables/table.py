"""A table of formatted text, whatever it is drawn as, and what several tables write alike."""

from dataclasses import dataclass
from typing import Literal

from scalemark.report.numbers import Formatter
from scalemark.schema import Estimate
from scalemark.units import MISSING, format_bytes


@dataclass(frozen=True)
class Column:
    """A heading, what stands below it, and whether it may go where space is short.

    kind: numbers align right; prose may wrap. rank: 0 always stays; the highest rank is dropped first.
    """

    title: str
    kind: Literal["number", "text", "prose"] = "text"
    rank: int = 0


@dataclass(frozen=True)
class Table:
    """Formatted text in rows. note: what a reader must know to read the numbers. detail: reference, folded away."""

    title: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[str, ...], ...]
    note: str = ""
    detail: bool = False

    def __post_init__(self) -> None:
        assert all(len(row) == len(self.columns) for row in self.rows), f"a row of {self.title!r} lacks a column"


UNAVAILABLE = "unavailable"


def value_or_dash(estimate: Estimate | None, write: Formatter) -> str:
    return MISSING if estimate is None else write(estimate.value)


def plain_name(name: str) -> str:
    """A field's name without the unit that its value is written with."""
    return name.removesuffix("_s").removesuffix("_bytes").replace("_", " ")


def fact(name: str, value: str | int | float | None) -> str:
    if value is None:
        return "unknown"
    return format_bytes(value) if name.endswith("_bytes") and not isinstance(value, str) else str(value)
