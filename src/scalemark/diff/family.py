"""Verdicts on many noisy quantities at once, so that a whole suite of unchanged code is rarely called slower.

    z_i = log ratio / standard error        p_i = P(T > z_i), T of Student with the cell's degrees of freedom
    Holm 1979: with k of m rejected, the others are held to level / (m − k)
    margin_i = max(floor, quantile(level / (m − k)) · standard error)

Slower and faster are two families, each with the level of its own.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import exp, expm1, log, log1p

from scipy.stats import t

from scalemark.diff.noise import RunToRun
from scalemark.schema import INTERVAL_LEVEL, Estimate, VerdictName

# How often one suite of unchanged code may be called worse: 5 %, shared by laws, the mean of all cells and each cell.
SUITE_LEVEL = 0.05
LAWS_LEVEL = 0.01
TOGETHER_LEVEL = 0.015
CELLS_LEVEL = SUITE_LEVEL - LAWS_LEVEL - TOGETHER_LEVEL
# A run whose own interval says that it is so many times noisier than the reruns were is not what they stand for.
NOISIER = 2.0
# Slowdowns from here on are promised to be seen; a run too noisy for that, though the reruns were not, cannot call
# anything the same.
PROMISED = 0.20
# A margin above this is none: reruns that differ so much tell nothing of a cell but that it is too noisy.
LARGEST_MARGIN = 0.50


@dataclass(frozen=True)
class Candidate:
    """A log ratio, new over base, with what reruns say of its scatter.

    own_error: standard error of the new run's log, by its own blocks; 0 where that is not known.
    """

    log_ratio: float
    noise: RunToRun
    own_error: float = 0.0

    @property
    def scale(self) -> float:
        """Standard error that unchanged code gives the log ratio."""
        return self.noise.scale()

    @property
    def wide_scale(self) -> float:
        """The same, where this run was clearly noisier than the reruns: by its own blocks."""
        return self.noise.scale(self.own_error if self.own_error > NOISIER * self.noise.sd else 0.0)

    @property
    def ratio(self) -> Estimate:
        """New over base with its interval; of this cell alone, whatever the others say."""
        reach = float(t.ppf((1 + INTERVAL_LEVEL) / 2, self.noise.freedom)) * self.wide_scale
        value = self.log_ratio
        return Estimate(value=exp(value), low=exp(value - reach), high=exp(value + reach))


@dataclass(frozen=True)
class Judged:
    """A verdict, and the change that it asks for: 0.05 reads '5 %'."""

    verdict: VerdictName
    margin: float


def judge_suite(
    cells: Sequence[Candidate], together: Candidate | None, floor: float
) -> tuple[list[Judged], Judged | None]:
    """A verdict for each cell, and one for the mean of all of them, which comes first.

    Where the mean is slower its share of the level goes on to the cells (fallback procedure; Wiens 2003).
    """
    first = judge_family([together], floor, TOGETHER_LEVEL)[0] if together else None
    is_free = first is None or first.verdict == "regressed"
    return judge_family(cells, floor, CELLS_LEVEL + TOGETHER_LEVEL * is_free), first


def judge_family(candidates: Sequence[Candidate], floor: float, level: float = CELLS_LEVEL) -> list[Judged]:
    """A verdict for each. floor: no change below it is called one, however little the reruns differ."""
    slower = holm_level([_p_slower(one, 1.0) for one in candidates], level)
    faster = holm_level([_p_slower(one, -1.0) for one in candidates], level)
    return [_judge(one, log1p(floor), slower, faster) for one in candidates]


def holm_level(p_values: Sequence[float], level: float) -> float:
    """What each p is held to in the end: those at or below it are rejected, at a family-wise error of `level`."""
    left = len(p_values)
    for p in sorted(p_values):
        if p > level / left:
            return level / left
        left -= left > 1
    return level


def _p_slower(one: Candidate, sign: float) -> float:
    return float(t.sf(sign * one.log_ratio / one.scale, one.noise.freedom))


def _judge(one: Candidate, floor: float, slower: float, faster: float) -> Judged:
    """Between the margin of the reruns and that of a noisier run, and where the latter is too wide: inconclusive."""
    up, down = (max(floor, _reach(one, level, one.scale)) for level in (slower, faster))
    up_wide, down_wide = (max(floor, _reach(one, level, one.wide_scale)) for level in (slower, faster))
    blind = up_wide > max(up, log1p(PROMISED)) or up > max(floor, log1p(LARGEST_MARGIN))
    verdict: VerdictName = "inconclusive" if one.log_ratio > up or one.log_ratio < -down or blind else "same"
    if one.log_ratio > up_wide:
        verdict = "regressed"
    elif one.log_ratio < -down_wide:
        verdict = "improved"
    return Judged(verdict, expm1(up))


def _reach(one: Candidate, level: float, scale: float) -> float:
    return float(t.isf(level, one.noise.freedom)) * scale


def standard_error(estimate: Estimate, n_blocks: int) -> float:
    """Of the logarithm, from an interval that is symmetric there and was made with Student's quantile."""
    tail = (1 + estimate.level) / 2
    quantile = float(t.ppf(tail, n_blocks - 1)) if n_blocks > 1 else float("inf")
    return log(estimate.high / estimate.low) / 2 / quantile
