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
# How much cells may differ in a coefficient: the standard deviation that a campaign's coefficient is drawn to them by.
COEFFICIENT_SD = 0.3


@dataclass(frozen=True)
class _Turns:
    """A cell's turns as deviations from what is typical of it. x: shape (turns, references); a visit weighs 1."""

    y: np.ndarray
    x: np.ndarray
    weights: np.ndarray


def controls_of(cells: Sequence[Cell]) -> dict[str, ControlVariate]:
    """The control variates of these cells, by key; those without readings are left out, all where readings are few."""
    known = _known_references(cells)
    if not known or sum(len(cell.blocks) for cell in cells) < FEWEST_BLOCKS:
        return {}
    turns = {cell.workload.key: _turns(cell, known) for cell in cells if cell.blocks}
    everything = _joined(list(turns.values()))
    shared, left_variance = _shared(everything)
    typical = {kernel: median(_visits_s(cells, kernel)) for kernel in known}
    return {
        key: ControlVariate(
            coefficients=dict(zip(known, map(float, _own(own, shared, left_variance)), strict=True)),
            references_s=typical,
        )
        for key, own in turns.items()
    }


def corrected(cell: Cell, control: ControlVariate, references_s: Mapping[Reference, float] | None = None) -> Estimate:
    """The cell's time at a moment when the reference kernels take `references_s` (by default, what this run says)."""
    typical = references_s or control.references_s
    return median_over_blocks([_corrected_rounds_s(block, control, typical) for block in cell.blocks])


def turn_references_s(conditions: Conditions, kernel: Reference) -> list[float] | None:
    """What the kernel took beside each turn; the triad, which runs around all of them, is the same for each."""
    if kernel == "triad":
        return [median(conditions.triad_s)] * len(conditions.turn_lengths) if conditions.triad_s else None
    readings = conditions.gemm_s if kernel == "gemm" else conditions.exchange_s
    return list(readings) if readings else None


def _corrected_rounds_s(block: Block, control: ControlVariate, typical: Mapping[Reference, float]) -> list[float]:
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
    rows, weights = [], []
    for block in cell.blocks:
        assert block.conditions is not None
        times = [log(median(rounds)) for rounds in _by_turn(block)]
        readings = [turn_references_s(block.conditions, kernel) or () for kernel in known]
        rows += list(zip(times, *(map(log, one) for one in readings), strict=True))
        weights += [1 / len(times)] * len(times)
    table, weight = np.array(rows), np.array(weights)
    table -= np.average(table, axis=0, weights=weight)
    return _Turns(table[:, 0], table[:, 1:], weight)


def _joined(turns: Sequence[_Turns]) -> _Turns:
    return _Turns(
        np.concatenate([one.y for one in turns]),
        np.concatenate([one.x for one in turns]),
        np.concatenate([one.weights for one in turns]),
    )


def _shared(turns: _Turns) -> tuple[np.ndarray, float]:
    """The campaign's coefficients, a standard error taken off, and the variance of y that they leave."""
    found = control_coefficients(turns.y, turns.x, turns.weights)
    errors = coefficient_errors(turns.y, turns.x, turns.weights, found)
    left = turns.y - turns.x @ found
    return np.maximum(found - errors, 0.0), float(np.average(left**2, weights=turns.weights))


def _own(turns: _Turns, shared: np.ndarray, left_variance: float) -> np.ndarray:
    """A cell's coefficients, drawn to the campaign's as readings of the variance that is left would be."""
    return control_coefficients(turns.y, turns.x, turns.weights, shared, left_variance / COEFFICIENT_SD**2)
