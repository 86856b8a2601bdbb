"""Ratio of two medians that were measured apart, with an interval that neither side's few blocks make needlessly wide.

    log ratio ± t(ν)·√(s₁² + s₂²)        ν = (s₁² + s₂²)² / (s₁⁴/ν₁ + s₂⁴/ν₂)        (Welch 1947)

Each side's standard error s comes from its own interval, which was made with Student's quantile of its own few degrees
of freedom ν. Joining the ends of such intervals instead, as `verdict.ratio_of` does, counts that quantile twice.
"""

from dataclasses import dataclass
from math import exp, inf, isfinite, log, sqrt

from scipy.stats import t

from scalemark.schema import INTERVAL_LEVEL, Estimate


@dataclass(frozen=True)
class Median:
    """A positive median with the degrees of freedom that its interval, symmetric in the logarithm, was made with."""

    estimate: Estimate
    freedom: float

    @classmethod
    def of_blocks(cls, estimate: Estimate, n_blocks: int) -> "Median":
        """As `stats.median_over_blocks` makes one; of a single block it takes the normal quantile."""
        return cls(estimate, n_blocks - 1 if n_blocks > 1 else inf)

    @property
    def standard_error(self) -> float:
        """Of the logarithm."""
        estimate = self.estimate
        return log(estimate.high / estimate.low) / 2 / float(t.ppf((1 + estimate.level) / 2, self.freedom))


def ratio_of_medians(numerator: Median, denominator: Median, level: float = INTERVAL_LEVEL) -> Estimate:
    """The ratio, symmetric in the logarithm."""
    variances = [side.standard_error**2 for side in (numerator, denominator)]
    spent = sum(
        variance**2 / side.freedom
        for side, variance in zip((numerator, denominator), variances, strict=True)
        if isfinite(side.freedom)
    )
    freedom = sum(variances) ** 2 / spent if spent else inf
    factor = exp(float(t.ppf((1 + level) / 2, freedom)) * sqrt(sum(variances)))
    value = numerator.estimate.value / denominator.estimate.value
    return Estimate(value=value, low=value / factor, high=value * factor, level=level)
