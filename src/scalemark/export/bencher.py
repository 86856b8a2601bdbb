"""Bencher Metric Format: {benchmark: {measure: {value, lower_value, upper_value}}}, https://bencher.dev/docs."""

import json
from collections import defaultdict

from scalemark.export.results import Result, results
from scalemark.schema import Suite

# Slugs and units of Bencher's own measures; what it does not know keeps our name.
_MEASURES = {"time_seconds": ("latency", 1e9), "validation_loss": ("validation-loss", 1.0)}


def bencher(suite: Suite) -> str:
    """Times are in nanoseconds, as Bencher's measure `latency` is."""
    found: dict[str, dict[str, dict[str, float]]] = defaultdict(dict)
    for result in results(suite):
        slug, scale = _MEASURES.get(result.metric, (result.metric.replace("_", "-"), 1.0))
        found[result.subject][slug] = _metric(result, scale)
    return json.dumps(found, indent=1, ensure_ascii=False) + "\n"


def _metric(result: Result, scale: float) -> dict[str, float]:
    estimate = result.estimate.scaled(scale)
    metric = {"value": estimate.value}
    if estimate.high > estimate.low:
        metric |= {"lower_value": estimate.low, "upper_value": estimate.high}
    return metric
