"""Training runs: the loss that each reached, and how it fell. A large grid is thinned, so that charts stay legible."""

from collections.abc import Sequence
from typing import TypeVar

from scalemark.report.series.row import Row
from scalemark.report.tables.training import run_model
from scalemark.schema import LossPoint, Suite, TrainingRun
from scalemark.units import format_amount, format_count

T = TypeVar("T")
# More than these cannot be told apart, and a page has to stay small.
MOST_RUNS = 1000
MOST_CURVES = 40
MOST_CURVE_POINTS = 1200


def loss_rows(suite: Suite) -> list[Row]:
    """One row per trained model: x FLOPs of the whole run, y validation loss."""
    return [
        {
            **_run_row(run),
            "x": compute,
            "y": run.validation_loss,
            "tokens": format_amount(run.config.tokens),
            "compute": format_count(compute, "FLOP"),
            "validation loss": f"{run.validation_loss:.3f} nats per token",
        }
        for run in _thinned([run for run in _by_size(suite) if run.validation_loss], MOST_RUNS)
        if run.validation_loss and (compute := _compute_flops(run))
    ]


def training_curve_rows(suite: Suite) -> list[Row]:
    """One row per point of a loss curve: x tokens seen, y training loss."""
    drawn = _thinned(runs_with_curves(suite), MOST_CURVES)
    return [
        {
            **_run_row(run),
            "x": float(point.tokens),
            "y": point.train_loss,
            "run": run.config.key,
            "tokens": f"{format_amount(point.tokens)} of {format_amount(run.config.tokens)}",
            "training loss": f"{point.train_loss:.3f} nats per token",
        }
        for run in drawn
        for point in _thinned(_positive(run), MOST_CURVE_POINTS // len(drawn))
    ]


def runs_with_curves(suite: Suite) -> list[TrainingRun]:
    """The runs whose loss can be drawn as a line, smallest model first."""
    return [run for run in _by_size(suite) if len(_positive(run)) > 1]


def _positive(run: TrainingRun) -> list[LossPoint]:
    """The points that a logarithmic axis has a place for."""
    return [point for point in run.curve if point.tokens > 0 and point.train_loss > 0]


def _thinned(values: Sequence[T], most: int) -> list[T]:
    """At most so many, evenly spaced, the first and the last among them."""
    if len(values) <= most:
        return list(values)
    return [values[round(place * (len(values) - 1) / (most - 1))] for place in range(most)]


def _run_row(run: TrainingRun) -> Row:
    name = run_model(run)
    return {"model": name, "series": f"{name}, {format_amount(_non_embedding(run))}" if run.accounting else name}


def _by_size(suite: Suite) -> list[TrainingRun]:
    """Language models by size, or a user's own tasks where there is nothing else: their losses share no axis."""
    language_models = [run for run in suite.training_runs if run.config.model]
    return sorted(
        language_models or suite.training_runs, key=lambda run: (_non_embedding(run), run.config.tokens, run.config.key)
    )


def _non_embedding(run: TrainingRun) -> int:
    return run.accounting.params_non_embedding if run.accounting else 0


def _compute_flops(run: TrainingRun) -> float:
    """6·N·D, N without embeddings, as the loss law counts it, so that runs and frontier share an axis; 0 unknown."""
    return 6.0 * _non_embedding(run) * run.config.tokens
