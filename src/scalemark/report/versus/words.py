"""Numbers as a comparison writes them."""

from scalemark.report.numbers import Formatter, with_interval
from scalemark.schema import ContenderStep, Crossover, Estimate
from scalemark.units import MISSING, format_amount, format_count, significant

_JOULES_PER_WH = 3600.0


def times(ratio: float) -> str:
    """'5.1×'."""
    return f"{significant(ratio, 2)}×"


def speedup(ratio: Estimate | None) -> str:
    """'5.1× (4.6 to 5.7)'; a dash for None."""
    if ratio is None:
        return MISSING
    return f"{times(ratio.value)} ({significant(ratio.low, 2)} to {significant(ratio.high, 2)})"


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
    if estimate.low == estimate.high:
        return write(estimate.value)
    return with_interval(estimate, write) if step.measured else f"≈ {with_interval(estimate, write)}"


def beyond(extrapolation: float) -> str:
    """'8.0× beyond', or that all is within what was fitted."""
    return "within" if extrapolation <= 1 else f"{times(extrapolation)} beyond"


def crossover_size(crossover: Crossover) -> str:
    """'0.40 M (0.31 M to 0.56 M)', with words for an end that is open."""
    size, low, high = (None if one is None else format_amount(one, 2) for one in _sizes(crossover))
    if low and high:
        return f"{size} ({low} to {high})"
    if high:
        return f"{size} (at most {high}, how far below is not told)"
    return f"{size} (at least {low}, how far above is not told)" if low else f"{size} (anywhere)"


def _sizes(crossover: Crossover) -> tuple[float, float | None, float | None]:
    return crossover.params, crossover.low, crossover.high
