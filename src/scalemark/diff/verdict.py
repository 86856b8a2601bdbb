"""The rules that turn two numbers into a verdict. Lower is better for everything judged here.

Three kinds of number: an exact counter (any change counts), a seeded loss (equal up to rounding), and a measured time
(a ratio with its interval, against a margin).
"""

from collections.abc import Iterable
from math import exp, hypot, isclose, log
from statistics import NormalDist

from scalemark.schema import INTERVAL_LEVEL, Estimate, VerdictName

# A smaller slowdown is within what one machine does from day to day: one figure for all cells and machines, where a
# baseline stores no reruns.
TIME_MARGIN = 0.10
# Where it does, margins come from them; no smaller change than this is called one all the same.
MARGIN_FLOOR = 0.05
# Rounding of a loss on its way through JSON and back is far below, any change of arithmetic far above.
LOSS_TOLERANCE = 1e-9

_WORST_FIRST: tuple[VerdictName, ...] = (
    "regressed",
    "inconclusive",
    "missing",
    "improved",
    "same",
    "new",
    "incomparable",
)


def worst(verdicts: Iterable[VerdictName]) -> VerdictName:
    """The verdict of the whole: regressed > inconclusive > missing > improved > same, new > incomparable.

    A part that is only missing does not make the whole worse than one that is undecided. 'same' speaks for 'new',
    and 'incomparable' is the verdict only where nothing else could be said.
    """
    return min(verdicts, key=_WORST_FIRST.index, default="incomparable")


def judge_counter(base: float, new: float) -> VerdictName:
    """Of a number that is the same on every run of the same code."""
    if new == base:
        return "same"
    return "regressed" if new > base else "improved"


def judge_loss(base: float, new: float) -> VerdictName:
    """Of a loss that a seed fixes on one machine."""
    return "same" if isclose(base, new, rel_tol=LOSS_TOLERANCE) else judge_counter(base, new)


def judge_ratio(ratio: Estimate, margin: float = TIME_MARGIN) -> VerdictName:
    """Of new over base: decided only where the whole interval lies beyond the margin, or inside it.

    The margin is symmetric in the logarithm: twice as slow and twice as fast are the same distance from 1.

    Of 3000 simulated comparisons of unchanged code, three blocks a side, 0.03 % were called regressed where blocks
    differ by 5 %, and 0.6 % where they differ by 10 %. Most are inconclusive there (59 % and 95 %): add blocks.
    """
    slower, faster = 1 + margin, 1 / (1 + margin)
    if ratio.low > slower:
        return "regressed"
    if ratio.high < faster:
        return "improved"
    return "same" if faster <= ratio.low and ratio.high <= slower else "inconclusive"


def ratio_of(new: Estimate, base: Estimate) -> Estimate:
    """new / base of two independent positive estimates.

    The limits combine in the logarithm, each side of one interval with the opposite side of the other, which keeps
    skewed intervals skewed (Donner & Zou 2012, MOVER for a ratio).
    """
    value = log(new.value / base.value)
    below = hypot(_reach(new, new.low), _reach(base, base.high))
    above = hypot(_reach(new, new.high), _reach(base, base.low))
    return Estimate(value=exp(value), low=exp(value - below), high=exp(value + above))


def _reach(estimate: Estimate, limit: float) -> float:
    """Distance from the value to this limit in the logarithm, as it would be at the level that we report."""
    return abs(log(limit / estimate.value)) * _quantile(INTERVAL_LEVEL) / _quantile(estimate.level)


def _quantile(level: float) -> float:
    return NormalDist().inv_cdf((1 + level) / 2)
