"""From paired rounds to verdicts.

    visits ──> log ratio of each ──> median of a pair ──> trimmed mean over pairs ──> t ──> Holm ──> verdict

The unit is the pair of fresh processes: visits inside one share its memory layout, so only pairs are independent. It is
regressed where head is surely slower than base (Student over pairs, Holm over workloads, error spent over the looks)
and slower by the margin or more; a slowdown that is sure but below the margin is 'same' once its interval says so.

Beside each workload stands their mean, 'all workloads', which sees what each of them alone is too noisy for; the
steadier ones count more in it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import exp, log, sqrt
from statistics import NormalDist

import numpy as np
from scipy.stats import t as student

from scalemark.diff.verdict import worst
from scalemark.schema import INTERVAL_LEVEL, AbPair, AbSamples, Comparison, Estimate, VerdictName

ALL = "all workloads"
TIME = "time_s"
# Of the pairs' log ratios, cut off at each end: one pair that met a stolen second must not decide.
TRIMMED = 0.1
FEWEST_PAIRS = 4


@dataclass(frozen=True)
class Shift:
    """Mean log ratio, head over base, of one subject: its standard error, and the degrees of freedom of that."""

    subject: str
    value: float
    error: float
    freedom: int

    @property
    def p_value(self) -> float:
        """Of no difference, two-sided."""
        return float(2 * student.sf(abs(self.value) / self.error, self.freedom)) if self.error else 0.0

    def ratio(self, level: float = INTERVAL_LEVEL) -> Estimate:
        """The ratio of times with Student's interval over pairs."""
        reach = float(student.ppf((1 + level) / 2, self.freedom)) * self.error
        low, high = exp(self.value - reach), exp(self.value + reach)
        return Estimate(value=exp(self.value), low=low, high=high, level=level)


def spent(alpha: float, share: float) -> float:
    """False alarms that may have been risked when this share of the time is over, of `alpha` in all.

    Lan & DeMets 1983, in the form that resembles O'Brien & Fleming: 2 − 2·Φ(z(1 − α/2) / √share). Little early on.
    """
    normal = NormalDist()
    return 2 - 2 * normal.cdf(normal.inv_cdf(1 - alpha / 2) / sqrt(share)) if share > 0 else 0.0


def look_levels(alpha: float, shares: Sequence[float]) -> tuple[float, ...]:
    """What each look may risk: the increments of `spent`. Their sum bounds the whole, however looks correlate."""
    return tuple(spent(alpha, after) - spent(alpha, before) for before, after in pairwise((0.0, *shares)))


def visit_log_ratios(samples: AbSamples) -> np.ndarray:
    """log(head / base) of each visit, shape (visits,), each side at the median of its rounds."""
    base_s, head_s = (_of_visits(side, samples.rounds_per_visit) for side in (samples.base_s, samples.head_s))
    ratios: np.ndarray = np.log(head_s / base_s)
    return ratios


def _of_visits(rounds_s: Sequence[float], rounds_per_visit: int) -> np.ndarray:
    """The median round of each visit, seconds, shape (visits,)."""
    table = np.reshape(rounds_s, (-1, rounds_per_visit))
    medians: np.ndarray = table[:, 0] if rounds_per_visit == 1 else np.median(table, axis=1)
    return medians


def pair_log_ratio(samples: AbSamples) -> float:
    """Median over visits of log(head / base)."""
    return float(np.median(visit_log_ratios(samples)))


def precisions(pairs: Sequence[AbPair], keys: Sequence[str]) -> np.ndarray:
    """How much each workload counts in the mean of all, shape (workloads,), of sum 1: as 1 / variance.

    The variance is that of visits inside a pair, over their number. Swapping base and head leaves it as it is, so
    weights taken from the same pairs cannot make unchanged code look slower or faster. All alike where visits are too
    few to tell, or do not differ.
    """
    variances = np.array([_typical_variance([_samples(pair, key) for pair in pairs]) for key in keys])
    weights = 1 / variances if np.all(variances > 0) else np.ones(len(keys))
    shares: np.ndarray = weights / weights.sum()
    return shares


def _typical_variance(samples: Sequence[AbSamples]) -> float:
    """Of the mean of one pair's visits, the median over pairs; 0 where none has two visits."""
    visits = [visit_log_ratios(one) for one in samples]
    found = [float(ratios.var(ddof=1)) / len(ratios) for ratios in visits if len(ratios) > 1]
    return float(np.median(found)) if found else 0.0


