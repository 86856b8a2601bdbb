"""The energy law: standing power and joules per FLOP recovered, time put in to predict, no energy without a counter."""

import factories
import numpy as np
import pytest

from scalemark.errors import FitError
from scalemark.fit.cost.energy_law import moved_bytes
from scalemark.fit.cost_law import fit_energy_law, fit_time_law, predict, predict_draws, predict_values
from scalemark.model.accounting import account
from scalemark.model.ladder import BATCH, DIAGONAL, OFF_DIAGONAL, SEQ_LEN, diagonal_shape
from scalemark.schema import Cell, Energy, Law

STANDING_W, J_PER_FLOP, J_PER_BYTE = 80.0, 2e-10, 4e-9
SHAPES = [(rung, BATCH, SEQ_LEN) for rung in (*DIAGONAL, *OFF_DIAGONAL)] + [
    (DIAGONAL[3], 16, 256),
    (DIAGONAL[2], 1, 2048),
]


def true_joules(cell: Cell, seconds: float) -> float:
    accounting = cell.accounting
    assert accounting
    computed = J_PER_FLOP * accounting.flops.model_flops("step") + J_PER_BYTE * moved_bytes(accounting)
    return STANDING_W * seconds + computed


def with_energy(cell: Cell, noise: float, slower: float = 1.0) -> Cell:
    """A window of 100 rounds, each `slower` times as long as the rounds that were timed."""
    rng = np.random.default_rng([7, cell.accounting.items, cell.accounting.params_total])
    seconds = slower * cell.typical_s.value
    joules = true_joules(cell, seconds) * float(np.exp(noise * rng.standard_normal()))
    energy = Energy(
        status="ok",
        joules_per_round=factories.estimate(joules, 0.02),
        method="direct",
        window_s=100 * seconds,
        rounds=100,
        idle_w=factories.estimate(60.0),
    )
    return cell.model_copy(update={"energy": energy})


def make_cells(noise: float = 0.003, slower: float = 1.0) -> list[Cell]:
    """Times scatter widely, as those of small steps do, so that they are told from FLOPs."""
    rng = np.random.default_rng(1)
    cells = [factories.make_cell(model, batch=batch, seq_len=seq_len) for model, batch, seq_len in SHAPES]
    spread = [
        cell.model_copy(update={"time_s": cell.time_s.scaled(float(np.exp(0.3 * rng.standard_normal())))})
        for cell in cells
    ]
    return [with_energy(cell, noise, slower) for cell in spread]


def values(law: Law) -> dict[str, float]:
    return {parameter.name: parameter.estimate.value for parameter in law.parameters}


def test_standing_power_and_the_price_of_a_flop_and_a_byte_are_recovered() -> None:
    found = values(fit_energy_law(make_cells()))
    assert found["standing_power_w"] == pytest.approx(STANDING_W, rel=0.05)
    assert found["energy_per_flop_j"] == pytest.approx(J_PER_FLOP, rel=0.1)
    assert found["energy_per_byte_j"] == pytest.approx(J_PER_BYTE, rel=0.25)


def test_the_time_is_that_of_the_energys_own_windows() -> None:
    """A clock that fell by half between the passes must not look like half the power."""
    found = values(fit_energy_law(make_cells(slower=2.0)))
    assert found["standing_power_w"] == pytest.approx(STANDING_W, rel=0.05)


def test_a_prediction_puts_in_the_time_of_the_time_law() -> None:
    cells = [with_energy(factories.make_cell(m, batch=b, seq_len=t, noise=0.0), 0.0) for m, b, t in SHAPES]
    law, shape = fit_energy_law(cells), diagonal_shape(12)
    truth = true_joules(factories.make_cell(shape), factories.true_step_s(shape))
    counted = account(shape, BATCH, SEQ_LEN)
    assert predict(law, counted).value == pytest.approx(truth, rel=0.01)
    assert predict_values(law, [counted]) == pytest.approx([predict(law, counted).value])
    assert predict_draws(law, [counted]).shape == (len(law.draws), 1)


def test_a_law_that_was_written_and_read_predicts_the_same() -> None:
    law, counted = fit_energy_law(make_cells()), account(DIAGONAL[4], BATCH, SEQ_LEN)
    again = Law.model_validate_json(law.model_dump_json())
    assert predict(again, counted) == predict(law, counted)


def test_the_note_says_what_the_device_drew_at_rest() -> None:
    assert "at rest the device drew 60 W" in fit_energy_law(make_cells()).notes


def test_without_a_counter_there_is_no_law_and_its_reason_is_said() -> None:
    with pytest.raises(FitError, match="no energy was measured: no energy counter on this machine"):
        fit_energy_law([factories.make_cell(rung) for rung in DIAGONAL])


def test_energy_from_a_stated_power_makes_no_law() -> None:
    stated = Energy(status="unavailable", reason="no counter", estimated_j=3.0)
    cells = [factories.make_cell(rung).model_copy(update={"energy": stated}) for rung in DIAGONAL]
    with pytest.raises(FitError, match="no counter"):
        fit_energy_law(cells)


def test_energy_changes_no_time_law() -> None:
    cells = make_cells()
    assert fit_time_law(cells) == fit_time_law([cell.model_copy(update={"energy": None}) for cell in cells])
