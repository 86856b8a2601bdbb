"""For github-action-benchmark, tool `customSmallerIsBetter`: a JSON list of {name, unit, value, range, extra}."""

import json

from scalemark.export.results import Result, results
from scalemark.schema import Suite


def github_action_benchmark(suite: Suite) -> str:
    """https://github.com/benchmark-action/github-action-benchmark, section 'Examples', custom benchmarks."""
    return json.dumps([_entry(result, suite) for result in results(suite)], indent=1, ensure_ascii=False) + "\n"


def _entry(result: Result, suite: Suite) -> dict[str, str | float]:
    entry: dict[str, str | float] = {
        "name": f"{result.subject} {result.metric}",
        "unit": result.unit,
        "value": result.estimate.value,
        "extra": f"suite {suite.id}\nmachine {suite.machine.id}\ncommit {suite.commit or 'unknown'}",
    }
    if result.estimate.high > result.estimate.low:
        entry["range"] = f"± {result.estimate.relative_half_width:.1%}"
    return entry
