import factories
import pytest

from scalemark.report.series.roofline import ceiling_rows, ridges, roof_rows, roofline_rows
from scalemark.schema import Analysis, Ceilings, Operators

RIDGE = factories.GEMM_CEILING.value / factories.TRIAD_CEILING.value


def test_a_step_stands_at_its_flops_per_byte_and_its_rate(full_analysis: Analysis) -> None:
    row = next(row for row in roofline_rows(full_analysis.suite) if row["model"] == "d9w576")
    cell = next(cell for cell in full_analysis.suite.cells if cell.workload.rung == "d9w576")
    assert cell.flops_per_s and cell.accounting and cell.operators
    moved = cell.operators.bytes_read + cell.operators.bytes_written
    assert row["x"] == pytest.approx(cell.accounting.flops.model_flops("step") / moved)
    assert row["y"] == cell.flops_per_s.value


def test_the_roof_is_the_lower_of_both_ceilings(full_analysis: Analysis) -> None:
    rows = roof_rows(full_analysis.suite, 1.0, 100.0)
    assert [row["x"] for row in rows] == pytest.approx([1.0, RIDGE, 100.0])
    for row in rows:
        assert row["y"] == pytest.approx(min(factories.TRIAD_CEILING.value * row["x"], factories.GEMM_CEILING.value))
    assert ridges(full_analysis.suite) == [pytest.approx(RIDGE)]


def test_the_roof_says_its_ceilings(full_analysis: Analysis) -> None:
    products, triads = ceiling_rows(full_analysis.suite, 1.0, 100.0)
    assert [row["label"] for row in products] == ["GEMM float32, 160 GFLOP/s"]
    assert [row["label"] for row in triads] == ["triad, 20.0 GB/s"]


def test_without_a_ceiling_or_bytes_there_is_no_place_for_a_step(full_analysis: Analysis) -> None:
    suite = full_analysis.suite
    assert roofline_rows(suite.model_copy(update={"ceilings": Ceilings()})) == []
    nothing = Operators(calls={}, bytes_read=0, bytes_written=0)
    cells = tuple(cell.model_copy(update={"operators": nothing}) for cell in suite.cells)
    assert roofline_rows(suite.model_copy(update={"cells": cells})) == []
