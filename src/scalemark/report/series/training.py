"""Training runs: the loss that each reached, and how it fell. Of a large grid some are shown, spread evenly."""

from collections.abc import Sequence
from math import ceil

from scalemark.report.sampled import MOST_CURVE_POINTS, MOST_CURVES, MOST_POINTS, evenly
from scalemark.report.series.row import Row
from scalemark.report.tables.training import run_model
from scalemark.schema import LossPoint, Suite, TrainingRun
from scalemark.units import format_amount, format_count


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
        for run in evenly(runs_with_loss(suite), MOST_POINTS)
        if run.validation_loss and (compute := _compute_flops(run))
    ]


def runs_with_loss(suite: Suite) -> list[TrainingRun]:
    """Those that a chart of losses may show, by size."""
    return [run for run in _by_size(suite) if run.validation_loss and _compute_flops(run)]


def runs_with_curve(suite: Suite) -> list[TrainingRun]:
    """Those that a chart of curves may show, by size."""
    return [run for run in _by_size(suite) if len(_positive(run.curve)) > 1]


def training_curve_rows(suite: Suite) -> list[Row]:
    """One row per point of a loss curve: x tokens seen, y training loss. Long curves have fewer points."""
    return [
        {
            **_run_row(run),
            "x": float(point.tokens),
            "y": point.train_loss,
            "run": index,
            "tokens": f"{format_amount(point.tokens)} of {format_amount(run.config.tokens)}",
            "training loss": f"{point.train_loss:.3f} nats per token",
        }
        for index, run in enumerate(evenly(runs_with_curve(suite), MOST_CURVES))
        for point in _coarser(_positive(run.curve), MOST_CURVE_POINTS)
    ]


def _positive(curve: Sequence[LossPoint]) -> list[LossPoint]:
    """The points that a logarithmic axis has a place for."""
    return [point for point in curve if point.tokens > 0 and point.train_loss > 0]


def _coarser(curve: Sequence[LossPoint], most: int) -> list[LossPoint]:
    """At most so many points, each the mean loss over the steps since the point before, as the finer ones are."""
    size = ceil(len(curve) / most)
    before = [0, *(point.step for point in curve)]
    steps = [point.step - start for point, start in zip(curve, before, strict=False)]
    groups = [(curve[at : at + size], steps[at : at + size]) for at in range(0, len(curve), size)]
    return [points[-1]._replace(train_loss=_mean_loss(points, weights)) for points, weights in groups]


def _mean_loss(points: Sequence[LossPoint], weights: Sequence[int]) -> float:
    if len(points) == 1:
        return points[0].train_loss
    return sum(point.train_loss * weight for point, weight in zip(points, weights, strict=True)) / sum(weights)


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
