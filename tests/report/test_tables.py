import factories
import pytest

from scalemark.report.tables import (
    Column,
    Table,
    cell_table,
    cost_table,
    diff_table,
    law_tables,
    machine_table,
    price_table,
    report_tables,
    training_table,
    warning_table,
)
from scalemark.schema import Analysis, Cell, Comparison, Diff, Energy, MeasurementWarning, Suite, TrainingRun


def column(table: Table, title: str) -> list[str]:
    place = [column.title for column in table.columns].index(title)
    return [row[place] for row in table.rows]


def with_cells(*cells: Cell) -> Suite:
    return factories.make_suite().model_copy(update={"cells": cells})


def test_a_row_that_lacks_a_column_is_refused() -> None:
    with pytest.raises(AssertionError, match="lacks a column"):
        Table("t", (Column("a"), Column("b")), (("1",),))


def test_the_cost_table_holds_every_adamw_step_and_nothing_else() -> None:
    suite = factories.make_suite()
    table = cost_table(suite)
    assert len(table.rows) == sum(cell.workload.phase == "step" for cell in suite.cells)


def test_the_cost_table_grows_with_parameters() -> None:
    models = column(cost_table(factories.make_suite()), "model")
    assert models.index("d1w64") < models.index("d4w256") < models.index("d9w576")


def test_a_step_time_carries_its_interval() -> None:
    assert all("±" in text for text in column(cost_table(factories.make_suite()), "step time"))


def test_mfu_is_named_against_the_measured_ceiling() -> None:
    assert "160 GFLOP/s" in cost_table(factories.make_suite()).note


def test_energy_without_a_counter_is_unavailable_with_its_reason() -> None:
    table = cost_table(factories.make_suite())
    assert set(column(table, "energy/step")) == {"unavailable"}
    assert "no energy counter on this machine" in table.note


def test_energy_that_was_measured_is_shown() -> None:
    cell = factories.make_cell(factories.DIAGONAL[0])
    energy = Energy(status="ok", joules_per_round=12.34, source="nvml")
    assert column(cost_table(with_cells(cell.model_copy(update={"energy": energy}))), "energy/step") == ["12.3 J"]


def test_zero_joules_is_a_measurement() -> None:
    cell = factories.make_cell(factories.DIAGONAL[0])
    energy = Energy(status="ok", joules_per_round=0.0, source="nvml")
    assert column(cost_table(with_cells(cell.model_copy(update={"energy": energy}))), "energy/step") == ["0 J"]


def test_a_cell_without_a_number_is_listed_with_its_reason() -> None:
    measured = factories.make_cell(factories.DIAGONAL[0])
    failed = Cell(workload=measured.workload, status="predicted_oom", reason="needs 40 GiB, 16 GiB are free")
    table = cell_table(with_cells(failed))
    assert column(table, "status") == ["predicted oom"]
    assert column(table, "reason") == ["needs 40 GiB, 16 GiB are free"]
    assert column(table, "time") == ["–"]


def test_a_training_run_without_a_result_says_why() -> None:
    good = factories.make_training_run(factories.TRAINED_SHAPES[0], 250_000)
    bad = TrainingRun(config=good.config, status="diverged", reason="loss was not finite at step 12")
    table = training_table(factories.make_suite().model_copy(update={"training_runs": (bad,)}))
    assert column(table, "status") == ["diverged: loss was not finite at step 12"]
    assert column(table, "validation loss") == ["–"]


def test_accuracy_is_a_percentage() -> None:
    assert column(training_table(factories.make_suite()), "accuracy")[0] == "40.0 %"


def test_a_parameter_never_stands_without_its_interval(analysis: Analysis) -> None:
    assert all(" to " in text for text in column(law_tables(analysis)[0], "90 % interval"))


def test_a_parameter_that_is_not_identified_is_said_in_words(analysis: Analysis) -> None:
    values = dict(
        zip(column(law_tables(analysis)[0], "parameter"), column(law_tables(analysis)[0], "value"), strict=True)
    )
    assert values == {"rate": "100 GFLOP/s", "layer_s": "200 µs", "bandwidth": "not identified"}


