"""Every cell of the campaign, and the operators of a training step."""

from scalemark.report.numbers import with_interval
from scalemark.report.tables.cost import FLOP_CONVENTION, MFU_TITLE, batch_of, params_of
from scalemark.report.tables.table import Column, Table, value_or_dash
from scalemark.schema import Cell, Suite
from scalemark.units import MISSING, format_bytes, format_percent, format_seconds, significant


def operator_table(suite: Suite) -> Table:
    """How many operators a training step runs, how many bytes they take and give, and how many FLOPs a byte has."""
    columns = (
        Column("model"),
        Column("batch", "text", 1),
        Column("dtype", "text", 2),
        Column("optimizer", "text", 3),
        Column("operators", "number"),
        Column("read", "number"),
        Column("written", "number"),
        Column(f"FLOP/byte ({FLOP_CONVENTION})", "number", 4),
    )
    cells = [cell for cell in suite.cells if cell.operators and cell.workload.phase == "step"]
    rows = tuple(map(_operator_row, sorted(cells, key=lambda cell: (params_of(cell), cell.workload.key))))
    note = (
        "One eager step, seen below autograd; views are not counted. Bytes are those of the tensors that operators take"
        " and give, each once per call: what caches keep from memory is not known here."
    )
    return Table("Operators of a training step", columns, rows, note * bool(rows), detail=True)


def _operator_row(cell: Cell) -> tuple[str, ...]:
    work, operators = cell.workload, cell.operators
    assert operators is not None
    moved_bytes = operators.bytes_read + operators.bytes_written
    flops = cell.accounting.flops.model_flops(work.phase) if cell.accounting else 0.0
    return (
        ", ".join([work.rung, *work.options]),
        batch_of(work),
        work.dtype,
        work.optimizer or MISSING,
        f"{operators.total:,}",
        format_bytes(operators.bytes_read),
        format_bytes(operators.bytes_written),
        significant(flops / moved_bytes) if flops and moved_bytes else MISSING,
    )


def cell_table(suite: Suite) -> Table:
    """Every cell of the campaign, those without a number included, with the reason."""
    columns = (
        Column("model"),
        Column("phase"),
        Column("batch", "text", 2),
        Column("dtype", "text", 3),
        Column("optimizer", "text", 4),
        Column("device", "text", 5),
        Column("time", "number"),
        Column("corrected", "number", 9),
        Column("fastest", "number", 10),
        Column("once", "number", 8),
        Column(MFU_TITLE, "number", 7),
        Column("rounds", "number", 6),
        Column("status"),
        Column("reason", "prose"),
    )
    cells = sorted(suite.cells, key=lambda cell: (params_of(cell), cell.workload.key))
    return Table("All cells", columns, tuple(map(_cell_row, cells)), _cell_note(suite), detail=True)


def _cell_note(suite: Suite) -> str:
    """How the columns of times differ."""
    control = next((cell.control for cell in suite.cells if cell.control), None)
    parts = [
        "Time is the median over blocks with its 90 % interval; fastest the shortest round; once is set-up and what the"
        " first round takes beyond a steady one, compilation among it.",
        "Corrected: what a cell shared with the slow moments of the reference kernels beside its rounds"
        f" ({', '.join(control.coefficients)}) is taken out."
        if control
        else "",
        "Wide: known no better than ± 1 %; not steady: the rounds still drifted.",
    ]
    return " ".join(filter(None, parts)) if suite.cells else ""


def _cell_row(cell: Cell) -> tuple[str, ...]:
    work = cell.workload
    return (
        work.rung,
        ", ".join([work.phase, *work.options]),
        batch_of(work),
        work.dtype,
        work.optimizer or MISSING,
        work.device,
        with_interval(cell.time_s, format_seconds),
        with_interval(cell.corrected_s, format_seconds),
        format_seconds(cell.minimum_s),
        value_or_dash(cell.once_s, format_seconds),
        value_or_dash(cell.mfu, format_percent),
        str(len(cell.samples_s)),
        ", ".join([cell.status, *cell.marks]).replace("_", " "),
        cell.reason or "",
    )
