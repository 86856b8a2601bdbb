"""Tables and charts of steps on several ranks, from what was found."""

import factories
import pytest

from scalemark.report.charts import FIGURE_NAMES, figures, to_svg
from scalemark.report.markdown import markdown_table
from scalemark.report.sections import report_sections
from scalemark.report.series.ranks import efficiency_rows
from scalemark.report.tables.ranks import bandwidth_table, forecast_table, scaling_table, scaling_tables
from scalemark.report.terminal import terminal_summary
from scalemark.schema import Analysis

SCALING = factories.make_scaling()


@pytest.fixture
def analysis() -> Analysis:
    suite = factories.make_suite().model_copy(update={"collectives": factories.make_collectives()})
    return Analysis(suite=suite, scaling=SCALING)


def test_a_suite_without_ranks_has_neither_table_nor_chart():
    alone = Analysis(suite=factories.make_suite())
    assert scaling_tables(None, alone.suite) == ()
    assert not {figure.name for figure in figures(alone)} & {"scaling", "bandwidth"}


def test_a_row_says_all_that_was_measured_and_what_was_not():
    text = markdown_table(scaling_table(SCALING))
    for part in ("2, ddp", "2 × 256", "250 ms", "30.0 ms (-10.0 ms to 70.0 ms)", "80.0 %", "1.00 MiB (50 % of all)"):
        assert part in text, text
    assert "–" in text, "strong scaling was not measured"


def test_notes_become_sentences(analysis):
    assert "Measured on one node." in scaling_table(SCALING).note


def test_a_forecast_is_never_without_its_interval_and_a_hidden_size_says_how_far_it_was_missed():
    text = markdown_table(forecast_table(SCALING))
    assert "270 ms ± 2.0 %" in text and "not measured" in text
    assert "+4.0 %" in text


def test_every_message_is_a_row_with_its_bus_bandwidth(analysis):
    table = bandwidth_table(analysis.suite)
    assert len(table.rows) == 9
    assert "nccl-tests" in table.note


def test_the_report_and_the_terminal_have_them(analysis):
    titles = [table.title for section in report_sections(analysis) for table in section.tables]
    assert "Training steps on several ranks" in titles and "Collective operations" in titles
    assert any("on several ranks" in line for line in terminal_summary(analysis, {}))


def test_charts_are_drawn_the_same_every_time_and_known_by_name(analysis):
    drawn = {figure.name: figure for figure in figures(analysis)}
    assert {"scaling", "bandwidth"} <= set(drawn) <= set(FIGURE_NAMES)
    for name in ("scaling", "bandwidth"):
        svg = to_svg(drawn[name])
        assert svg == to_svg(drawn[name])
        assert "ddp" in svg or "all-reduce" in svg


def test_the_line_begins_at_one_rank_and_what_is_foretold_begins_where_the_measured_ends():
    rows = efficiency_rows(SCALING)
    assert [(row["ranks"], row["part"]) for row in rows] == [
        (1, "measured"),
        (2, "measured"),
        (2, "foretold"),
        (4, "foretold"),
    ]
    assert rows[0]["y"] == 1.0
    assert rows[1]["y"] == rows[2]["y"] == 0.8
