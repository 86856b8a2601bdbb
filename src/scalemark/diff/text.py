"""A diff in words, for a terminal and for a comment on a change: what differs by name, what is the same by count."""

from collections import Counter
from collections.abc import Callable, Iterable
from math import log
from statistics import median

from scalemark.diff.gate import vanished
from scalemark.schema import Comparison, Diff, Estimate, LawDiff, VerdictName
from scalemark.units import MISSING, format_percent, format_seconds

_ASK_FOR_BASELINE = "Better than the baseline: if that is meant, keep the new run with `scalemark baseline save`."
_LISTED: tuple[VerdictName, ...] = ("regressed", "inconclusive", "missing", "improved", "new")


def diff_lines(diff: Diff) -> list[str]:
    """For a terminal: the verdict, a line for each thing that differs, and the counts."""
    listed = [*differing_lines(diff.comparisons), *(f"  {line}" for line in _law_lines(diff))]
    return [f"{diff.verdict}: {diff.new_id} against {diff.base_id}", *listed, *_closing_lines(diff)]


def diff_markdown(diff: Diff) -> str:
    """For a comment or a file: the same as a heading, a table and a closing paragraph."""
    title = [f"## {diff.verdict}: {diff.new_id} against {diff.base_id}", ""]
    worst = [*(f"- **{line}**" for line in first_regressions(diff)), ""] if diff.verdict == "regressed" else []
    laws = [*(f"- {line}" for line in _law_lines(diff)), ""] if diff.laws else []
    return "\n".join([*title, *worst, *differing_rows(diff.comparisons), *laws, *_closing_lines(diff)]) + "\n"


def first_regressions(diff: Diff, most: int = 3) -> list[str]:
    """The first few things that got worse, each in a line with its cause where one is known."""
    worse = [one for one in diff.comparisons if one.verdict == "regressed"]
    lines = [f"{one.subject}: {one.metric} {_change(one)}{_cause(one, diff)}" for one in (*worse, *vanished(diff))]
    lines += [line for law, line in zip(diff.laws, _law_lines(diff), strict=True) if law.verdict == "regressed"]
    more = [f"and {len(lines) - most} more"] if len(lines) > most else []
    return [*lines[:most], *more]


def _cause(one: Comparison, diff: Diff) -> str:
    """Of a time that says nothing of it itself: the operators that changed in the same cell, or what the law names."""
    if one.metric != "time_s" or one.reason:
        return ""
    same_cell = [other for other in diff.comparisons if other.subject == one.subject and other.verdict == "regressed"]
    told = [other.reason for other in same_cell if other.metric == "operators_total"]
    told += [text for law in diff.laws if law.verdict == "regressed" for text in law.explanation]
    return f"; cause: {told[0]}" if told and told[0] else ""


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
    if diff.n_repeats:
        lines.append(f"Margins of time and energy come from {diff.n_repeats} reruns that the baseline stores.")
    if gone := vanished(diff):
        lines.append(f"{len(gone)} of the base are not part of the new run any more: that fails, as a regression does.")
    if not diff.advisory and _faster(diff):
        lines.append(_ASK_FOR_BASELINE)
    if diff.advisory:
        lines.append(f"Another machine ({', '.join(diff.differing_fields)} differ): times are advice, no verdict.")
        lines += _advice_on_time(diff)
    return lines


def _faster(diff: Diff) -> bool:
    verdicts = [*(one.verdict for one in diff.comparisons), *(law.verdict for law in diff.laws)]
    return "improved" in verdicts


def _law_lines(diff: Diff) -> list[str]:
    """'step_time law: regressed at d4w256, 1.120× [1.08, 1.16]; compute_flops_per_s −8.0 % …', a line per law."""
    return [
        f"{law.kind} law: {law.verdict}{_at_most(law)}{''.join(f'; {text}' for text in _said(law))}"
        for law in diff.laws
    ]


def _at_most(law: LawDiff) -> str:
    """Where the two differ most of what was measured, and at the farthest target."""
    measured = [point for point in law.points if point.role != "target"]
    if not measured:
        return ""
    most = max(measured, key=lambda point: abs(log(point.ratio.value)))
    targets = [point for point in law.points if point.role == "target"]
    return "".join(f", {_interval(point.ratio)} at {point.where}" for point in (most, *targets[-1:]))


def _said(law: LawDiff) -> list[str]:
    """The explanation where something changed: where it did not, coefficients only trade with one another."""
    told = law.explanation if law.verdict in ("regressed", "improved") else ()
    return [text for text in (law.reason, *told) if text]


def _advice_on_time(diff: Diff) -> list[str]:
    ratios = [one.ratio.value for one in diff.comparisons if one.ratio and one.metric == "time_s"]
    if not ratios:
        return []
    span = f"{min(ratios):.2f}× to {max(ratios):.2f}×"
    return [f"Time, new over base: {median(ratios):.2f}× in the median of {len(ratios)} cells, {span}."]


def _change(comparison: Comparison) -> str:
    """'1.50 ms → 1.80 ms, 1.200× [1.150, 1.250], as measured 1.310×, margin 8 %', and the reason where there is one."""
    write = _writer(comparison.metric)
    values = [MISSING if value is None else write(value) for value in (comparison.base, comparison.new)]
    sides = " → ".join(values) if (comparison.base, comparison.new) != (None, None) else None
    ratio, raw, margin = comparison.ratio, comparison.raw_ratio, comparison.margin
    parts = [
        sides,
        _interval(ratio) if ratio else None,
        f"as measured {raw.value:.3f}×" if raw else None,
        f"margin {format_percent(margin, 0)}" if margin is not None and ratio else None,
        comparison.reason,
    ]
    return ", ".join(filter(None, parts))


def _interval(ratio: Estimate) -> str:
    return f"{ratio.value:.3f}× [{ratio.low:.3f}, {ratio.high:.3f}]"


def _writer(metric: str) -> Callable[[float], str]:
    """Times to three digits; exact numbers whole, because a small difference is the news."""
    if metric == "time_s":
        return format_seconds
    if metric == "joules_per_round":
        return lambda joules: f"{joules:.3g} J"
    return "{:.10g}".format if metric == "validation_loss" else "{:,.0f}".format


def _cell(text: str) -> str:
    """A reason may hold what would end a table cell."""
    return text.replace("|", "\\|").replace("\n", " ")
