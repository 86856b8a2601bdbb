"""Each measurement beside what its law says of it, and what the law said of it while it was hidden."""

from collections.abc import Iterable, Sequence

import numpy as np

from scalemark.fit.cost_law import counted_of, metered_cells, predict, timed_cells, walked_cells
from scalemark.fit.loss_law import predict_loss
from scalemark.schema import Cell, Estimate, HiddenRow, Law, LawKind, Residual, TrainingRun

# More points than these cannot be told apart, and each costs a prediction with its interval.
MOST_RUNS = 400


def residuals(law: Law, cells: Sequence[Cell], runs: Sequence[TrainingRun]) -> tuple[Residual, ...]:
    """Of the cells or runs that the law was fitted to, in their order; of very many runs some, spread evenly.

    cells, runs: all that the law was given to choose from. A law of repeated text has no residuals of this kind.
    """
    found = _of_runs(law, runs) if law.kind == "loss" else enumerate(_of_cells(law, cells), start=1)
    hidden = {row.row: row for row in law.holdout.rows} if law.holdout else {}
    return tuple(
        one.model_copy(update={"foretold": _estimate(hidden[number])}) if number in hidden else one
        for number, one in found
    )


def _estimate(row: HiddenRow) -> Estimate:
    return Estimate(value=row.predicted, low=row.low, high=row.high)


def _of_cells(law: Law, cells: Sequence[Cell]) -> Iterable[Residual]:
    for cell, measured in _measured(law.kind, cells):
        counted = cell.predicted_memory if law.kind == "memory" else counted_of(cell)
        assert counted is not None and cell.accounting is not None
        yield Residual(
            subject=cell.workload.key,
            x=cell.accounting.params_non_embedding,
            measured=measured,
            predicted=predict(law, counted),
        )


def _measured(kind: LawKind, cells: Sequence[Cell]) -> Iterable[tuple[Cell, Estimate]]:
    """Cells that a cost law of this kind is fitted to, each with what was measured."""
    if kind == "step_time":
        yield from ((cell, cell.typical_s) for cell in timed_cells(cells) if cell.typical_s)
    elif kind == "memory":
        yield from ((cell, _exactly(_peak_bytes(cell))) for cell in walked_cells(cells))
    elif kind == "energy":
        for cell in metered_cells(cells):
            assert cell.energy and cell.energy.joules_per_round
            yield cell, cell.energy.joules_per_round


def _peak_bytes(cell: Cell) -> float:
    assert cell.memory and cell.memory.allocated_bytes
    return float(cell.memory.allocated_bytes)


def _exactly(value: float) -> Estimate:
    """One reading: it has no interval of its own."""
    return Estimate(value=value, low=value, high=value)


def _of_runs(law: Law, runs: Sequence[TrainingRun]) -> Iterable[tuple[int, Residual]]:
    """Each with its number among the runs of the law, from 1."""
    usable = [
        (str(run.config), run.accounting.params_non_embedding, run.config.tokens, run.validation_loss)
        for run in runs
        if run.status == "ok" and run.config.model and run.accounting and run.validation_loss
    ]
    places = np.linspace(0, len(usable) - 1, min(len(usable), MOST_RUNS)).round().astype(int)
    for place in np.unique(places):
        subject, params, tokens, loss = usable[place]
        predicted = predict_loss(law, params, tokens)
        measured = _exactly(loss)
        yield int(place) + 1, Residual(subject=subject, x=6.0 * params * tokens, measured=measured, predicted=predicted)
