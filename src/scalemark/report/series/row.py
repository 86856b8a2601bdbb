"""A row behind a chart: plain numbers in SI units, and the words of a tooltip."""

Row = dict[str, str | float]
