"""Every table of a report as formatted text, built once and drawn as Markdown, HTML or plain text.

    Analysis ─> report_tables ─> Table, Table, … ─> markdown | html | terminal

A law's parameter never appears without its interval, a prediction never without its distance from what was fitted.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from scalemark.report.headline import VERDICT_ORDER, advisory_note, count_verdicts
from scalemark.report.numbers import (
    Formatter,
    bytes_rate,
    change,
    fitted_range,
    flops_rate,
    interval,
    parameter_writer,
    quantity,
    rate,
    with_interval,
)
from scalemark.schema import (
    Analysis,
    Cell,
    Comparison,
    Diff,
    Energy,
    Estimate,
    Holdout,
    Law,
    LawKind,
    Memory,
    Parameter,
    PriceTag,
    Suite,
    TrainingRun,
    Workload,
)
from scalemark.units import (
    MISSING,
    format_amount,
    format_bytes,
    format_percent,
    format_seconds,
    significant,
)

LAW_TITLES: dict[LawKind, str] = {"step_time": "Step time law", "memory": "Memory law", "loss": "Loss law"}
UNAVAILABLE = "unavailable"
MOST_INCONCLUSIVE_ROWS = 5


@dataclass(frozen=True)
class Column:
    """A heading, what stands below it, and whether it may go where space is short.

    kind: numbers align right; prose may wrap. rank: 0 always stays; the highest rank is dropped first.
    """

    title: str
    kind: Literal["number", "text", "prose"] = "text"
    rank: int = 0


@dataclass(frozen=True)
class Table:
    """Formatted text in rows. note: what a reader must know to read the numbers. detail: reference, folded away."""

    title: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[str, ...], ...]
    note: str = ""
    detail: bool = False

    def __post_init__(self) -> None:
        assert all(len(row) == len(self.columns) for row in self.rows), f"a row of {self.title!r} lacks a column"


def report_tables(analysis: Analysis) -> tuple[Table, ...]:
    """All tables that have something to say, in reading order; those for reference come last."""
    suite = analysis.suite
    tables = (
        price_table(analysis),
        diff_table(analysis),
        warning_table(suite),
        cost_table(suite),
        training_table(suite),
        *law_tables(analysis),
        machine_table(suite),
        cell_table(suite),
        setting_table(suite),
    )
    return tuple(table for table in tables if table.rows or table.note)


def machine_table(suite: Suite) -> Table:
    """The fingerprint that decides what may be compared, then the measured ceilings."""
    identity = [(_plain(name), _fact(name, value)) for name, value in suite.machine.identity.items()]
    products = suite.ceilings.gemm_flops_per_s.items()
    triads = suite.ceilings.triad_bytes_per_s.items()
    ceilings = [(f"GEMM ceiling, {key}", with_interval(estimate, flops_rate)) for key, estimate in products]
    ceilings += [(f"triad ceiling, {key}", with_interval(estimate, bytes_rate)) for key, estimate in triads]
    rows = (("machine id", suite.machine.id), *identity, *ceilings)
    note = "Ceilings were measured in this run: the best square matrix product, and the STREAM triad."
    return Table("Machine", (Column("fact"), Column("value", "prose")), rows, note if ceilings else "")


def _plain(name: str) -> str:
    """A field's name without the unit that its value is written with."""
    return name.removesuffix("_s").removesuffix("_bytes").replace("_", " ")


def _fact(name: str, value: str | int | float | None) -> str:
    if value is None:
        return "unknown"
    return format_bytes(value) if name.endswith("_bytes") and not isinstance(value, str) else str(value)


def cost_table(suite: Suite) -> Table:
    """What one training step costs: one row per model and batch."""
    cells = sorted(filter(_is_cost_cell, suite.cells), key=lambda cell: (_params(cell), cell.workload.key))
    columns = (
        Column("model"),
        Column("batch", "text", 1),
        Column("parameters", "number"),
        Column("step time", "number"),
        Column("tokens/s", "number", 2),
        Column("FLOP/s", "number", 5),
        Column("MFU", "number", 3),
        Column("peak memory", "number", 4),
        Column("energy/step", "number", 6),
    )
    return Table("Cost of a training step", columns, tuple(map(_cost_row, cells)), _cost_note(suite) if cells else "")


