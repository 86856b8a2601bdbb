"""The loss law: L(N, D) = E + A/N^α + B/D^β (Hoffmann et al. 2022, equation 2), fitted as in their approach 3.

N: non-embedding parameters. D: training tokens. The fit minimises the sum of Huber(δ = 1e-3) over residuals of log L,
in the form logsumexp(log A − α·log N, log B − β·log D, log E), from many starts, each run until the gradient is flat:
stopping early and averaging instead of summing are how a published fit of this law went wrong (Besiroglu et al. 2024).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
from scipy.optimize import least_squares, nnls

from scalemark.errors import FitError
from scalemark.fit.prediction import predict_with_scatter, range_of, residual_sd
from scalemark.schema import Estimate, Law, Parameter, TrainingRun
from scalemark.stats import percentile_interval

HUBER_DELTA = 1e-3
N_PARAMETERS = 5
REPLICATES = 200
START_EXPONENTS = (0.1, 0.25, 0.5, 0.9)
# logA, logB, logE, alpha, beta: wider than any published fit.
LOWEST = np.array([-20.0, -20.0, -12.0, 0.01, 0.01])
HIGHEST = np.array([40.0, 40.0, 5.0, 3.0, 3.0])
_TOLERANCE = 1e-14
# An interval this wide (high over low) does not tell the parameter.
VAGUE_RATIO = {"E": 1.5, "A": 100.0, "B": 100.0, "alpha": 3.0, "beta": 3.0}


@dataclass(frozen=True)
class LossFit:
    """Optimum of the Chinchilla form. coefficients: log A, log B, log E, α, β. objective: sum of Huber losses."""

    coefficients: np.ndarray
    objective: float


def log_loss(coefficients: np.ndarray, log_n: np.ndarray, log_d: np.ndarray) -> np.ndarray:
    """log L. coefficients: (…, 5); log_n and log_d broadcast against the leading shape."""
    log_a, log_b, log_e, alpha, beta = np.moveaxis(coefficients, -1, 0)
    terms = np.broadcast_arrays(log_a - alpha * log_n, log_b - beta * log_d, log_e)
    result: np.ndarray = np.logaddexp(np.logaddexp(terms[0], terms[1]), terms[2])
    return result


def log_loss_gradient(coefficients: np.ndarray, log_n: np.ndarray, log_d: np.ndarray) -> np.ndarray:
    """Derivatives of log L by the five coefficients, shape (rows, 5)."""
    log_a, log_b, log_e, alpha, beta = coefficients
    total = log_loss(coefficients, log_n, log_d)
    share_n, share_d = np.exp(log_a - alpha * log_n - total), np.exp(log_b - beta * log_d - total)
    return np.stack([share_n, share_d, np.exp(log_e - total), -log_n * share_n, -log_d * share_d], axis=1)


def fit_chinchilla(params: np.ndarray, tokens: np.ndarray, loss: np.ndarray) -> LossFit:
    """Global fit of the five parameters, each array of shape (rows,); raises FitError where they cannot be told."""
    _check(params, tokens, loss)
    log_n, log_d, log_l = np.log(params), np.log(tokens), np.log(loss)
    starts = [_start(params, tokens, loss, *exponents) for exponents in product(START_EXPONENTS, repeat=2)]
    return min((_descend(start, log_n, log_d, log_l) for start in starts), key=lambda fit: fit.objective)


def _check(params: np.ndarray, tokens: np.ndarray, loss: np.ndarray) -> None:
    values = np.concatenate([params, tokens, loss])
    if not np.all(np.isfinite(values)) or np.any(values <= 0):
        raise FitError("parameters, tokens and losses must be positive numbers: drop the rows that are not")
    if len(loss) < N_PARAMETERS:
        raise FitError(
            f"{len(loss)} training runs cannot tell {N_PARAMETERS} parameters: train more, with a larger --scale-budget"
        )
    if len(np.unique(params)) < 2 or len(np.unique(tokens)) < 2:
        raise FitError("the loss law needs at least two model sizes and two token counts: train a wider grid")


def _start(params: np.ndarray, tokens: np.ndarray, loss: np.ndarray, alpha: float, beta: float) -> np.ndarray:
    """Given the exponents the law is linear: the best non-negative E, A and B are one small problem away."""
    columns = np.stack([params**-alpha, tokens**-beta, np.ones_like(loss)], axis=1)
    scale = columns.max(axis=0)
    (a, b, e), _ = nnls(columns / scale / loss[:, None], np.ones_like(loss))
    floor = 1e-3 * loss.min()
    logs = np.log(np.maximum([a, b, e], floor) / scale)
    return np.clip(np.array([*logs, alpha, beta]), LOWEST + 1e-6, HIGHEST - 1e-6)


def _descend(start: np.ndarray, log_n: np.ndarray, log_d: np.ndarray, log_l: np.ndarray) -> LossFit:
    found = least_squares(
        lambda x: log_loss(x, log_n, log_d) - log_l,
        start,
        jac=lambda x: log_loss_gradient(x, log_n, log_d),
        bounds=(LOWEST, HIGHEST),
        loss="huber",
        f_scale=HUBER_DELTA,
        x_scale="jac",
        xtol=_TOLERANCE,
        ftol=_TOLERANCE,
        gtol=_TOLERANCE,
        max_nfev=400,
    )
    return LossFit(found.x, float(found.cost))


def fit_loss_law(runs: Sequence[TrainingRun], seed: int = 0) -> Law:
    """The loss law of a grid, with bootstrap intervals over runs; raises FitError where there are too few.

    Runs without a model of ours, or without a validation loss, are left out.
    """
    rows = [
        (run.accounting.params_non_embedding, run.config.tokens, run.validation_loss)
        for run in runs
        if run.status == "ok" and run.config.model and run.accounting and run.validation_loss
    ]
    params, tokens, loss = (np.array(column, dtype=float) for column in zip(*rows, strict=True)) if rows else (np.empty(0),) * 3
    fit = fit_chinchilla(params, tokens, loss)
    draws = _bootstrap(fit, params, tokens, loss, seed)
    residuals = log_loss(fit.coefficients, np.log(params), np.log(tokens)) - np.log(loss)
    parameters = _parameters(fit.coefficients, draws)
    vague = [parameter.name for parameter in parameters if not parameter.identified]
    return Law(
        kind="loss",
        form="L = E + A/N^alpha + B/D^beta",
        unit="nats/token",
        subject=f"validation loss of {len(rows)} training runs; N without embeddings",
        parameters=parameters,
        domain={
            "params_non_embedding": range_of(params),
            "tokens": range_of(tokens),
            "compute_flops": range_of(6 * params * tokens),
        },
        n=len(rows),
        residuals=tuple(float(value) for value in np.expm1(residuals)),
        residual_sd=residual_sd(residuals, N_PARAMETERS),
        coefficients=tuple(float(value) for value in fit.coefficients),
        draws=tuple(tuple(float(value) for value in draw) for draw in draws),
        status="not_identified" if vague else "ok",
        notes=(f"these runs do not tell {', '.join(vague)}: predictions near the grid hold, the parameters do not",)
        if vague
        else (),
    )


def _bootstrap(fit: LossFit, params: np.ndarray, tokens: np.ndarray, loss: np.ndarray, seed: int) -> np.ndarray:
    """Coefficients refitted to rows drawn with replacement, from the optimum; shape (replicates, 5)."""
    rng = np.random.default_rng(seed)
    draws = []
    while len(draws) < REPLICATES:
        rows = rng.integers(len(loss), size=len(loss))
        if len(np.unique(params[rows])) < 2 or len(np.unique(tokens[rows])) < 2:
            continue
        draws.append(_descend(fit.coefficients, np.log(params[rows]), np.log(tokens[rows]), np.log(loss[rows])))
    return np.stack([draw.coefficients for draw in draws])


def _parameters(coefficients: np.ndarray, draws: np.ndarray) -> tuple[Parameter, ...]:
    """E, A, B, α, β as people know them, each with its interval and whether the data tell it."""
    meanings = {
        "E": ("nats/token", "loss that no model of this form goes below on this text"),
        "A": ("nats·params^alpha", "loss that small models add"),
        "B": ("nats·tokens^beta", "loss that little data adds"),
        "alpha": ("", "how fast loss falls with parameters"),
        "beta": ("", "how fast loss falls with tokens"),
    }
    columns = {"E": 2, "A": 0, "B": 1, "alpha": 3, "beta": 4}
    return tuple(
        _parameter(name, columns[name], unit, meaning, coefficients, draws) for name, (unit, meaning) in meanings.items()
    )


def _parameter(
    name: str, column: int, unit: str, meaning: str, coefficients: np.ndarray, draws: np.ndarray
) -> Parameter:
    is_log = column < 3
    value = float(np.exp(coefficients[column]) if is_log else coefficients[column])
    estimate = percentile_interval(np.exp(draws[:, column]) if is_log else draws[:, column], value)
    at_bound = not LOWEST[column] + 1e-3 < coefficients[column] < HIGHEST[column] - 1e-3
    vague = estimate.low <= 0 or estimate.high / estimate.low > VAGUE_RATIO[name]
    return Parameter(name=name, estimate=estimate, unit=unit, meaning=meaning, identified=not (at_bound or vague))


def predict_loss(law: Law, params: float, tokens: float) -> Estimate:
    """Validation loss (nats per token) of a model of so many non-embedding parameters after so many tokens."""
    log_n, log_d = np.asarray(np.log(params)), np.asarray(np.log(tokens))
    log_value = float(log_loss(np.array(law.coefficients), log_n, log_d))
    return predict_with_scatter(log_value, log_loss(np.array(law.draws), log_n, log_d), law.residual_sd)


def frontier(law: Law, compute_flops: float) -> tuple[float, float, Estimate]:
    """(N, D, loss) of the model that reaches the lowest loss at C = 6·N·D (Hoffmann et al. 2022, equation 4)."""
    log_a, log_b, _, alpha, beta = law.coefficients
    log_g = (np.log(alpha / beta) + log_a - log_b) / (alpha + beta)
    params = float(np.exp(log_g + beta / (alpha + beta) * np.log(compute_flops / 6)))
    tokens = compute_flops / 6 / params
    return params, tokens, predict_loss(law, params, tokens)
