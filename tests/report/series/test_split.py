import pytest

from scalemark.report.series.split import measured_rows, split_rows, term_rows
from scalemark.schema import Analysis


def test_a_bar_is_stacked_up_to_what_the_law_says_of_the_measured_time(full_analysis: Analysis) -> None:
    """Measured is two hundredths above the law, so that bars end at 1/1.02."""
    rows = [row for row in split_rows(full_analysis) if row["model"] == "d4w256, 3.15 M"]
    assert [row["start"] for row in rows] == [0.0, rows[0]["end"]]
    assert rows[-1]["end"] == pytest.approx(1 / 1.02)
    assert {row["part"] for row in rows} == {"measured"}


def test_a_model_that_is_only_priced_is_a_whole_of_its_prediction(full_analysis: Analysis) -> None:
    rows = [row for row in split_rows(full_analysis) if str(row["model"]).startswith("d12w768")]
    assert rows[-1]["end"] == pytest.approx(1.0)
    assert {row["part"] for row in rows} == {"extrapolated"}
    words = measured_rows(full_analysis)[-1]
    assert str(words["label"]).endswith("predicted")
    assert "middle" not in words


def test_the_measured_median_stands_at_one_with_its_interval(full_analysis: Analysis) -> None:
    row = measured_rows(full_analysis)[0]
    assert (row["low"], row["middle"], row["high"]) == pytest.approx((0.98, 1.0, 1.02))


def test_a_term_that_is_next_to_nothing_is_no_line(full_analysis: Analysis) -> None:
    faint = tuple(p.model_copy(update={"y": p.y.scaled(1e-6)}) for p in full_analysis.term_curves["per_layer_s"])
    curves = {**full_analysis.term_curves, "per_layer_s": faint}
    assert {row["term"] for row in term_rows(full_analysis)} == {"layers", "products, attention"}
    fewer = term_rows(full_analysis.model_copy(update={"term_curves": curves}))
    assert {row["term"] for row in fewer} == {"products, attention"}
