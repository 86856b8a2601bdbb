"""A diff in words, for a terminal and for a comment on a change: what differs by name, what is the same by count."""

from collections import Counter
from collections.abc import Callable, Iterable
from statistics import median

from scalemark.schema import Comparison, Diff, VerdictName
from scalemark.units import MISSING, format_seconds

_LISTED: tuple[VerdictName, ...] = ("regressed", "inconclusive", "missing", "improved", "new")


def diff_lines(diff: Diff) -> list[str]:
    """For a terminal: the verdict, a line for each thing that differs, and the counts."""
    listed = differing_lines(diff.comparisons)
    return [f"{diff.verdict}: {diff.new_id} against {diff.base_id}", *listed, *_closing_lines(diff)]


def diff_markdown(diff: Diff) -> str:
    """For a comment or a file: the same as a heading, a table and a closing paragraph."""
    title = [f"## {diff.verdict}: {diff.new_id} against {diff.base_id}", ""]
    return "\n".join([*title, *differing_rows(diff.comparisons), *_closing_lines(diff)]) + "\n"


def differing_lines(comparisons: Iterable[Comparison]) -> list[str]:
    """For a terminal: a line for each thing that differs."""
    return [
        f"  {comparison.verdict:<12}  {comparison.subject}  {comparison.metric}  {_change(comparison)}"
        for comparison in _differing(comparisons)
    ]


def differing_rows(comparisons: Iterable[Comparison]) -> list[str]:
    """The same as a table in Markdown and an empty line; nothing where nothing differs."""
    rows = [
        f"| {comparison.verdict} | `{comparison.subject}` | {comparison.metric} | {_cell(_change(comparison))} |"
        for comparison in _differing(comparisons)
    ]
    header = ["| verdict | what | metric | change |", "|---|---|---|---|"]
    return [*header, *rows, ""] if rows else []


def _differing(comparisons: Iterable[Comparison]) -> list[Comparison]:
    """Worst first, each kind in the order of the suite."""
    found = [comparison for comparison in comparisons if comparison.verdict in _LISTED]
    return sorted(found, key=lambda comparison: _LISTED.index(comparison.verdict))


def _closing_lines(diff: Diff) -> list[str]:
    counts = Counter(comparison.verdict for comparison in diff.comparisons)
    total = ", ".join(f"{count} {verdict}" for verdict, count in counts.most_common()) or "nothing to compare"
    lines = [f"{total}."]
    if diff.advisory:
        lines.append(f"Another machine ({', '.join(diff.differing_fields)} differ): times are advice, no verdict.")
        lines += _advice_on_time(diff)
    return lines


def _advice_on_time(diff: Diff) -> list[str]:
    ratios = [comparison.ratio.value for comparison in diff.comparisons if comparison.ratio]
    if not ratios:
        return []
    span = f"{min(ratios):.2f}× to {max(ratios):.2f}×"
    return [f"Time, new over base: {median(ratios):.2f}× in the median of {len(ratios)} cells, {span}."]


def _change(comparison: Comparison) -> str:
    """'1.50 ms → 1.80 ms, 1.20× [1.15, 1.25]', and the reason where there is one."""
    write = _writer(comparison.metric)
    values = [MISSING if value is None else write(value) for value in (comparison.base, comparison.new)]
    ratio = comparison.ratio
    interval = f"{ratio.value:.3f}× [{ratio.low:.3f}, {ratio.high:.3f}]" if ratio else None
    return ", ".join(filter(None, [" → ".join(values), interval, comparison.reason]))


def _writer(metric: str) -> Callable[[float], str]:
    """Times to three digits; exact numbers whole, because a small difference is the news."""
    if metric == "time_s":
        return format_seconds
    return "{:.10g}".format if metric == "validation_loss" else "{:,.0f}".format


def _cell(text: str) -> str:
    """A reason may hold what would end a table cell."""
    return text.replace("|", "\\|").replace("\n", " ")
