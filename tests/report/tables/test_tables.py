import factories
import pytest

from scalemark.report.sections import report_sections
from scalemark.report.tables import (
    Column,
    Table,
    cell_table,
    cost_table,
    diff_table,
    law_tables,
    machine_table,
    operator_table,
    price_table,
    product_table,
    training_table,
    warning_table,
)
from scalemark.schema import (
    Analysis,
    Cell,
    Comparison,
    ControlVariate,
    Diff,
    Energy,
    GemmRate,
    MeasurementWarning,
    Operators,
    Suite,
    TrainingRun,
)
from scalemark.units import significant


def column(table: Table, title: str) -> list[str]:
    place = [column.title for column in table.columns].index(title)
    return [row[place] for row in table.rows]


def titles_of(analysis: Analysis) -> list[str]:
    """Of every table that the report has, in reading order."""
    return [table.title for section in report_sections(analysis) for table in section.tables]


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
    table = cost_table(factories.make_suite())
    assert column(table, "MFU (vs GEMM)")[0].endswith("%")
    assert "MFU (vs GEMM) is against the GEMM ceiling measured in this run (cpu/float32 160 GFLOP/s)" in table.note


def test_flops_name_their_convention_in_the_heading() -> None:
    table = cost_table(factories.make_suite())
    assert column(table, "FLOP/s (6N + full attention)")[0].endswith("FLOP/s")
    assert "the head included and the token table not" in table.note


def titles(table: Table) -> list[str]:
    return [column.title for column in table.columns]


def test_hfu_stands_only_where_something_is_computed_twice() -> None:
    cell = factories.make_cell(factories.DIAGONAL[0])
    plain = cell.model_copy(update={"hfu": cell.mfu})
    assert "HFU (vs GEMM)" not in titles(cost_table(with_cells(cell, plain)))
    again = cell.model_copy(update={"hfu": factories.estimate(0.5)})
    table = cost_table(with_cells(plain, again))
    assert column(table, "HFU (vs GEMM)")[1] == "50.0 %"
    assert "HFU counts the forward passes that the backward pass repeats" in table.note


def test_a_vendors_peak_stands_only_where_one_is_known_and_says_how_much_it_is() -> None:
    cell = factories.make_cell(factories.DIAGONAL[0])
    assert "MFU (vs vendor peak)" not in titles(cost_table(with_cells(cell)))
    assert cell.flops_per_s
    vendor_mfu = cell.flops_per_s.scaled(1 / 312e12)
    table = cost_table(with_cells(cell.model_copy(update={"vendor_mfu": vendor_mfu}), cell))
    assert sorted(text == "–" for text in column(table, "MFU (vs vendor peak)")) == [False, True]
    assert "Vendor peak, dense: 312 TFLOP/s." in table.note


def with_sweep(*rates: GemmRate) -> Suite:
    suite = factories.make_suite()
    return suite.model_copy(update={"ceilings": suite.ceilings.model_copy(update={"gemm_sweep": rates})})


def product(size: int, flops_per_s: float) -> GemmRate:
    rate = factories.estimate(flops_per_s)
    return GemmRate(device="cpu", dtype="float32", m=size, n=2 * size, k=3 * size, flops_per_s=rate)


def test_the_ceiling_names_its_product_and_how_many_were_tried() -> None:
    suite = with_sweep(product(512, 1.2e11), product(1024, 1.6e11))
    ceiling = dict(machine_table(suite).rows)["GEMM ceiling, cpu/float32"]
    assert ceiling.endswith("(1,024 × 2,048 × 3,072, best of 2)")
    assert "best of" not in str(machine_table(factories.make_suite()).rows)


def test_the_sweep_is_listed_fastest_first_with_its_share_of_the_ceiling() -> None:
    table = product_table(with_sweep(product(512, 1.2e11), product(1024, 1.6e11)))
    assert column(table, "m × n × k") == ["1,024 × 2,048 × 3,072", "512 × 1,024 × 1,536"]
    assert column(table, "FLOP/s") == ["160 GFLOP/s ± 2.0 %", "120 GFLOP/s ± 2.0 %"]
    assert column(table, "of the ceiling") == ["100.0 %", "75.0 %"]
    assert table.detail


def test_operators_of_a_step_stand_with_their_bytes_and_flops_per_byte() -> None:
    cell = factories.make_cell(factories.DIAGONAL[0])
    assert cell.accounting
    flops = cell.accounting.flops.model_flops("step")
    operators = Operators(calls={"aten.mm": 1200, "aten.add": 34}, bytes_read=2**20, bytes_written=2**19)
    forward = factories.make_cell(factories.DIAGONAL[0], "forward").model_copy(update={"operators": operators})
    counted = cell.model_copy(update={"operators": operators})
    table = operator_table(with_cells(counted, forward, factories.make_cell(factories.DIAGONAL[1])))
    assert column(table, "operators") == ["1,234"]
    assert (column(table, "read"), column(table, "written")) == (["1.00 MiB"], ["512 KiB"])
    assert column(table, "FLOP/byte (6N + full attention)") == [significant(flops / (1.5 * 2**20))]


