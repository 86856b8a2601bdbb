"""Two fits of one law, compared as what they predict at the same places: rungs, the pivot among them, and targets.

    log ratio at place j    ρ_j = log new_j − log base_j, its draws δ_bj from the bootstraps of both fits
    band at all places      ρ_j ± c·sd_j, c the 90 % quantile of max_j |δ_bj − median δ_j| / sd_j
    p that it got worse     share of draws with max_j (δ_bj − median δ_j) / sd_j ≥ max_j (ρ_j − log(1 + margin)) / sd_j

Coefficients trade with one another and forms may differ, so they explain and do not decide. Laws are judged together
(Holm). The predictions come from outside: this module knows no law.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import exp, expm1, log1p
from typing import Literal

import numpy as np

from scalemark.diff.family import LAWS_LEVEL, holm_level
from scalemark.diff.verdict import ratio_of
from scalemark.schema import INTERVAL_LEVEL, Estimate, Law, LawDiff, LawPoint, Parameter, VerdictName

_PAIRS = 4000
_SEED = 20_000
# No two fits are closer: below it a spread is rounding.
_SMALLEST_SD = 1e-9


@dataclass(frozen=True)
class Place:
    """Where both laws are asked. size: non-embedding parameters. extrapolation: the farther of the two."""

    where: str
    role: Literal["rung", "pivot", "target"]
    size: float
    extrapolation: float = 1.0


@dataclass(frozen=True)
class TwoFits:
    """Both laws at the same places.

    base, new: shape (places,). base_draws, new_draws: shape (replicates, places), numbers of replicates may differ.
    shared_sd: how far laws of two runs of the same code differ as a whole, in the logarithm, which no bootstrap inside
    one run can see. margin: no smaller change is called one.
    """

    base_law: Law
    new_law: Law
    places: tuple[Place, ...]
    base: np.ndarray
    new: np.ndarray
    base_draws: np.ndarray
    new_draws: np.ndarray
    margin: float
    shared_sd: float = 0.0


@dataclass(frozen=True)
class _Ratios:
    """Log ratios, their centred draws (draws, places) and standard deviations."""

    rho: np.ndarray
    draws: np.ndarray
    sd: np.ndarray

    def p_beyond(self, log_margin: float, sign: float = 1.0) -> float:
        """How often the largest standardised deviation is as large as what was seen beyond the margin."""
        seen = np.max((sign * self.rho - log_margin) / self.sd)
        return float((1 + np.sum(np.max(sign * self.draws / self.sd, axis=1) >= seen)) / (1 + len(self.draws)))

    @property
    def reach(self) -> np.ndarray:
        """Half of the simultaneous band, shape (places,)."""
        return float(np.quantile(np.max(np.abs(self.draws) / self.sd, axis=1), INTERVAL_LEVEL)) * self.sd


def judge_laws(pairs: Sequence[TwoFits], why_not: str | None = None) -> list[LawDiff]:
    """A verdict for each law. why_not: why none can be told (another machine); the ratios are given all the same."""
    ratios = [_ratios(pair) for pair in pairs]
    worse = [one.p_beyond(log1p(pair.margin)) for one, pair in zip(ratios, pairs, strict=True)]
    better = [one.p_beyond(log1p(pair.margin), -1.0) for one, pair in zip(ratios, pairs, strict=True)]
    levels = holm_level(worse, LAWS_LEVEL), holm_level(better, LAWS_LEVEL)
    return [
        _law_diff(pair, one, p_worse, _verdict(pair, one, p_worse <= levels[0], p_better <= levels[1]), why_not)
        for pair, one, p_worse, p_better in zip(pairs, ratios, worse, better, strict=True)
    ]


def missing_law(law: Law, margin: float, reason: str) -> LawDiff:
    """Where the base has a law and the new suite has none."""
    return LawDiff(kind=law.kind, verdict="missing", margin=margin, reason=reason)


def _ratios(pair: TwoFits) -> _Ratios:
    rng = np.random.default_rng(_SEED)  # fits of one seed drew the same rows: pair their replicates anew
    new, base = (np.log(draws[rng.integers(len(draws), size=_PAIRS)]) for draws in (pair.new_draws, pair.base_draws))
    draws = new - base + pair.shared_sd * rng.standard_normal((_PAIRS, 1))
    draws -= np.median(draws, axis=0)
    return _Ratios(np.log(pair.new / pair.base), draws, np.maximum(draws.std(axis=0), _SMALLEST_SD))


def _verdict(pair: TwoFits, ratios: _Ratios, is_worse: bool, is_better: bool) -> VerdictName:
    """Same: the band of what was measured lies within the margin."""
    if is_worse or is_better:
        return "regressed" if is_worse else "improved"
    inside = np.abs(ratios.rho) + ratios.reach <= log1p(pair.margin)
    measured = np.array([place.role != "target" for place in pair.places])
    return "same" if inside[measured].all() else "inconclusive"


def _law_diff(pair: TwoFits, ratios: _Ratios, p_worse: float, verdict: VerdictName, why_not: str | None) -> LawDiff:
    return LawDiff(
        kind=pair.base_law.kind,
        verdict="incomparable" if why_not else verdict,
        margin=pair.margin,
        p_worse=p_worse,
        points=tuple(_point(pair, ratios, index) for index in range(len(pair.places))),
        explanation=(*changed_with_size(pair.places, ratios.rho, ratios.draws), *changed_parameters(pair)),
        reason=why_not,
    )


def _point(pair: TwoFits, ratios: _Ratios, index: int) -> LawPoint:
    place, rho, reach = pair.places[index], float(ratios.rho[index]), float(ratios.reach[index])
    return LawPoint(
        where=place.where,
        role=place.role,
        base=float(pair.base[index]),
        new=float(pair.new[index]),
        ratio=Estimate(value=exp(rho), low=exp(rho - reach), high=exp(rho + reach)),
        extrapolation=place.extrapolation,
    )


# --- explanations -----------------------------------------------------------------------------------------------------


def changed_with_size(places: Sequence[Place], rho: np.ndarray, draws: np.ndarray) -> tuple[str, ...]:
    """'worse with size: +1.9 % at d1w64, +12.0 % at d9w576', where the measured ends differ beyond their draws."""
    measured = [index for index, place in enumerate(places) if place.role != "target"]
    first, last = (pick(measured, key=lambda index: places[index].size) for pick in (min, max))
    change, scatter = rho[last] - rho[first], float((draws[:, last] - draws[:, first]).std())
    if abs(change) <= max(2 * scatter, log1p(0.01)):
        return ()
    ends = ", ".join(f"{_percent(float(rho[index]))} at {places[index].where}" for index in (first, last))
    return (f"{'worse' if change > 0 else 'better'} with size: {ends}",)


def changed_parameters(pair: TwoFits) -> tuple[str, ...]:
    """'compute_flops_per_s −8.0 % (−9.9 % to −6.1 %)', those that both fits tell and that moved beyond their intervals.

    Laws of two forms have no parameters in common: then that is said.
    """
    if pair.base_law.form != pair.new_law.form:
        return (f"another form fits best: {pair.base_law.form}, then {pair.new_law.form}",)
    after = {parameter.name: parameter for parameter in pair.new_law.parameters}
    texts = [_changed(before, after.get(before.name)) for before in pair.base_law.parameters]
    return tuple(text for text in texts if text)


def _changed(before: Parameter, after: Parameter | None) -> str | None:
    if after is None or not (before.identified and after.identified):
        return None
    if min(before.estimate.low, after.estimate.low) <= 0:
        return None
    ratio = ratio_of(after.estimate, before.estimate)
    if ratio.low <= 1 <= ratio.high:
        return None
    value, low, high = (_percent(float(np.log(limit))) for limit in (ratio.value, ratio.low, ratio.high))
    return f"{before.name} {value} ({low} to {high}): {before.meaning}"


def _percent(log_ratio: float) -> str:
    return f"{expm1(log_ratio) * 100:+.1f} %".replace("-", "−")
