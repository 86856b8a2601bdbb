"""A suite as text in the formats of other tools: pure functions, nothing is written here."""

from collections.abc import Callable

from scalemark.export.bencher import bencher
from scalemark.export.github import github_action_benchmark
from scalemark.export.junit import suite_junit
from scalemark.export.openmetrics import openmetrics
from scalemark.export.separated import csv_text
from scalemark.schema import Suite

__all__ = ["FORMATS", "bencher", "csv_text", "github_action_benchmark", "openmetrics", "suite_junit"]

FORMATS: dict[str, Callable[[Suite], str]] = {
    "github-action-benchmark": github_action_benchmark,
    "bencher": bencher,
    "openmetrics": openmetrics,
    "csv": csv_text,
    "junit": suite_junit,
}