def _is_cost_cell(cell: Cell) -> bool:
    work = cell.workload
    return (
        cell.status == "ok"
        and work.phase == "step"
        and work.dtype == "float32"
        and (work.optimizer == "adamw" or work.task is not None)
    )


def _params(cell: Cell) -> int:
    return cell.accounting.params_total if cell.accounting else 0


def _cost_row(cell: Cell) -> tuple[str, ...]:
    return (
        cell.workload.rung,
        _batch(cell.workload),
        format_amount(cell.accounting.params_total if cell.accounting else None),
        with_interval(cell.time_s, format_seconds),
        _value(cell.items_per_s, rate),
        _value(cell.flops_per_s, flops_rate),
        _value(cell.mfu, format_percent),
        format_bytes(peak_bytes(cell.memory)),
        _energy(cell.energy),
    )


def _value(estimate: Estimate | None, write: Formatter) -> str:
    return MISSING if estimate is None else write(estimate.value)


def _batch(work: Workload) -> str:
    return MISSING if work.batch is None else f"{work.batch} × {work.seq_len or 1}"


def peak_bytes(memory: Memory | None) -> int | None:
    """Peak of live tensors where the allocator told it, of the resident set otherwise; None where not measured."""
    if memory is None:
        return None
    return memory.resident_bytes if memory.allocated_bytes is None else memory.allocated_bytes


def _energy(energy: Energy | None) -> str:
    if energy is None or energy.joules_per_round is None:
        return UNAVAILABLE
    return f"{significant(energy.joules_per_round)} J"


def _cost_note(suite: Suite) -> str:
    ceilings = [f"{key} {flops_rate(e.value)}" for key, e in suite.ceilings.gemm_flops_per_s.items()]
    against = f"the GEMM ceiling measured in this run ({', '.join(ceilings)})" if ceilings else "no measured ceiling"
    cells = [cell for cell in suite.cells if _is_cost_cell(cell)]
    reasons = sorted({cell.energy.reason for cell in cells if cell.energy and cell.energy.reason})
    methods = sorted({cell.memory.method for cell in cells if cell.memory})
    parts = [
        "Forward, backward and AdamW in float32; medians with 90 % intervals, which tokens/s, FLOP/s and MFU share.",
        "Parameters are totals, embeddings included; batch is sequences × tokens.",
        f"MFU is against {against}.",
        f"Peak memory: {'; '.join(methods)}." if methods else "",
        f"Energy {UNAVAILABLE}: {'; '.join(reasons)}." if reasons else "",
    ]
    return " ".join(filter(None, parts))


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
        Column("rounds", "number", 6),
        Column("status"),
        Column("reason", "prose"),
    )
    cells = sorted(suite.cells, key=lambda cell: (_params(cell), cell.workload.key))
    return Table("All cells", columns, tuple(map(_cell_row, cells)), detail=True)


def _cell_row(cell: Cell) -> tuple[str, ...]:
    work = cell.workload
    return (
        work.rung,
        work.phase,
        _batch(work),
        work.dtype,
        work.optimizer or MISSING,
        work.device,
        with_interval(cell.time_s, format_seconds),
        str(len(cell.samples_s)),
        cell.status.replace("_", " "),
        cell.reason or "",
    )


def training_table(suite: Suite) -> Table:
    """What each training run reached, and how long it took."""
    columns = (
        Column("model"),
        Column("parameters", "number", 1),
        Column("tokens", "number"),
        Column("validation loss", "number"),
        Column("bits/byte", "number", 4),
        Column("accuracy", "number", 2),
        Column("time", "number", 3),
        Column("status", "prose"),
    )
    begun = [run for run in suite.training_runs if run.status != "skipped"]
    runs = sorted(begun, key=lambda run: (_run_params(run), run.config.tokens, run.config.key))
    note = (
        "Loss is cross-entropy on held-out text in nats per token; accuracy is the share of held-out tokens predicted"
        " right; time is the training loop alone. Each run is one seed, so a loss has no interval of its own."
    )
    left_out = len(suite.training_runs) - len(begun)
    if left_out:
        note += f" {left_out} larger runs did not fit the budget: raise --scale-budget to train them."
    return Table("Training runs", columns, tuple(map(_training_row, runs)), note if suite.training_runs else "")


