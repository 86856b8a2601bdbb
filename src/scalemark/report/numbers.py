"""Write a value with its interval, a prediction with its distance, and a quantity by the unit its name carries."""

from collections.abc import Callable

from scalemark.schema import Estimate, Law, LawKind, Range
from scalemark.units import (
    MISSING,
    format_amount,
    format_bytes,
    format_count,
    format_percent,
    format_seconds,
    scientific,
    significant,
)

Formatter = Callable[[float], str]
WITHIN = "within the fitted range"
# A plan that reaches so many times beyond what was measured is marked as a guess.
MARKED_BEYOND = 10.0
# Intervals that one percentage would misstate: wider than half of the value, or more than a tenth with one side half as
# long again as the mean of both.
_WIDE, _NARROW, _LOPSIDED = 0.5, 0.1, 1.5


def plus_minus(estimate: Estimate) -> str:
    """'± 1.2 %': half the interval over the value."""
    percent = estimate.relative_half_width * 100
    if percent == 0:
        return "± 0 %"
    if percent < 0.1:
        return "± <0.1 %"
    return f"± {percent:.1f} %" if percent < 9.95 else f"± {percent:.0f} %"


def interval(estimate: Estimate, write: Formatter) -> str:
    """'12.1 ms to 12.6 ms'."""
    return f"{write(estimate.low)} to {write(estimate.high)}"


def with_interval(estimate: Estimate | None, write: Formatter) -> str:
    """'12.3 ms ± 1.2 %'; both ends where one percentage would misstate the interval; a dash for None."""
    if estimate is None:
        return MISSING
    if _needs_both_ends(estimate):
        return f"{write(estimate.value)} ({interval(estimate, write)})"
    return f"{write(estimate.value)} {plus_minus(estimate)}"


def _needs_both_ends(estimate: Estimate) -> bool:
    half = estimate.relative_half_width
    longer = max(estimate.high - estimate.value, estimate.value - estimate.low) / abs(estimate.value or 1)
    return half > _WIDE or (half > _NARROW and longer > _LOPSIDED * half)


def reading(estimate: Estimate, write: Formatter) -> str:
    """With its interval, where it is more than one reading."""
    return write(estimate.value) if estimate.high == estimate.low else with_interval(estimate, write)


def distance(extrapolation: float) -> str:
    """'2.4× beyond the fitted range', or that it lies within."""
    return WITHIN if extrapolation <= 1 else f"{significant(extrapolation, 2)}× beyond the fitted range"


def change(fraction: float) -> str:
    """'+3.2 %' from 0.032: a relative error or change, always with its sign."""
    return f"{'+' if fraction >= 0 else '−'}{abs(fraction) * 100:.1f} %"


def number(value: float) -> str:
    """Three significant digits: SI multiples when large, a power of ten when too small or too large for them."""
    if value != 0 and not 1e-3 <= abs(value) < 1e18:
        return scientific(value)
    return format_count(value) if abs(value) >= 1e4 else significant(value)


def rate(items_per_s: float) -> str:
    """Tokens or samples per second: '12,500', and '1.25 M' from a million on."""
    return significant(items_per_s) if items_per_s < 1e6 else format_amount(items_per_s)


def flops_rate(flops_per_s: float) -> str:
    return format_count(flops_per_s, "FLOP/s")


def joules(value: float) -> str:
    """SI multiples below one as well: '4.10 mJ'."""
    if value == 0 or value >= 1:
        return format_count(value, "J")
    factor, prefix = next((step for step in ((1e3, "m"), (1e6, "µ")) if value * step[0] >= 1), (1e9, "n"))
    return f"{significant(value * factor)} {prefix}J"


def bytes_rate(bytes_per_s: float) -> str:
    return format_count(bytes_per_s, "B/s")


def quantity(name: str, value: float) -> str:
    """A value written by the unit that its name carries: `_s`, `_bytes`, `_flops_per_s`, `mfu`, `params`, …

    Whole numbers without a unit stay exact, since counters are compared exactly.
    """
    writers: dict[str, Formatter] = {
        "flops_per_s": flops_rate,
        "bytes_per_s": bytes_rate,
        "_per_s": rate,
        "_bytes": format_bytes,
        "mfu": format_percent,
        "accuracy": format_percent,
        "_s": format_seconds,
    }
    writer = next((write for ending, write in writers.items() if name.endswith(ending)), None)
    if writer:
        return writer(value)
    return f"{value:,.0f}" if float(value).is_integer() else number(value)


def parameter_writer(unit: str) -> Formatter:
    """How a law's parameter is written, its unit included."""
    known: dict[str, Formatter] = {
        "s": format_seconds,
        "bytes": format_bytes,
        "FLOP/s": flops_rate,
        "FLOPs/s": flops_rate,
        "bytes/s": bytes_rate,
        "W": lambda watts: format_count(watts, "W"),
        "1": number,
        "": number,
    }
    return known.get(unit, number)


def fitted_range(law: Law) -> str:
    """'params non embedding 49.2 k to 35.8 M; tokens 512 to 2,048': where the law was seen to hold."""
    return "; ".join(f"{name.replace('_', ' ')} {_span(name, span)}" for name, span in law.domain.items())


def _span(name: str, span: Range) -> str:
    if name == "world_size":
        return f"{span.low:.0f}" if span.low == span.high else f"{span.low:.0f} to {span.high:.0f}"
    by_unit = name.endswith(("_s", "_bytes"))
    low, high = (quantity(name, end) if by_unit else format_amount(end) for end in (span.low, span.high))
    return f"{low} to {high}"


# How what a law predicts is written.
LAW_WRITERS: dict[LawKind, Formatter] = {
    "step_time": format_seconds,
    "memory": format_bytes,
    "energy": joules,
    "loss": lambda loss: f"{loss:.3f}",
}
