"""What repeated text is worth: the data-constrained law of Muennighoff et al. 2023 (arXiv 2305.16264, section 3).

    L = E + A/N'^alpha + B/D'^beta
    D' = U   + U   · R_D* · (1 − exp(−R_D/R_D*)),   R_D = D/U − 1,     D tokens seen, U different ones there were
    N' = U_N + U_N · R_N* · (1 − exp(−R_N/R_N*)),   R_N = N/U_N − 1,   U_N the size that is compute-optimal for U tokens

After R repeats a further token is worth exp(−R/R_D*) of a new one; parameters beyond U_N lose their worth in the same
way, and up to U_N N' = N. A run that repeats nothing follows the plain law: D' = D and N' = N. The paper discounts
large models there too, which would contradict the plain law that is fitted to these very runs; the price is that for
N > U_N this law has a step where the second epoch begins.

Fitted in two stages: E, A, B, alpha and beta to the runs that repeat nothing, then R_D* and R_N* to those that repeat.
Fitted all at once, repeated runs would bend the plain law wherever the form is wrong, and it is known to be: D' and N'
only grow with D and N, so it saturates and can never say that a larger model or a longer run gets worse. Runs on little
text do get worse, as they learn it by heart. `worse_with_size` lists where; no prediction of this law holds there. Too
few runs without repeats are refused: with those of up to four epochs among them, exact losses gave E = 0.

In 100 simulated grids (R_D* = 12, R_N* = 4; 0.5 % between trunks, 0.3 % between branches; eight trunks on all of the
text, and eight or four on parts of it) 90 % intervals held R_D* 96 times and R_N* 91 times.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from scalemark.errors import FitError
from scalemark.fit.bags import few_groups
from scalemark.fit.forms import CHINCHILLA
from scalemark.fit.loss_fit import fit_chinchilla
from scalemark.fit.loss_law import FEWEST_ROWS, described, domain_of, subject_of, trunk_note, vague_note
from scalemark.fit.prediction import predict_with_scatter, range_of, residual_sd
from scalemark.fit.rows import ONE_EPOCH, Labels, Rows, resample, tells_exponents
from scalemark.fit.solver import Array, curvature_by_differences, huber, solve
from scalemark.schema import Estimate, Law, Parameter, RepeatedText, TrainingRun, WorseWithSize
from scalemark.stats import percentile_interval

NAMES = CHINCHILLA.parameters
CONSTANTS = ("R_D*", "R_N*")
MEANINGS = {
    "R_D*": ("repeats", "repeats of the text after which another is worth 1/e of new text"),
    "R_N*": ("", "parameters beyond the optimal, over the optimal, after which another is worth 1/e of one below"),
}
# Two constants, and two rows to spare.
FEWEST_REPEATED = 4
REPLICATES = 300
# An interval this wide (high over low) does not tell a constant.
VAGUE_CONSTANT_RATIO = 10.0

# Bounds: at the lowest a repeat is worth nothing, at the highest as much as new text.
_SMALLEST_CONSTANT, _LARGEST_CONSTANT = 1e-2, 1e4
_GRID_POINTS = 15
_AT_BOUND = 1.01
# Draws with an exponent near 0 put the optimum beyond what a float holds; nothing depends on how far.
_LARGEST_LOG = 300.0
_ITERATIONS = 200


def effective_tokens(tokens: Array, unique: Array, constant: Array) -> Array:
    """D': how much new text the tokens are worth. constant: R_D*."""
    repeats = np.maximum(tokens / unique - 1, 0)
    return np.asarray(np.minimum(tokens, unique) - unique * constant * np.expm1(-repeats / constant))


def effective_params(params: Array, optimal: Array, constant: Array) -> Array:
    """N' of a run that repeats text. optimal: U_N. constant: R_N*."""
    full = np.minimum(params, optimal)
    return np.asarray(full - full * constant * np.expm1(-(params / full - 1) / constant))


def optimal_params(values: Array, tokens: Array | float) -> Array:
    """The size at which so many tokens are compute-optimal under E, A, B, alpha, beta: (…, 5) values or more.

    Hoffmann et al. 2022, equation 4, solved for N at a given D: alpha·A/N^alpha = beta·B/D^beta.
    """
    _, a, b, alpha, beta = np.moveaxis(np.asarray(values, dtype=float)[..., : len(NAMES)], -1, 0)
    log_size = (np.log(alpha * a) - np.log(beta * b) + beta * np.log(tokens)) / alpha
    return np.asarray(np.exp(np.clip(log_size, -_LARGEST_LOG, _LARGEST_LOG)))


