"""Achieved FLOP/s against FLOPs per byte, under the ceilings of the same run (Williams, Waterman & Patterson 2009)."""

from scalemark.report.numbers import bytes_rate, flops_rate, with_interval
from scalemark.report.series.row import Row
from scalemark.report.tables.cost import batch_of
from scalemark.schema import Cell, Estimate, Suite
from scalemark.units import significant


def roofline_rows(suite: Suite) -> list[Row]:
    """One row per step whose operators were counted: x model FLOPs per byte, y FLOP/s with low and high.

    Bytes are those of the tensors that operators take and give, each once per call. Without ceilings there is no roof
    to stand under, and no row. A user's own tasks are left to their table: their scale is another.
    """
    roofs = _gemms(suite) if _triad(suite) else {}
    steps = [
        cell
        for cell in suite.cells
        if cell.status == "ok" and cell.workload.phase == "step" and not cell.workload.options
    ]
    known = [cell for cell in steps if cell.workload.model and cell.workload.dtype in roofs and intensity(cell)]
    return [_row(cell) for cell in sorted(known, key=lambda cell: (cell.workload.dtype, cell.workload.key))]


def intensity(cell: Cell) -> float | None:
    """Model FLOPs per byte that operators take and give; None where either was not counted."""
    if not (cell.operators and cell.accounting and cell.flops_per_s):
        return None
    moved_bytes = cell.operators.bytes_read + cell.operators.bytes_written
    return cell.accounting.flops.model_flops(cell.workload.phase) / moved_bytes if moved_bytes else None


def _row(cell: Cell) -> Row:
    flops_per_byte = intensity(cell)
    assert flops_per_byte and cell.flops_per_s
    return {
        "x": flops_per_byte,
        "y": cell.flops_per_s.value,
        "low": cell.flops_per_s.low,
        "high": cell.flops_per_s.high,
        "series": cell.workload.dtype,
        "model": cell.workload.rung,
        "batch": batch_of(cell.workload),
        "FLOP/byte": significant(flops_per_byte),
        "FLOP/s": with_interval(cell.flops_per_s, flops_rate),
    }


def roof_rows(suite: Suite, low: float, high: float) -> list[Row]:
    """The roof of each dtype from low to high FLOPs per byte: the triad's slope up to its GEMM ceiling."""
    triad, gemms = _triad(suite), _gemms(suite)
    if triad is None:
        return []
    rows: list[Row] = []
    for dtype, gemm in gemms.items():
        words = f"GEMM {with_interval(gemm, flops_rate)}, triad {with_interval(triad, bytes_rate)}"
        for x in sorted({low, min(max(gemm.value / triad.value, low), high), high}):
            rows.append({"x": x, "y": min(triad.value * x, gemm.value), "series": dtype, "ceilings": words})
    return rows


def ceiling_rows(suite: Suite, low: float, high: float) -> tuple[list[Row], list[Row]]:
    """The names of the products' roofs, at high FLOPs per byte, and of the triad's, at low."""
    triad, gemms = _triad(suite), _gemms(suite)
    if triad is None:
        return [], []
    products: list[Row] = [
        {"x": high, "y": min(triad.value * high, gemm.value), "label": f"GEMM {dtype}, {flops_rate(gemm.value)}"}
        for dtype, gemm in gemms.items()
    ]
    return products, [{"x": low, "y": triad.value * low, "label": f"triad, {bytes_rate(triad.value)}"}]


def ridges(suite: Suite) -> list[float]:
    """FLOPs per byte from which on the products and no longer memory are the ceiling."""
    triad = _triad(suite)
    return [gemm.value / triad.value for gemm in _gemms(suite).values()] if triad else []


def _triad(suite: Suite) -> Estimate | None:
    return suite.ceilings.triad_bytes_per_s.get(suite.settings.device)


def _gemms(suite: Suite) -> dict[str, Estimate]:
    """Ceilings of the suite's device by dtype."""
    products = suite.ceilings.gemm_flops_per_s.items()
    return {key.partition("/")[2]: gemm for key, gemm in products if key.startswith(f"{suite.settings.device}/")}
