"""Cost laws: step time and memory as sums of non-negative physical terms.

    step time = overhead + per layer · L + FLOPs / rate + activation bytes / bandwidth + optimizer bytes / bandwidth
    memory    = fixed + c₁ · (parameters, gradients, optimizer states) + c₂ · activations + c₃ · logits

A power law in N alone cannot tell two shapes of one size apart and extrapolates badly; these terms can, and a
coefficient says why a machine is slow. Fitted by non-negative least squares on relative residuals.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from statistics import NormalDist
from zlib import crc32

import numpy as np
from scipy.optimize import nnls

from scalemark.errors import FitError
from scalemark.fit.prediction import extrapolation, predict_with_scatter, range_of, residual_sd
from scalemark.schema import Accounting, Cell, Estimate, Holdout, Law, LawKind, Parameter
from scalemark.stats import percentile_interval

REPLICATES = 300
FEWEST_SIZES = 4
# The largest rungs are hidden if they are at least this much larger than the rest.
HOLDOUT_STEP = 1.3
HOLDOUT_SHAPES = 2


@dataclass(frozen=True)
class Term:
    """One term of a law. of: the quantity that it is proportional to. rate_name: how 1/coefficient is called."""

    name: str
    unit: str
    meaning: str
    of: Callable[[Accounting], float]
    rate_name: str | None = None
    rate_unit: str = ""


def _state_bytes(accounting: Accounting) -> float:
    return accounting.parameter_bytes + accounting.gradient_bytes + accounting.optimizer_state_bytes


TIME_TERMS = (
    Term("overhead_s", "s", "fixed cost of a step", lambda _: 1.0),
    Term("per_layer_s", "s", "cost of a layer whatever its size: launching its operators", lambda a: a.n_layer),
    Term(
        "compute_s_per_flop",
        "s/FLOP",
        "matrix products and attention",
        lambda a: a.flops.model_flops("step"),
        "compute_flops_per_s",
        "FLOP/s",
    ),
    Term(
        "activation_s_per_byte",
        "s/byte",
        "activations written once and read back",
        lambda a: a.activation_bytes or 0,
        "activation_bytes_per_s",
        "bytes/s",
    ),
    Term(
        "optimizer_s_per_byte",
        "s/byte",
        "parameters, gradients and optimizer states updated",
        _state_bytes,
        "optimizer_bytes_per_s",
        "bytes/s",
    ),
)
MEMORY_TERMS = (
    Term("fixed_bytes", "bytes", "what no shape changes", lambda _: 1.0),
    Term("state_factor", "1", "parameters, gradients and optimizer states, per byte counted", _state_bytes),
    Term("activation_factor", "1", "activations, per byte counted", lambda a: a.activation_bytes or 0),
    Term("logits_factor", "1", "logits and their gradients, per byte counted", lambda a: a.logits_bytes or 0),
)

FORMS: dict[LawKind, str] = {
    "step_time": "step time = overhead + layers + FLOPs / rate + activation bytes / bandwidth"
    " + optimizer bytes / bandwidth",
    "memory": "memory = fixed + parameters, gradients and optimizer states + activations + logits, each times a factor",
}


@dataclass(frozen=True)
class _Problem:
    """What a law is fitted to. values: one per cell; resampled: their bootstrap, shape (cells, replicates)."""

    kind: LawKind
    unit: str
    subject: str
    terms: tuple[Term, ...]
    counted: tuple[Accounting, ...]
    values: np.ndarray
    resampled: np.ndarray
    seed: int

    @property
    def quantities(self) -> np.ndarray:
        """Shape (cells, terms)."""
        return np.array([[term.of(accounting) for term in self.terms] for accounting in self.counted])

    @property
    def params(self) -> np.ndarray:
        """Non-embedding parameters, shape (cells,)."""
        return np.array([accounting.params_non_embedding for accounting in self.counted])

    def only(self, kept: np.ndarray) -> "_Problem":
        """The same law on the cells where `kept` is true."""
        counted = tuple(accounting for accounting, keep in zip(self.counted, kept, strict=True) if keep)
        return replace(self, counted=counted, values=self.values[kept], resampled=self.resampled[kept])


def fit_time_law(cells: Sequence[Cell], seed: int = 0) -> Law:
    """Step time of cells that differ in shape alone; raises FitError where there are too few."""
    usable = [(cell, cell.accounting, cell.typical_s) for cell in cells if cell.accounting and cell.typical_s]
    counted = tuple(accounting for _, accounting, _ in usable)
    seconds = np.array([time_s.value for _, _, time_s in usable])
    resampled = np.array([_resampled_seconds(cell.workload.key, time_s, seed) for cell, _, time_s in usable])
    return _fit(_Problem("step_time", "s", "training step", TIME_TERMS, counted, seconds, resampled, seed))


def fit_memory_law(cells: Sequence[Cell], seed: int = 0) -> Law:
    """Peak allocated bytes of a step; raises FitError where there are too few cells."""
    usable = [
        (cell.accounting, float(cell.memory.allocated_bytes))
        for cell in cells
        if cell.accounting and cell.memory and cell.memory.allocated_bytes
    ]
    counted = tuple(accounting for accounting, _ in usable)
    peaks = np.array([peak for _, peak in usable])
    resampled = np.repeat(peaks[:, None], REPLICATES, axis=1)
    return _fit(_Problem("memory", "bytes", "peak of allocated tensors", MEMORY_TERMS, counted, peaks, resampled, seed))


def predict(law: Law, accounting: Accounting) -> Estimate:
    """Seconds or bytes, by the law's kind, for a shape counted in the same convention.

    Beyond the fitted range the interval is no narrower than what the law missed on the sizes hidden from it.
    """
    terms = TIME_TERMS if law.kind == "step_time" else MEMORY_TERMS
    quantities = np.array([term.of(accounting) for term in terms])
    log_draws = np.log(np.maximum(np.array(law.draws) @ quantities, 1e-300))
    scatter = law.residual_sd
    if law.holdout and extrapolation(law, "params_non_embedding", accounting.params_non_embedding) > 1:
        scatter = max(scatter, float(np.sqrt(np.mean(np.log1p(law.holdout.errors) ** 2))))
    return predict_with_scatter(float(np.log(np.array(law.coefficients) @ quantities)), log_draws, scatter)


def _resampled_seconds(key: str, time_s: Estimate, seed: int) -> np.ndarray:
    """Times that the cell may truly have, log-normal within its interval (a block bootstrap); shape (replicates,)."""
    rng = np.random.default_rng([seed, crc32(key.encode())])
    sd = float(np.log(time_s.high / time_s.low)) / 2 / NormalDist().inv_cdf((1 + time_s.level) / 2)
    drawn: np.ndarray = time_s.value * np.exp(sd * rng.standard_normal(REPLICATES))
    return drawn


def _fit(problem: _Problem, with_holdout: bool = True) -> Law:
    sizes = {accounting.params_total for accounting in problem.counted}
    if len(sizes) < FEWEST_SIZES:
        raise FitError(f"too few model sizes for a law ({len(sizes)}): measure at least {FEWEST_SIZES} rungs")
    quantities = problem.quantities
    coefficients = _solve(quantities, problem.values)
    draws = _bootstrap(quantities, problem.resampled, problem.seed)
    log_residuals = np.log(quantities @ coefficients) - np.log(problem.values)
    items = np.array([accounting.items for accounting in problem.counted])
    return Law(
        kind=problem.kind,
        form=FORMS[problem.kind],
        unit=problem.unit,
        subject=problem.subject,
        parameters=tuple(_parameter(term, coefficients[i], draws[:, i]) for i, term in enumerate(problem.terms)),
        domain={"params_non_embedding": range_of(problem.params), "items": range_of(items)},
        n=len(problem.values),
        residuals=tuple(float(value) for value in np.expm1(log_residuals)),
        residual_sd=residual_sd(log_residuals, int(np.count_nonzero(coefficients))),
        coefficients=tuple(float(value) for value in coefficients),
        draws=tuple(tuple(float(value) for value in draw) for draw in draws),
        holdout=_holdout(problem) if with_holdout else None,
    )


def _solve(quantities: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Non-negative coefficients that minimise the sum of squared relative residuals."""
    rows = quantities / values[:, None]
    scale = rows.max(axis=0)
    scale[scale == 0] = 1.0  # a quantity that is 0 everywhere, as logits are for some tasks
    solution, _ = nnls(rows / scale, np.ones_like(values))
    coefficients: np.ndarray = solution / scale
    return coefficients


