"""The reference kernels as control variates: how much of a cell's slow moments was the machine's, and taken out.

    a turn of a cell:  y = log(its rounds / the cell's typical)     x_k = log(reference kernel k / its typical)
    all cells:         y ≈ Σ c_k·x_k, c in [0, 1]                   what the campaign as a whole says
    each cell:         the same, drawn to that where its own turns tell little
    corrected:         round · exp(−Σ c_k·(log reference − log what is typical of the run))

A small model's step suffers more than a large one's when cores no longer share a cache, so each cell has coefficients
of its own. One standard error is taken off those of the campaign, so that what the turns hardly tell costs nothing.
The raw time always stays beside the corrected one.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from math import exp, log
from statistics import median

import numpy as np

from scalemark.schema import Block, Cell, Conditions, ControlVariate, Estimate, Reference
from scalemark.stats import coefficient_errors, control_coefficients, median_over_blocks

REFERENCES: tuple[Reference, ...] = ("gemm", "exchange", "triad")
# Fewer blocks than this, all cells together, tell no coefficient: nothing is corrected then.
FEWEST_BLOCKS = 6
# Cells may differ in a coefficient by about this at the most, and by no less than what stands for nothing.
MOST_VARIANCE, LEAST_VARIANCE = 0.3**2, 1e-8


@dataclass(frozen=True)
class _Turns:
    """A cell's turns as deviations from what is typical of it.

    y: shape (turns,); x: (turns, references); a visit weighs 1, and `visits` says which turns are of one.
    """

    y: np.ndarray
    x: np.ndarray
    weights: np.ndarray
    visits: np.ndarray


def controls_of(cells: Sequence[Cell]) -> dict[str, ControlVariate]:
    """The control variates of these cells, by key; those without readings are left out, all where readings are few."""
    known = _known_references(cells)
    if not known or sum(len(cell.blocks) for cell in cells) < FEWEST_BLOCKS:
        return {}
    turns = {cell.workload.key: _turns(cell, known) for cell in cells if cell.blocks}
    own = _coefficients(list(turns.values()))
    typical = {kernel: median(_visits_s(cells, kernel)) for kernel in known}
    return {
        key: ControlVariate(coefficients=dict(zip(known, map(float, coefficients), strict=True)), references_s=typical)
        for key, coefficients in zip(turns, own, strict=True)
    }


def corrected(cell: Cell, control: ControlVariate, references_s: Mapping[Reference, float] | None = None) -> Estimate:
    """The cell's time at a moment when the reference kernels take `references_s` (by default, what this run says)."""
    typical = references_s or control.references_s
    return median_over_blocks([corrected_rounds_s(block, control, typical) for block in cell.blocks])


def turn_references_s(conditions: Conditions, kernel: Reference) -> list[float] | None:
    """What the kernel took beside each turn; the triad, which runs around all of them, is the same for each."""
    if kernel == "triad":
        return [median(conditions.triad_s)] * len(conditions.turn_lengths) if conditions.triad_s else None
    readings = conditions.gemm_s if kernel == "gemm" else conditions.exchange_s
    return list(readings) if readings else None


def corrected_rounds_s(block: Block, control: ControlVariate, typical: Mapping[Reference, float]) -> list[float]:
    """The block's rounds at a moment when the reference kernels take `typical` seconds."""
    assert block.conditions is not None, "a control variate is only of cells with readings"
    factors = [1.0] * len(block.conditions.turn_lengths)
    for kernel, coefficient in control.coefficients.items():
        for turn, reference_s in enumerate(turn_references_s(block.conditions, kernel) or ()):
            factors[turn] *= exp(-coefficient * log(reference_s / typical[kernel]))
    return [second * factor for rounds, factor in zip(_by_turn(block), factors, strict=True) for second in rounds]


def _by_turn(block: Block) -> list[tuple[float, ...]]:
    """The block's rounds, turn by turn."""
    assert block.conditions is not None
    ends = list(accumulate(block.conditions.turn_lengths))
    starts = [0, *ends[:-1]]
    return [block.rounds_s[start:end] for start, end in zip(starts, ends, strict=True)]


