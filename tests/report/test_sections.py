"""One order for all forms of a report, and a reason for everything that it lacks."""

import pytest

from scalemark.report.charts import figures
from scalemark.report.sections import FIGURE_NAMES, FIRST_SCREEN, missing_figures, report_sections
from scalemark.schema import Analysis


@pytest.mark.parametrize("name", ["full_analysis", "analysis", "bare_analysis", "task_analysis"])
def test_every_chart_is_drawn_or_has_a_reason(name: str, request: pytest.FixtureRequest) -> None:
    analysis = request.getfixturevalue(name)
    drawn, missing = {figure.name for figure in figures(analysis)}, missing_figures(analysis)
    assert drawn | set(missing) == set(FIGURE_NAMES)
    assert not drawn & set(missing)
    assert all(reason.strip() for reason in missing.values())


def test_the_first_screen_is_four_charts_and_nothing_else(full_analysis: Analysis) -> None:
    first = report_sections(full_analysis)[0]
    assert (first.title, first.figures, first.tables) == ("", FIRST_SCREEN, ())


def test_each_chart_and_table_stands_in_one_place(full_analysis: Analysis) -> None:
    sections = report_sections(full_analysis)
    names = [name for section in sections for name in section.figures]
    assert sorted(names) == sorted(FIGURE_NAMES)
    titles = [table.title for section in sections for table in section.tables]
    assert len(set(titles)) == len(titles)


def test_a_reason_that_a_table_gives_is_not_given_twice(analysis: Analysis) -> None:
    """Energy is unavailable in the made-up suite: its table says so, and the chart's absence adds nothing."""
    section = next(section for section in report_sections(analysis) if section.title == "Energy per token")
    assert section.missing == ()
    assert "no energy counter on this machine" in section.tables[0].note


def test_a_reason_that_nothing_else_gives_is_given(analysis: Analysis) -> None:
    section = next(section for section in report_sections(analysis) if section.title == "Cost of a training step")
    assert section.missing == ("No chart of roofline: no step had its operators counted, or no ceiling was measured.",)


def test_reference_tables_come_last(full_analysis: Analysis) -> None:
    *others, last = report_sections(full_analysis)
    assert all(table.detail for table in last.tables)
    assert not any(table.detail for section in others for table in section.tables)