def _run_params(run: TrainingRun) -> int:
    return run.accounting.params_total if run.accounting else 0


def _training_row(run: TrainingRun) -> tuple[str, ...]:
    return (
        run_model(run),
        format_amount(run.accounting.params_total if run.accounting else None),
        format_amount(run.config.tokens),
        MISSING if run.validation_loss is None else f"{run.validation_loss:.3f}",
        MISSING if run.bits_per_byte is None else f"{run.bits_per_byte:.3f}",
        format_percent(run.validation_accuracy),
        format_seconds(run.seconds),
        f"{run.status}: {run.reason}" if run.reason else run.status,
    )


def run_model(run: TrainingRun) -> str:
    """Name of the model or user's task that was trained."""
    config = run.config
    if config.model:
        return config.model.name
    return config.task.name if config.task else MISSING


def law_tables(analysis: Analysis) -> tuple[Table, ...]:
    """One table per law that holds, one note per law that could not be fitted."""
    fitted = tuple(map(_law_table, analysis.laws))
    missing = tuple(
        Table(LAW_TITLES[kind], (), (), f"No law: {reason}") for kind, reason in analysis.missing_laws.items()
    )
    return fitted + missing


def _law_table(law: Law) -> Table:
    columns = (
        Column("parameter"),
        Column("value", "number"),
        Column("90 % interval"),
        Column("unit", "text", 1),
        Column("meaning", "prose"),
    )
    return Table(LAW_TITLES[law.kind], columns, tuple(map(_parameter_row, law.parameters)), _law_note(law))


def _parameter_row(parameter: Parameter) -> tuple[str, ...]:
    write = parameter_writer(parameter.unit)
    value = write(parameter.estimate.value) if parameter.identified else "not identified"
    unit = parameter.unit if parameter.unit not in ("", "1") else "none"
    return (parameter.name, value, interval(parameter.estimate, write), unit, parameter.meaning)


def _law_note(law: Law) -> str:
    largest = max(map(abs, law.residuals), default=None)
    parts = [
        f"{law.form} ({law.unit}), for {law.subject}.",
        "The measurements do not identify this law: do not predict with it." if law.status == "not_identified" else "",
        f"Fitted to {law.n} measurements, {fitted_range(law)}." if law.domain else f"Fitted to {law.n} measurements.",
        "" if largest is None else f"Largest residual {format_percent(largest)}.",
        _holdout(law.holdout),
        *law.notes,
    ]
    return " ".join(filter(None, parts))


def _holdout(holdout: Holdout | None) -> str:
    if holdout is None:
        return "Not tried on hidden measurements."
    errors = ", ".join(map(change, holdout.errors))
    above = quantity(holdout.variable, holdout.above)
    if not holdout.variable.endswith(("_s", "_bytes")):
        above = format_amount(holdout.above)
    return (
        f"With {holdout.variable.replace('_', ' ')} above {above} hidden and the law refitted, its predictions missed"
        f" by {errors}; {holdout.covered} of {len(holdout.errors)} lay inside their intervals."
    )


def price_table(analysis: Analysis) -> Table:
    """What larger models would cost here, each with its distance from what was measured."""
    columns = (
        Column("model", "text", 5),
        Column("parameters", "number"),
        Column("tokens", "number", 3),
        Column("step time", "number", 6),
        Column("tokens/s", "number", 2),
        Column("training time", "number"),
        Column("memory", "number", 1),
        Column("fits?", "text", 4),
        Column("fitted range"),
    )
    note = (
        "Predicted by the laws, with 90 % intervals. How far beyond the fitted range counts non-embedding parameters,"
        " from the largest model that was fitted."
    )
    return Table(
        "What larger models cost here", columns, tuple(map(_price_row, analysis.prices)), note * bool(analysis.prices)
    )


