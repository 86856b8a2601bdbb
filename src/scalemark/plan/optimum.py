"""Which of many models reaches the lowest loss for a budget, and how sure that is.

    budget ──> steps of each model ──> its loss ──> the lowest          (the laws as fitted)
    budget ──> steps, replicate i of the cost law ──> loss, replicate i of the loss law    (how uncertain it is)

A budget is in the unit of `Field.cost`: seconds, or joules. Where cost is 6·N·D and sizes are dense, the optimum is
that of Hoffmann et al. 2022, equation 4; a measured cost grows more slowly than N while models are small, and moves it.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from scalemark.fit.forms import Form
from scalemark.fit.repeated import effective_tokens

Array = NDArray[np.float64]

# Halvings of a range of numbers of steps: from 2^50 to a thousandth of one.
_HALVINGS = 60
_MOST_STEPS = 2.0**50


@dataclass(frozen=True)
class Losses:
    """The loss law. values: (c,) coefficients in the order of the form's parameters; draws: (replicates, c).

    unique: different tokens that there are, None for endless text. repeats: how many times text is shown again until
    one more showing is worth 1/e of new text (R_D*; Muennighoff et al. 2023), with its replicates.
    """

    form: Form
    values: Array
    draws: Array
    unique: float | None = None
    repeats: float = np.inf
    repeats_draws: Array | None = None

    def at(self, params: Array | float, tokens: Array | float) -> Array:
        """Loss by the fitted law; params and tokens broadcast."""
        return self.form.predict(self.values, params, self._worth(np.asarray(tokens, dtype=float), self.repeats))

    def draws_at(self, params: Array | float, tokens: Array) -> Array:
        """(replicates, k) losses; tokens: (k,) or (replicates, k)."""
        constant = self.repeats if self.repeats_draws is None else self.repeats_draws[:, None]
        return self.form.predict(self.draws[:, None], params, self._worth(np.asarray(tokens, dtype=float), constant))

    def _worth(self, tokens: Array, constant: Array | float) -> Array:
        """How much new text the tokens are worth."""
        if self.unique is None:
            return tokens
        return effective_tokens(tokens, np.asarray(self.unique), np.asarray(constant))


@dataclass(frozen=True)
class Field:
    """The models to choose from. params: (k,) non-embedding; fits: (k,) whether memory holds each.

    cost: (k,) seconds or joules of one step, cost_draws: (replicates, k). extra_steps: what set-up and validation cost
    as a number of steps, extra_draws: (replicates,). least_steps: fewer are no training.
    """

    params: Array
    fits: NDArray[np.bool_]
    losses: Losses
    cost: Array
    cost_draws: Array
    tokens_per_step: int
    extra_steps: float
    extra_draws: Array
    least_steps: int = 1

    def steps(self, budget: float) -> Array:
        """(k,) whole steps that the budget holds; 0 where it holds too few to train."""
        return self._enough(np.floor(budget / self.cost - self.extra_steps + 1e-9))

    def loss(self, budget: float) -> Array:
        """(k,) losses that the budget reaches; infinite where a model does not fit into budget or memory."""
        steps = self.steps(budget)
        found = self.losses.at(self.params, np.maximum(steps, 1) * self.tokens_per_step)
        return np.where(self.fits & (steps > 0), found, np.inf)

    def loss_draws(self, budget: float) -> Array:
        """(replicates, k): replicate i of the loss law at the tokens that replicate i of the cost law allows."""
        steps = self._enough(np.floor(budget / self.cost_draws - self.extra_draws[:, None] + 1e-9))
        found = self.losses.draws_at(self.params, np.maximum(steps, 1) * self.tokens_per_step)
        return np.where(self.fits & (steps > 0), found, np.inf)

    def budget(self, index: int, steps: float) -> float:
        """What so many steps of one model cost, set-up and validation included."""
        return float((steps + self.extra_steps) * self.cost[index])

    @property
    def least_budget(self) -> float:
        """What the cheapest training costs; infinite where memory holds no model."""
        costs = np.where(self.fits, self.cost, np.inf)
        return float(costs.min() * (self.least_steps + self.extra_steps))

    def _enough(self, steps: Array) -> Array:
        return np.where(steps >= self.least_steps, steps, 0.0)


def best_index(field: Field, budget: float) -> int | None:
    """The model of the lowest loss; None where the budget holds none."""
    losses = field.loss(budget)
    index = int(np.argmin(losses))
    return index if np.isfinite(losses[index]) else None


def optimal_params(field: Field, budget: float) -> Array:
    """Size of the best model in each replicate that holds any, shape (replicates or fewer,)."""
    draws = field.loss_draws(budget)
    held = np.isfinite(draws.min(axis=1))
    return np.asarray(field.params[np.argmin(draws[held], axis=1)])


def near_optimal(field: Field, budget: float, excess: float) -> tuple[float, float]:
    """Smallest and largest size whose loss is within `excess` of the lowest: 0.005 for half a percent."""
    losses = field.loss(budget)
    sizes = field.params[losses <= (1 + excess) * losses.min()]
    return float(sizes.min()), float(sizes.max())


def regret(field: Field, budget: float, index: int) -> tuple[float, Array]:
    """Loss of one model over the lowest for the same budget, less 1: by the laws as fitted, and in each replicate.

    In a replicate it is measured against that replicate's own best, so that it is never below 0. Infinite where the
    budget does not hold the model.
    """
    losses, draws = field.loss(budget), field.loss_draws(budget)
    lowest = draws.min(axis=1)
    held = np.isfinite(lowest)
    return float(losses[index] / losses.min() - 1), np.asarray(draws[held, index] / lowest[held] - 1)


def nearest_ratio(field: Field, budget: float, params_total: Array, ratio: float, within: float) -> int | None:
    """The model trained on nearest to `ratio` tokens per parameter; of those within a factor, that of the lowest loss.

    params_total: (k,) all parameters. None where the budget holds no model.
    """
    losses = field.loss(budget)
    held = np.flatnonzero(np.isfinite(losses))
    if not len(held):
        return None
    tokens = field.steps(budget)[held] * field.tokens_per_step
    distance = np.abs(np.log(tokens / params_total[held] / ratio))
    close = held[distance <= max(np.log(within), distance.min())]
    return int(close[np.argmin(losses[close])])


# --- the other way round: what a loss takes ---------------------------------------------------------------------------


def steps_to_reach(field: Field, loss: float) -> Array:
    """(k,) whole steps after which each model reaches the loss; infinite where it never does, or memory is short."""
    steps = _bisect(lambda steps: field.losses.at(field.params, steps * field.tokens_per_step) <= loss, field.params)
    return np.where(field.fits, np.maximum(np.ceil(steps - 1e-6), field.least_steps), np.inf)


def cheapest(field: Field, loss: float) -> tuple[int, int] | None:
    """The model that reaches the loss for the least, and its steps; None where no model reaches it."""
    steps = steps_to_reach(field, loss)
    costs = (steps + field.extra_steps) * field.cost
    index = int(np.argmin(costs))
    return (index, int(steps[index])) if np.isfinite(costs[index]) else None


def budget_draws_to_reach(field: Field, losses: Array, index: int) -> Array:
    """What one model takes to a loss in each pair of replicates, (replicates,); infinite where it never gets there.

    losses: the one to reach, for each replicate: the same for all, or moved by what a new run scatters.
    """
    params = field.params[index]

    def reached(steps: Array) -> NDArray[np.bool_]:
        return np.asarray(field.losses.draws_at(params, steps[:, None] * field.tokens_per_step)[:, 0] <= losses)

    steps = np.maximum(_bisect(reached, field.extra_draws), field.least_steps)
    return np.asarray((steps + field.extra_draws) * field.cost_draws[:, index])


def _bisect(reached: Callable[[Array], NDArray[np.bool_]], like: Array) -> Array:
    """Fewest steps, on a logarithmic scale, from which on `reached` is true; infinite where it is not within reach."""
    low, high = np.zeros_like(like), np.full_like(like, np.log(_MOST_STEPS))
    never = ~reached(np.exp(high))
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        done = reached(np.exp(middle))
        low, high = np.where(done, low, middle), np.where(done, middle, high)
    return np.where(never, np.inf, np.exp(high))