def shifts(pairs: Sequence[AbPair], keys: Sequence[str]) -> list[Shift]:
    """Of each workload, and of their mean where there are several; none before there are `FEWEST_PAIRS` pairs.

    Only pairs that were measured to their end count, so that all subjects rest on the same ones.
    """
    whole = [pair for pair in pairs if pair.lost is None]
    if len(whole) < FEWEST_PAIRS:
        return []
    table = np.array([[pair_log_ratio(_samples(pair, key)) for key in keys] for pair in whole])
    found = [_shift(key, column) for key, column in zip(keys, table.T, strict=True)]
    return [*found, _shift(ALL, table @ precisions(whole, keys))] if len(keys) > 1 else found


def _samples(pair: AbPair, key: str) -> AbSamples:
    return next(samples for samples in pair.samples if samples.key == key)


def _shift(subject: str, log_ratios: np.ndarray) -> Shift:
    """Trimmed mean with the standard error of the winsorised sample (Yuen 1974; Tukey & McLaughlin 1963)."""
    values = np.sort(log_ratios)
    n, cut = len(values), int(TRIMMED * len(values))
    kept = values[cut : n - cut]
    winsorised = np.clip(values, kept[0], kept[-1])
    error = float(winsorised.std(ddof=1)) / ((len(kept) / n) * sqrt(n))
    return Shift(subject, float(kept.mean()), error, len(kept) - 1)


def surely_moved(found: Sequence[Shift], alpha: float) -> set[str]:
    """Subjects that differ from no change; in `alpha` of all cases, at most, is one of them wrongly among them.

    Weighted step-down of Holm 1979: the mean of all counts as much as the workloads together, since a change of the
    code that all of them run is what is most often met.
    """
    weights = {shift.subject: len(found) - 1.0 if shift.subject == ALL else 1.0 for shift in found}
    moved: set[str] = set()
    for shift in sorted(found, key=lambda shift: shift.p_value / weights[shift.subject]):
        left = sum(weight for subject, weight in weights.items() if subject not in moved)
        if shift.p_value > alpha * weights[shift.subject] / left:
            break
        moved.add(shift.subject)
    return moved


def judge(shift: Shift, is_sure: bool, margin: float) -> VerdictName:
    """What is said of one subject at one look."""
    limit = log(1 + margin)
    if is_sure and abs(shift.value) >= limit:
        return "regressed" if shift.value > 0 else "improved"
    ratio = shift.ratio()
    return "same" if -limit <= log(ratio.low) and log(ratio.high) <= limit else "inconclusive"


def compare_times(pairs: Sequence[AbPair], keys: Sequence[str], alpha: float, margin: float) -> tuple[Comparison, ...]:
    """A verdict for each workload and for all of them, at a look that may risk `alpha`."""
    found = shifts(pairs, keys)
    if not found:
        lost = next((pair.lost for pair in reversed(pairs) if pair.lost), None)
        reason = f"fewer than {FEWEST_PAIRS} pairs of processes: give more --time" + (f" ({lost})" if lost else "")
        return tuple(Comparison(subject=key, metric=TIME, verdict="inconclusive", reason=reason) for key in keys)
    sure = surely_moved(found, alpha)
    return tuple(_comparison(shift, pairs, judge(shift, shift.subject in sure, margin)) for shift in found)


def _comparison(shift: Shift, pairs: Sequence[AbPair], verdict: VerdictName) -> Comparison:
    base_s, head_s = _typical_s(shift.subject, pairs)
    return Comparison(subject=shift.subject, metric=TIME, base=base_s, new=head_s, ratio=shift.ratio(), verdict=verdict)


def _typical_s(key: str, pairs: Sequence[AbPair]) -> tuple[float | None, float | None]:
    """Median round of each side, seconds; None for a mean over workloads."""
    found = [samples for pair in pairs if pair.lost is None for samples in pair.samples if samples.key == key]
    if not found:
        return None, None
    sides = ([one.base_s for one in found], [one.head_s for one in found])
    base_s, head_s = (float(np.median(np.concatenate([np.asarray(one) for one in side]))) for side in sides)
    return base_s, head_s


def verdict_of(times: Sequence[Comparison]) -> VerdictName:
    """Of the whole: what is decided of any workload counts. One that is undecided counts where their mean is, too.

    Twelve pairs tell a mean of three workloads to about 1 %, and the noisiest of them to 2.5 %: what may hide in one
    alone is smaller than that, and said beside the verdict.
    """
    mean = next((one for one in times if one.subject == ALL), None)
    is_open = mean is None or mean.verdict == "inconclusive"
    return worst(one.verdict for one in times if is_open or one.verdict != "inconclusive")


def is_decided(comparisons: Sequence[Comparison]) -> bool:
    """Whether more pairs could not change the verdict of the whole, or have nothing left to tell."""
    verdicts = {comparison.verdict for comparison in comparisons}
    return "regressed" in verdicts or "inconclusive" not in verdicts