def predict_repeated_loss(values: Array, params: Array, tokens: Array, unique: Array) -> Array:
    """Loss from (…, 7) values in the order of `NAMES` and `CONSTANTS`; the rest broadcasts as for the plain law."""
    values = np.asarray(values, dtype=float)
    of_data, of_params = values[..., -2], values[..., -1]
    discounted = effective_params(params, optimal_params(values, unique), of_params)
    sizes = np.where(tokens > ONE_EPOCH * unique, discounted, params)
    return CHINCHILLA.predict(values[..., : len(NAMES)], sizes, effective_tokens(tokens, unique, of_data))


def fit_repeated_law(runs: Iterable[TrainingRun], seed: int = 0) -> Law:
    """The law of repeated text with bootstrap intervals over trunks; raises FitError where runs are too few.

    Uses every finished run of our models that says how often it saw its text.
    """
    return fit_repeated_rows(Rows.of(run for run in runs if run.epochs), seed)


def fit_repeated_rows(rows: Rows, seed: int = 0, replicates: int = REPLICATES) -> Law:
    """As `fit_repeated_law`, of rows whose epochs are known; of many, of a part of the trunks, which a note says."""
    every, rows = len(rows), rows.only(few_groups(rows.trunks, len(rows)))
    _check(rows)
    rng = np.random.default_rng(seed)
    weights = resample(rows.groups, rows.params, rows.tokens, replicates, rng, len(NAMES), fitted=~rows.repeats)
    values, draws, at_bound = _fit(rows, weights[(weights[:, rows.repeats] > 0).any(axis=1)])
    law = _law(rows, values, draws, at_bound)
    part = (f"fitted to {len(rows):,} of {every:,} runs, whole trunks of them",) if len(rows) < every else ()
    return law.model_copy(update={"notes": (*law.notes, *part)})


def predict_repeated(law: Law, params: float, tokens: float, unique_tokens: float) -> Estimate:
    """Validation loss (nats per token) of so many non-embedding parameters after so many tokens of so many new ones."""
    at = np.array(params), np.array(tokens), np.array(unique_tokens)
    log_value = float(np.log(predict_repeated_loss(np.array(law.coefficients), *at)))
    return predict_with_scatter(log_value, np.log(predict_repeated_loss(np.array(law.draws), *at)), law.residual_sd)


def repeated_text(runs: Sequence[TrainingRun]) -> RepeatedText | None:
    """How the laws do on runs that repeat a part of the text, and where size hurts; None where there are none."""
    repeats = [run for run in runs if run.status == "ok" and run.config.unique_tokens and run.repeats]
    if not repeats:
        return None
    try:
        errors = compare_with_plain(runs).mean_errors
    except FitError:
        errors = {}
    return RepeatedText(n_runs=len(repeats), errors=errors, worse_with_size=worse_with_size(runs))


# --- against the plain law --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class PlainComparison:
    """Errors, log predicted − log measured, on runs that repeat text, each predicted without its trunk.

    discounted: the law of repeated text. all_new: the plain law of its first stage, to which every token is new.
    fitted_to_all: the plain law fitted to all runs, repeated ones among them. One entry per run, in the same order.
    """

    n_trunks: int
    params: tuple[float, ...]
    tokens: tuple[float, ...]
    epochs: tuple[float, ...]
    discounted: tuple[float, ...]
    all_new: tuple[float, ...]
    fitted_to_all: tuple[float, ...]

    @property
    def mean_errors(self) -> dict[Literal["discounted", "all_new", "fitted_to_all"], float]:
        """Mean absolute error by law: 0.02 reads '2 %'."""
        return {
            "discounted": float(np.mean(np.abs(self.discounted))),
            "all_new": float(np.mean(np.abs(self.all_new))),
            "fitted_to_all": float(np.mean(np.abs(self.fitted_to_all))),
        }


