"""An A/B run in words: a line for each time, whatever its verdict, then the exact counters that differ."""

from collections import Counter
from collections.abc import Sequence

from scalemark.diff.text import differing_lines, differing_rows
from scalemark.schema import AbResult, Comparison
from scalemark.units import MISSING, format_seconds

_TITLES = ("time", "base", "head", "change", "90 % interval", "verdict")


def ab_lines(result: AbResult) -> list[str]:
    """For a terminal: the verdict, a table of times, the counters that differ, and how it was measured."""
    rows = [_TITLES, *map(_row, result.times)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    table = ["  " + "  ".join(map(str.ljust, row, widths)).rstrip() for row in rows]
    counters = _exact(result)
    return [_verdict(result), *table, *differing_lines(counters), *_closing(result, counters)]


def ab_markdown(result: AbResult) -> str:
    """For a comment or a file: the same as a heading, tables and closing lines."""
    counters = _exact(result)
    rows = [f"| {' | '.join(row)} |" for row in map(_row, result.times)]
    times = [f"| {' | '.join(_TITLES)} |", "|---|---:|---:|---:|---:|---|", *rows, ""]
    differing = differing_rows(counters)
    return "\n".join([f"## {_verdict(result)}", "", *times, *differing, *_closing(result, counters)]) + "\n"


def _verdict(result: AbResult) -> str:
    return f"{result.diff.verdict}: {result.diff.new_id} against {result.diff.base_id}"


def _row(time: Comparison) -> tuple[str, ...]:
    base, head = (format_seconds(seconds) for seconds in (time.base, time.new))
    if time.ratio is None:
        return (time.subject, base, head, MISSING, time.reason or MISSING, time.verdict)
    change, low, high = (f"{100 * (ratio - 1):+.1f}" for ratio in (time.ratio.value, time.ratio.low, time.ratio.high))
    return (time.subject, base, head, f"{change} %", f"{low} to {high} %", time.verdict)


def _exact(result: AbResult) -> list[Comparison]:
    return [comparison for comparison in result.diff.comparisons if comparison not in result.times]


def _hidden(result: AbResult) -> list[str]:
    """What the verdict of the whole leaves open of single workloads."""
    if result.diff.verdict == "inconclusive":
        return []
    told = [
        f"{time.subject} to ± {time.ratio.relative_half_width:.1%}"
        for time in result.times
        if time.verdict == "inconclusive" and time.ratio
    ]
    return [f"Known alone: {', '.join(told)}; a smaller change of one of them may hide."] if told else []


def _closing(result: AbResult, counters: Sequence[Comparison]) -> list[str]:
    counts = Counter(comparison.verdict for comparison in counters)
    exact = ", ".join(f"{count} {verdict}" for verdict, count in counts.most_common()) or "none"
    lost = [pair for pair in result.pairs if pair.lost]
    settings = result.settings
    return [
        *_hidden(result),
        f"Exact counters: {exact}.",
        f"{len(result.pairs) - len(lost)} pairs of fresh processes in {format_seconds(result.duration_s)}, decided at "
        f"look {result.looks_taken} of {len(settings.looks)}; margin {settings.margin:.1%}.",
        *([f"{len(lost)} pairs were lost, the last because {lost[-1].lost}."] if lost else []),
    ]
