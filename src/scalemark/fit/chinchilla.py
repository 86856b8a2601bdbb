"""Fit L = E + A/N^α + B/D^β to arrays (Hoffmann et al. 2022, eq. 2 and approach 3), with bootstrap replicates.

    log L ≈ logsumexp(e, a − α·x, b − β·y),  x = log N − mean,  y = log D − mean
    minimise Σ Huber(log predicted − log measured; δ = 1e-3)

Centring makes a and b the logs of what N and D add to the loss in the middle of the data: numbers that the data pin
down, where log A and log B are an extrapolation to N = D = 1. Many problems are solved at once, one per row of a
batch: the starts of one fit, then the replicates of its bootstrap.

Published fits of this form went wrong by stopping early (Besiroglu et al. 2024), so each step is a damped Gauss-Newton
step on the sum, not the mean, and goes on until nothing improves.

Runs that branch off one trunk err together. Then whole trunks are drawn, with all their branches (pairs cluster
bootstrap; Cameron, Gelbach & Miller 2008). In 600 simulated grids of 7 to 10 trunks with 4 to 6 branches each (0.5 %
between trunks, 0.3 % between branches), 90 % intervals held the truth this often:

    resampled                                     E      alpha   loss at 4 × the compute
    single runs                                   87 %   63 %    79 %
    trunks, drawn with replacement                95 %   95 %    91 %
    trunks, exponential weights (Rubin 1981)      88 %   83 %    82 %

Exponential weights lose no size, but the residuals that they vary are too small: E, A and alpha are told by how the
trunks differ, and three parameters take much out of seven trunks. With four trunks, drawn intervals held 75 %.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from scalemark.errors import FitError
from scalemark.schema import TrainingRun

Array = NDArray[np.float64]
Labels = NDArray[np.intp]
Mask = NDArray[np.bool_]

NAMES = ("E", "A", "B", "alpha", "beta")
HUBER_DELTA = 1e-3
REPLICATES = 200
FEWEST_SIZES = 2
# With as many rows as parameters the fit is exact and says nothing of its own error.
FEWEST_ROWS = len(NAMES) + 1
# The law meets three trunks exactly with E, A and alpha, so that drawing among them says nothing.
FEWEST_TRUNKS = 4
# Whole batches do not end where the text does: up to here it was seen once.
ONE_EPOCH = 1.01

# Bounds: a term below e^-12 of the smallest loss is nothing; an exponent near 0 makes a term one with E.
_SMALLEST_LOG_SHARE, _LARGEST_LOG_SHARE = -12.0, 5.0
_SMALLEST_EXPONENT, _LARGEST_EXPONENT = 0.01, 4.0
_START_EXPONENTS = (0.1, 0.3, 0.6, 1.2)
_START_FLOORS = (0.2, 0.6, 0.9)
_START_SPLITS = (0.2, 0.5, 0.8)
_STARTS_KEPT = 12
_FIRST_ITERATIONS, _LAST_ITERATIONS = 40, 2000
# Begun at the best, nine replicates in ten are then within 1e-5 of their end; an interval needs three digits.
_REPLICATE_ITERATIONS = 60
# Drawn for each replicate that is wanted, as some draws say nothing of the exponents.
_CANDIDATES = 20
_LARGEST_DAMPING = 1e12


@dataclass(frozen=True)
class Rows:
    """Training runs as columns, shape (rows,). params: non-embedding. trunks: one number for all branches of a trunk.

    epochs: tokens over the different tokens that there were; NaN where a run does not tell.
    """

    params: Array
    tokens: Array
    loss: Array
    epochs: Array
    trunks: Labels

    @classmethod
    def of(cls, runs: Iterable[TrainingRun]) -> "Rows":
        """Finished runs of our own models that have a validation loss; others are left out."""
        table = [
            (run.accounting.params_non_embedding, run.config.tokens, run.validation_loss, run.epochs, run.config.trunk)
            for run in runs
            if run.status == "ok" and run.config.model and run.accounting and run.validation_loss
        ]
        params, tokens, loss, epochs = np.array([row[:4] for row in table], dtype=float).reshape(-1, 4).T
        # Numbered as they come, so that the seeded draws do not hang on the order of hashes.
        numbers = {trunk: number for number, trunk in enumerate(dict.fromkeys(row[4] for row in table))}
        return cls(params, tokens, loss, epochs, np.array([numbers[row[4]] for row in table], dtype=np.intp))

    def only(self, kept: Mask | Labels) -> "Rows":
        """The rows that a mask keeps, or that are named in their new order; trunks keep their numbers."""
        return Rows(self.params[kept], self.tokens[kept], self.loss[kept], self.epochs[kept], self.trunks[kept])

    def __len__(self) -> int:
        return len(self.loss)

    @property
    def n_trunks(self) -> int:
        return len(np.unique(self.trunks))

    @property
    def branches(self) -> bool:
        """Whether any trunk has more than one row."""
        return self.n_trunks < len(self)

    @property
    def groups(self) -> Labels | None:
        """What a bootstrap draws: trunks, where they branch and are enough; None for single rows."""
        return self.trunks if self.branches and self.n_trunks >= FEWEST_TRUNKS else None

    @property
    def repeats(self) -> Mask:
        """Which rows saw text more than once."""
        return self.epochs > ONE_EPOCH

    @property
    def unique(self) -> Array:
        """Different tokens of text that there were, seen or not."""
        return self.tokens / self.epochs

    @property
    def compute_flops(self) -> Array:
        """C = 6·N·D."""
        return 6 * self.params * self.tokens


@dataclass(frozen=True)
class ChinchillaFit:
    """A converged fit. values and each row of draws: E, A, B, alpha, beta, as `NAMES`; E, A, B in the unit of the loss.

    objective: summed Huber loss of the log residuals. at_bound: which parameters stopped at the edge of their range.
    """

    values: Array
    draws: Array
    objective: float
    at_bound: tuple[bool, ...]


class Problem(Protocol):
    """Rows to fit. Each row of theta, shape (problems, parameters), is solved on its own."""

    @property
    def bounds(self) -> tuple[Array, Array]:
        """Lowest and highest parameters."""

    def residuals(self, theta: Array) -> Array:
        """log predicted − log measured, shape (problems, rows)."""

    def jacobian(self, theta: Array) -> Array:
        """Derivatives of the residuals, shape (problems, rows, parameters); all 0 for a parameter to be left alone."""


@dataclass(frozen=True)
class Data:
    """Centred logs, shape (rows,). offsets: the means taken away from log N and log D. theta: e, a, b, alpha, beta."""

    x: Array
    y: Array
    log_loss: Array
    offsets: tuple[float, float]

    @property
    def bounds(self) -> tuple[Array, Array]:
        low, high = self.log_loss.min() + _SMALLEST_LOG_SHARE, self.log_loss.max() + _LARGEST_LOG_SHARE
        return (
            np.array([low, low, low, _SMALLEST_EXPONENT, _SMALLEST_EXPONENT]),
            np.array([high, high, high, _LARGEST_EXPONENT, _LARGEST_EXPONENT]),
        )

    def residuals(self, theta: Array) -> Array:
        return np.asarray(np.logaddexp.reduce(self._log_terms(theta), axis=-1) - self.log_loss)

    def jacobian(self, theta: Array) -> Array:
        terms = self._log_terms(theta)
        share = np.exp(terms - np.logaddexp.reduce(terms, axis=-1, keepdims=True))
        e, a, b = np.moveaxis(share, -1, 0)
        return np.stack([e, a, b, -self.x * a, -self.y * b], axis=-1)

    def natural(self, theta: Array) -> Array:
        """(…, 5) E, A, B, alpha, beta."""
        e, a, b, alpha, beta = np.moveaxis(theta, -1, 0)
        log_n, log_d = self.offsets
        return np.stack([np.exp(e), np.exp(a + alpha * log_n), np.exp(b + beta * log_d), alpha, beta], axis=-1)

    def _log_terms(self, theta: Array) -> Array:
        """Logs of the three terms, shape (problems, rows, 3)."""
        e, a, b, alpha, beta = (column[:, None] for column in theta.T)
        return np.stack([e + 0 * self.x, a - alpha * self.x, b - beta * self.y], axis=-1)


def predict_chinchilla(values: Array, params: Array | float, tokens: Array | float) -> Array:
    """Loss from (…, 5) values in the order of `NAMES`; params and tokens broadcast against the leading shape."""
    e, a, b, alpha, beta = np.moveaxis(np.asarray(values, dtype=float), -1, 0)
    return np.asarray(e + a * np.asarray(params) ** -alpha + b * np.asarray(tokens) ** -beta)


def fit_chinchilla(
    params: Sequence[float] | Array,
    tokens: Sequence[float] | Array,
    loss: Sequence[float] | Array,
    seed: int = 0,
    replicates: int = REPLICATES,
    groups: Sequence[int] | Labels | None = None,
    weights: Array | None = None,
) -> ChinchillaFit:
    """The best of many starts, and `replicates` refits to rows drawn with replacement, each begun at the best.

    groups: one label per row; groups are then drawn, all rows of one together. weights: how much each row counts in
    each refit, shape (refits, rows), in place of drawing. Raises FitError for fewer rows than parameters, or fewer than
    two distinct N or D.
    """
    data = prepare(params, tokens, loss)
    best = fit_from_many_starts(data)
    if weights is None:
        weights = resample(groups, data.x, data.y, replicates, np.random.default_rng(seed))
    drawn, _ = descend(np.repeat(best[None], len(weights), axis=0), data, weights, _REPLICATE_ITERATIONS)
    low, high = data.bounds
    return ChinchillaFit(
        values=data.natural(best),
        draws=data.natural(drawn),
        objective=float(objective_of(data.residuals(best[None]), np.ones(1))[0]),
        at_bound=tuple(bool(hit) for hit in (best <= low + 1e-6) | (best >= high - 1e-6)),
    )


def resample(
    groups: Sequence[int] | Labels | None,
    params: Array,
    tokens: Array,
    replicates: int,
    rng: np.random.Generator,
    fitted: Mask | slice = slice(None),
) -> Array:
    """How often each replicate draws each row, shape (replicates, rows); rows of one group are drawn together.

    Draws whose `fitted` rows cannot tell the exponents are drawn again; where nearly all are such, fewer replicates
    come back.
    """
    labels = np.arange(len(params)) if groups is None else np.unique(np.asarray(groups), return_inverse=True)[1]
    n = int(labels.max()) + 1
    counts = rng.multinomial(n, np.full(n, 1 / n), size=_CANDIDATES * replicates)[:, labels]
    is_enough = tells_exponents(counts[:, fitted], params[fitted], tokens[fitted])
    return np.asarray(counts[is_enough][:replicates], dtype=float)


def tells_exponents(weights: NDArray[np.integer] | Array, params: Array, tokens: Array) -> Mask:
    """Which weightings, one per row, keep two distinct N and D and as many distinct rows as there are parameters."""
    enough = (weights > 0).sum(axis=1) >= len(NAMES)
    for column in (params, tokens):
        seen = np.stack([(weights[:, column == value] > 0).any(axis=1) for value in np.unique(column)])
        enough &= seen.sum(axis=0) >= FEWEST_SIZES
    return np.asarray(enough)


def prepare(params: Sequence[float] | Array, tokens: Sequence[float] | Array, loss: Sequence[float] | Array) -> Data:
    n, d, losses = (np.asarray(column, dtype=float) for column in (params, tokens, loss))
    assert len(n) == len(d) == len(losses), "one N, D and loss per row"
    if len(losses) < len(NAMES):
        raise FitError(
            f"a loss law has {len(NAMES)} parameters and needs more training runs than that, and there are "
            f"{len(losses)}: train more sizes and token counts, or raise the budget"
        )
    for name, column in (("model size", n), ("token count", d)):
        if len(np.unique(column)) < FEWEST_SIZES:
            raise FitError(f"all training runs have the same {name}: train at least three, so that it has an effect")
    if min(n.min(), d.min(), losses.min()) <= 0:
        raise FitError("a loss law needs positive sizes, token counts and losses: leave the other runs out")
    log_n, log_d = np.log(n), np.log(d)
    return Data(log_n - log_n.mean(), log_d - log_d.mean(), np.log(losses), (float(log_n.mean()), float(log_d.mean())))


def fit_from_many_starts(data: Data) -> Array:
    """(e, a, b, alpha, beta) of the lowest objective: a few steps from every start, then the best ones to the end."""
    starts = _starts(data)
    near, objectives = descend(starts, data, np.ones((len(starts), 1)), _FIRST_ITERATIONS)
    kept = near[np.argsort(objectives)[:_STARTS_KEPT]]
    ends, objectives = descend(kept, data, np.ones((len(kept), 1)), _LAST_ITERATIONS)
    return np.asarray(ends[np.argmin(objectives)])


def _starts(data: Data) -> Array:
    """A grid over both exponents, E's share of the lowest loss, and how N and D share the rest."""
    lowest, typical = np.exp(data.log_loss.min()), np.exp(np.median(data.log_loss))
    grid = product(_START_FLOORS, _START_SPLITS, _START_EXPONENTS, _START_EXPONENTS)
    return np.array(
        [
            [np.log(floor * lowest), *np.log(np.array([split, 1 - split]) * (typical - floor * lowest)), alpha, beta]
            for floor, split, alpha, beta in grid
        ]
    )


