"""Tables with one row for each shape and one column for each contender, and what such tables share.

A value that a law predicts stands behind '≈', and its row says how far beyond the fitted range it lies.
"""

from collections.abc import Callable, Iterator, Sequence

from scalemark.report.tables.table import Column, Table
from scalemark.report.versus.words import beyond, crossover_size, known, speedup
from scalemark.schema import BestRange, ContenderStep, Crossover, ShapeCompared, SuiteComparison
from scalemark.units import MISSING, format_amount, format_bytes, format_percent, format_seconds

SHAPE_COLUMNS = (Column("model"), Column("batch", "text", 4), Column("parameters", "number", 3))
BEYOND = Column("fitted range", "text", 1)


def best_table(comparison: SuiteComparison) -> Table:
    """Who is the fastest, and who the cheapest, from size to size, and where that changes."""
    columns = (
        Column("by"),
        Column("best"),
        Column("from", "number"),
        Column("to", "number"),
        Column("becomes it at", "prose"),
        Column("in draws", "number", 2),
        Column("fitted range", "text", 1),
    )
    rows = (
        *_best_rows("time", comparison.fastest, comparison.crossovers),
        *_best_rows("price", comparison.cheapest, comparison.price_crossovers),
    )
    note = (
        "By the laws of step time, along one growing model (width 64 × depth, batch 2 × 256), non-embedding parameters,"
        " wherever all laws reach. A crossover has the 90 % interval of the draws of both laws, the scatter of single"
        " measurements included; in draws: the share of them in which one that is the best throughout is so."
    )
    return without_blank(Table("Who is fastest", columns, rows, note if rows else _no_laws(comparison)))


def _best_rows(by: str, ranges: Sequence[BestRange], crossovers: Sequence[Crossover]) -> Iterator[tuple[str, ...]]:
    for one, crossover in zip(ranges, (None, *crossovers), strict=False):  # without ranges there is neither
        yield (
            by,
            one.contender,
            format_amount(one.params.low),
            format_amount(one.params.high),
            crossover_size(crossover) if crossover else MISSING,
            format_percent(one.share, 0) if len(ranges) == 1 else MISSING,
            beyond(one.extrapolation),
        )


def _no_laws(comparison: SuiteComparison) -> str:
    reasons = [
        f"{one.name}: {one.missing_laws['step_time']}"
        for one in comparison.contenders
        if "step_time" in one.missing_laws
    ]
    return f"No crossover: it takes two laws of step time. {'; '.join(reasons)}." if reasons else ""


def time_table(comparison: SuiteComparison) -> Table:
    """Step time and speed-up, of the growing model alone: what was measured, then what is priced."""
    return _time_table("Step time", comparison, on_line(comparison))


def other_shapes_table(comparison: SuiteComparison) -> Table:
    """The same of all other shapes and of users' own models."""
    shapes = [shape for shape in comparison.shapes if shape not in on_line(comparison)]
    table = _time_table("Step time of other shapes", comparison, shapes)
    return Table(table.title, table.columns, table.rows, detail=True)


def on_line(comparison: SuiteComparison) -> list[ShapeCompared]:
    """Shapes that the laws' lines go through; all, where none does."""
    return [shape for shape in comparison.shapes if shape.on_line] or list(comparison.shapes)


def _time_table(title: str, comparison: SuiteComparison, shapes: Sequence[ShapeCompared]) -> Table:
    first, *others = comparison.names
    columns = (
        *SHAPE_COLUMNS,
        *(Column(name, "number", 2 * (len(others) > 1)) for name in comparison.names),
        *(Column(_speedup_title(name, others), "number") for name in others),
        BEYOND,
    )
    rows = tuple(
        (
            *shape_cells(shape),
            *each_step(comparison, shape, _step_seconds),
            *(speedup(step.speedup) if (step := shape.step(name)) else MISSING for name in others),
            farthest(shape),
        )
        for shape in shapes
    )
    note = (
        f"Medians with 90 % intervals, slow moments of each machine taken out; ≈ is predicted by the law, with the"
        f" interval of a new measurement. Speed-up: time of {first} over that of the other, above 1 where the other is"
        " faster; its interval is that of a ratio of two independent medians. They are of one run each; where a"
        " baseline has reruns, of what runs differ by. Parameters without embeddings."
    )
    return Table(title, columns, rows, note * bool(rows))


def _speedup_title(name: str, others: Sequence[str]) -> str:
    return "speed-up" if len(others) == 1 else f"speed-up of {name}"


def shape_cells(shape: ShapeCompared) -> tuple[str, str, str]:
    """What a row begins with: model, batch and non-embedding parameters."""
    batch = MISSING if shape.batch is None else f"{shape.batch} × {shape.seq_len or 1}"
    return shape.name, batch, format_amount(shape.params_non_embedding)


def each_step(
    comparison: SuiteComparison, shape: ShapeCompared, write: Callable[[ContenderStep, ShapeCompared], str]
) -> Iterator[str]:
    """What each contender's step says, a dash where it has none."""
    for name in comparison.names:
        step = shape.step(name)
        yield write(step, shape) if step else MISSING


def farthest(shape: ShapeCompared) -> str:
    """The farthest of what was predicted."""
    predicted = [step.extrapolation for step in shape.steps if not step.measured]
    return beyond(max(predicted)) if predicted else "measured"


def memory_table(comparison: SuiteComparison) -> Table:
    """Peak memory of a training step."""
    shapes = [shape for shape in on_line(comparison) if sum(step.memory_bytes is not None for step in shape.steps) > 1]
    columns = (*SHAPE_COLUMNS, *(Column(name, "number") for name in comparison.names), BEYOND)
    rows = tuple(
        (
            *shape_cells(shape),
            *each_step(comparison, shape, _memory),
            farthest(shape),
        )
        for shape in shapes
    )
    return Table("Memory", columns, rows, _memory_note(comparison) * bool(rows))


def _step_seconds(step: ContenderStep, _: ShapeCompared) -> str:
    return known(step, step.seconds, format_seconds)


def _memory(step: ContenderStep, _: ShapeCompared) -> str:
    room = ", does not fit" if step.fits_memory is False else ""
    return known(step, step.memory_bytes, format_bytes) + room


def _memory_note(comparison: SuiteComparison) -> str:
    methods = [
        f"{one.name}: {', '.join(sorted({cell.memory.method for cell in one.suite.cells if cell.memory}))}"
        for one in comparison.contenders
    ]
    return f"Peak of live tensors of one step. {'; '.join(methods)}."


def without_blank(table: Table) -> Table:
    """Without the columns in which nothing is known: the note says why."""
    kept = [
        index
        for index, column in enumerate(table.columns)
        if not table.rows or any(row[index] != MISSING for row in table.rows)
    ]
    columns = tuple(table.columns[index] for index in kept)
    rows = tuple(tuple(row[index] for index in kept) for row in table.rows)
    return Table(table.title, columns, rows, table.note, table.detail)
