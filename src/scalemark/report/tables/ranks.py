"""Tables of steps on several ranks: how well they scale, what communication takes, and the next world size."""

from scalemark.report.numbers import bytes_rate, change, with_interval
from scalemark.report.tables.laws import law_table
from scalemark.report.tables.table import Column, Table
from scalemark.schema import CollectiveTime, Scaling, ScalingForecast, ScalingRow, Suite, Workload
from scalemark.units import MISSING, format_bytes, format_percent, format_seconds

OPERATIONS = {"all_reduce": "all-reduce", "all_gather": "all-gather", "reduce_scatter": "reduce-scatter"}


def scaling_tables(scaling: Scaling | None, suite: Suite) -> tuple[Table, ...]:
    """All of them, for reference last; nothing where no step ran on several ranks."""
    if scaling is None:
        return ()
    return (
        scaling_table(scaling),
        forecast_table(scaling),
        bandwidth_table(suite),
        *(_named(law_table(law), law.subject) for law in scaling.laws),
    )


def _named(table: Table, subject: str) -> Table:
    return Table(f"Law of communication: {subject}", table.columns, table.rows, table.note, detail=True)


def scaling_table(scaling: Scaling) -> Table:
    """One row per step on more than one rank."""
    columns = (
        Column("model"),
        Column("ranks"),
        Column("batch on a rank", "text", 6),
        Column("step, slowest rank", "number"),
        Column("compute alone", "number", 4),
        Column("communication exposed", "number", 1),
        Column("all communication", "number", 5),
        Column("weak efficiency", "number"),
        Column("strong efficiency", "number", 2),
        Column("skew", "number", 7),
        Column("state on a rank", "number", 3),
    )
    rows = tuple(map(_scaling_row, scaling.rows))
    return Table("Training steps on several ranks", columns, rows, _scaling_note(scaling))


def _scaling_row(row: ScalingRow) -> tuple[str, ...]:
    work = row.workload
    return (
        work.rung,
        _ranks(work),
        f"{work.rank_batch} × {work.seq_len}",
        with_interval(row.step_s, format_seconds),
        with_interval(row.compute_s, format_seconds),
        with_interval(row.exposed_s, format_seconds),
        with_interval(row.communication_s, format_seconds),
        with_interval(row.weak, format_percent),
        with_interval(row.strong, format_percent),
        with_interval(row.skew, format_percent),
        _state(row),
    )


def _ranks(work: Workload) -> str:
    return f"{work.world_size}, {work.parallelism}"


def _state(row: ScalingRow) -> str:
    if row.state_bytes is None or row.replicated_state_bytes is None:
        return MISSING
    share = row.state_bytes / row.replicated_state_bytes
    return f"{format_bytes(row.state_bytes)} ({format_percent(share, 0)} of all)"


def _scaling_note(scaling: Scaling) -> str:
    parts = (
        "Exposed: the step less the same step without communication, timed in turn with it by the same processes; the"
        " wait for the slower rank is in both. All communication: what its collectives take alone by the laws below."
        " Weak: against one rank with as large a batch as each; strong: against one rank with the whole batch, per"
        " rank. One rank has as many threads as each of several. Skew: slowest over fastest rank, less 1, while none"
        " waits for another. State: parameters, gradients and optimizer states that a rank holds.",
        *(f"{note[0].upper()}{note[1:]}." for note in scaling.notes),
    )
    return " ".join(parts)


def forecast_table(scaling: Scaling) -> Table:
    """The next world size, and how a measured one was foretold from smaller ones."""
    columns = (
        Column("model"),
        Column("ranks"),
        Column("step foretold", "number"),
        Column("weak efficiency", "number"),
        Column("measured", "number"),
        Column("missed by", "number"),
    )
    note = (
        "Each rank has as much to do as before. What was exposed grows as the law of its messages; how much more or"
        " less of it a larger group hides is not known."
    )
    rows = tuple(map(_forecast_row, scaling.forecasts))
    return Table("The step on more ranks", columns, rows, note * bool(rows))


def _forecast_row(forecast: ScalingForecast) -> tuple[str, ...]:
    measured = forecast.measured_s
    return (
        forecast.workload.rung,
        _ranks(forecast.workload),
        with_interval(forecast.step_s, format_seconds),
        with_interval(forecast.weak, format_percent),
        with_interval(measured, format_seconds) if measured else "not measured",
        change(forecast.step_s.value / measured.value - 1) if measured else MISSING,
    )


def bandwidth_table(suite: Suite) -> Table:
    """Every collective on every message size."""
    columns = (
        Column("collective"),
        Column("ranks", "number"),
        Column("backend", "text", 2),
        Column("message", "number"),
        Column("time", "number"),
        Column("bus bandwidth", "number"),
    )
    note = (
        "Message: the whole tensor. Bus bandwidth: message over time, times 2(p − 1)/p for all-reduce and (p − 1)/p for"
        " the others among p ranks, as nccl-tests states it (doc/PERFORMANCE.md): what a link carries if data goes"
        " round a ring."
    )
    rows = tuple(map(_bandwidth_row, suite.collectives))
    return Table("Collective operations", columns, rows, note * bool(rows), detail=True)


def _bandwidth_row(one: CollectiveTime) -> tuple[str, ...]:
    nodes = f" on {one.n_nodes} nodes" if one.n_nodes > 1 else ""
    return (
        OPERATIONS[one.operation],
        f"{one.world_size}{nodes}",
        one.backend,
        format_bytes(one.message_bytes),
        with_interval(one.time_s, format_seconds),
        with_interval(one.bus_bytes_per_s, bytes_rate),
    )
