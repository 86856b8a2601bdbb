"""Numbers as a comparison writes them."""

from scalemark.report.numbers import Formatter, with_interval
from scalemark.schema import ContenderStep, Crossover, Estimate
from scalemark.units import MISSING, format_amount, format_count, significant

_JOULES_PER_WH = 3600.0


def times(ratio: float) -> str:
    """'5.1×', and about 1 with two decimals: '0.97×'."""
    return f"{_like(ratio, ratio)}×"


def speedup(ratio: Estimate | None) -> str:
    """'5.1× (4.6 to 5.7)'; a dash for None."""
    if ratio is None:
        return MISSING
    low, high = (_like(ratio.value, end) for end in (ratio.low, ratio.high))
    return f"{times(ratio.value)} ({low} to {high})"


def _like(ratio: float, end: float) -> str:
    """An end of an interval with as many decimals as its ratio has."""
    if 0.1 <= ratio < 10:
        return f"{end:.2f}" if ratio < 2 else f"{end:.1f}"
    return significant(end, 2)


def usd(amount: float) -> str:
    """'$12.3', '$0.000123': dollars, however many."""
    return f"${significant(amount)}"


def watt_hours(joules: float) -> str:
    """'1.23 kWh'."""
    return format_count(joules / _JOULES_PER_WH, "Wh")


def known(step: ContenderStep | None, estimate: Estimate | None, write: Formatter) -> str:
    """The value with its interval, '≈' before what is predicted; a dash where there is none."""
    if step is None or estimate is None:
        return MISSING
    return told(estimate, write) if step.measured else f"≈ {told(estimate, write)}"


def told(estimate: Estimate | None, write: Formatter) -> str:
    """The value with its interval; without one, where a counter told it exactly."""
    is_exact = estimate is not None and estimate.low == estimate.high
    return write(estimate.value) if estimate and is_exact else with_interval(estimate, write)


def beyond(extrapolation: float) -> str:
    """'8.0× beyond', or that all is within what was fitted."""
    return "within" if extrapolation <= 1 else f"{_far(extrapolation)} beyond"


def far_beyond(extrapolation: float) -> str:
    """'8.0× beyond the fitted range'."""
    return f"{_far(extrapolation)} beyond the fitted range"


def _far(extrapolation: float) -> str:
    return f"{significant(extrapolation, 2)}×"


def crossover_size(crossover: Crossover) -> str:
    """'400 k parameters (310 k to 560 k)', with words for an end that is open, and how far beyond it lies."""
    ends = (crossover.low, crossover.params, crossover.high)
    digits = 2 if len({format_amount(end, 2) for end in ends}) == len(ends) else 3
    low, size, high = (None if end is None else format_amount(end, digits) for end in ends)
    parts = [_interval(low, high)]
    if crossover.extrapolation > 1:
        parts.append(far_beyond(crossover.extrapolation))
    return f"{size} parameters ({'; '.join(parts)})"


def _interval(low: str | None, high: str | None) -> str:
    if low and high:
        return f"{low} to {high}"
    if low or high:
        return f"at least {low}, how far above is not told" if low else f"at most {high}, how far below is not told"
    return "not told: anywhere"