def compare_with_plain(runs: Iterable[TrainingRun]) -> PlainComparison:
    """Each trunk with repeats left out in turn, all laws refitted, its repeats predicted; nothing is drawn by chance.

    A trunk without which the rest does not tell the laws is not tried. Raises FitError where none can be left out.
    """
    rows = Rows.of(run for run in runs if run.epochs)
    rows = rows.only(few_groups(rows.trunks, len(rows)))
    _check(rows)
    plain_rows = rows.only(~rows.repeats)
    trunks = np.unique(rows.trunks[rows.repeats])
    weights = np.array([rows.trunks != trunk for trunk in trunks], dtype=float)
    can_go = tells_exponents(weights[:, ~rows.repeats], plain_rows.params, plain_rows.tokens, len(NAMES))
    can_go &= weights[:, rows.repeats].sum(axis=1) >= len(CONSTANTS)
    if not can_go.any():
        raise FitError("too few trunks repeat text to leave one out: train more sizes on a part of the text")
    trunks, weights = trunks[can_go], weights[can_go]
    _, discounted, _ = _fit(rows, weights)
    plain = fit_chinchilla(rows.params, rows.tokens, rows.loss, weights=weights).draws
    return _comparison(rows, trunks, discounted, plain)


def _comparison(rows: Rows, trunks: Labels, discounted: Array, plain: Array) -> PlainComparison:
    """discounted, plain: one row of parameters for each trunk that was left out."""
    which, row = np.nonzero((rows.trunks == trunks[:, None]) & rows.repeats)
    params, tokens, unique, log_loss = rows.params[row], rows.tokens[row], rows.unique[row], np.log(rows.loss[row])
    predictions = {
        "discounted": predict_repeated_loss(discounted[which], params, tokens, unique),
        "all_new": CHINCHILLA.predict(discounted[which, : len(NAMES)], params, tokens),
        "fitted_to_all": CHINCHILLA.predict(plain[which], params, tokens),
    }
    return PlainComparison(
        n_trunks=len(trunks),
        params=_floats(params),
        tokens=_floats(tokens),
        epochs=_floats(rows.epochs[row]),
        **{name: _floats(np.log(predicted) - log_loss) for name, predicted in predictions.items()},
    )


def worse_with_size(runs: Iterable[TrainingRun]) -> tuple[WorseWithSize, ...]:
    """Runs that repeat text and end above the best smaller model with equal unique tokens and equal tokens.

    By unique tokens, tokens and size. Which of them scatter alone explains is for the reader of `excess` to judge.
    """
    groups: dict[tuple[int, int], list[WorseWithSize]] = {}
    for run in runs:
        if run.status == "ok" and run.config.model and run.accounting and run.validation_loss and run.repeats:
            alone = _alone(run, run.accounting.params_non_embedding, run.validation_loss, run.epochs or 1.0)
            groups.setdefault((alone.unique_tokens, alone.tokens), []).append(alone)
    return tuple(found for key in sorted(groups) for found in _worse(groups[key]))


def _alone(run: TrainingRun, params: int, loss: float, epochs: float) -> WorseWithSize:
    """A run beside itself: not worse than anything yet."""
    return WorseWithSize(
        unique_tokens=round(run.config.tokens / epochs),
        tokens=run.config.tokens,
        epochs=epochs,
        params=params,
        loss=loss,
        smaller_params=params,
        smaller_loss=loss,
        gap=run.gap,
    )


def _worse(group: Sequence[WorseWithSize]) -> list[WorseWithSize]:
    """Those of runs that differ in size alone which end above the best smaller one, by size."""
    found = []
    for one in sorted(group, key=lambda one: one.params):
        smaller = [other for other in group if other.params < one.params and other.loss < one.loss]
        if smaller:
            best = min(smaller, key=lambda other: other.loss)
            found.append(one.model_copy(update={"smaller_params": best.params, "smaller_loss": best.loss}))
    return found


# --- the fit ----------------------------------------------------------------------------------------------------------


def _check(rows: Rows) -> None:
    """Raise FitError unless the rows that repeat text and those that do not are enough."""
    n_repeated = int(rows.repeats.sum())
    if n_repeated < FEWEST_REPEATED:
        raise FitError(
            f"{n_repeated} training runs saw text more than once, and what that is worth takes {FEWEST_REPEATED}: "
            "train on a part of the text"
        )
    if len(rows) - n_repeated < FEWEST_ROWS:
        raise FitError(
            f"{len(rows) - n_repeated} training runs saw no text twice, and what new text is worth takes "
            f"{FEWEST_ROWS}: train more on all of the text"
        )