def _known_references(cells: Sequence[Cell]) -> list[Reference]:
    """The kernels that ran beside every block."""
    conditions = [block.conditions for cell in cells for block in cell.blocks]
    told = [one for one in conditions if one is not None]
    if len(told) < len(conditions) or not told:
        return []
    return [kernel for kernel in REFERENCES if all(turn_references_s(one, kernel) for one in told)]


def _visits_s(cells: Sequence[Cell], kernel: Reference) -> list[float]:
    """The kernel's time at each visit, so that a visit of many turns weighs no more than another."""
    conditions = [block.conditions for cell in cells for block in cell.blocks if block.conditions]
    return [median(readings) for one in conditions if (readings := turn_references_s(one, kernel))]


def _turns(cell: Cell, known: Sequence[Reference]) -> _Turns:
    rows, weights, visits = [], [], []
    for visit, block in enumerate(cell.blocks):
        assert block.conditions is not None
        times = [log(median(rounds)) for rounds in _by_turn(block)]
        readings = [turn_references_s(block.conditions, kernel) or () for kernel in known]
        rows += list(zip(times, *(map(log, one) for one in readings), strict=True))
        weights += [1 / len(times)] * len(times)
        visits += [visit] * len(times)
    table, weight = np.array(rows), np.array(weights)
    table -= np.average(table, axis=0, weights=weight)
    return _Turns(table[:, 0], table[:, 1:], weight, np.array(visits))


def _coefficients(turns: Sequence[_Turns]) -> list[np.ndarray]:
    """Each cell's own coefficients, drawn to the campaign's where its own turns tell little.

    Twice, because how much noise there is shows only when cells that differ are no longer taken for noise.
    """
    shared = _shared(turns)
    variances = _variances(turns, shared)
    own = [shared] * len(turns)
    for _ in range(2):
        prior_weights = _left_variance(turns, own) / variances
        own = [control_coefficients(one.y, one.x, one.weights, shared, prior_weights) for one in turns]
    return own


def _shared(turns: Sequence[_Turns]) -> np.ndarray:
    """The campaign's coefficients, a standard error taken off."""
    y, x, weights = (np.concatenate([getattr(one, name) for one in turns]) for name in ("y", "x", "weights"))
    found = control_coefficients(y, x, weights)
    less: np.ndarray = np.maximum(found - coefficient_errors(y, x, weights, found), 0.0)
    return less


def _left_variance(turns: Sequence[_Turns], coefficients: Sequence[np.ndarray]) -> float:
    """Variance of y that the references do not explain; a visit weighs 1."""
    pairs = list(zip(turns, coefficients, strict=True))
    squares = sum(float(one.weights @ (one.y - one.x @ c) ** 2) for one, c in pairs)
    return squares / sum(float(one.weights.sum()) for one in turns)


def _variances(turns: Sequence[_Turns], shared: np.ndarray) -> np.ndarray:
    """How much the cells' own coefficients differ from the campaign's: the variance of each, shape (references,).

    Told by what different visits of a cell agree on, since noise that only one of them saw agrees with nothing: the
    products of each visit's slope with every other's, over all cells.
    """
    slopes, sizes = np.zeros(len(shared)), np.zeros(len(shared))
    for one in turns:
        left = (one.y - one.x @ shared) * one.weights
        by_visit = [one.visits == visit for visit in np.unique(one.visits)]
        gradients = np.array([left[of] @ one.x[of] for of in by_visit])
        squares = np.array([one.weights[of] @ one.x[of] ** 2 for of in by_visit])
        slopes += gradients.sum(axis=0) ** 2 - (gradients**2).sum(axis=0)
        sizes += squares.sum(axis=0) ** 2 - (squares**2).sum(axis=0)
    told: np.ndarray = np.divide(slopes, sizes, out=np.zeros_like(slopes), where=sizes > 0)
    within: np.ndarray = np.clip(told, LEAST_VARIANCE, MOST_VARIANCE)
    return within
