from scalemark.report.tables.residuals import MOST_RESIDUAL_ROWS, residual_tables
from scalemark.schema import Analysis


def test_each_measurement_stands_beside_its_law_and_what_was_foretold(full_analysis: Analysis) -> None:
    table = residual_tables(full_analysis)[0]
    assert table.title == "Residuals of the step time law"
    first, last = table.rows[0], table.rows[-1]
    assert first[1:4] == ("1.52 s ± 2.0 %", "1.50 s ± 5.0 %", "+1.0 %")
    assert first[4:] == ("–", "–", "–")
    assert last[5:] == ("+3.0 %", "no")


def test_where_there_are_many_the_furthest_are_listed_and_the_others_counted(full_analysis: Analysis) -> None:
    few = full_analysis.residuals["loss"]
    near = few[0].model_copy(update={"measured": few[0].predicted})
    many = (*[near] * 100, *few)
    table = residual_tables(full_analysis.model_copy(update={"residuals": {"loss": many}}))[0]
    assert len(table.rows) == MOST_RESIDUAL_ROWS
    assert f"{100 + len(few) - MOST_RESIDUAL_ROWS} more lie nearer" in table.note
    assert [row[0] for row in table.rows][-len(few) :] == [one.subject for one in few]


def test_they_are_for_reference(full_analysis: Analysis) -> None:
    assert all(table.detail for table in residual_tables(full_analysis))
