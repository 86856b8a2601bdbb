"""The forms side by side: how well each describes all rows for the parameters it spends, and how well it foretells.

The criterion judges inside the range of the rows, the hidden quarter beyond it, and they need not agree: a form that is
wrong may fit better and foretell worse. Of two forms that are alike in both, the one of fewer parameters is the safer.
"""

from collections.abc import Iterable

import numpy as np

from scalemark.errors import FitError
from scalemark.fit.forms import CHINCHILLA, FORMS, Form
from scalemark.fit.loss_fit import corrected_akaike, fit_form
from scalemark.fit.loss_holdout import split_largest
from scalemark.fit.rows import Rows
from scalemark.fit.solver import HUBER_DELTA
from scalemark.schema import FormScore


def compare_forms(
    rows: Rows, forms: Iterable[Form] = tuple(FORMS.values()), delta: float = HUBER_DELTA
) -> tuple[FormScore, ...]:
    """Scores, the lowest criterion first; forms that the rows are too few for are left out.

    mape: mean absolute error on the quarter of the rows of most compute, predicted from the others; None where those
    are too few for the form, or are all of one size or token count. Raises FitError where no form can be fitted.
    """
    scores = [_score(form, rows, delta) for form in forms if len(rows) >= form.fewest_rows]
    if not scores:
        raise FitError(f"{len(rows)} training runs are too few for any form: it takes {CHINCHILLA.fewest_rows}")
    return tuple(sorted(scores, key=lambda score: np.inf if score.aicc is None else score.aicc))


def _score(form: Form, rows: Rows, delta: float) -> FormScore:
    fit = fit_form(form, rows, replicates=1, delta=delta)
    criterion = corrected_akaike(fit, rows)
    return FormScore(
        form=form.name,
        objective=fit.objective,
        aicc=criterion if np.isfinite(criterion) else None,
        mape=_error_on_largest(form, rows, delta),
    )


def _error_on_largest(form: Form, rows: Rows, delta: float) -> float | None:
    hidden, kept = split_largest(rows)
    if len(kept) < form.fewest_rows or not len(hidden):
        return None
    try:
        fit = fit_form(form, kept, replicates=1, delta=delta)
    except FitError:
        return None
    return float(np.mean(np.abs(fit.predict(hidden.params, hidden.tokens) / hidden.loss - 1)))