def _bootstrap(quantities: np.ndarray, resampled: np.ndarray, seed: int) -> np.ndarray:
    """Coefficients refitted to cells drawn with replacement, each with one of its resampled values."""
    rng = np.random.default_rng(seed)
    draws = []
    for replicate in range(REPLICATES):
        rows = rng.integers(len(quantities), size=len(quantities))
        draws.append(_solve(quantities[rows], resampled[rows, replicate]))
    return np.stack(draws)


def _parameter(term: Term, coefficient: float, draws: np.ndarray) -> Parameter:
    """A rate where the term is needed in (nearly) every replicate, else the coefficient, said to be not identified."""
    estimate = percentile_interval(draws, float(coefficient))
    if term.rate_name and estimate.low > 0:
        rate = Estimate(value=1 / estimate.value, low=1 / estimate.high, high=1 / estimate.low, level=estimate.level)
        return Parameter(name=term.rate_name, estimate=rate, unit=term.rate_unit, meaning=term.meaning)
    return Parameter(
        name=term.name, estimate=estimate, unit=term.unit, meaning=term.meaning, identified=estimate.low > 0
    )


def _holdout(problem: _Problem) -> Holdout | None:
    """Hide the two largest sizes, refit to the rest, predict them; None where the rest is too little."""
    sizes = np.unique(problem.params)
    if len(sizes) < FEWEST_SIZES + HOLDOUT_SHAPES:
        return None
    kept = problem.params < sizes[-HOLDOUT_SHAPES]
    above = float(problem.params[kept].max())
    if sizes[-1] < HOLDOUT_STEP * above:
        return None
    law = _fit(problem.only(kept), with_holdout=False)
    hidden = problem.only(~kept)
    pairs = list(zip([predict(law, accounting) for accounting in hidden.counted], hidden.values, strict=True))
    return Holdout(
        variable="params_non_embedding",
        above=above,
        errors=tuple(float(predicted.value / value - 1) for predicted, value in pairs),
        covered=sum(bool(predicted.low <= value <= predicted.high) for predicted, value in pairs),
    )
