"""The rows behind each chart: plain x and y in SI units, and the words of a tooltip.

Only cells that did the same work share a chart: the batch, sequence length and dtype that most steps were measured in.
"""

from collections import Counter
from collections.abc import Callable, Hashable, Sequence

from scalemark.report.numbers import distance, with_interval
from scalemark.report.tables import peak_bytes, run_model
from scalemark.schema import Analysis, Cell, CurvePoint, LawKind, Suite, TrainingRun
from scalemark.units import format_amount, format_bytes, format_count, format_seconds

Row = dict[str, str | float]
GROWING, OTHER = "same proportions", "other proportions"


def step_time_rows(suite: Suite) -> list[Row]:
    """One row per timed step: x non-embedding parameters, y seconds with low and high."""
    cells = [cell for cell in _comparable_steps(suite) if cell.typical_s]
    return [_step_row(cell, family) for cell, family in _families(cells)]


def _step_row(cell: Cell, family: str) -> Row:
    assert cell.typical_s is not None
    return {
        **_cell_row(cell, family),
        "y": cell.typical_s.value,
        "low": cell.typical_s.low,
        "high": cell.typical_s.high,
        "step time": with_interval(cell.typical_s, format_seconds),
    }


def memory_rows(suite: Suite) -> list[Row]:
    """One row per step whose memory was measured: x non-embedding parameters, y bytes."""
    cells = [cell for cell in _comparable_steps(suite) if peak_bytes(cell.memory)]
    return [
        {**_cell_row(cell, family), "y": float(size), "peak memory": format_bytes(size)}
        for cell, family in _families(cells)
        if (size := peak_bytes(cell.memory))
    ]


def machine_memory_bytes(suite: Suite) -> float | None:
    """Memory of the device that was measured, where the fingerprint knows it."""
    name = "gpu_memory_bytes" if suite.settings.device == "cuda" else "memory_bytes"
    value = suite.machine.identity.get(name)
    return float(value) if isinstance(value, int | float) and value else None


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
        for run in _by_size(suite)
        if run.validation_loss and (compute := _compute_flops(run))
    ]


def training_curve_rows(suite: Suite) -> list[Row]:
    """One row per point of every loss curve: x tokens seen, y training loss."""
    return [
        {
            **_run_row(run),
            "x": float(point.tokens),
            "y": point.train_loss,
            "run": run.config.key,
            "tokens": f"{format_amount(point.tokens)} of {format_amount(run.config.tokens)}",
            "training loss": f"{point.train_loss:.3f} nats per token",
        }
        for run in _by_size(suite)
        if len(run.curve) > 1
        for point in run.curve
        if point.tokens > 0 and point.train_loss > 0
    ]


def law_rows(analysis: Analysis, kind: LawKind) -> list[Row]:
    """A law's line with its band, as `pieces_of` it."""
    return pieces_of(analysis.curves.get(kind, ()), kind)


def pieces_of(curve: Sequence[CurvePoint], kind: LawKind) -> list[Row]:
    """A line with its band, in pieces that meet: `part` is 'fitted' or 'extrapolated'."""
    points = sorted(curve, key=lambda point: point.x)
    inside = [index for index, point in enumerate(points) if point.extrapolation <= 1]
    if not inside:
        return [_law_row(point, kind, "extrapolated", "beyond") for point in points]
    first, last = inside[0], inside[-1]
    pieces = (
        ("extrapolated", "below", points[: first + 1]),
        ("fitted", "inside", points[first : last + 1]),
        ("extrapolated", "beyond", points[last:]),
    )
    return [_law_row(point, kind, part, piece) for part, piece, run in pieces if len(run) > 1 for point in run]


def _law_row(point: CurvePoint, kind: LawKind, part: str, piece: str) -> Row:
    writers: dict[LawKind, Callable[[float], str]] = {
        "step_time": format_seconds,
        "memory": format_bytes,
        "energy": lambda joules: format_count(joules, "J"),
        "loss": lambda loss: f"{loss:.3f}",
    }
    return {
        "x": point.x,
        "y": point.y.value,
        "low": point.y.low,
        "high": point.y.high,
        "part": part,
        "piece": piece,
        "law": with_interval(point.y, writers[kind]),
        "distance": distance(point.extrapolation),
    }


def _comparable_steps(suite: Suite) -> list[Cell]:
    steps = [c for c in suite.cells if c.workload.phase == "step" and c.status == "ok" and c.accounting]
    alone = [cell for cell in steps if not cell.workload.is_parallel]
    counted = [cell for cell in alone if cell.accounting and cell.accounting.params_non_embedding > 0]
    return _commonest(counted, lambda cell: cell.workload.model_copy(update={"model": None}))


def _commonest(cells: list[Cell], kind: Callable[[Cell], Hashable]) -> list[Cell]:
    counts = Counter(map(kind, cells)).most_common(1)
    return [cell for cell in cells if kind(cell) == counts[0][0]]


def _families(cells: list[Cell]) -> list[tuple[Cell, str]]:
    """Each cell with the name of its family: the shapes that a law's line follows, or the others.

    The others come last, so that their hollow marks are drawn on top.
    """
    growing = {cell.workload.key for cell in _commonest(cells, _proportions)}
    named = [(cell, GROWING if cell.workload.key in growing else OTHER) for cell in cells]
    return sorted(named, key=lambda pair: pair[1] == OTHER)


def _proportions(cell: Cell) -> Hashable:
    model = cell.workload.model
    return (model.d_model / model.n_layer, model.vocab_size, model.activation, model.tied_head) if model else None


def _cell_row(cell: Cell, family: str) -> Row:
    assert cell.accounting is not None
    return {
        "x": float(cell.accounting.params_non_embedding),
        "shape": family,
        "model": cell.workload.rung,
        "parameters": f"{format_amount(cell.accounting.params_non_embedding)} non-embedding",
    }


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