def test_a_law_says_its_form_its_range_and_what_hidden_measurements_showed(analysis: Analysis) -> None:
    note = law_tables(analysis)[0].note
    assert "t = layer_s·n_layer + FLOPs/rate" in note
    assert "49.0 k to 35.8 M" in note
    assert "−3.1 %, +5.2 %; 2 of 2 lay inside" in note


def test_a_law_that_could_not_be_fitted_gives_the_reason(analysis: Analysis) -> None:
    table = law_tables(analysis)[-1]
    assert (table.title, table.rows) == ("Loss law", ())
    assert "raise the budget" in table.note


def test_a_price_never_stands_without_its_distance(analysis: Analysis) -> None:
    assert column(price_table(analysis), "fitted range") == ["within", "2.4× beyond", "5.6× beyond"]


def test_a_price_says_whether_the_model_fits(analysis: Analysis) -> None:
    assert column(price_table(analysis), "fits?") == ["yes", "yes", "no"]


def test_what_stayed_the_same_is_only_counted(analysis: Analysis) -> None:
    table = diff_table(analysis)
    assert column(table, "verdict") == ["regressed", "missing"]
    assert "3 same" in table.note
    assert column(table, "change")[0] == "+12.0 % (+8.0 % to +17.0 %)"


def test_an_advisory_diff_says_that_time_means_nothing(analysis: Analysis) -> None:
    assert analysis.diff is not None
    diff = analysis.diff.model_copy(update={"advisory": True, "differing_fields": ("cpu",)})
    note = diff_table(analysis.model_copy(update={"diff": diff})).note
    assert "These fields differ: cpu." in note
    assert "another machine" in note


def test_no_baseline_gives_the_reason(bare_analysis: Analysis) -> None:
    assert diff_table(bare_analysis).note == "No verdict: there is no baseline for this machine"


def test_a_warning_stands_with_its_advice_once() -> None:
    warning = MeasurementWarning(subject="clock", message="too coarse: time more rounds")
    suite = factories.make_suite().model_copy(update={"warnings": (warning, warning)})
    assert warning_table(suite).rows == (("clock", "too coarse: time more rounds"),)


def test_a_run_that_was_cut_short_or_made_up_is_a_warning() -> None:
    suite = factories.make_suite().model_copy(update={"complete": False, "fake": True})
    assert [text.split()[0] for _, text in warning_table(suite).rows] == ["Interrupted", "This"]


def test_an_unknown_fact_of_the_machine_is_unknown_and_not_zero() -> None:
    suite = factories.make_suite()
    machine = suite.machine.model_copy(update={"identity": {"gpu": None, "memory_bytes": 2**34}})
    rows = dict(machine_table(suite.model_copy(update={"machine": machine})).rows)
    assert (rows["gpu"], rows["memory"]) == ("unknown", "16.0 GiB")


def test_a_suite_in_which_nothing_was_measured_still_makes_tables(bare_analysis: Analysis) -> None:
    titles = [table.title for table in report_tables(bare_analysis)]
    assert "Cost of a training step" not in titles
    assert {"Machine", "Step time law", "Warnings", "Settings"} <= set(titles)


def test_a_users_own_model_is_named_by_its_task(task_analysis: Analysis) -> None:
    suite = task_analysis.suite
    assert column(cost_table(suite), "model") == column(training_table(suite), "model") == ["make_task(width=64)"]
    assert column(cost_table(suite), "batch") == ["–"]


def test_many_inconclusive_comparisons_are_counted_and_do_not_hide_a_regression() -> None:
    uncertain = tuple(Comparison(subject=f"cell {i}", metric="time_s", verdict="inconclusive") for i in range(9))
    slower = Comparison(subject="slow cell", metric="time_s", verdict="regressed")
    gone = Comparison(subject="gone cell", metric="time_s", verdict="missing")
    diff = Diff(base_id="a", new_id="b", verdict="regressed", comparisons=(*uncertain, gone, slower))
    table = diff_table(Analysis(suite=factories.make_suite(), diff=diff))
    assert [row[1] for row in table.rows] == ["slow cell", "gone cell"]
    assert "9 inconclusive" in table.note
