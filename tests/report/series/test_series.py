import factories

from scalemark.analysis import analyse
from scalemark.report.series import (
    GROWING,
    OTHER,
    law_rows,
    loss_rows,
    memory_rows,
    step_time_rows,
    training_curve_rows,
)
from scalemark.schema import Analysis, CurvePoint, TaskRef, TrainingConfig


def test_steps_of_another_batch_do_not_share_the_chart() -> None:
    suite = factories.make_suite()
    expected = len(factories.DIAGONAL) + len(factories.OFF_DIAGONAL)
    assert len(step_time_rows(suite)) == len(memory_rows(suite)) == expected


def test_models_of_the_same_proportions_are_told_from_the_others() -> None:
    shapes = {str(row["model"]): row["shape"] for row in step_time_rows(factories.make_suite())}
    assert {name for name, shape in shapes.items() if shape == GROWING} == {rung.name for rung in factories.DIAGONAL}
    assert shapes["d2w512"] == shapes["d4w256-v4096"] == OTHER


def test_a_step_stands_at_its_parameters_and_median() -> None:
    suite = factories.make_suite()
    cell = suite.cells[0]
    assert cell.time_s is not None
    assert cell.accounting is not None
    row = next(row for row in step_time_rows(suite) if row["model"] == cell.workload.rung)
    assert (row["x"], row["y"]) == (cell.accounting.params_non_embedding, cell.time_s.value)


def test_runs_and_frontier_count_compute_alike() -> None:
    suite = factories.make_suite()
    law = analyse(suite).law("loss")
    assert law is not None
    compute = [row["x"] for row in loss_rows(suite)]
    assert (min(compute), max(compute)) == (law.domain["compute_flops"].low, law.domain["compute_flops"].high)


def test_tasks_of_a_user_do_not_share_an_axis_with_language_models() -> None:
    suite = factories.make_suite()
    task = suite.training_runs[0].model_copy(
        update={"config": TrainingConfig(task=TaskRef(path="bench_mine.py", function="mine"), tokens=100)}
    )
    both = suite.model_copy(update={"training_runs": (*suite.training_runs, task)})
    assert "mine" not in {row["model"] for row in training_curve_rows(both)}
    alone = suite.model_copy(update={"training_runs": (task,)})
    assert {row["model"] for row in training_curve_rows(alone)} == {"mine"}


def test_a_curve_of_one_point_is_no_line() -> None:
    run = factories.make_training_run(factories.TRAINED_SHAPES[0], 250_000)
    short = run.model_copy(update={"curve": run.curve[:1]})
    assert training_curve_rows(factories.make_suite().model_copy(update={"training_runs": (short,)})) == []


def test_a_law_beyond_its_range_starts_where_the_fitted_part_ends() -> None:
    reaches = [2.0, 1.0, 1.0, 3.0, 9.0]
    points = tuple(
        CurvePoint(x=10.0**place, y=factories.estimate(1.0), extrapolation=reach) for place, reach in enumerate(reaches)
    )
    rows = law_rows(Analysis(suite=factories.make_suite(), curves={"step_time": points}), "step_time")
    pieces = {
        piece: (
            [row["x"] for row in rows if row["piece"] == piece],
            {row["part"] for row in rows if row["piece"] == piece},
        )
        for piece in ("below", "inside", "beyond")
    }
    assert pieces == {
        "below": ([1, 10], {"extrapolated"}),
        "inside": ([10, 100], {"fitted"}),
        "beyond": ([100, 1000, 10000], {"extrapolated"}),
    }
