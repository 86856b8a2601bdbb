from collections import defaultdict

from scalemark.report.series.isoloss import contour_ends, contour_rows, optimal_rows, run_rows
from scalemark.schema import Analysis, LossPlace


def test_a_contour_is_dashed_from_the_last_place_among_the_runs(full_analysis: Analysis) -> None:
    pieces = defaultdict(list)
    for row in contour_rows(full_analysis):
        pieces[row["piece"], row["part"]].append(row["x"])
    assert pieces["1.60 0", "fitted"] == [1e4, 1e5, 1e6]
    assert pieces["1.60 1", "extrapolated"] == [1e6, 1e7]


def test_pieces_of_different_contours_are_never_joined(full_analysis: Analysis) -> None:
    losses = defaultdict(set)
    for row in contour_rows(full_analysis):
        losses[row["piece"]].add(row["loss"])
    assert all(len(found) == 1 for found in losses.values())


def test_a_line_that_comes_back_among_the_runs_is_solid_again(full_analysis: Analysis) -> None:
    assert full_analysis.isoloss
    reaches = (2.0, 1.0, 1.0, 3.0, 1.0, 1.0)
    places = tuple(LossPlace(params=n, tokens=1.0, extrapolation=reach) for n, reach in enumerate(reaches, start=1))
    winding = full_analysis.isoloss.model_copy(update={"optimal": places})
    rows = optimal_rows(full_analysis.model_copy(update={"isoloss": winding}))
    parts = dict.fromkeys((row["piece"], row["part"]) for row in rows)
    assert list(parts) == [("0", "extrapolated"), ("1", "fitted"), ("2", "extrapolated"), ("3", "fitted")]


def test_each_contour_carries_its_loss_and_each_run_its_own(full_analysis: Analysis) -> None:
    assert [row["label"] for row in contour_ends(full_analysis)] == ["1.60", "1.40"]
    runs = {run.validation_loss for run in full_analysis.suite.training_runs}
    assert {row["loss"] for row in run_rows(full_analysis)} == runs