def _fit(rows: Rows, weights: Array) -> tuple[Array, Array, tuple[bool, ...]]:
    """Values (7,), one refit per row of weights, shape (refits, 7), and which values stopped at a bound."""
    base, problem = rows.only(~rows.repeats), _Repeats.of(rows.only(rows.repeats))
    plain = fit_chinchilla(base.params, base.tokens, base.loss, weights=weights[:, ~rows.repeats])
    values = _second_stage(plain.values[None], problem, np.ones((1, 1)))[0]
    draws = _second_stage(plain.draws, problem, weights[:, rows.repeats])
    constants = values[len(NAMES) :]
    hits = (constants <= _SMALLEST_CONSTANT * _AT_BOUND) | (constants >= _LARGEST_CONSTANT / _AT_BOUND)
    return values, draws, (*plain.at_bound, *(bool(hit) for hit in hits))


@dataclass(frozen=True)
class _Repeats:
    """Rows that repeat text. theta: E, A, B, alpha, beta, which stay as they are, log R_D*, log R_N*."""

    params: Array
    tokens: Array
    unique: Array
    log_loss: Array

    @classmethod
    def of(cls, rows: Rows) -> "_Repeats":
        return cls(rows.params, rows.tokens, rows.unique, np.log(rows.loss))

    @property
    def bounds(self) -> tuple[Array, Array]:
        free = np.full(len(NAMES), np.inf)
        low, high = np.log([_SMALLEST_CONSTANT] * 2), np.log([_LARGEST_CONSTANT] * 2)
        return np.concatenate([-free, low]), np.concatenate([free, high])

    def residuals(self, theta: Array) -> Array:
        predicted = predict_repeated_loss(_natural(theta)[:, None], self.params, self.tokens, self.unique)
        return np.asarray(np.log(predicted) - self.log_loss)

    def linearise(self, theta: Array) -> tuple[Array, Array]:
        """By the chain rule: d log L = −beta · (B/D'^beta)/L · d log D', and the same for N'."""
        e, a, b, alpha, beta, of_data, of_params = (column[:, None] for column in _natural(theta).T)
        optimal = optimal_params(_natural(theta)[:, None], self.unique)
        sizes = effective_params(self.params, optimal, of_params)
        worth = effective_tokens(self.tokens, self.unique, of_data)
        from_size, from_data = a * sizes**-alpha, b * worth**-beta
        loss = e + from_size + from_data
        by_data = -beta * from_data / loss * self.unique / worth * _slope(self.tokens / self.unique - 1, of_data)
        excess = np.maximum(self.params / optimal - 1, 0)
        by_size = -alpha * from_size / loss * np.minimum(self.params, optimal) / sizes * _slope(excess, of_params)
        still = np.zeros((len(theta), len(NAMES), len(self.params)))
        return np.log(loss) - self.log_loss, np.concatenate([still, by_data[:, None], by_size[:, None]], axis=1)

    def curvature(self, theta: Array, jacobian: Array, slope: Array) -> Array:
        """Of the two constants alone."""
        found = curvature_by_differences(self, theta, jacobian, slope)
        found[:, : len(NAMES)], found[:, :, : len(NAMES)] = 0.0, 0.0
        return found


def _slope(repeats: Array, constant: Array) -> Array:
    """Derivative of R*·(1 − exp(−R/R*)) with respect to log R*."""
    ratio = repeats / constant
    return np.asarray(constant * (-np.expm1(-ratio) - ratio * np.exp(-ratio)))


def _natural(theta: Array) -> Array:
    """theta with R_D* and R_N* in place of their logs."""
    return np.concatenate([theta[:, : len(NAMES)], np.exp(theta[:, len(NAMES) :])], axis=1)


