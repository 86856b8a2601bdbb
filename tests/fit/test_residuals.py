"""Each measurement beside its law: the right one, with what was foretold of it while it was hidden."""

import factories
import pytest

from scalemark.fit.cost_law import fit_memory_law, fit_time_law, predict
from scalemark.fit.loss_law import fit_loss_law
from scalemark.fit.residuals import MOST_RUNS, residuals
from scalemark.schema import Law, Suite

SUITE = factories.make_suite()
STEPS = [cell for cell in SUITE.cells if cell.workload.phase == "step"]


@pytest.fixture(scope="module")
def time_law() -> Law:
    return fit_time_law(STEPS)


@pytest.fixture(scope="module")
def loss_law() -> Law:
    return fit_loss_law(SUITE.training_runs)


def test_each_cell_stands_beside_its_own_prediction(time_law: Law) -> None:
    found = residuals(time_law, STEPS, ())
    assert [one.subject for one in found] == [cell.workload.key for cell in STEPS]
    for cell, one, residual in zip(STEPS, found, time_law.residuals, strict=True):
        assert one.measured == cell.time_s
        assert one.predicted == predict(time_law, cell.accounting)
        assert one.ratio.value == pytest.approx(1 / (1 + residual), rel=1e-9)


def test_only_the_largest_were_hidden_and_each_was_foretold_what_the_holdout_says(time_law: Law) -> None:
    hidden = [one for one in residuals(time_law, STEPS, ()) if one.foretold]
    assert time_law.holdout
    assert {one.x > time_law.holdout.above for one in hidden} == {True}
    errors = [one.foretold.value / one.measured.value - 1 for one in hidden if one.foretold]
    assert sorted(errors) == pytest.approx(sorted(time_law.holdout.errors))
    inside = sum(one.foretold.low <= one.measured.value <= one.foretold.high for one in hidden if one.foretold)
    assert inside == time_law.holdout.covered


def test_of_runs_the_largest_quarter_by_compute_was_hidden(loss_law: Law) -> None:
    found = residuals(loss_law, (), SUITE.training_runs)
    assert [one.subject for one in found] == [str(run.config) for run in SUITE.training_runs]
    hidden = [one for one in found if one.foretold]
    assert len(hidden) == len(found) // 4
    assert min(one.x for one in hidden) >= max(one.x for one in found if not one.foretold)
    assert loss_law.holdout
    errors = [one.foretold.value / one.measured.value - 1 for one in hidden if one.foretold]
    assert sorted(errors) == pytest.approx(sorted(loss_law.holdout.errors))


def test_memory_is_one_reading_without_an_interval() -> None:
    found = residuals(fit_memory_law(STEPS), STEPS, ())
    assert all(one.measured.low == one.measured.value == one.measured.high for one in found)
    assert [one.ratio.value for one in found] == pytest.approx([1.0] * len(found))


def test_a_cell_that_the_law_was_not_fitted_to_has_no_residual(time_law: Law) -> None:
    untimed = STEPS[0].model_copy(update={"time_s": None})
    assert len(residuals(time_law, [untimed, *STEPS[1:]], ())) == len(STEPS) - 1


def test_a_suite_of_runs_that_failed_has_no_residuals(loss_law: Law) -> None:
    suite: Suite = SUITE
    failed = [run.model_copy(update={"status": "failed"}) for run in suite.training_runs]
    assert residuals(loss_law, (), failed) == ()


def test_of_very_many_runs_some_are_shown_and_each_keeps_what_was_foretold_of_it(loss_law: Law) -> None:
    """Every run many times over, so that rows and runs would no longer pair if places were counted after thinning."""
    copies = 100
    many = [run for run in SUITE.training_runs for _ in range(copies)]
    assert loss_law.holdout
    rows = [
        row.model_copy(update={"row": (row.row - 1) * copies + copy + 1})
        for row in loss_law.holdout.rows
        for copy in range(copies)
    ]
    law = loss_law.model_copy(update={"holdout": loss_law.holdout.model_copy(update={"rows": tuple(rows)})})
    found = residuals(law, (), many)
    assert len(found) == MOST_RUNS
    told = [one for one in found if one.foretold]
    assert told
    expected = {row.measured: row.predicted for row in rows}
    assert all(one.foretold.value == expected[one.measured.value] for one in told if one.foretold)
