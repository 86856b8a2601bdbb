"""Fit a law to measurements from anywhere: a suite, a CSV file or a table in memory. No torch.

    file ─> read_table ─> check_table ─> fit ─> LossLaw, CostLaw: predict, draw themselves, say all of it as JSON

The joint behind `scalemark fit loss`, `scalemark fit cost` and the functions of the same names.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from scalemark.diagnosis import diagnose
from scalemark.errors import FitError, InputError
from scalemark.fit.cost.columns import COLUMNS as COST_COLUMNS
from scalemark.fit.cost.columns import Target
from scalemark.fit.cost.solver import HUBER_DELTA as COST_DELTA
from scalemark.fit.cost.table import CostFit, fit_cost_table
from scalemark.fit.forms import Form, find_form
from scalemark.fit.loss_fit import LossFit, fit_form, fit_law
from scalemark.fit.loss_holdout import HiddenRuns, predict_above, predict_hidden
from scalemark.fit.loss_law import frontier_curve, law_of, loss_extrapolation, predict_draws, predict_values
from scalemark.fit.prediction import predict_with_scatter
from scalemark.fit.repeated import fit_repeated_rows, predict_repeated_loss
from scalemark.fit.rows import Rows
from scalemark.fit.solver import Array
from scalemark.record.collection import file_of, is_suite_path
from scalemark.record.store import load_suite
from scalemark.record.table import check_table, read_table, sha256_of
from scalemark.schema import Bootstrap, FitResult, HiddenRow, HiddenRows, Law, Objective, Suite
from scalemark.stats import percentile_interval

if TYPE_CHECKING:
    import altair as alt
    import pandas as pd

Numbers = Array | Sequence[float] | float

LOSS_COLUMNS = ("params", "tokens", "loss")
# unique_tokens: different tokens that there were. trunk: a number that runs which branched off one another share.
OPTIONAL_COLUMNS = ("unique_tokens", "trunk")
REPLICATES = 4000
MARKED_DISTANCE, FARTHEST_DISTANCE = 10.0, 100.0


@dataclass(frozen=True)
class LossLaw:
    """A fitted loss law with the rows behind it. result: all that is said of it; law: what predicts."""

    law: Law
    result: FitResult
    rows: Rows

    def predict(
        self,
        params: Numbers,
        tokens: Numbers,
        unique_tokens: Numbers | None = None,
        force: bool = False,
    ) -> "pd.DataFrame":
        """Loss of one run of each size and token count: value, low, high (90 %), and how far beyond the rows it lies.

        The arguments broadcast. unique_tokens: for a law of repeated text; None where no text repeats. Raises
        InputError beyond 100 times the fitted range, unless forced.
        """
        import pandas as pd

        asked = [params, tokens, tokens if unique_tokens is None else unique_tokens]
        n, d, unique = (column.ravel() for column in np.broadcast_arrays(*(np.asarray(one, float) for one in asked)))
        far = np.array([loss_extrapolation(self.law, *pair) for pair in zip(n, d, strict=True)])
        check_distance(float(far.max(initial=1.0)), force)
        values, draws = (np.log(found) for found in self._losses(n, d, unique))
        found = [
            predict_with_scatter(float(value), draw, self.law.residual_sd)
            for value, draw in zip(values, draws.T, strict=True)
        ]
        columns = {name: [getattr(one, name) for one in found] for name in ("value", "low", "high")}
        return pd.DataFrame({"params": n, "tokens": d, **columns, "beyond": far})

    def _losses(self, params: Array, tokens: Array, unique: Array) -> tuple[Array, Array]:
        """By the law, shape (models,), and under each replicate, (replicates, models)."""
        if self.law.kind == "repeated_loss":
            coefficients, draws = np.array(self.law.coefficients), np.array(self.law.draws)
            at = params, tokens, unique
            return predict_repeated_loss(coefficients, *at), predict_repeated_loss(draws[:, None], *at)
        return predict_values(self.law, params, tokens), predict_draws(self.law, params, tokens)

    def chart(self) -> "alt.LayerChart":
        """Measured losses against compute, with the lowest loss that the law expects at each."""
        from scalemark.report.missing import chart_libraries

        with chart_libraries():
            from scalemark.report.law_chart import loss_law_chart

        with_line = self.law.kind == "loss" and self.result.form != "saturating"  # the others have no frontier
        line = frontier_curve(self.law) if with_line else ()
        return loss_law_chart(self.rows.params, self.rows.tokens, self.rows.loss, line)


def check_distance(distance: float, force: bool) -> None:
    """Raise InputError for what lies too far beyond what was fitted to be believed."""
    if distance > FARTHEST_DISTANCE and not force:
        raise InputError(
            f"that lies {distance:.3g} times beyond the fitted range, and past {FARTHEST_DISTANCE:.0f} times nothing "
            "holds a law: measure larger models, or force it"
        )


@dataclass(frozen=True)
class CostLaw:
    """A fitted law of seconds per step with the rows behind it. result: all that is said of it; fit: what predicts."""

    fit: CostFit
    result: FitResult
    frame: "pd.DataFrame"

    def predict(self, frame: "pd.DataFrame", force: bool = False) -> "pd.DataFrame":
        """Seconds per step of other shapes: value, low, high (90 %), and how many times larger than any row they are.

        frame: the columns that the law was fitted to. Raises InputError beyond 100 times, unless forced.
        """
        found = self.fit.predict(frame).rename(columns={"predicted": "value", "extrapolation": "beyond"})
        check_distance(float(found["beyond"].max()), force)
        return found

    def chart(self) -> "alt.LayerChart":
        """Measured against predicted seconds per step."""
        from scalemark.report.missing import chart_libraries

        with chart_libraries():
            from scalemark.report.law_chart import cost_law_chart

        params = self.frame["params"].to_numpy(dtype=float)
        return cost_law_chart(params, self.measured_s, self.predict(self.frame, force=True))

    @property
    def measured_s(self) -> Array:
        """Of the rows, seconds per step."""
        if "seconds" in self.frame:
            return self.frame["seconds"].to_numpy(dtype=float)
        return (self.frame["batch"] * self.frame["seq_len"] / self.frame["tokens_per_s"]).to_numpy(dtype=float)


def fit_cost(
    source: "Suite | Path | str | pd.DataFrame",
    columns: Mapping[str, str] | None = None,
    target: Target = "seconds",
    seed: int = 0,
    holdout_above_params: float | None = None,
) -> CostLaw:
    """Fit seconds per step to rows of params, width, depth, seq_len, batch, devices and seconds (or tokens_per_s).

    batch: sequences per step over all devices. What is missing is derived where that is exact, or its terms are left
    out, and a note says so. Of a suite, its whole float32 steps. holdout_above_params: rows of at least so many are
    hidden and predicted, and the law fitted to the others. Raises InputError, StoreError or FitError.
    """
    frame = cost_frame(source, columns, target)
    started = time.perf_counter()
    fit = fit_cost_table(frame, target=target, holdout_above_params=holdout_above_params, seed=seed)
    seconds = time.perf_counter() - started
    result = _cost_result(fit, seconds, holdout_above_params is not None).model_copy(update=_origin(source))
    return CostLaw(fit, result, frame)


def cost_frame(
    source: "Suite | Path | str | pd.DataFrame", columns: Mapping[str, str] | None, target: Target
) -> "pd.DataFrame":
    """The columns that a cost law may use, of a suite, a file or a table."""
    if isinstance(source, Path | str):
        path = Path(source)
        if is_suite_path(path):
            return cost_frame(load_suite(path), columns, target)
        return read_table(path, ("params", target), COST_COLUMNS[1:], columns, unique=False)
    if isinstance(source, Suite):
        steps = source.frame()
        if steps.empty or not (plain := _is_plain_step(steps)).any():
            raise FitError("the suite has no timed float32 steps: run `pytest bench/`, or give another")
        return steps[plain][["params", "width", "depth", "seq_len", "batch", "seconds"]].assign(devices=1)
    named = source.rename(columns={own: name for name, own in (columns or {}).items()})
    wanted = [name for name in (*COST_COLUMNS, target) if name in named.columns]
    return check_table(named[wanted], "the table", unique=False)


def _is_plain_step(steps: "pd.DataFrame") -> "pd.Series[bool]":
    return (steps["phase"] == "step") & (steps["dtype"] == "float32") & steps["params"].notna() & steps["plain"]


def _cost_result(fit: CostFit, seconds: float, holds_out: bool) -> FitResult:
    """holds_out: whether the law itself was fitted without the hidden rows."""
    n_rows = fit.n + (len(fit.holdout.rows) if fit.holdout and holds_out else 0)
    holdout = fit.holdout and HiddenRows(
        n=len(fit.holdout.rows),
        n_kept=n_rows - len(fit.holdout.rows),
        mape=fit.holdout.mape,
        coverage=fit.holdout.coverage,
        variable="params",
        above=fit.holdout.above_params,
        reach=fit.holdout.reach,
        rows=tuple(
            HiddenRow(row=one.row, measured=one.measured, predicted=one.predicted, low=one.low, high=one.high)
            for one in fit.holdout.rows
        ),
        rivals=fit.holdout.rivals,
    )
    scatter = float(np.sqrt(np.mean(np.log1p(fit.residuals) ** 2)))
    told = all(parameter.identified for parameter in fit.parameters)
    return FitResult(
        kind="step_time",
        form="physical",
        formula=fit.form,
        params={parameter.name: parameter.estimate for parameter in fit.parameters},
        identified={parameter.name: parameter.identified for parameter in fit.parameters},
        objective=Objective(name="sum of Huber losses of relative residuals", delta=COST_DELTA, value=fit.objective),
        n=fit.n,
        status="bound" if fit.status == "bound hit" else "converged" if told else "not_identified",
        steepness=fit.gradient_norm,
        bootstrap=Bootstrap(replicates=fit.n_draws, seconds=seconds),
        holdout=holdout or None,
        residual_sd=scatter,
        notes=fit.notes,
    )


def fit_loss(
    source: "Suite | Path | str | pd.DataFrame",
    form: str = "auto",
    columns: Mapping[str, str] | None = None,
    drop_highest: int = 0,
    bootstrap: int = REPLICATES,
    seed: int = 0,
    holdout_above_flops: float | None = None,
) -> LossLaw:
    """Fit a loss law to the training runs of a suite, or to rows of params, tokens and loss (nats per token).

    form: 'auto', 'repeated' (needs unique_tokens), or a name of `scalemark.fit.forms.FORMS`. columns: a file's own
    names of the columns. drop_highest: so many of the highest losses are left out first. holdout_above_flops: rows of
    more compute (6·N·D) are hidden and predicted; else the largest quarter. Raises InputError, StoreError or FitError.
    """
    chosen = None if form in ("auto", "repeated") else find_form(form)
    all_rows = loss_rows(source, columns, with_repeats=form == "repeated")
    rows = all_rows.without_highest(drop_highest)
    if form == "repeated":
        return _with_source(_repeated(rows, bootstrap, seed), source, drop_highest)
    started = time.perf_counter()
    fit = fit_form(chosen, rows, seed, bootstrap) if chosen else fit_law(rows, seed, bootstrap)
    seconds = time.perf_counter() - started
    hidden = _hidden(rows, chosen, seed, holdout_above_flops)
    diagnosed = diagnose(fit, rows, all_rows, drop_highest)
    law = law_of(fit, rows, hidden.as_holdout() if hidden else None, f"the loss of {len(rows)} rows")
    result = _result(fit, law, seconds, _hidden_rows(rows, hidden) if hidden else None).model_copy(update=diagnosed)
    return _with_source(LossLaw(law, result, rows), source, drop_highest)


def loss_rows(
    source: "Suite | Path | str | pd.DataFrame", columns: Mapping[str, str] | None = None, with_repeats: bool = False
) -> Rows:
    """Rows of a suite, of its file or folder, of a CSV file, or of a table in memory.

    with_repeats: of a suite, also the runs that were given a part of the text on purpose.
    """
    if isinstance(source, Path | str):
        path = Path(source)
        if is_suite_path(path):
            return loss_rows(load_suite(path), with_repeats=with_repeats)
        return _rows_of(read_table(path, LOSS_COLUMNS, OPTIONAL_COLUMNS, columns))
    if isinstance(source, Suite):
        runs = [run for run in source.training_runs if with_repeats or run.config.unique_tokens is None]
        rows = Rows.of(runs)
        if not len(rows):
            raise FitError("the suite has no training runs with a validation loss: run `scalemark train`")
        return rows
    named = source.rename(columns={own: name for name, own in (columns or {}).items()})
    missing = [name for name in LOSS_COLUMNS if name not in named.columns]
    if missing:
        raise InputError(f"the table has no column {missing[0]!r}: its columns are {', '.join(map(str, named))}")
    wanted = [*LOSS_COLUMNS, *(name for name in OPTIONAL_COLUMNS if name in named.columns)]
    return _rows_of(check_table(named[wanted], "the table"))


def _rows_of(table: "pd.DataFrame") -> Rows:
    columns = {name: table[name].to_numpy(dtype=float) for name in table.columns}
    rows = Rows.independent(columns["params"], columns["tokens"], columns["loss"], columns.get("trunk"))
    if "unique_tokens" not in columns:
        return rows
    epochs = columns["tokens"] / columns["unique_tokens"]
    return Rows(rows.params, rows.tokens, rows.loss, epochs, rows.trunks)


def _hidden(rows: Rows, form: Form | None, seed: int, above_flops: float | None) -> HiddenRuns | None:
    """None where too few rows are left to fit; what the user asked for must be possible."""
    if above_flops is not None:
        return predict_above(rows, above_flops, seed, form)
    try:
        return predict_hidden(rows, seed, form=form)
    except FitError:
        return None


def _hidden_rows(rows: Rows, hidden: HiddenRuns) -> HiddenRows:
    at = {pair: index + 1 for index, pair in enumerate(zip(rows.params, rows.tokens, strict=True))}
    pairs = zip(hidden.params, hidden.tokens, strict=True)
    found = [
        HiddenRow(row=at[pair], measured=loss, predicted=one.value, low=one.low, high=one.high)
        for pair, loss, one in zip(pairs, hidden.measured, hidden.predicted, strict=True)
    ]
    return HiddenRows(
        n=len(found),
        n_kept=hidden.n_kept,
        mape=hidden.mean_error,
        coverage=hidden.covered / len(found),
        variable="compute_flops",
        above=hidden.above_flops,
        reach=hidden.reach,
        rows=tuple(found),
    )


def _result(fit: LossFit, law: Law, seconds: float, hidden: HiddenRows | None) -> FitResult:
    allocations = fit.form.allocation(fit.draws)
    told = np.isfinite(allocations).all() and len(np.unique(allocations)) > 1
    return FitResult(
        kind="loss",
        form=fit.form.name,
        formula=fit.form.formula,
        params={parameter.name: parameter.estimate for parameter in law.parameters},
        identified={parameter.name: parameter.identified for parameter in law.parameters},
        objective=Objective(name="sum of Huber losses of log residuals", delta=fit.delta, value=fit.objective),
        n=law.n,
        status="not_identified" if fit.status == "converged" and law.status != "ok" else fit.status,
        steepness=fit.steepness,
        reached=fit.reached,
        allocation=percentile_interval(allocations, float(fit.form.allocation(fit.values))) if told else None,
        bootstrap=Bootstrap(replicates=len(fit.draws), seconds=seconds, unconverged=fit.unconverged),
        holdout=hidden,
        residual_sd=law.residual_sd,
        notes=law.notes,
    )


def _repeated(rows: Rows, bootstrap: int, seed: int) -> LossLaw:
    if np.isnan(rows.epochs).any():
        raise InputError(
            "the law of repeated text needs to know how much different text there was: give a column unique_tokens"
        )
    started = time.perf_counter()
    law = fit_repeated_rows(rows, seed, min(bootstrap, MOST_REPEATED_REPLICATES))
    result = FitResult(
        kind="repeated_loss",
        form="repeated",
        formula=law.form,
        params={parameter.name: parameter.estimate for parameter in law.parameters},
        identified={parameter.name: parameter.identified for parameter in law.parameters},
        objective=Objective(name="root mean square of log residuals", value=law.residual_sd),
        n=law.n,
        status="not_identified" if law.status != "ok" else "converged",
        bootstrap=Bootstrap(replicates=len(law.draws), seconds=time.perf_counter() - started),
        residual_sd=law.residual_sd,
        notes=law.notes,
    )
    return LossLaw(law, result, rows)


# Its second stage begins each replicate on a grid.
MOST_REPEATED_REPLICATES = 1000


def _with_source(found: LossLaw, source: "Suite | Path | str | pd.DataFrame", dropped: int) -> LossLaw:
    return LossLaw(found.law, found.result.model_copy(update={"dropped": dropped, **_origin(source)}), found.rows)


def _origin(source: "Suite | Path | str | pd.DataFrame") -> dict[str, object]:
    """Which file it was, where it was one."""
    if not isinstance(source, Path | str):
        return {}
    file = file_of(Path(source))
    return {"source": file.name, "data_sha256": sha256_of(file)}