def test_a_suite_without_sweep_or_operators_has_no_empty_tables(analysis: Analysis) -> None:
    assert not {"Matrix products", "Operators of a training step"} & set(titles_of(analysis))


def test_every_cell_is_listed_with_its_mfu() -> None:
    cell = factories.make_cell(factories.DIAGONAL[0], "forward")
    assert cell.mfu
    assert column(cell_table(with_cells(cell)), "MFU (vs GEMM)") == [f"{cell.mfu.value * 100:.1f} %"]


def test_energy_without_a_counter_is_unavailable_with_its_reason() -> None:
    table = cost_table(factories.make_suite())
    assert set(column(table, "energy/step")) == {"unavailable"}
    assert "no energy counter on this machine" in table.note


def with_energy(energy: Energy) -> Table:
    return cost_table(with_cells(factories.make_cell(factories.DIAGONAL[0]).model_copy(update={"energy": energy})))


def measured_energy(joules: float, idle_w: float | None = None) -> Energy:
    return Energy(
        status="ok",
        joules_per_round=factories.estimate(joules),
        source="powercap",
        domain="package-0 + dram",
        method="direct",
        idle_w=idle_w and factories.estimate(idle_w),
    )


def test_energy_that_was_measured_is_shown_with_its_interval_and_method() -> None:
    table = with_energy(measured_energy(12.34))
    assert column(table, "energy/step") == ["12.3 J ± 2.0 %"]
    assert "powercap of package-0 + dram, direct" in table.note


def test_zero_joules_is_a_measurement() -> None:
    assert column(with_energy(measured_energy(0.0)), "energy/step") == ["0 J ± 0 %"]


def test_idle_power_is_reported_apart() -> None:
    assert "idle power (9.00 W ± 2.0 %) included" in with_energy(measured_energy(12.34, idle_w=9.0)).note


def test_an_estimate_from_a_stated_power_has_a_column_of_its_own_and_is_no_measurement() -> None:
    table = with_energy(Energy(status="unavailable", reason="no counter here", estimated_j=3.0))
    assert column(table, "energy/step") == ["unavailable"]
    assert column(table, "estimated energy") == ["3.00 J"]
    assert "no measurement" in table.note


def test_without_an_estimate_there_is_no_column_for_it() -> None:
    assert "estimated energy" not in [column.title for column in cost_table(factories.make_suite()).columns]


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


def test_what_simpler_laws_missed_stands_beside_what_this_one_did(analysis: Analysis) -> None:
    holdout = analysis.laws[0].holdout.model_copy(update={"rivals": {"constant MFU": (0.3, -0.5)}})
    law = analysis.laws[0].model_copy(update={"holdout": holdout})
    note = law_tables(analysis.model_copy(update={"laws": (law,)}))[0].note
    assert "Others missed them by: constant MFU 40.0 % (mean absolute)." in note
    assert "Others missed" not in law_tables(analysis)[0].note


def test_a_law_that_could_not_be_fitted_gives_the_reason(analysis: Analysis) -> None:
    table = law_tables(analysis)[-1]
    assert (table.title, table.rows) == ("Loss law", ())
    assert "raise the budget" in table.note


def test_a_price_never_stands_without_its_distance(analysis: Analysis) -> None:
    assert column(price_table(analysis), "fitted range") == ["within", "2.4× beyond", "5.6× beyond"]


def test_energy_has_a_price_only_where_a_law_gives_one(analysis: Analysis) -> None:
    assert "energy" not in [column.title for column in price_table(analysis).columns]
    metered, *others = analysis.prices
    tag = metered.model_copy(update={"training_j": factories.estimate(7.2e6)})
    table = price_table(analysis.model_copy(update={"prices": (tag, *others)}))
    assert column(table, "energy") == ["2.00 kWh ± 2.0 %", "–", "–"]


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
    titles = titles_of(bare_analysis)
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


def test_a_cell_says_beside_its_time_what_was_corrected_and_what_makes_it_worse_than_it_looks() -> None:
    control = ControlVariate(coefficients={"gemm": 0.6}, references_s={"gemm": 0.001})
    cell = factories.make_cell(factories.DIAGONAL[0])
    told = cell.model_copy(
        update={"corrected_s": cell.time_s, "control": control, "marks": ("not_steady", "wide"), "minimum_s": 0.001}
    )
    table = cell_table(with_cells(told))
    assert column(table, "status") == ["ok, not steady, wide"]
    assert column(table, "corrected") == column(table, "time")
    assert column(table, "fastest") == ["1.00 ms"]
    assert "(gemm) is taken out" in table.note


def test_a_compiled_cell_is_told_from_an_eager_one_and_is_no_price_of_a_step() -> None:
    cell = factories.make_cell(factories.DIAGONAL[0])
    compiled = cell.model_copy(update={"workload": cell.workload.model_copy(update={"compiled": True})})
    assert column(cell_table(with_cells(compiled)), "phase") == ["step, compiled"]
    assert not cost_table(with_cells(compiled)).rows
