"""Where an axis is marked, and what stands there: round values in the units people say them in.

Vega's own ticks on a logarithmic axis are crowded and read '1e+6' or '0.01'. These are few, and read '1 M' or '10 ms'.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import takewhile
from math import ceil, floor, log10

from scalemark.report.numbers import joules
from scalemark.units import (
    AMOUNT_STEPS,
    BINARY_STEPS,
    SI_STEPS,
    TIME_STEPS,
    format_amount,
    format_bytes,
    format_count,
    format_seconds,
    significant,
)

_BEST_COUNT = 5
_MOST = 7
_DAY_S = 86400.0
_PERCENT = ((0.01, "%"),)
_DIVISOR = re.compile(r"datum\.value / ([0-9.e+-]+),")


@dataclass(frozen=True)
class Axis:
    """An axis, logarithmic unless it says otherwise: its ends, the marked values and their labels.

    units: size and name of each in which any other value is read.
    """

    low: float
    high: float
    values: tuple[float, ...]
    labels: tuple[str, ...]
    units: Sequence[tuple[float, str]] = ((1.0, ""),)
    is_log: bool = True


def amount_axis(values: list[float]) -> Axis:
    """Parameters or tokens."""
    return _axis(
        values, [_one_two_five, _decades, _even], lambda value: format_amount(value, _digits(value)), AMOUNT_STEPS
    )


def flops_axis(values: list[float]) -> Axis:
    """FLOPs of whole training runs."""
    choices = [_one_two_five, _decades, _even]
    return _axis(values, choices, lambda value: format_count(value, "FLOP", _digits(value)), _multiples("FLOP"))


def seconds_axis(values: list[float]) -> Axis:
    """Durations, marked at seconds, minutes, hours and days rather than at powers of ten of a second."""
    choices = [_time_steps, _time_decades, _even]
    return _axis(values, choices, lambda value: format_seconds(value, _digits(value)), TIME_STEPS)


def bytes_axis(values: list[float]) -> Axis:
    """Sizes, marked at powers of two."""
    choices = [_powers_of(4), _powers_of(16), _powers_of(2)]
    return _axis(values, choices, lambda value: format_bytes(value, 4), BINARY_STEPS)


def ratio_axis(values: list[float]) -> Axis:
    """How many times one thing is another: '5×'."""
    choices = [_one_two_five, _decades, _finer_steps, _even]
    return _axis(values, choices, lambda value: f"{significant(value, _digits(value))}×", ((1.0, "×"),))


def usd_axis(values: list[float]) -> Axis:
    """US dollars."""
    choices = [_one_two_five, _decades, _even]
    return _axis(values, choices, lambda value: f"${significant(value, _digits(value))}")


def bytes_rate_axis(values: list[float]) -> Axis:
    """Bandwidths, marked at powers of ten."""
    choices = [_one_two_five, _decades, _even]
    return _axis(values, choices, lambda value: format_count(value, "B/s", _digits(value)), _multiples("B/s"))


def loss_axis(values: list[float]) -> Axis:
    return _axis(values, [_finer_steps, _even], lambda value: f"{value:g}", margin=1.03)


def number_axis(values: list[float]) -> Axis:
    """Numbers without a unit."""
    return _axis(values, [_one_two_five, _decades, _even], lambda value: significant(value, _digits(value)))


def flops_rate_axis(values: list[float]) -> Axis:
    choices = [_one_two_five, _decades, _even]
    return _axis(values, choices, lambda value: format_count(value, "FLOP/s", _digits(value)), _multiples("FLOP/s"))


def joules_axis(values: list[float]) -> Axis:
    units = [*_multiples("J"), (1e-3, "mJ"), (1e-6, "µJ"), (1e-9, "nJ")]
    return _axis(values, [_one_two_five, _decades, _even], joules, units)


def share_axis(values: list[float]) -> Axis:
    """Shares from 0 on, linear; to 100 % or more, unless all are far below."""
    return _linear(0.0, max(values) * 1.08, lambda value: f"{value * 100:g} %")


def difference_axis(values: list[float]) -> Axis:
    """Relative differences around 0, linear: '+5 %'."""
    most = 1.1 * max(map(abs, values))
    return _linear(-most, most, lambda value: f"{value * 100:+g} %".replace("-", "−") if value else "0 %")


def _multiples(unit: str) -> list[tuple[float, str]]:
    return [(size, f"{prefix}{unit}") for size, prefix in SI_STEPS]


def _linear(low: float, high: float, write: Callable[[float], str]) -> Axis:
    """About five even steps of 1, 2 or 5 times a power of ten, of shares."""
    rough = (high - low) / _BEST_COUNT
    step = next(step for step in _one_two_five(rough / 10, rough * 10) if step >= 0.8 * rough)
    ticks = [float(f"{index * step:.6g}") for index in range(ceil(low / step), floor(high / step) + 1)]
    return Axis(low, high, tuple(ticks), tuple(map(write, ticks)), _PERCENT, is_log=False)


def _axis(
    values: list[float],
    choices: Sequence[Callable[[float, float], list[float]]],
    write: Callable[[float], str],
    units: Sequence[tuple[float, str]] = ((1.0, ""),),
    margin: float = 1.15,
) -> Axis:
    """The choice with about five ticks, the earlier of two alike; `margin` is a factor left free at both ends."""
    low, high = min(values) / margin, max(values) * margin
    offered = [[tick for tick in choice(low, high) if low <= tick <= high] for choice in choices]
    ticks = min(offered, key=lambda ticks: abs(len(ticks) - _BEST_COUNT))
    kept = ticks[:: ceil(len(ticks) / _MOST)] if ticks else [low, high]
    return Axis(low, high, tuple(kept), tuple(map(_tidy(write), kept)), units)


def _tidy(write: Callable[[float], str]) -> Callable[[float], str]:
    """Labels without the zeros that a fixed number of significant digits appends: '64.00 MiB' reads '64 MiB'."""

    def tidy(value: float) -> str:
        head, _, unit = write(value).partition(" ")
        return f"{head.rstrip('0').rstrip('.') if '.' in head else head} {unit}".rstrip()

    return tidy


def _digits(value: float) -> int:
    """Significant digits that the value has, at most three."""
    return next((digits for digits in (1, 2) if abs(float(f"{value:.{digits - 1}e}") / value - 1) < 1e-9), 3)


def _decades(low: float, high: float) -> list[float]:
    return [10.0**power for power in range(floor(log10(low)), ceil(log10(high)) + 1)]


def _one_two_five(low: float, high: float) -> list[float]:
    return [float(f"{digit * decade:.0e}") for decade in _decades(low, high) for digit in (1, 2, 5)]


def _finer_steps(low: float, high: float) -> list[float]:
    return [float(f"{digit * decade:.1e}") for decade in _decades(low, high) for digit in (1, 1.5, 2, 3, 5, 7)]


def _even(low: float, high: float) -> list[float]:
    """About seven even steps of 1, 2 or 5 times a power of ten; none beyond a decade, where they would crowd."""
    if high > 10 * low:
        return []
    rough = (high - low) / 7
    step = next(step for step in _one_two_five(rough / 10, rough * 10) if step >= rough)
    return [float(f"{index * step:.6g}") for index in range(max(1, floor(low / step)), ceil(high / step) + 1)]


def _time_decades(low: float, high: float) -> list[float]:
    below_a_minute = [tick for tick in _decades(1e-7, 10.0) if tick < 60]
    minutes_and_hours = [60.0, 600.0, 3600.0, 36000.0]
    return below_a_minute + minutes_and_hours + [days * _DAY_S for days in (1, 10, 100, 1000)]


def _time_steps(low: float, high: float) -> list[float]:
    below_a_minute = list(takewhile(lambda tick: tick < 60, _one_two_five(1e-7, 10.0)))
    minutes = [60.0 * minute for minute in (1, 2, 5, 10, 30)]
    hours = [3600.0 * hour for hour in (1, 2, 5, 12)]
    return below_a_minute + minutes + hours + [days * _DAY_S for days in (1, 2, 5, 10, 30, 100, 300, 1000)]


def _powers_of(base: int) -> Callable[[float, float], list[float]]:
    return lambda low, high: [float(base) ** power for power in range(60) if float(base) ** power <= high]


def label_expression(axis: Axis) -> str:
    """Vega expression of a tick's label: looked up, or in the axis's units where a reader looks at a part of it."""
    values = ",".join(repr(value) for value in axis.values)
    labels = ",".join(f"'{label}'" for label in axis.labels)
    place = f"indexof([{values}], datum.value)"
    return f"{place} >= 0 ? [{labels}][{place}] : {_any_label(axis)}"


def _any_label(axis: Axis) -> str:
    """Vega expression of any value with four digits at most, in the largest unit of which it has one or more."""
    *larger, (_, smallest) = [
        (size * (1 - 1e-9), f"format(datum.value / {size!r}, ',.4~r') + '{' ' * (unit not in ('', '×'))}{unit}'")
        for size, unit in sorted(axis.units, reverse=True)
    ]
    steps = "".join(f"datum.value >= {least!r} ? {text} : " for least, text in larger)
    return f"datum.value === 0 ? '0' : {steps}{smallest}"


def unit_sizes(expression: str) -> list[float]:
    """The sizes of an axis's units, smallest first, read back from its `label_expression`; 1 where it has none."""
    return sorted({float(size) for size in _DIVISOR.findall(expression)}) or [1.0]