def _price_row(tag: PriceTag) -> tuple[str, ...]:
    return (
        tag.model.name,
        format_amount(tag.params_total),
        format_amount(tag.training_tokens),
        with_interval(tag.step_s, format_seconds),
        with_interval(tag.tokens_per_s, rate),
        with_interval(tag.training_s, format_seconds),
        with_interval(tag.memory_bytes, format_bytes),
        {True: "yes", False: "no", None: "unknown"}[tag.fits_memory],
        "within" if tag.extrapolation <= 1 else f"{significant(tag.extrapolation, 2)}× beyond",
    )


def diff_table(analysis: Analysis) -> Table:
    """What differs from the baseline; what stayed the same, or is only uncertain, is counted."""
    diff = analysis.diff
    if diff is None:
        return Table(
            "Against the baseline", (), (), f"No verdict: {analysis.no_diff_reason or 'no baseline was given'}"
        )
    columns = (
        Column("verdict"),
        Column("subject", "prose"),
        Column("metric"),
        Column("baseline", "number", 2),
        Column("now", "number", 1),
        Column("change", "prose"),
    )
    rows = tuple(map(_diff_row, _listed(diff)))
    fields = f" These fields differ: {', '.join(diff.differing_fields)}." if diff.differing_fields else ""
    note = f"{diff.base_id} against {diff.new_id}: {count_verdicts(diff)}.{fields}"
    return Table("Against the baseline", columns, rows, note + advisory_note(diff))


def _listed(diff: Diff) -> list[Comparison]:
    """What is worth a row, worst first: all but what is the same, and but the inconclusive where they are many."""
    different = [comparison for comparison in diff.comparisons if comparison.verdict != "same"]
    different.sort(key=lambda comparison: VERDICT_ORDER.index(comparison.verdict))
    inconclusive = [comparison for comparison in different if comparison.verdict == "inconclusive"]
    if len(inconclusive) <= MOST_INCONCLUSIVE_ROWS:
        return different
    return [comparison for comparison in different if comparison.verdict != "inconclusive"]


def _diff_row(comparison: Comparison) -> tuple[str, ...]:
    return (
        comparison.verdict,
        comparison.subject,
        _plain(comparison.metric),
        _metric(comparison.metric, comparison.base),
        _metric(comparison.metric, comparison.new),
        "; ".join(filter(None, [_ratio(comparison.ratio), comparison.reason])) or MISSING,
    )


def _metric(name: str, value: float | None) -> str:
    return MISSING if value is None else quantity(name, value)


def _ratio(ratio: Estimate | None) -> str:
    if ratio is None:
        return ""
    return f"{change(ratio.value - 1)} ({change(ratio.low - 1)} to {change(ratio.high - 1)})"


def warning_table(suite: Suite) -> Table:
    """What makes numbers worse than they look, each with advice."""
    rows = [(warning.subject, warning.message) for warning in suite.warnings]
    rows += [("run", "Interrupted before it was complete: run it again for the rest.")] * (not suite.complete)
    rows += [("run", "This record is fake (made by a test): no baseline may come from it.")] * suite.fake
    return Table("Warnings", (Column("subject"), Column("what to do about it", "prose")), _unique(rows))


def _unique(rows: Iterable[tuple[str, str]]) -> tuple[tuple[str, str], ...]:
    return tuple(dict.fromkeys(rows))


def setting_table(suite: Suite) -> Table:
    """Every effective value of the run, as recorded."""
    settings = suite.settings
    values = settings.model_dump(exclude={"environment"})
    rows = [
        ("suite", suite.id),
        ("created", suite.created),
        ("scalemark", suite.scalemark_version),
        ("commit", suite.commit or "unknown"),
        ("duration", format_seconds(suite.duration_s)),
        *((name, "none" if value is None else str(value)) for name, value in values.items()),
        *((f"environment {name}", value) for name, value in settings.environment.items()),
        *((f"context {name}", _fact(name, value)) for name, value in suite.machine.context.items()),
        *((f"state {name}", _fact(name, value)) for name, value in suite.machine.state.items()),
    ]
    return Table("Settings", (Column("setting"), Column("value", "prose")), tuple(rows), detail=True)
