"""SI inside, text at the edge: read durations and sizes, write numbers for people."""

import re
from math import floor, isfinite, log10

from scalemark.errors import BudgetError, InputError

_SECONDS_PER_UNIT = {"s": 1.0, "m": 60.0, "h": 3600.0}
SI_STEPS = [
    (1e24, "Y"),
    (1e21, "Z"),
    (1e18, "E"),
    (1e15, "P"),
    (1e12, "T"),
    (1e9, "G"),
    (1e6, "M"),
    (1e3, "k"),
    (1.0, ""),
]
AMOUNT_STEPS = [(1e12, "T"), (1e9, "B"), (1e6, "M"), (1e3, "k"), (1.0, "")]
BINARY_STEPS = [(2.0**40, "TiB"), (2.0**30, "GiB"), (2.0**20, "MiB"), (2.0**10, "KiB"), (1.0, "B")]
TIME_STEPS = [(86400.0, "d"), (3600.0, "h"), (60.0, "min"), (1.0, "s"), (1e-3, "ms"), (1e-6, "µs")]
# Beyond it no multiple has a name that the field uses.
_LARGEST_NAMED = 1e15
_SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
MISSING = "–"


def parse_duration_s(text: str) -> float:
    """Seconds from '90s', '8m', '1.5h' or '1h30m'.

    Raises BudgetError where the text is not a positive duration.
    """
    parts = re.findall(r"(\d+(?:\.\d+)?)([smh])", text.strip())
    if not parts or "".join(number + unit for number, unit in parts) != text.strip():
        raise BudgetError(f"cannot read {text!r} as a duration: write it like 90s, 8m or 1h")
    seconds = sum(float(number) * _SECONDS_PER_UNIT[unit] for number, unit in parts)
    if seconds <= 0:
        raise BudgetError(f"a budget of {text!r} leaves no time: give at least 30s")
    return seconds


def parse_fraction(text: str) -> float:
    """0.05 from '5%', '5 %' or '0.05'.

    Raises InputError where the text is no share between 0 and 1.
    """
    number, percent, rest = text.strip().partition("%")
    try:
        value = float(number) / (100 if percent else 1)
    except ValueError:
        value = -1.0
    if rest or not 0 <= value < 1:
        raise InputError(f"cannot read {text!r} as a share: write it like 5% or 0.05")
    return value


def significant(value: float, digits: int = 3) -> str:
    """The number with `digits` significant digits and no exponent: 12345 -> '12,300', 0.01234 -> '0.0123'."""
    if value == 0:
        return "0"
    rounded = float(f"{value:.{digits - 1}e}")  # first, as 0.9996 has one more digit before the point once rounded
    decimals = digits - 1 - floor(log10(abs(rounded)))
    return f"{rounded:,.{max(decimals, 0)}f}"


def scientific(value: float, digits: int = 3) -> str:
    """'3.37 × 10²⁰'."""
    exponent = floor(log10(abs(value)))
    return f"{value / 10.0**exponent:.{digits - 1}f} × 10{str(exponent).translate(_SUPERSCRIPTS)}"


def _scaled(value: float, steps: list[tuple[float, str]], digits: int, separator: str) -> str:
    size, unit = next(((size, unit) for size, unit in steps if abs(value) >= size * (1 - 1e-9)), steps[-1])
    return f"{significant(value / size, digits)}{separator}{unit}".rstrip()


def format_seconds(seconds: float | None, digits: int = 3) -> str:
    """'1.50 ms', '2.00 min', '32.1 d'; years where days are too many; a dash for None."""
    if seconds is None or not isfinite(seconds):
        return MISSING
    if seconds >= 2 * 365.25 * 86400:
        return f"{significant(seconds / (365.25 * 86400), digits)} years"
    return _scaled(seconds, TIME_STEPS, digits, " ")


def format_hours(hours: float) -> str:
    """A budget as it was asked for: '8 h', '10 min'."""
    return f"{hours:.4g} h" if hours >= 1 else f"{hours * 60:.4g} min"


def format_bytes(size_bytes: float | None, digits: int = 3) -> str:
    """Binary units: '155 MiB'; a dash for None."""
    if size_bytes is None or not isfinite(size_bytes):
        return MISSING
    return _scaled(size_bytes, BINARY_STEPS, digits, " ")


def format_count(count: float | None, unit: str = "", digits: int = 3) -> str:
    """SI multiples: '35.8 M', '1.20 TFLOP/s' with unit='FLOP/s'; a dash for None."""
    if count is None or not isfinite(count):
        return MISSING
    text = _scaled(count, SI_STEPS, digits, " ")
    return f"{text}{'' if text[-1].isalpha() else ' '}{unit}" if unit else text


def format_amount(amount: float | None, digits: int = 3) -> str:
    """Parameters and tokens as the field writes them: '35.8 M', '1.70 B', '3.37 × 10²⁰' FLOPs; a dash for None."""
    if amount is None or not isfinite(amount):
        return MISSING
    if abs(amount) >= _LARGEST_NAMED:
        return scientific(amount, digits)
    return _scaled(amount, AMOUNT_STEPS, digits, " ")


def format_percent(fraction: float | None, digits: int = 1) -> str:
    """'12.3 %' from 0.123; a dash for None."""
    return MISSING if fraction is None or not isfinite(fraction) else f"{fraction * 100:.{digits}f} %"
