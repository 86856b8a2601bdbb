import factories
import pytest

from scalemark.report.numbers import joules
from scalemark.report.tables.energy import energy_table
from scalemark.schema import Analysis


def test_a_token_costs_what_its_step_does_over_its_tokens(full_analysis: Analysis) -> None:
    """100 W over the step time, 512 tokens in a step."""
    table = energy_table(full_analysis.suite)
    titles = [column.title for column in table.columns]
    row = next(row for row in table.rows if row[0] == "d9w576")
    cell = next(cell for cell in full_analysis.suite.cells if cell.workload.rung == "d9w576")
    assert cell.time_s
    per_token = 100 * cell.time_s.value / 512
    assert row[titles.index("energy/token")].startswith(joules(per_token))
    assert float(row[titles.index("tokens/J")]) == pytest.approx(1 / per_token, rel=0.01)
    assert row[titles.index("power")] == "100 W"


def test_a_token_is_named_by_its_counter(full_analysis: Analysis) -> None:
    assert "Counted by nvml of gpu 0" in energy_table(full_analysis.suite).note


def test_without_a_counter_the_reason_stands_there_and_no_row() -> None:
    table = energy_table(factories.make_suite())
    assert table.rows == ()
    assert table.note == "Energy is unavailable: no energy counter on this machine."


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.0, "0 J"), (2500.0, "2.50 kJ"), (1.0, "1.00 J"), (0.0041, "4.10 mJ"), (3e-6, "3.00 µJ"), (2e-9, "2.00 nJ")],
)
def test_joules_are_written_in_the_multiple_that_people_say(value: float, text: str) -> None:
    assert joules(value) == text
