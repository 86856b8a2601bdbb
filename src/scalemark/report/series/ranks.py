"""Rows of the charts of several ranks: efficiency against ranks, and bus bandwidth against message size."""

from scalemark.report.numbers import bytes_rate, with_interval
from scalemark.report.series.row import Row
from scalemark.report.tables.ranks import OPERATIONS
from scalemark.schema import CollectiveTime, Estimate, Scaling, Suite, Workload
from scalemark.units import format_bytes, format_percent, format_seconds

MEASURED, FORETOLD = "measured", "foretold"


def efficiency_rows(scaling: Scaling | None) -> list[Row]:
    """One rank at 100 %, what was measured, and what is foretold; a line's pieces share their middle point."""
    rows: list[Row] = []
    for row in scaling.rows if scaling else ():
        if row.weak is None:
            continue
        series, size = f"{row.workload.rung}, {row.workload.parallelism}", row.workload.world_size
        one: Row = {"ranks": 1, "y": 1.0, "series": series, "part": MEASURED, "piece": f"{series} 1"}
        rows += [one, _efficiency_row(row.workload, row.weak, row.step_s, series, MEASURED, f"{series} 1")]
        for forecast in scaling.forecasts if scaling else ():
            if (
                forecast.weak
                and forecast.workload.rung == row.workload.rung
                and _follows(row.workload, forecast.workload)
            ):
                piece = f"{series} {size}"
                rows.append(_efficiency_row(row.workload, row.weak, row.step_s, series, FORETOLD, piece))
                rows.append(_efficiency_row(forecast.workload, forecast.weak, forecast.step_s, series, FORETOLD, piece))
    return rows


def _follows(row: Workload, forecast: Workload) -> bool:
    return row.parallelism == forecast.parallelism and forecast.world_size == 2 * row.world_size


def _efficiency_row(work: Workload, weak: Estimate, step_s: Estimate, series: str, part: str, piece: str) -> Row:
    return {
        "ranks": work.world_size,
        "y": weak.value,
        "low": weak.low,
        "high": weak.high,
        "series": series,
        "part": part,
        "piece": piece,
        "efficiency": with_interval(weak, format_percent),
        "step": with_interval(step_s, format_seconds),
    }


def bandwidth_rows(suite: Suite) -> list[Row]:
    """One row per collective, group and message: x bytes, y bytes per second."""
    return [_bandwidth_row(one) for one in suite.collectives]


def _bandwidth_row(one: CollectiveTime) -> Row:
    rate = one.bus_bytes_per_s
    return {
        "x": float(one.message_bytes),
        "y": rate.value,
        "low": rate.low,
        "high": rate.high,
        "series": f"{OPERATIONS[one.operation]}, {one.world_size} ranks",
        "message": format_bytes(one.message_bytes),
        "bus bandwidth": with_interval(rate, bytes_rate),
        "time": with_interval(one.time_s, format_seconds),
    }
