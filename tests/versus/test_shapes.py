"""Speed-ups that are right and hold, wider ones where reruns say so, predictions with their distance, and prices."""

import numpy as np
import pytest
from contending import JOULES_PER_STEP, board_step_s, comparison, machine_suite
from factories import estimate, true_step_s

from scalemark.diff.noise import RunToRun
from scalemark.diff.speedup import Median
from scalemark.model.ladder import DIAGONAL, diagonal_shape
from scalemark.schema import Contender, ContenderStep, ShapeCompared, TaskRef, Workload
from scalemark.versus.fitted import step_cells
from scalemark.versus.shapes import compare_shapes, over_runs


def the(name: str, batch: int = 2) -> ShapeCompared:
    (found,) = [shape for shape in comparison().shapes if (shape.name, shape.batch) == (name, batch)]
    return found


def step(shape: ShapeCompared, name: str) -> ContenderStep:
    found = shape.step(name)
    assert found is not None
    return found


def test_a_speedup_is_the_ratio_of_the_times_and_its_interval_holds_the_true_one() -> None:
    for model in DIAGONAL:
        shape = the(model.name)
        ratio = step(shape, "gpu").speedup
        assert ratio is not None and ratio.level == 0.9
        assert ratio.value == pytest.approx(step(shape, "laptop").seconds.value / step(shape, "gpu").seconds.value)
        counted = next(cell.accounting for cell in machine_suite().cells if cell.workload.model == model)
        assert counted is not None
        assert ratio.low * 0.99 <= true_step_s(model) / board_step_s(counted) <= ratio.high * 1.01
        assert step(shape, "laptop").speedup is None


def test_where_reruns_differ_by_more_than_one_run_shows_the_time_has_their_interval() -> None:
    noisy, quiet = (RunToRun(centre=0, sd=sd, freedom=9, n=10) for sd in (0.10, 0.001))
    median = Median.of_blocks(estimate(1.0, 0.02), 3)
    wide = over_runs(median, noisy)
    assert (wide.estimate.low, wide.estimate.high) == (
        pytest.approx(np.exp(-0.1833), rel=1e-3),
        pytest.approx(np.exp(0.1833), rel=1e-3),
    )
    assert wide.standard_error == pytest.approx(0.10)
    assert over_runs(median, quiet) == over_runs(median, None) == median


def test_larger_models_are_predicted_by_each_law_with_its_distance() -> None:
    shape = the("d16w1024")
    for name in ("laptop", "gpu"):
        one = step(shape, name)
        assert not one.measured and one.extrapolation > 5
    truth = true_step_s(diagonal_shape(16))
    assert step(shape, "laptop").seconds.low <= truth <= step(shape, "laptop").seconds.high
    ratio = step(shape, "gpu").speedup
    assert ratio is not None and ratio.low < ratio.value < ratio.high


def test_prices_follow_from_time_and_the_readers_price() -> None:
    for shape in comparison().shapes:
        gpu = step(shape, "gpu")
        assert gpu.usd is not None and gpu.usd.value == pytest.approx(gpu.seconds.value * 3.0 / 3600)
        assert step(shape, "laptop").usd is None


def test_energy_is_there_where_a_counter_told_it() -> None:
    shape = the("d4w256")
    joules = step(shape, "gpu").joules
    assert joules is not None and joules.value == JOULES_PER_STEP
    assert step(shape, "laptop").joules is None


def test_memory_is_measured_or_predicted_and_held_against_the_machine() -> None:
    measured, far = step(the("d4w256"), "laptop"), step(the("d24w1536"), "laptop")
    assert measured.fits_memory and measured.memory_bytes is not None
    assert measured.memory_bytes.low == measured.memory_bytes.high
    assert far.memory_bytes is not None and far.fits_memory == (far.memory_bytes.high < 16 * 2**30)


def test_whole_trainings_are_priced_for_the_largest_rung_that_all_have_and_beyond() -> None:
    priced = [shape.name for shape in comparison().shapes if shape.training_tokens]
    assert priced == ["d9w576", "d12w768", "d16w1024", "d24w1536", "d32w2048"]
    assert the("d9w576").training_tokens == 20 * the("d9w576").params_total


def test_batches_are_not_mixed_up() -> None:
    assert step(the("d4w256", 8), "laptop").seconds.value > 3 * step(the("d4w256", 2), "laptop").seconds.value


def test_lines_go_through_the_growing_model_alone() -> None:
    on_line = {shape.name for shape in comparison().shapes if shape.on_line}
    assert {"d1w64", "d9w576", "d16w1024"} <= on_line
    assert not {"d2w512", "d12w128"} & on_line


def test_a_users_own_model_is_compared_by_its_name() -> None:
    task = TaskRef(path="bench/mine.py", function="mine")
    first = machine_suite()
    cell = first.cells[0]
    mine = cell.model_copy(update={"workload": Workload(phase="step", task=task)})
    suites = [first.model_copy(update={"id": name, "cells": (mine,)}) for name in ("a", "b")]
    (shape,) = compare_shapes([Contender(name=suite.id, suite=suite) for suite in suites])
    assert shape.name == "mine" and not shape.on_line
    ratio = step(shape, "b").speedup
    assert ratio is not None and ratio.value == 1 and ratio.low < 1 < ratio.high


def test_only_steps_that_run_as_asked_take_part() -> None:
    suite = machine_suite()
    half = [
        cell.model_copy(update={"workload": cell.workload.model_copy(update={"dtype": "bfloat16"})})
        for cell in suite.cells
    ]
    both = suite.model_copy(update={"cells": (*suite.cells, *half)})
    assert {cell.workload.dtype for cell in step_cells(Contender(name="a", suite=both))} == {"float32"}
    assert {cell.workload.dtype for cell in step_cells(Contender(name="a", suite=both, dtype="bfloat16"))} == {
        "bfloat16"
    }
    assert step_cells(Contender(name="a", suite=both, compiled=True)) == []


@pytest.mark.parametrize(
    "option",
    [
        {"parallelism": "ddp", "world_size": 1},
        {"checkpointed": True},
        {"micro_batches": 2},
        {"attention": "math"},
        {"optimizer_kernels": "for_loop"},
    ],
)
def test_steps_with_an_option_or_on_ranks_are_no_steps_of_the_machine(option: dict[str, object]) -> None:
    suite = machine_suite()
    optional = suite.cells[0].model_copy(update={"workload": suite.cells[0].workload.model_copy(update=option)})
    both = Contender(name="a", suite=suite.model_copy(update={"cells": (*suite.cells, optional)}))
    assert step_cells(both) == step_cells(Contender(name="a", suite=suite))
