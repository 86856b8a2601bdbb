"""The loss law of a grid of training runs, and what it predicts.

N: non-embedding parameters. D: training tokens, whether new or seen before; what repeated text is worth is in
`scalemark.fit.repeated`. The form is the one that the runs ask for, of those in `scalemark.fit.forms`.
"""

from collections.abc import Iterable, Sequence

import numpy as np

from scalemark.errors import FitError
from scalemark.fit.bags import MANY_ROWS, bag_size
from scalemark.fit.forms import CHINCHILLA, form_of
from scalemark.fit.identify import VAGUE_RATIO, identify
from scalemark.fit.loss_fit import LossFit, fit_law
from scalemark.fit.loss_holdout import predict_hidden
from scalemark.fit.prediction import extrapolation, predict_with_scatter, range_of, residual_sd
from scalemark.fit.rows import FEWEST_TRUNKS, Rows
from scalemark.fit.solver import Array
from scalemark.schema import CurvePoint, Estimate, Holdout, Law, Parameter, Range, TrainingRun
from scalemark.stats import percentile_interval

FEWEST_ROWS = CHINCHILLA.fewest_rows
FARTHEST_CURVE = 10.0
CURVE_POINTS = 25
MEANINGS = {
    "E": ("nats/token", "loss that no model of this form goes below on this text"),
    "A": ("nats·params^alpha", "loss that small models add"),
    "B": ("nats·tokens^beta", "loss that little data adds"),
    "alpha": ("", "how fast loss falls with parameters"),
    "beta": ("", "how fast loss falls with tokens"),
    "p": ("", "how far what size and text leave to learn is the same: 1 not at all, larger more"),
    "K": ("nats·FLOPs^gamma", "loss that little compute adds"),
    "gamma": ("", "how fast loss falls with compute"),
}


def fit_loss_law(runs: Iterable[TrainingRun], seed: int = 0, with_holdout: bool = True) -> Law:
    """The loss law with bootstrap intervals over trunks (over runs, where none branches), tried on the largest runs.

    Every token counts, whether new or not. Left out: runs that were given a part of the text on purpose
    (`unique_tokens`), which are for `fit_repeated_law`, and those without a model of ours or a validation loss. Raises
    FitError where too few remain.
    """
    rows = Rows.of(run for run in runs if run.config.unique_tokens is None)
    if len(rows) < FEWEST_ROWS:
        raise FitError(
            f"{len(rows)} training runs cannot tell {len(CHINCHILLA.parameters)} parameters: "
            f"train at least {FEWEST_ROWS}, with a larger budget"
        )
    fit = fit_law(rows, seed)
    return law_of(fit, rows, _holdout(rows, seed) if with_holdout else None)


def law_of(fit: LossFit, rows: Rows, holdout: Holdout | None = None, subject: str | None = None) -> Law:
    """A fit as a law: its parameters for people, its domain and what must be known to read it."""
    log_residuals = np.log(fit.predict(rows.params, rows.tokens)) - np.log(rows.loss)
    parameters = _as_told(described(fit.form.parameters, fit.values, fit.draws, fit.at_bound), fit, rows)
    vague = [parameter.name for parameter in parameters if not parameter.identified]
    return Law(
        kind="loss",
        form=fit.form.formula,
        unit="nats/token",
        subject=subject or subject_of(rows),
        parameters=parameters,
        domain=domain_of(rows),
        n=len(rows),
        residuals=tuple(float(value) for value in np.expm1(log_residuals)),
        residual_sd=residual_sd(log_residuals, len(fit.values)),
        coefficients=tuple(float(value) for value in fit.values),
        draws=tuple(tuple(float(value) for value in draw) for draw in fit.draws),
        status="not_identified" if vague else "ok",
        notes=tuple(
            filter(None, (vague_note(vague), trunk_note(rows), _repeats_note(rows), _many_note(rows, holdout)))
        ),
        holdout=holdout,
    )


def _holdout(rows: Rows, seed: int) -> Holdout | None:
    """None where the law cannot be fitted without the largest runs."""
    try:
        return predict_hidden(rows, seed).as_holdout()
    except FitError:
        return None


def subject_of(rows: Rows) -> str:
    """'validation loss of 40 training runs, branches of 8 trunks; N without embeddings'."""
    trunks = f", branches of {rows.n_trunks} trunks" if rows.branches else ""
    return f"validation loss of {len(rows)} training runs{trunks}; N without embeddings"


def domain_of(rows: Rows) -> dict[str, Range]:
    """Smallest and largest size, token count and compute."""
    columns = {"params_non_embedding": rows.params, "tokens": rows.tokens, "compute_flops": rows.compute_flops}
    return {name: range_of(column) for name, column in columns.items()}


