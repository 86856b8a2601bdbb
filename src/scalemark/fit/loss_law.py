"""The loss law of a grid of training runs, and what it predicts: E + A/N^alpha + B/D^beta.

N: non-embedding parameters. D: training tokens. The fit itself is in `scalemark.fit.chinchilla`.
"""

from collections.abc import Sequence

import numpy as np

from scalemark.errors import FitError
from scalemark.fit.chinchilla import NAMES, ChinchillaFit, fit_chinchilla, predict_chinchilla
from scalemark.fit.prediction import extrapolation, predict_with_scatter, range_of, residual_sd
from scalemark.schema import Estimate, Law, Parameter, TrainingRun
from scalemark.stats import percentile_interval

# With as many rows as parameters the fit is exact and says nothing of its own error.
FEWEST_ROWS = len(NAMES) + 1
# An interval this wide (high over low) does not tell the parameter.
VAGUE_RATIO = {"E": 1.5, "A": 100.0, "B": 100.0, "alpha": 3.0, "beta": 3.0}
MEANINGS = {
    "E": ("nats/token", "loss that no model of this form goes below on this text"),
    "A": ("nats·params^alpha", "loss that small models add"),
    "B": ("nats·tokens^beta", "loss that little data adds"),
    "alpha": ("", "how fast loss falls with parameters"),
    "beta": ("", "how fast loss falls with tokens"),
}


def fit_loss_law(runs: Sequence[TrainingRun], seed: int = 0) -> Law:
    """The loss law with bootstrap intervals over runs; raises FitError where there are too few.

    Runs without a model of ours, or without a validation loss, are left out.
    """
    rows = [
        (run.accounting.params_non_embedding, run.config.tokens, run.validation_loss)
        for run in runs
        if run.status == "ok" and run.config.model and run.accounting and run.validation_loss
    ]
    if len(rows) < FEWEST_ROWS:
        raise FitError(
            f"{len(rows)} training runs cannot tell {len(NAMES)} parameters: train at least {FEWEST_ROWS}, "
            "with a larger --scale-budget"
        )
    params, tokens, loss = np.array(rows, dtype=float).T
    return _law(fit_chinchilla(params, tokens, loss, seed), params, tokens, loss)


def _law(fit: ChinchillaFit, params: np.ndarray, tokens: np.ndarray, loss: np.ndarray) -> Law:
    log_residuals = np.log(predict_chinchilla(fit.values, params, tokens)) - np.log(loss)
    parameters = tuple(_parameter(fit, index) for index in range(len(NAMES)))
    vague = [parameter.name for parameter in parameters if not parameter.identified]
    note = f"these runs do not tell {', '.join(vague)}: predictions near the grid hold, the parameters do not"
    return Law(
        kind="loss",
        form="L = E + A/N^alpha + B/D^beta",
        unit="nats/token",
        subject=f"validation loss of {len(loss)} training runs; N without embeddings",
        parameters=parameters,
        domain={
            "params_non_embedding": range_of(params),
            "tokens": range_of(tokens),
            "compute_flops": range_of(6 * params * tokens),
        },
        n=len(loss),
        residuals=tuple(float(value) for value in np.expm1(log_residuals)),
        residual_sd=residual_sd(log_residuals, len(NAMES)),
        coefficients=tuple(float(value) for value in fit.values),
        draws=tuple(tuple(float(value) for value in draw) for draw in fit.draws),
        status="not_identified" if vague else "ok",
        notes=(note,) if vague else (),
    )


def _parameter(fit: ChinchillaFit, index: int) -> Parameter:
    name = NAMES[index]
    unit, meaning = MEANINGS[name]
    estimate = percentile_interval(fit.draws[:, index], float(fit.values[index]))
    is_told = estimate.low > 0 and estimate.high / estimate.low <= VAGUE_RATIO[name] and not fit.at_bound[index]
    return Parameter(name=name, estimate=estimate, unit=unit, meaning=meaning, identified=is_told)


def predict_loss(law: Law, params: float, tokens: float) -> Estimate:
    """Validation loss (nats per token) of a model of so many non-embedding parameters after so many tokens."""
    log_value = float(np.log(predict_chinchilla(np.array(law.coefficients), params, tokens)))
    return predict_with_scatter(
        log_value, np.log(predict_chinchilla(np.array(law.draws), params, tokens)), law.residual_sd
    )


def frontier(law: Law, compute_flops: float) -> tuple[float, float, Estimate]:
    """(N, D, loss) of the model that reaches the lowest loss at C = 6·N·D (Hoffmann et al. 2022, equation 4)."""
    _, a, b, alpha, beta = law.coefficients
    log_g = np.log(alpha * a / (beta * b)) / (alpha + beta)
    params = float(np.exp(log_g + beta / (alpha + beta) * np.log(compute_flops / 6)))
    tokens = compute_flops / 6 / params
    return params, tokens, predict_loss(law, params, tokens)


def loss_extrapolation(law: Law, params: float, tokens: float) -> float:
    """How far beyond the runs this model lies, in whichever of size, tokens and compute it is farthest."""
    compute_flops = 6 * params * tokens
    return max(
        extrapolation(law, "params_non_embedding", params),
        extrapolation(law, "tokens", tokens),
        extrapolation(law, "compute_flops", compute_flops),
    )
