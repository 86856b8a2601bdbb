"""The loss law as a map: contours, the compute-optimal line, and the runs that it was fitted to."""

from collections.abc import Iterator, Sequence
from itertools import pairwise

from scalemark.report.numbers import distance
from scalemark.report.sampled import MOST_POINTS, evenly
from scalemark.report.series.row import Row
from scalemark.report.tables.training import run_model
from scalemark.schema import Analysis, LossPlace, TrainingRun
from scalemark.units import format_amount


def contour_rows(analysis: Analysis) -> list[Row]:
    """One row per place of a contour: x parameters, y tokens, loss; in pieces of one `part`."""
    contours = analysis.isoloss.contours if analysis.isoloss else ()
    return [
        {
            **row,
            "loss": contour.loss,
            "piece": f"{contour.loss:.2f} {row['piece']}",
            "validation loss": f"{contour.loss:.2f}",
        }
        for contour in contours
        for row in _rows(contour.places)
    ]


def contour_ends(analysis: Analysis) -> list[Row]:
    """Where each contour carries its loss: at the largest model on it."""
    contours = analysis.isoloss.contours if analysis.isoloss else ()
    return [
        {
            "x": contour.places[-1].params,
            "y": contour.places[-1].tokens,
            "loss": contour.loss,
            "label": f"{contour.loss:.2f}",
        }
        for contour in contours
    ]


def optimal_rows(analysis: Analysis) -> list[Row]:
    """The compute-optimal line, in pieces."""
    return list(_rows(analysis.isoloss.optimal if analysis.isoloss else ()))


def run_rows(analysis: Analysis) -> list[Row]:
    """One row per run of the loss law: x parameters, y tokens, loss reached."""
    return [
        {
            "x": float(run.accounting.params_non_embedding),
            "y": float(run.config.tokens),
            "loss": run.validation_loss,
            "model": run_model(run),
            "tokens": format_amount(run.config.tokens),
            "validation loss": f"{run.validation_loss:.3f}",
        }
        for run in evenly(mapped_runs(analysis), MOST_POINTS)
        if run.accounting and run.validation_loss
    ]


def mapped_runs(analysis: Analysis) -> list[TrainingRun]:
    """The runs that the loss law was fitted to."""
    return [
        run
        for run in analysis.suite.training_runs
        if run.status == "ok" and run.config.model and run.accounting and run.validation_loss
        if run.config.unique_tokens is None
    ]


def _rows(places: Sequence[LossPlace]) -> Iterator[Row]:
    """Pieces meet: the last place of one is the first of the next."""
    for number, (piece, is_inside) in enumerate(_pieces(places)):
        for place in piece:
            yield {
                "x": place.params,
                "y": place.tokens,
                "part": "fitted" if is_inside else "extrapolated",
                "piece": str(number),
                "parameters": f"{format_amount(place.params)} non-embedding",
                "tokens": format_amount(place.tokens),
                "distance": distance(place.extrapolation),
            }


def _pieces(places: Sequence[LossPlace]) -> Iterator[tuple[Sequence[LossPlace], bool]]:
    """Each stretch, and whether it lies among the runs, as both ends of each of its steps then do."""
    inside = [max(one.extrapolation, other.extrapolation) <= 1 for one, other in pairwise(places)]
    start = 0
    for step in range(1, len(inside) + 1):
        if step == len(inside) or inside[step] != inside[start]:
            yield places[start : step + 1], inside[start]
            start = step
