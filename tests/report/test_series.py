import factories
import pytest

from scalemark.report.series import (
    GROWING,
    OTHER,
    law_rows,
    loss_rows,
    memory_rows,
    step_time_rows,
    training_curve_rows,
)
from scalemark.schema import Analysis, CurvePoint


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


def test_compute_is_about_six_flops_per_parameter_and_token() -> None:
    run = factories.make_training_run(factories.TRAINED_SHAPES[-1], 1_000_000)
    suite = factories.make_suite().model_copy(update={"training_runs": (run,)})
    assert run.accounting is not None
    weights = run.accounting.params_non_embedding + run.accounting.params_head
    attention = 12 * 2 * 96 * 128
    assert loss_rows(suite)[0]["x"] == pytest.approx((6 * weights + attention) * 1_000_000, rel=0.01)


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
