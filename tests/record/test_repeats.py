"""Reruns beside a baseline's cells."""

from pathlib import Path

import pytest
from factories import estimate, make_suite

from scalemark.errors import InputError
from scalemark.record.baseline import find_baseline, save_baseline
from scalemark.record.repeats import with_repeats
from scalemark.record.store import load_suite
from scalemark.schema import SCHEMA_VERSION, Cell, ControlVariate, Energy, Suite

BASE = make_suite("base")
RERUNS = [make_suite(f"rerun {seed}", seed=seed) for seed in (1, 2, 3)]


def with_first(suite: Suite, **changes: object) -> Suite:
    first, *others = suite.cells
    return suite.model_copy(update={"cells": (first.model_copy(update=changes), *others)})


def test_each_cell_gets_one_value_per_rerun_in_their_order() -> None:
    found = with_repeats(BASE, RERUNS)
    for index, cell in enumerate(found.cells):
        assert cell.repeats is not None
        assert cell.repeats.time_s == tuple(rerun.cells[index].time_s.value for rerun in RERUNS)  # type: ignore[union-attr]
        assert cell.repeats.corrected_s == cell.repeats.joules == (None, None, None)


def test_a_cell_that_a_rerun_did_not_reach_keeps_its_place() -> None:
    gap = with_first(RERUNS[1], status="skipped", time_s=None)
    repeats = with_repeats(BASE, [RERUNS[0], gap, RERUNS[2]]).cells[0].repeats
    assert repeats is not None
    assert [value is None for value in repeats.time_s] == [False, True, False]


def corrected(suite: Suite, gemm_s: float, coefficient: float = 0.5) -> Suite:
    control = ControlVariate(coefficients={"gemm": coefficient}, references_s={"gemm": gemm_s})
    return with_first(suite, corrected_s=suite.cells[0].time_s, control=control)


def test_corrected_times_are_at_references_typical_of_the_reruns_whatever_the_base_met() -> None:
    """Half of the kernel's slowness is in the cell; the reruns' kernels take 1.0, 1.1 and 1.4, the base's 100."""
    reruns = [corrected(one, gemm_s=gemm_s) for one, gemm_s in zip(RERUNS, (1.0, 1.1, 1.4), strict=True)]
    repeats = with_repeats(corrected(BASE, gemm_s=100.0), reruns).cells[0].repeats
    assert repeats is not None
    assert repeats.references_s == {"gemm": 1.1}
    for rerun, gemm_s, found in zip(RERUNS, (1.0, 1.1, 1.4), repeats.corrected_s, strict=True):
        assert rerun.cells[0].time_s
        assert found == pytest.approx(rerun.cells[0].time_s.value * (1.1 / gemm_s) ** 0.5)


def test_energy_is_repeated_too() -> None:
    measured = Energy(status="ok", joules_per_round=estimate(3.0), source="made up", domain="package")
    repeats = with_repeats(BASE, [with_first(RERUNS[0], energy=measured)]).cells[0].repeats
    assert repeats and repeats.joules == (3.0,)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"machine": make_suite(machine_id="elsewhere").machine}, "another machine"),
        ({"complete": False}, "not complete"),
        ({"fake": True}, "faked"),
    ],
)
def test_reruns_that_say_nothing_of_this_machine_are_refused(change: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        with_repeats(BASE, [RERUNS[0].model_copy(update=change)])


def test_reruns_are_added_to_a_baseline_that_is_there_and_stay(tmp_path: Path) -> None:
    path = save_baseline(BASE, tmp_path)
    repeated = with_repeats(BASE, RERUNS)
    assert save_baseline(repeated, tmp_path) == path
    assert find_baseline(tmp_path, BASE.machine.id) == repeated
    assert save_baseline(BASE, tmp_path) == path
    assert load_suite(path) == repeated


def test_a_suite_of_the_format_before_is_read_without_reruns(tmp_path: Path) -> None:
    path = save_baseline(BASE, tmp_path)
    path.write_text(
        path.read_text()
        .replace(f'"schema_version": {SCHEMA_VERSION}', '"schema_version": 3')
        .replace('"repeats": null', "")
    )
    text = path.read_text().replace(",\n\n", "\n")
    import re

    path.write_text(re.sub(r",\s*(\}|\])", r"\1", text))
    cells: tuple[Cell, ...] = load_suite(path).cells
    assert all(cell.repeats is None for cell in cells)
