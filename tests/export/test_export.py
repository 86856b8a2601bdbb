"""Each format is read back by a parser of its own, and holds the numbers of the suite."""

import csv
import io
import json
import math
import re

import pytest
from factories import estimate, make_suite
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from scalemark.export import FORMATS, bencher, csv_text, github_action_benchmark, openmetrics
from scalemark.schema import Energy, Suite

BASE = make_suite("20260101-000000-base")
CELL = BASE.cells[0]
KEY = CELL.workload.key


def with_first(**changes: object) -> Suite:
    return BASE.model_copy(update={"cells": (CELL.model_copy(update=changes), *BASE.cells[1:])})


FAILED = with_first(status="failed", reason='a | "b"\n<c> & ünïcode \x00', time_s=None, memory=None, blocks=())
EMPTY = BASE.model_copy(update={"cells": (), "training_runs": ()})


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("suite", [BASE, FAILED, EMPTY], ids=["whole", "failed cell", "empty"])
def test_every_suite_can_be_written(name: str, suite: Suite) -> None:
    assert FORMATS[name](suite).endswith("\n")


# github-action-benchmark


def test_github_entries_have_what_the_action_asks_for() -> None:
    entries = json.loads(github_action_benchmark(BASE))
    for entry in entries:
        assert set(entry) <= {"name", "unit", "value", "range", "extra"}
        assert isinstance(entry["name"], str) and isinstance(entry["unit"], str)
        assert isinstance(entry["value"], float) and math.isfinite(entry["value"])
    assert len({entry["name"] for entry in entries}) == len(entries)


def test_github_values_are_those_of_the_suite_with_their_range() -> None:
    (entry,) = [one for one in json.loads(github_action_benchmark(BASE)) if one["name"] == f"{KEY} time_seconds"]
    assert CELL.time_s and entry["value"] == CELL.time_s.value
    assert re.fullmatch(r"± \d+\.\d%", entry["range"])


def test_a_cell_without_a_result_is_left_out() -> None:
    assert not [one for one in json.loads(github_action_benchmark(FAILED)) if one["name"].startswith(KEY)]


# Bencher


def test_bencher_measures_have_numbers_with_limits_around_them() -> None:
    found = json.loads(bencher(BASE))
    for measures in found.values():
        for slug, metric in measures.items():
            assert re.fullmatch(r"[a-z-]+", slug)
            assert set(metric) in ({"value"}, {"value", "lower_value", "upper_value"})
            assert metric.get("lower_value", metric["value"]) <= metric["value"]
            assert metric["value"] <= metric.get("upper_value", metric["value"])
    assert CELL.time_s and found[KEY]["latency"]["value"] == pytest.approx(CELL.time_s.value * 1e9)
    assert CELL.memory and found[KEY]["peak-memory-bytes"]["value"] == CELL.memory.allocated_bytes


# OpenMetrics


def families(suite: Suite) -> dict:
    return {family.name: family for family in text_string_to_metric_families(openmetrics(suite))}


@pytest.mark.parametrize("suite", [BASE, FAILED, EMPTY], ids=["whole", "failed cell", "empty"])
def test_openmetrics_is_accepted_by_the_strict_parser(suite: Suite) -> None:
    assert "scalemark_suite" in families(suite)


def test_openmetrics_samples_are_the_suite() -> None:
    found = families(BASE)
    times = {sample.labels["cell"]: sample.value for sample in found["scalemark_time_seconds"].samples}
    assert times == {cell.workload.key: cell.time_s.value for cell in BASE.cells if cell.time_s}
    assert found["scalemark_time_seconds"].unit == "seconds"
    low = {sample.labels["cell"]: sample.value for sample in found["scalemark_time_low_seconds"].samples}
    assert CELL.time_s and low[KEY] == CELL.time_s.low
    assert {sample.labels["machine"] for sample in found["scalemark_time_seconds"].samples} == {"machine-under-test"}


def test_openmetrics_keep_a_label_that_holds_quotes_and_line_ends() -> None:
    commit = 'a "quoted" \\ commit\nof two lines'
    (sample,) = families(BASE.model_copy(update={"commit": commit}))["scalemark_suite"].samples
    assert sample.labels["commit"] == commit


def test_a_suite_without_a_time_of_creation_has_no_timestamps() -> None:
    found = families(BASE.model_copy(update={"created": "yesterday"}))
    assert found["scalemark_time_seconds"].samples[0].timestamp is None


def test_a_faked_energy_leaves_by_no_door() -> None:
    measured = Energy(status="ok", joules_per_round=estimate(3.0))
    real, fake = with_first(energy=measured), with_first(energy=measured.model_copy(update={"fake": True}))
    assert "scalemark_energy_joules" in families(real) and "scalemark_energy_joules" not in families(fake)
    assert "energy-joules" in json.loads(bencher(real))[KEY] and "energy-joules" not in json.loads(bencher(fake))[KEY]
    assert rows(real)[0]["joules"] == "3.0" and rows(fake)[0]["joules"] == ""


# CSV


def rows(suite: Suite) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(csv_text(suite), newline=""), strict=True))


def test_csv_has_a_row_for_everything_whatever_became_of_it() -> None:
    found = rows(FAILED)
    assert len(found) == len(BASE.cells) + len(BASE.training_runs)
    assert found[0]["status"] == "failed" and found[0]["reason"] == FAILED.cells[0].reason
    assert found[0]["seconds"] == ""
    assert found[1]["subject"] == BASE.cells[1].workload.key


def test_csv_numbers_are_exact() -> None:
    assert CELL.time_s and float(rows(BASE)[0]["seconds"]) == CELL.time_s.value
    run = BASE.training_runs[0]
    assert float(rows(BASE)[len(BASE.cells)]["validation_loss"]) == run.validation_loss
