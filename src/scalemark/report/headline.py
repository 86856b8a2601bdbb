"""The sentences that come first: what it costs here, on which machine, and how it compares with the baseline."""

from collections import Counter

from scalemark.report.numbers import bytes_rate, distance, flops_rate, rate, with_interval
from scalemark.schema import Analysis, Ceilings, Cell, Diff, PriceTag, VerdictName
from scalemark.units import format_amount, format_seconds

_FARTHEST = 10.0
VERDICT_ORDER: tuple[VerdictName, ...] = (
    "regressed",
    "improved",
    "inconclusive",
    "missing",
    "new",
    "incomparable",
    "same",
)


def headline(analysis: Analysis) -> str:
    """One sentence from the laws; from the measurements where no law holds; honest where there is neither."""
    tag = _headline_price(analysis.prices)
    if tag is not None:
        return _price_sentence(tag)
    cell = _largest_step(analysis.suite.cells)
    if cell is not None and cell.accounting and cell.typical_s:
        return f"{_measured_sentence(cell)} {_missing_law_sentence(analysis)}"
    best = _best_validation(analysis)
    return best or "Nothing was measured, so there is nothing to predict: see the cells and warnings for the reasons."


def _headline_price(prices: tuple[PriceTag, ...]) -> PriceTag | None:
    """The largest model that fits and is not too far beyond what was measured; otherwise the nearest one."""
    priced = [tag for tag in prices if tag.tokens_per_s and tag.training_s]
    near = [tag for tag in priced if tag.fits_memory is not False and tag.extrapolation <= _FARTHEST]
    if near:
        return max(near, key=lambda tag: tag.params_total)
    return min(priced, key=lambda tag: tag.extrapolation, default=None)


def _price_sentence(tag: PriceTag) -> str:
    assert tag.tokens_per_s is not None
    assert tag.training_s is not None
    reach = f" ({distance(tag.extrapolation)})" if tag.extrapolation > 1 else ""
    room = " It would not fit in memory." if tag.fits_memory is False else ""
    return (
        f"Here a {format_amount(tag.params_non_embedding)} model trains at"
        f" {with_interval(tag.tokens_per_s, rate)} tokens/s: its {format_amount(tag.training_tokens)} tokens take"
        f" {with_interval(tag.training_s, format_seconds)}{reach}.{room}"
    )


def _largest_step(cells: tuple[Cell, ...]) -> Cell | None:
    alone = [cell for cell in cells if not cell.workload.is_parallel]
    steps = [cell for cell in alone if cell.workload.phase == "step" and cell.typical_s and cell.accounting]
    return max(steps, key=lambda cell: (_params(cell), not cell.workload.options), default=None)


def _params(cell: Cell) -> int:
    return cell.accounting.params_total if cell.accounting else 0


def _measured_sentence(cell: Cell) -> str:
    assert cell.accounting is not None
    return (
        f"The largest model measured here, {cell.workload.rung} ({format_amount(cell.accounting.params_total)}"
        f" parameters), takes {with_interval(cell.typical_s, format_seconds)} a step."
    )


def _missing_law_sentence(analysis: Analysis) -> str:
    reason = analysis.missing_laws.get("step_time")
    return (
        f"No step time law, so no prediction: {reason.rstrip('.')}."
        if reason
        else "There is no prediction for larger models."
    )


def _best_validation(analysis: Analysis) -> str | None:
    losses = [(run.validation_loss, run) for run in analysis.suite.training_runs if run.validation_loss is not None]
    if not losses:
        return None
    loss, run = min(losses, key=lambda pair: pair[0])
    return f"The lowest validation loss is {loss:.3f} nats per token ({run.config}). No step was timed, so no cost."


def machine_line(analysis: Analysis) -> str:
    """The machine and its measured ceilings, in one line."""
    return "; ".join([analysis.suite.machine.summary, *ceiling_lines(analysis.suite.ceilings)])


def ceiling_lines(ceilings: Ceilings) -> list[str]:
    """'matrix products (cpu/float32) 160 GFLOP/s ± 3.1 %', one entry per ceiling."""
    products = [f"matrix products ({k}) {with_interval(e, flops_rate)}" for k, e in ceilings.gemm_flops_per_s.items()]
    triads = [f"memory ({k}) {with_interval(e, bytes_rate)}" for k, e in ceilings.triad_bytes_per_s.items()]
    return [*products, *triads]


def verdict_line(analysis: Analysis) -> str:
    """The verdict against the baseline, with how many things stand behind it; why there is none, otherwise."""
    diff = analysis.diff
    if diff is None:
        return f"No verdict: {(analysis.no_diff_reason or 'no baseline was given').rstrip('.')}."
    return f"Against baseline {diff.base_id}: {diff.verdict} ({count_verdicts(diff)}).{advisory_note(diff)}"


def advisory_note(diff: Diff) -> str:
    """What to keep in mind where the baseline comes from another machine; nothing otherwise."""
    return " Advisory only: another machine, so time says nothing of the code." if diff.advisory else ""


def count_verdicts(diff: Diff) -> str:
    """'2 regressed, 40 same'."""
    counts = Counter(comparison.verdict for comparison in diff.comparisons)
    return ", ".join(f"{counts[name]} {name}" for name in VERDICT_ORDER if counts[name]) or "nothing compared"
