"""Steps of models that did the same work: time, memory, utilisation and energy against size.

Only cells that did the same work share a chart: the batch, sequence length and dtype that most steps were measured in.
"""

from collections import Counter
from collections.abc import Callable, Hashable

from scalemark.report.numbers import joules, with_interval
from scalemark.report.series.row import Row
from scalemark.report.tables.cost import peak_bytes
from scalemark.schema import Analysis, Cell, Estimate, Suite
from scalemark.units import format_amount, format_bytes, format_percent, format_seconds

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


def foretold_rows(analysis: Analysis) -> list[Row]:
    """One row per charted step that was hidden from the time law: x parameters, y what the law foretold, with ends."""
    foretold = {one.subject: one.foretold for one in analysis.residuals.get("step_time", ()) if one.foretold}
    return [
        {
            **_cell_row(cell, GROWING),
            "y": told.value,
            "low": told.low,
            "high": told.high,
            "foretold while hidden": with_interval(told, format_seconds),
            "measured": with_interval(cell.typical_s, format_seconds),
        }
        for cell in _comparable_steps(analysis.suite)
        if (told := foretold.get(cell.workload.key))
    ]


def mfu_rows(suite: Suite) -> list[Row]:
    """One row per step with a ceiling, of each dtype at its commonest batch: x parameters, y MFU with low and high."""
    steps = [cell for cell in _counted_steps(suite) if cell.mfu]
    dtypes = sorted({cell.workload.dtype for cell in steps}, reverse=True)
    rows = []
    for dtype in dtypes:
        same = _commonest([cell for cell in steps if cell.workload.dtype == dtype], _way)
        rows += [_mfu_row(cell) for cell in same]
    return rows


def _mfu_row(cell: Cell) -> Row:
    assert cell.mfu is not None
    return {
        **_cell_row(cell, GROWING),
        "series": cell.workload.dtype,
        "y": cell.mfu.value,
        "low": cell.mfu.low,
        "high": cell.mfu.high,
        "MFU (vs GEMM)": with_interval(cell.mfu, format_percent),
    }


def energy_rows(suite: Suite) -> list[Row]:
    """One row per step whose energy was counted: x parameters, y joules per token with low and high."""
    return [
        {
            **_cell_row(cell, family),
            "y": per_token.value,
            "low": per_token.low,
            "high": per_token.high,
            "energy per token": with_interval(per_token, joules),
        }
        for cell, family in _families(_comparable_steps(suite))
        if (per_token := joules_per_token(cell)) and per_token.value > 0
    ]


def joules_per_token(cell: Cell) -> Estimate | None:
    """Counted, not estimated from a stated power; None where no counter told it."""
    counted = cell.energy.joules_per_round if cell.energy and cell.energy.status == "ok" else None
    return counted.scaled(1 / cell.accounting.items) if counted and cell.accounting else None


def items_per_step(suite: Suite) -> int | None:
    """Tokens of the steps that share the charts."""
    return next((cell.accounting.items for cell in _comparable_steps(suite) if cell.accounting), None)


def _comparable_steps(suite: Suite) -> list[Cell]:
    return _commonest(_counted_steps(suite), _way)


def _counted_steps(suite: Suite) -> list[Cell]:
    alone = [cell for cell in suite.cells if not cell.workload.is_parallel]
    steps = [cell for cell in alone if cell.workload.phase == "step" and cell.status == "ok"]
    counted = [cell for cell in steps if cell.accounting and cell.accounting.params_non_embedding > 0]
    return [cell for cell in counted if not cell.workload.options] or counted


def _way(cell: Cell) -> Hashable:
    """How a model was measured, whichever it is."""
    return cell.workload.model_copy(update={"model": None})


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