def vague_note(vague: list[str]) -> str:
    """What the parameters that were not told mean for predictions; empty where all were."""
    if not vague:
        return ""
    return f"these runs do not tell {', '.join(vague)}: predictions near the grid hold, the parameters do not"


def trunk_note(rows: Rows) -> str:
    """What the intervals take from runs that branch off one trunk; empty where none does."""
    if not rows.branches:
        return ""
    if rows.groups is None:
        return (
            f"with {rows.n_trunks} trunks, too few to draw among, the intervals take each run for independent, "
            "which it is not: they are too narrow"
        )
    note = "the intervals draw whole trunks, as branches of one trunk err together"
    if rows.n_trunks == FEWEST_TRUNKS:
        return f"{note}; of {FEWEST_TRUNKS} trunks such intervals are too narrow"
    return note


def _repeats_note(rows: Rows) -> str:
    repeating = int(rows.repeats.sum())
    if not repeating:
        return ""
    most = float(np.nanmax(rows.epochs))
    return f"{repeating} of the runs saw text more than once, up to {most:.1f} times; it counts here as if it were new"


def _many_note(rows: Rows, holdout: Holdout | None) -> str:
    """What was taken from some of many runs; empty where they are few."""
    if len(rows) <= MANY_ROWS:
        return ""
    predicted = f"; of the hidden runs, {len(holdout.errors):,} were predicted" if holdout else ""
    return f"fitted to all {len(rows):,} runs, with intervals from bags of {bag_size(len(rows)):,} of them{predicted}"


def _as_told(parameters: Iterable[Parameter], fit: LossFit, rows: Rows) -> tuple[Parameter, ...]:
    """Identified is what refits tell and a profile too: refits cannot see that values fit up to a bound."""
    told = identify(fit, rows)
    return tuple(
        parameter.model_copy(update={"identified": parameter.identified and told[parameter.name].identified})
        for parameter in parameters
    )


def described(names: Sequence[str], values: Array, draws: Array, at_bound: Sequence[bool]) -> tuple[Parameter, ...]:
    """Parameters of a form with their intervals, and whether the runs tell them."""
    return tuple(
        _parameter(name, float(values[index]), draws[:, index], at_bound[index]) for index, name in enumerate(names)
    )


def _parameter(name: str, value: float, draws: Array, is_at_bound: bool) -> Parameter:
    unit, meaning = MEANINGS[name]
    estimate = percentile_interval(draws, value)
    is_told = estimate.low > 0 and estimate.high / estimate.low <= VAGUE_RATIO[name] and not is_at_bound
    return Parameter(name=name, estimate=estimate, unit=unit, meaning=meaning, identified=is_told)


def predict_loss(law: Law, params: float, tokens: float) -> Estimate:
    """Validation loss (nats per token) of a model of so many non-embedding parameters after so many tokens."""
    at = np.array([params]), np.array([tokens])
    log_value, log_draws = np.log(predict_values(law, *at)), np.log(predict_draws(law, *at))
    return predict_with_scatter(float(log_value[0]), log_draws[:, 0], law.residual_sd)


def predict_values(law: Law, params: Array, tokens: Array) -> Array:
    """Loss of many models at once, shape (models,), without the scatter of single runs."""
    return form_of(law.coefficients, law.form).predict(np.array(law.coefficients), params, tokens)


def predict_draws(law: Law, params: Array, tokens: Array) -> Array:
    """The same under each replicate, shape (replicates, models)."""
    return form_of(law.coefficients, law.form).predict(np.array(law.draws)[:, None], params, tokens)


def frontier(law: Law, compute_flops: float) -> tuple[float, float, Estimate]:
    """(N, D, loss) of the model that reaches the lowest loss at C = 6·N·D (Hoffmann et al. 2022, equation 4)."""
    form = form_of(law.coefficients, law.form)
    params = float(form.optimal_params(np.array(law.coefficients), compute_flops))
    tokens = compute_flops / 6 / params
    return params, tokens, predict_loss(law, params, tokens)


def frontier_curve(law: Law) -> tuple[CurvePoint, ...]:
    """The lowest loss at each compute, from the smallest run to ten times the largest."""
    span = law.domain["compute_flops"]
    points = []
    for compute in np.geomspace(span.low, span.high * FARTHEST_CURVE, CURVE_POINTS):
        params, tokens, loss = frontier(law, float(compute))
        points.append(CurvePoint(x=float(compute), y=loss, extrapolation=loss_extrapolation(law, params, tokens)))
    return tuple(points)


def loss_extrapolation(law: Law, params: float, tokens: float) -> float:
    """How far beyond the runs this model lies, in whichever of size, tokens and compute it is farthest."""
    compute_flops = 6 * params * tokens
    return max(
        extrapolation(law, "params_non_embedding", params),
        extrapolation(law, "tokens", tokens),
        extrapolation(law, "compute_flops", compute_flops),
    )
