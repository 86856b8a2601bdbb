"""Cost laws: step time and memory as sums of non-negative physical terms.

    step time = overhead + per layer · L + FLOPs / rate + activation bytes / bandwidth + optimizer bytes / bandwidth
    memory    = fixed + c₁ · (parameters, gradients, optimizer states) + c₂ · activations + c₃ · logits

A power law in N alone cannot tell two shapes of one size apart and extrapolates badly; these terms can, and a
coefficient says why a machine is slow. Fitted by non-negative least squares on relative residuals.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
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


def fit_time_law(cells: Sequence[Cell], seed: int = 0) -> Law:
    """Step time of cells that differ in shape alone; raises FitError where there are too few."""
    usable = [cell for cell in cells if cell.accounting and cell.time_s]
    seconds = np.array([cell.time_s.value for cell in usable if cell.time_s])
    resampled = np.stack([_resampled_seconds(cell, seed) for cell in usable]) if usable else np.empty((0, REPLICATES))
    return _fit("step_time", "s", "training step", TIME_TERMS, usable, seconds, resampled, seed)


def fit_memory_law(cells: Sequence[Cell], seed: int = 0) -> Law:
    """Peak allocated bytes of a step; raises FitError where there are too few cells."""
    usable = [cell for cell in cells if cell.accounting and cell.memory and cell.memory.allocated_bytes]
    peaks = np.array([cell.memory.allocated_bytes for cell in usable if cell.memory], dtype=float)
    resampled = np.repeat(peaks[:, None], REPLICATES, axis=1)
    return _fit("memory", "bytes", "peak of allocated tensors", MEMORY_TERMS, usable, peaks, resampled, seed)


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


def _resampled_seconds(cell: Cell, seed: int) -> np.ndarray:
    """Bootstrap of a cell's time, blocks first and then rounds; shape (replicates,)."""
    rng = np.random.default_rng([seed, crc32(cell.workload.key.encode())])
    blocks = [np.array(block.rounds_s) for block in cell.blocks]
    medians = np.stack(
        [np.median(block[rng.integers(len(block), size=(REPLICATES, len(block)))], axis=1) for block in blocks]
    )
    chosen = rng.integers(len(blocks), size=(len(blocks), REPLICATES))
    drawn: np.ndarray = np.median(np.take_along_axis(medians, chosen, axis=0), axis=0)
    return drawn


def _fit(
    kind: LawKind,
    unit: str,
    subject: str,
    terms: tuple[Term, ...],
    cells: Sequence[Cell],
    values: np.ndarray,
    resampled: np.ndarray,
    seed: int,
    with_holdout: bool = True,
) -> Law:
    sizes = {cell.accounting.params_total for cell in cells if cell.accounting}
    if len(sizes) < FEWEST_SIZES:
        raise FitError(
            f"{len(sizes)} measured model sizes are too few for a law: measure at least {FEWEST_SIZES} rungs"
        )
    quantities = np.array([[term.of(cell.accounting) for term in terms] for cell in cells if cell.accounting])
    coefficients = _solve(quantities, values)
    draws = _bootstrap(quantities, resampled, seed)
    log_residuals = np.log(quantities @ coefficients) - np.log(values)
    spent = int(np.count_nonzero(coefficients))
    counted = [cell.accounting for cell in cells if cell.accounting]
    return Law(
        kind=kind,
        form=FORMS[kind],
        unit=unit,
        subject=subject,
        parameters=tuple(_parameter(term, coefficients[i], draws[:, i]) for i, term in enumerate(terms)),
        domain={
            "params_non_embedding": range_of(np.array([accounting.params_non_embedding for accounting in counted])),
            "items": range_of(np.array([accounting.items for accounting in counted])),
        },
        n=len(cells),
        residuals=tuple(float(value) for value in np.expm1(log_residuals)),
        residual_sd=residual_sd(log_residuals, spent),
        coefficients=tuple(float(value) for value in coefficients),
        draws=tuple(tuple(float(value) for value in draw) for draw in draws),
        holdout=_holdout(kind, unit, subject, terms, cells, values, resampled, seed) if with_holdout else None,
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


def _holdout(
    kind: LawKind,
    unit: str,
    subject: str,
    terms: tuple[Term, ...],
    cells: Sequence[Cell],
    values: np.ndarray,
    resampled: np.ndarray,
    seed: int,
) -> Holdout | None:
    """Hide the two largest sizes, refit to the rest, predict them; None where the rest is too little."""
    params = np.array([cell.accounting.params_non_embedding for cell in cells if cell.accounting])
    sizes = np.unique(params)
    if len(sizes) < FEWEST_SIZES + HOLDOUT_SHAPES:
        return None
    kept = params < sizes[-HOLDOUT_SHAPES]
    if sizes[-1] < HOLDOUT_STEP * params[kept].max():
        return None
    rest = [cell for cell, keep in zip(cells, kept, strict=True) if keep]
    law = _fit(kind, unit, subject, terms, rest, values[kept], resampled[kept], seed, with_holdout=False)
    hidden = [cell.accounting for cell, keep in zip(cells, kept, strict=True) if not keep and cell.accounting]
    predictions = [predict(law, accounting) for accounting in hidden]
    measured = values[~kept]
    return Holdout(
        variable="params_non_embedding",
        above=float(params[kept].max()),
        errors=tuple(float(p.value / value - 1) for p, value in zip(predictions, measured, strict=True)),
        covered=sum(p.low <= value <= p.high for p, value in zip(predictions, measured, strict=True)),
    )