# --- the solver: one problem per row of theta, shape (problems, parameters) -------------------------------------------


def objective_of(residuals: Array, weights: Array) -> Array:
    """Σ Huber over rows, each counted `weights` times, shape (problems,)."""
    size = np.abs(residuals)
    huber = np.where(size <= HUBER_DELTA, size**2 / 2, HUBER_DELTA * (size - HUBER_DELTA / 2))
    return np.asarray((weights * huber).sum(axis=-1))


def gradient_of(theta: Array, problem: Problem, weights: Array) -> Array:
    """Derivatives of the objective, shape (problems, parameters)."""
    slope = weights * np.clip(problem.residuals(theta), -HUBER_DELTA, HUBER_DELTA)
    return np.asarray(np.einsum("kr,krp->kp", slope, problem.jacobian(theta)))


def descend(theta: Array, problem: Problem, weights: Array, iterations: int) -> tuple[Array, Array]:
    """Each problem's parameters after at most so many damped steps, none of them uphill, and its objective.

    weights: how much each row counts, broadcast to (problems, rows).
    """
    low, high = problem.bounds
    theta = np.clip(theta, low, high)
    residuals = problem.residuals(theta)
    weights = np.broadcast_to(weights, residuals.shape)
    objective = objective_of(residuals, weights)
    damping = np.full(len(theta), 1e-2)
    for _ in range(iterations):
        active = np.flatnonzero(damping < _LARGEST_DAMPING)
        if not len(active):
            break
        trial = np.clip(theta[active] + _step(theta[active], problem, weights[active], damping[active]), low, high)
        reached = objective_of(problem.residuals(trial), weights[active])
        better = reached < objective[active]
        theta[active[better]], objective[active[better]] = trial[better], reached[better]
        damping[active] *= np.where(better, 0.2, 5.0)
    return theta, objective


def _step(theta: Array, problem: Problem, weights: Array, damping: Array) -> Array:
    """Levenberg-Marquardt step on the quadratic that touches each Huber term from above (weights δ/|r| past δ)."""
    residuals, jacobian = problem.residuals(theta), problem.jacobian(theta)
    curvature = weights * HUBER_DELTA / np.maximum(np.abs(residuals), HUBER_DELTA)
    gradient = np.einsum("kr,krp->kp", curvature * residuals, jacobian)
    hessian = np.einsum("krp,kr,krq->kpq", jacobian, curvature, jacobian, optimize=True)
    diagonal = np.arange(theta.shape[1])
    hessian[:, diagonal, diagonal] += damping[:, None] * hessian[:, diagonal, diagonal] + 1e-14
    return np.asarray(np.linalg.solve(hessian, -gradient[..., None])[..., 0])
