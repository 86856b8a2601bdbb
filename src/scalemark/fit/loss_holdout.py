"""How well the loss law foretells: the largest quarter of the runs, by compute, is hidden and predicted from the rest.

    compute ──>  |  kept  |  kept  |  kept  |  hidden  |   apart = 1: all other runs are kept
                 |  kept  |  kept  |        |  hidden  |   apart = 4: only those four times below any hidden one

Of many hidden runs, `MOST_PREDICTED` are predicted, spread evenly over their compute.

A hidden run is often a later branch of a trunk whose earlier branches are kept: such a prediction reaches further in
tokens alone, and that trunk's luck is known. `unseen_size` says which hidden runs are of a size that no kept run has.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from scalemark.errors import FitError
from scalemark.fit.forms import CHINCHILLA, Form
from scalemark.fit.loss_fit import LossFit, fit_form, fit_law
from scalemark.fit.prediction import hidden_rows, predict_with_scatter, residual_sd
from scalemark.fit.rows import Labels, Rows
from scalemark.fit.solver import Array
from scalemark.schema import Estimate, Holdout, TrainingRun

HIDDEN_SHARE = 0.25
# They tell the share inside 90 % intervals to about ± 1 %.
MOST_PREDICTED = 1000


@dataclass(frozen=True)
class HiddenRuns:
    """The hidden runs, in the order of their compute, and what was predicted for them.

    rows: their places among all runs, from 0. apart: the smallest hidden compute over the largest kept. covered: how
    many lay inside their 90 % intervals.
    """

    rows: tuple[int, ...]
    params: tuple[float, ...]
    tokens: tuple[float, ...]
    measured: tuple[float, ...]
    predicted: tuple[Estimate, ...]
    unseen_size: tuple[bool, ...]
    n_kept: int
    above_flops: float
    apart: float
    reach: float

    @property
    def errors(self) -> tuple[float, ...]:
        """predicted/measured − 1."""
        return tuple(predicted.value / loss - 1 for predicted, loss in zip(self.predicted, self.measured, strict=True))

    @property
    def covered(self) -> int:
        pairs = zip(self.predicted, self.measured, strict=True)
        return sum(predicted.low <= loss <= predicted.high for predicted, loss in pairs)

    @property
    def mean_error(self) -> float:
        """Mean absolute error; 0.015 reads '1.5 %'."""
        return float(np.mean(np.abs(self.errors)))

    @property
    def median_error(self) -> float:
        return float(np.median(np.abs(self.errors)))

    @property
    def mean_error_of_unseen_sizes(self) -> float | None:
        """Mean absolute error where no kept run has the size; None where every size was seen."""
        errors = [abs(error) for error, unseen in zip(self.errors, self.unseen_size, strict=True) if unseen]
        return float(np.mean(errors)) if errors else None

    def as_holdout(self) -> Holdout:
        """What a law carries of it."""
        return Holdout(
            variable="compute_flops",
            above=self.above_flops,
            errors=self.errors,
            covered=self.covered,
            reach=self.reach,
            rows=hidden_rows(self.rows, self.measured, self.predicted),
        )


def hold_out_largest(runs: Iterable[TrainingRun], seed: int = 0, apart: float = 1.0) -> HiddenRuns:
    """The largest quarter of the runs, by compute, predicted from those that have at most 1/apart of any one's compute.

    Runs on a part of the text are left out, as from the loss law. Raises FitError where too few runs are kept.
    """
    return predict_hidden(Rows.of(run for run in runs if run.config.unique_tokens is None), seed, apart)


def predict_hidden(rows: Rows, seed: int = 0, apart: float = 1.0, form: Form | None = None) -> HiddenRuns:
    """As `hold_out_largest`, of rows. form: None for the one that the kept rows ask for."""
    hidden, kept = split_largest(rows, apart)
    places = by_compute(rows)[len(rows) - len(hidden) :]
    return _foretell(kept, hidden, places, seed, form)


def predict_above(rows: Rows, above_flops: float, seed: int = 0, form: Form | None = None) -> HiddenRuns:
    """The rows of more compute than this, predicted from the others; raises FitError where either are too few."""
    order = by_compute(rows)
    rows = rows.only(order)
    hidden = rows.compute_flops > above_flops
    return _foretell(rows.only(~hidden), rows.only(hidden), order[hidden], seed, form)


def by_compute(rows: Rows) -> Labels:
    """Places of the rows, smallest compute first."""
    return np.argsort(rows.compute_flops, kind="stable")


def _foretell(kept_rows: Rows, unseen_rows: Rows, places: Labels, seed: int, form: Form | None) -> HiddenRuns:
    fewest = (form or CHINCHILLA).fewest_rows
    if len(kept_rows) < fewest or not len(unseen_rows):
        raise FitError(
            f"{len(kept_rows) + len(unseen_rows)} training runs leave {len(kept_rows)} to predict {len(unseen_rows)} "
            f"larger ones from, and it takes {fewest}: train more token counts, or raise the budget"
        )
    fit = fit_form(form, kept_rows, seed) if form else fit_law(kept_rows, seed)
    predicted = _evenly(len(unseen_rows))
    unseen_rows, places = unseen_rows.only(predicted), places[predicted]
    above = float(kept_rows.compute_flops.max())
    return HiddenRuns(
        rows=tuple(int(place) for place in places),
        params=_floats(unseen_rows.params),
        tokens=_floats(unseen_rows.tokens),
        measured=_floats(unseen_rows.loss),
        predicted=_predictions(fit, kept_rows, unseen_rows),
        unseen_size=tuple(bool(unseen) for unseen in ~np.isin(unseen_rows.params, kept_rows.params)),
        n_kept=len(kept_rows),
        above_flops=above,
        apart=float(unseen_rows.compute_flops.min()) / above,
        reach=float(unseen_rows.compute_flops.max()) / above,
    )


def _evenly(count: int) -> Labels:
    """Which of so many rows are predicted, the first and the last among them."""
    return np.unique(np.linspace(0, count - 1, min(count, MOST_PREDICTED)).round().astype(np.intp))


def split_largest(rows: Rows, apart: float = 1.0) -> tuple[Rows, Rows]:
    """The hidden quarter, smallest compute first, and the rows that may be known when predicting it."""
    rows = rows.only(by_compute(rows))
    first_hidden = len(rows) - int(HIDDEN_SHARE * len(rows))
    hidden = np.arange(len(rows)) >= first_hidden
    if not hidden.any():
        return rows.only(hidden), rows
    kept = ~hidden & (rows.compute_flops * apart <= rows.compute_flops[hidden].min())
    return rows.only(hidden), rows.only(kept)


def _predictions(fit: LossFit, kept: Rows, hidden: Rows) -> tuple[Estimate, ...]:
    log_residuals = np.log(fit.predict(kept.params, kept.tokens)) - np.log(kept.loss)
    scatter = residual_sd(log_residuals, len(fit.values))
    values = np.log(fit.predict(hidden.params, hidden.tokens))
    draws = np.log(fit.predict_draws(hidden.params, hidden.tokens))
    return tuple(predict_with_scatter(float(value), draw, scatter) for value, draw in zip(values, draws.T, strict=True))


def _floats(column: Array) -> tuple[float, ...]:
    return tuple(float(value) for value in column)
