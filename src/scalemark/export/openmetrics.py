"""OpenMetrics 1.0 text, https://prometheus.io/docs/specs/om/open_metrics_spec: gauges, one family per metric and limit.

# TYPE scalemark_time_seconds gauge
# UNIT scalemark_time_seconds seconds
# HELP scalemark_time_seconds …
scalemark_time_seconds{cell="d4w256/step/…",machine="…"} 0.0951 1767225600
# EOF
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

from scalemark.export.results import Result, results
from scalemark.schema import Suite

_HELP = {
    "time_seconds": "Seconds of one round of a phase, the slow moments of the machine taken out.",
    "peak_memory_bytes": "Highest sum of live tensor bytes of a phase.",
    "energy_joules": "Joules of one round of a phase.",
    "validation_loss": "Cross-entropy on validation text, nats per token.",
}
_UNITS = {"time_seconds": "seconds", "peak_memory_bytes": "bytes", "energy_joules": "joules"}


def openmetrics(suite: Suite) -> str:
    """Every result, with `_low` and `_high` of its 90 % interval where it has one, at the suite's time of creation."""
    families: dict[str, list[Result]] = defaultdict(list)
    for result in results(suite):
        families[result.metric].append(result)
    lines = [line for metric, found in families.items() for line in _families(metric, found, suite)]
    return "\n".join([*lines, *_info(suite), "# EOF"]) + "\n"


def _families(metric: str, found: Sequence[Result], suite: Suite) -> Iterator[str]:
    """A name ends in its unit, so that limits stand before it: scalemark_time_low_seconds."""
    unit = _UNITS.get(metric, "")
    stem = metric.removesuffix(f"_{unit}") if unit else metric
    yield from _family("_".join(filter(None, ["scalemark", stem, unit])), unit, _HELP[metric], found, suite, "value")
    ranged = [result for result in found if result.estimate.high > result.estimate.low]
    for limit in ("low", "high") if ranged else ():
        name = "_".join(filter(None, ["scalemark", stem, limit, unit]))
        yield from _family(name, unit, f"The {limit} limit of 90 %. {_HELP[metric]}", ranged, suite, limit)


def _family(name: str, unit: str, text: str, found: Sequence[Result], suite: Suite, field: str) -> Iterator[str]:
    yield f"# TYPE {name} gauge"
    if unit:
        yield f"# UNIT {name} {unit}"
    yield f"# HELP {name} {_escaped(text)}"
    for result in found:
        labels = _labels({"cell": result.subject, "machine": suite.machine.id})
        yield f"{name}{labels} {getattr(result.estimate, field)!r}{_timestamp(suite)}"


def _info(suite: Suite) -> Iterator[str]:
    yield "# TYPE scalemark_suite info"
    yield "# HELP scalemark_suite The run that the numbers are of."
    about = {"id": suite.id, "commit": suite.commit or "", "version": suite.scalemark_version}
    yield f"scalemark_suite_info{_labels({**about, 'machine': suite.machine.id})} 1"


def _labels(labels: dict[str, str]) -> str:
    return "{" + ",".join(f'{name}="{_escaped(value)}"' for name, value in labels.items()) + "}"


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')


def _timestamp(suite: Suite) -> str:
    """Seconds since the epoch; nothing where the suite does not tell a time."""
    try:
        created = datetime.fromisoformat(suite.created)
    except ValueError:
        return ""
    return f" {(created if created.tzinfo else created.replace(tzinfo=UTC)).timestamp():.0f}"
