"""What differs from the baseline."""

from scalemark.report.headline import VERDICT_ORDER, advisory_note, count_verdicts
from scalemark.report.numbers import change, quantity
from scalemark.report.tables.table import Column, Table, plain_name
from scalemark.schema import Analysis, Comparison, Diff, Estimate
from scalemark.units import MISSING

MOST_INCONCLUSIVE_ROWS = 5


def diff_table(analysis: Analysis) -> Table:
    """What differs from the baseline; what stayed the same, or is only uncertain, is counted."""
    diff = analysis.diff
    if diff is None:
        return Table(
            "Against the baseline", (), (), f"No verdict: {analysis.no_diff_reason or 'no baseline was given'}"
        )
    columns = (
        Column("verdict"),
        Column("subject", "prose"),
        Column("metric"),
        Column("baseline", "number", 2),
        Column("now", "number", 1),
        Column("change", "prose"),
    )
    rows = tuple(map(_diff_row, _listed(diff)))
    fields = f" These fields differ: {', '.join(diff.differing_fields)}." if diff.differing_fields else ""
    note = f"{diff.base_id} against {diff.new_id}: {count_verdicts(diff)}.{fields}"
    return Table("Against the baseline", columns, rows, note + advisory_note(diff))


def _listed(diff: Diff) -> list[Comparison]:
    """What is worth a row, worst first: all but what is the same, and but the inconclusive where they are many."""
    different = [comparison for comparison in diff.comparisons if comparison.verdict != "same"]
    different.sort(key=lambda comparison: VERDICT_ORDER.index(comparison.verdict))
    inconclusive = [comparison for comparison in different if comparison.verdict == "inconclusive"]
    if len(inconclusive) <= MOST_INCONCLUSIVE_ROWS:
        return different
    return [comparison for comparison in different if comparison.verdict != "inconclusive"]


def _diff_row(comparison: Comparison) -> tuple[str, ...]:
    return (
        comparison.verdict,
        comparison.subject,
        plain_name(comparison.metric),
        _metric(comparison.metric, comparison.base),
        _metric(comparison.metric, comparison.new),
        "; ".join(filter(None, [_ratio(comparison.ratio), comparison.reason])) or MISSING,
    )


def _metric(name: str, value: float | None) -> str:
    return MISSING if value is None else quantity(name, value)


def _ratio(ratio: Estimate | None) -> str:
    if ratio is None:
        return ""
    return f"{change(ratio.value - 1)} ({change(ratio.low - 1)} to {change(ratio.high - 1)})"
