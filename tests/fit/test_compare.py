"""The form that made the losses comes first, and its error on the hidden rows is what a fit by hand leaves."""

import numpy as np
import pytest

from scalemark.errors import FitError
from scalemark.fit.compare import compare_forms
from scalemark.fit.forms import FORMS
from scalemark.fit.loss_fit import corrected_akaike, fit_form
from scalemark.fit.rows import Rows
from scalemark.schema import FormScore

TRUTHS = {
    "chinchilla": [0.9, 60.0, 400.0, 0.5, 0.35],
    "tied": [0.9, 60.0, 400.0, 0.45],
    "overlap": [0.8, 19.0, 240.0, 0.38, 0.46, 2.0],
    "kaplan": [4.0, 9.0, 0.12, 0.15],
}
PARAMS, TOKENS = (
    column.ravel() for column in np.meshgrid(12e3 * 2.0 ** np.arange(7), 5e5 * 2.0 ** np.arange(6), indexing="ij")
)


def rows_of(form: str, noise: float = 0.002) -> Rows:
    scatter = np.exp(noise * np.random.default_rng(0).standard_normal(len(PARAMS)))
    return Rows.independent(PARAMS, TOKENS, FORMS[form].predict(np.array(TRUTHS[form]), PARAMS, TOKENS) * scatter)


def by_name(scores: tuple[FormScore, ...]) -> dict[str, FormScore]:
    return {score.form: score for score in scores}


@pytest.mark.parametrize("name", list(TRUTHS))
def test_the_form_of_the_losses_describes_and_foretells_them(name: str) -> None:
    """First by the criterion, or behind a form that contains it by no more than chance gives."""
    scores = compare_forms(rows_of(name))
    found = by_name(scores)
    assert found[name].aicc <= scores[0].aicc + 4
    assert found[name].mape < 0.006
    criteria = [score.aicc for score in scores]
    assert criteria == sorted(criteria)


def test_scores_are_those_of_a_fit_by_hand() -> None:
    rows = rows_of("chinchilla")
    found = by_name(compare_forms(rows))["chinchilla"]
    fit = fit_form(FORMS["chinchilla"], rows, replicates=1)
    assert (found.objective, found.aicc) == pytest.approx((fit.objective, corrected_akaike(fit, rows)))
    order = np.argsort(rows.compute_flops, kind="stable")
    kept, hidden = rows.only(order[:-10]), rows.only(order[-10:])
    beyond = fit_form(FORMS["chinchilla"], kept, replicates=1).predict(hidden.params, hidden.tokens)
    assert found.mape == pytest.approx(np.mean(np.abs(beyond / hidden.loss - 1)))


def test_a_law_of_compute_alone_is_far_behind_where_shape_matters() -> None:
    found = by_name(compare_forms(rows_of("chinchilla")))
    assert found["saturating"].aicc > found["chinchilla"].aicc + 50
    assert found["saturating"].mape > 3 * found["chinchilla"].mape


def test_forms_that_the_rows_are_too_few_for_are_left_out() -> None:
    """Seven rows: too few for the overlap's six parameters, and six of them for chinchilla beyond the hidden one."""
    found = by_name(compare_forms(rows_of("chinchilla").only(np.array([0, 8, 16, 24, 32, 40, 5]))))
    assert "overlap" not in found
    assert found["chinchilla"].aicc is None  # seven rows, five parameters and the scatter
    assert found["tied"].mape is not None


def test_no_rows_at_all_are_refused() -> None:
    with pytest.raises(FitError, match="0 training runs are too few"):
        compare_forms(Rows.independent([], [], []))
