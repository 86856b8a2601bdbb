from scalemark.report.tables.splits import split_summary, split_table
from scalemark.schema import Analysis


def test_each_part_is_a_share_with_its_interval(full_analysis: Analysis) -> None:
    table = split_table(full_analysis)
    assert [column.title for column in table.columns[-2:]] == ["layers", "products, attention"]
    row = next(row for row in table.rows if row[0] == "d4w256")
    assert row[-2].endswith(")") and " % (" in row[-2] and " to " in row[-2]


def test_what_is_only_priced_has_no_measured_time(full_analysis: Analysis) -> None:
    assert [row[0] for row in split_table(full_analysis).rows if row[2] == "–"] == ["d12w768"]


def test_each_part_says_what_it_means(full_analysis: Analysis) -> None:
    assert "products, attention: all of compute_s_per_flop" in split_table(full_analysis).note


def test_parts_that_overlap_are_explained_only_where_they_do(full_analysis: Analysis) -> None:
    assert "run at the same time" not in split_table(full_analysis).note
    law = full_analysis.laws[0].model_copy(update={"form": "step time = p-norm of (a) and (b)"})
    assert "run at the same time" in split_table(full_analysis.model_copy(update={"laws": (law,)})).note


def test_a_terminal_has_the_smallest_the_largest_and_the_farthest(full_analysis: Analysis) -> None:
    rows = split_summary(full_analysis).rows
    assert [row[0] for row in rows] == ["d1w64", "d9w576", "d12w768"]
    assert "layers" not in rows[1][2]  # less than a tenth
    assert rows[-1][1].endswith("predicted")
    assert rows[1][2].startswith("products, attention 100 % (")


def test_without_a_law_the_reason_stands_there(bare_analysis: Analysis) -> None:
    assert "no law of step time: no step was measured" in split_table(bare_analysis).note
    assert "no step was measured" in split_summary(bare_analysis).note