def _second_stage(base: Array, problem: _Repeats, weights: Array) -> Array:
    """(problems, 7) values: each base with its best R_D* and R_N*, from the best point of a grid.

    The grid begins at the largest constants, and an equal point does not replace an earlier one: what no run tells
    counts as new.
    """
    ends = np.geomspace(_LARGEST_CONSTANT, _SMALLEST_CONSTANT, _GRID_POINTS)
    theta = np.concatenate([base, np.full((len(base), 2), np.log(_LARGEST_CONSTANT))], axis=1)
    lowest = huber(problem.residuals(theta), weights)
    for point in np.log(np.stack(np.meshgrid(ends, ends), axis=-1).reshape(-1, 2)):
        trial = np.concatenate([base, np.broadcast_to(point, (len(base), 2))], axis=1)
        reached = huber(problem.residuals(trial), weights)
        better = reached < lowest
        theta[better], lowest[better] = trial[better], reached[better]
    return _natural(solve(theta, problem, weights, _ITERATIONS).theta)


# --- the law ----------------------------------------------------------------------------------------------------------


def _law(rows: Rows, values: Array, draws: Array, at_bound: tuple[bool, ...]) -> Law:
    log_residuals = np.log(predict_repeated_loss(values, rows.params, rows.tokens, rows.unique)) - np.log(rows.loss)
    plain = described(NAMES, values, draws, at_bound)
    constants = tuple(_constant(index, values, draws, at_bound) for index in range(len(CONSTANTS)))
    untold = [parameter.name for parameter in (*plain, *constants) if not parameter.identified]
    return Law(
        kind="repeated_loss",
        form="L = E + A/N'^alpha + B/D'^beta, N' and D' discounted where text repeats (Muennighoff et al. 2023)",
        unit="nats/token",
        subject=subject_of(rows),
        parameters=(*plain, *constants),
        domain={**domain_of(rows), "unique_tokens": range_of(rows.unique), "epochs": range_of(rows.epochs)},
        n=len(rows),
        residuals=_floats(np.expm1(log_residuals)),
        residual_sd=residual_sd(log_residuals, len(NAMES) + len(CONSTANTS)),
        coefficients=_floats(values),
        draws=tuple(_floats(draw) for draw in draws),
        status="not_identified" if untold else "ok",
        notes=_notes(rows, values, plain, constants),
    )


def _constant(index: int, values: Array, draws: Array, at_bound: tuple[bool, ...]) -> Parameter:
    name, column = CONSTANTS[index], len(NAMES) + index
    unit, meaning = MEANINGS[name]
    estimate = percentile_interval(draws[:, column], float(values[column]))
    is_told = estimate.high / estimate.low <= VAGUE_CONSTANT_RATIO and not at_bound[column]
    return Parameter(name=name, estimate=estimate, unit=unit, meaning=meaning, identified=is_told)


def _notes(rows: Rows, values: Array, plain: Sequence[Parameter], constants: Sequence[Parameter]) -> tuple[str, ...]:
    of_data, of_params = constants
    notes = (
        f"E to beta come from the {int(np.sum(~rows.repeats))} runs that repeat nothing, "
        f"R_D* and R_N* from the {int(rows.repeats.sum())} that do",
        vague_note([parameter.name for parameter in plain if not parameter.identified]),
        "" if of_data.identified else _data_note(of_data.estimate, float(rows.epochs.max()) - 1),
        "" if of_params.identified else _size_note(rows, values),
        trunk_note(rows),
        "the form cannot say that a larger model or a longer run gets worse, as runs on little text do",
    )
    return tuple(filter(None, notes))


def _data_note(estimate: Estimate, most_repeats: float) -> str:
    """Why R_D* is not told."""
    if estimate.high > _LARGEST_CONSTANT / VAGUE_CONSTANT_RATIO:
        return (
            f"up to {most_repeats:.3g} repeats, text seen again may count like new: "
            f"R_D* is {estimate.low:.2g} or more, and how much more is not told"
        )
    if estimate.low < _SMALLEST_CONSTANT * VAGUE_CONSTANT_RATIO:
        return f"text seen again may be worth nothing: R_D* is {estimate.high:.2g} or less"
    return "the runs that repeat do not tell R_D*"


def _size_note(rows: Rows, values: Array) -> str:
    """Why R_N* is not told."""
    repeated = rows.only(rows.repeats)
    if np.any(repeated.params > optimal_params(values, repeated.unique)):
        return "the runs that repeat do not tell R_N*"
    return "R_N* is not told: no run that repeats is larger than is compute-optimal for its text"


def _floats(column: Array) -> tuple[float, ...]:
    return tuple(float(value) for value in column)
