from pathlib import Path

import pytest

from scalemark.report.tables import Column, Table
from scalemark.report.terminal import table_lines, terminal_summary
from scalemark.schema import Analysis

WIDE = Table(
    "Cost",
    (Column("model"), Column("time", "number"), Column("batch", "text", 1), Column("energy", "number", 2)),
    (("d1w64", "3 ms", "2 × 256", "12 J"), ("d12w128", "12 ms", "2 × 256", "140 J")),
)


def test_columns_are_aligned_with_numbers_to_the_right() -> None:
    assert table_lines(WIDE, 80) == [
        "Cost",
        "model     time  batch    energy",
        "d1w64     3 ms  2 × 256    12 J",
        "d12w128  12 ms  2 × 256   140 J",
    ]


def test_the_least_needed_column_is_dropped_first() -> None:
    assert table_lines(WIDE, 30)[1] == "model     time  batch"
    assert table_lines(WIDE, 16)[1] == "model     time"


def test_prose_wraps_in_its_own_column() -> None:
    table = Table(
        "W", (Column("subject"), Column("advice", "prose")), (("clock", "time more rounds, or larger models"),)
    )
    assert table_lines(table, 31)[2:] == ["clock    time more rounds, or", "         larger models"]


def test_a_column_that_nothing_fills_takes_no_room() -> None:
    table = Table("C", (Column("model"), Column("reason", "prose")), (("d1", ""),))
    assert table_lines(table, 80)[1:] == ["model", "d1"]


@pytest.mark.parametrize("width", [80, 100, 160])
def test_no_line_is_wider_than_the_terminal(analysis: Analysis, bare_analysis: Analysis, width: int) -> None:
    lines = terminal_summary(analysis, {}, width) + terminal_summary(bare_analysis, {}, width)
    assert max(map(len, lines)) <= width


def test_the_headline_comes_first_and_the_paths_last(analysis: Analysis) -> None:
    lines = terminal_summary(analysis, {"suite": Path("runs/suite.json"), "html": Path("report.html")}, 100)
    assert lines[0].startswith("Here a 85.0 M model trains")
    assert lines[-2:] == [f"suite  {Path('runs/suite.json').resolve()}", f"html   {Path('report.html').resolve()}"]


def test_a_long_path_stays_whole(analysis: Analysis) -> None:
    path = Path("/") / ("long-name-" * 20) / "suite.json"
    assert terminal_summary(analysis, {"suite": path}, 80)[-1] == f"suite  {path}"


def test_the_summary_says_what_was_measured_predicted_and_decided(analysis: Analysis) -> None:
    text = "\n".join(terminal_summary(analysis, {}, 100))
    titles = ("Cost of a training step", "Training runs", "Step time law", "What larger models cost here", "Warnings")
    assert [text.index(title) for title in titles] == sorted(text.index(title) for title in titles)
    assert "regressed  d4w256/step" in text
