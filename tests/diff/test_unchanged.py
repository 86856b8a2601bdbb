"""Suites of unchanged code that a real machine gave, where every alarm would be a false one."""

from itertools import combinations
from pathlib import Path

import pytest

from scalemark.diff import compare
from scalemark.record.store import load_suite
from scalemark.schema import Suite

BASELINES = Path(__file__).parents[2] / "results" / "baselines"


def suites_of_one_gpu() -> list[Suite]:
    return [load_suite(path) for path in sorted(BASELINES.glob("nvidia-*/*.json"))]


@pytest.mark.parametrize("metric", ["time_s", "joules_per_round", "peak_allocated_bytes", "validation_loss"])
def test_nothing_of_a_gpu_that_ran_the_same_code_twice_got_worse(metric: str) -> None:
    suites = suites_of_one_gpu()
    assert len(suites) > 1 and len({suite.machine.id for suite in suites}) == 1
    for before, after in combinations(suites, 2):
        judged = [one for one in compare(before, after).comparisons if one.metric == metric]
        assert {one.verdict for one in judged} & {"same", "inconclusive"}
        assert not [one for one in judged if one.verdict == "regressed"]
