"""The memory law: what no tensor shows is found, and a peak that the shape gives is taken for what it is."""

import factories
import numpy as np
import pytest

from scalemark.errors import FitError
from scalemark.fit.cost_law import fit_memory_law, predict, predict_draws, predict_values
from scalemark.model.ladder import BATCH, DIAGONAL, OFF_DIAGONAL, SEQ_LEN, diagonal_shape
from scalemark.model.memory import predict_memory
from scalemark.schema import Cell, Law, Memory, PredictedMemory, Workload

WORKSPACE_BYTES = 64 * 2**20


def make_cells(fixed: float = 0.0, factor: float = 1.0) -> list[Cell]:
    cells = [factories.make_cell(rung) for rung in (*DIAGONAL, *OFF_DIAGONAL)]
    return [
        cell.model_copy(
            update={
                "memory": Memory(allocated_bytes=round(fixed + factor * cell.predicted_memory.peak_bytes), method="")
            }
        )
        for cell in cells
    ]


def predicted_peak(depth: int) -> PredictedMemory:
    workload = Workload(
        phase="step", model=diagonal_shape(depth), batch=BATCH, seq_len=SEQ_LEN, device="cpu", optimizer="adamw"
    )
    predicted = predict_memory(workload)
    assert predicted
    return predicted


def values(law: Law) -> dict[str, float]:
    return {parameter.name: parameter.estimate.value for parameter in law.parameters}


def test_where_the_walk_is_exact_nothing_is_fixed_and_the_factor_is_one() -> None:
    law = fit_memory_law(make_cells())
    assert values(law)["peak_factor"] == pytest.approx(1, rel=1e-9)
    assert values(law)["fixed_bytes"] == pytest.approx(0, abs=1)
    assert predict(law, predicted_peak(16)).value == pytest.approx(predicted_peak(16).peak_bytes, rel=1e-6)
    assert law.holdout is not None and law.holdout.covered == len(law.holdout.errors)


def test_a_workspace_and_a_factor_are_told_apart() -> None:
    law = fit_memory_law(make_cells(fixed=WORKSPACE_BYTES, factor=1.02))
    assert values(law)["fixed_bytes"] == pytest.approx(WORKSPACE_BYTES, rel=1e-3)
    assert values(law)["peak_factor"] == pytest.approx(1.02, rel=1e-3)
    assert all(parameter.identified for parameter in law.parameters)


def test_arrays_say_the_same_as_single_predictions() -> None:
    law = fit_memory_law(make_cells(fixed=WORKSPACE_BYTES))
    peaks = [predicted_peak(depth) for depth in (3, 12)]
    assert predict_values(law, peaks) == pytest.approx([predict(law, peak).value for peak in peaks])
    assert predict_draws(law, peaks).shape == (len(law.draws), 2)


def test_cells_without_a_reading_do_not_enter() -> None:
    cells = make_cells()
    blind = cells[0].model_copy(update={"memory": None})
    assert fit_memory_law([*cells, blind]).n == len(cells)


@pytest.mark.parametrize("count", [0, 1, 3])
def test_too_few_cells_are_refused_with_advice(count: int) -> None:
    with pytest.raises(FitError, match="at least 4 rungs"):
        fit_memory_law(make_cells()[:count])


def test_a_suite_from_before_peaks_were_predicted_is_refused_with_a_reason() -> None:
    old = [cell.model_copy(update={"predicted_memory": None}) for cell in make_cells()]
    with pytest.raises(FitError, match="predicted peak"):
        fit_memory_law(old)


def test_residuals_are_what_the_law_says_over_what_was_measured() -> None:
    cells = make_cells()
    law = fit_memory_law(cells)
    assert np.abs(law.residuals).max() < 1e-6


def test_where_nothing_is_fixed_that_is_told() -> None:
    law = fit_memory_law(make_cells())
    fixed = next(parameter for parameter in law.parameters if parameter.name == "fixed_bytes")
    assert fixed.identified and fixed.estimate.value == fixed.estimate.high == 0
