"""Predictions with intervals: how uncertain the law is, and how far single measurements scatter about it."""

from collections.abc import Iterable

import numpy as np

from scalemark.schema import Estimate, HiddenRow, Law, Range
from scalemark.stats import percentile_interval

_SEED = 0


def predict_with_scatter(log_value: float, log_draws: np.ndarray, residual_sd: float) -> Estimate:
    """Interval of a new measurement: the draws of the law, each moved by a residual.

    log_value: the law's own prediction; log_draws: shape (replicates,), the same under each replicate.
    """
    noise = np.random.default_rng(_SEED).normal(0.0, residual_sd, size=log_draws.shape)
    interval = percentile_interval(log_draws + noise, log_value)
    return Estimate(value=float(np.exp(log_value)), low=float(np.exp(interval.low)), high=float(np.exp(interval.high)))


def residual_sd(log_residuals: np.ndarray, n_parameters: int) -> float:
    """Standard deviation of the residuals about the law, each fitted parameter paid for with one of them."""
    spare = max(1, len(log_residuals) - n_parameters)
    return float(np.sqrt(np.sum(log_residuals**2) / spare))


def range_of(values: np.ndarray) -> Range:
    """From the smallest to the largest."""
    return Range(low=float(np.min(values)), high=float(np.max(values)))


def extrapolation(law: Law, variable: str, value: float) -> float:
    """How many times beyond the fitted range of this variable; 1 inside it."""
    span = law.domain[variable]
    return max(1.0, value / span.high, span.low / value)


def hidden_rows(rows: Iterable[int], measured: Iterable[float], predicted: Iterable[Estimate]) -> tuple[HiddenRow, ...]:
    """What was hidden beside what was said of it; rows: places among all measurements, from 0."""
    return tuple(
        HiddenRow(row=int(row) + 1, measured=float(value), predicted=one.value, low=one.low, high=one.high)
        for row, value, one in zip(rows, measured, predicted, strict=True)
    )
