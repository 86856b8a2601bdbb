"""What stands behind each time: the median of each block, how many rounds it had, and how far they reached."""

from statistics import median

from scalemark.report.tables.cost import params_of
from scalemark.report.tables.table import Column, Table
from scalemark.schema import Cell, Suite
from scalemark.units import format_seconds

# So many rows are some hundred kilobytes of a page.
MOST_RAW_ROWS = 300


def raw_table(suite: Suite) -> Table:
    """One row per timed cell."""
    columns = (
        Column("workload", "prose"),
        Column("rounds per block", "prose"),
        Column("median of each block", "prose"),
        Column("shortest", "number"),
        Column("longest", "number"),
    )
    timed = sorted((cell for cell in suite.cells if cell.samples_s), key=lambda c: (params_of(c), c.workload.key))
    left_out = len(timed) - MOST_RAW_ROWS
    note = "As timed, before anything is taken out. Every single round stands in the suite file, under `blocks`."
    if left_out > 0:
        note += f" {left_out:,} larger workloads are left out here."
    return Table("Raw samples", columns, tuple(map(_row, timed[:MOST_RAW_ROWS])), note * bool(timed), detail=True)


def _row(cell: Cell) -> tuple[str, ...]:
    blocks = [block.rounds_s for block in cell.blocks if block.rounds_s]
    return (
        cell.workload.key,
        ", ".join(str(len(rounds_s)) for rounds_s in blocks),
        ", ".join(format_seconds(median(rounds_s)) for rounds_s in blocks),
        format_seconds(min(cell.samples_s)),
        format_seconds(max(cell.samples_s)),
    )
