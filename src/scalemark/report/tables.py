"""Every table of a report as formatted text, built once and drawn as Markdown, HTML or plain text.

    Analysis ─> report_tables ─> Table, Table, … ─> markdown | html | terminal

A law's parameter never appears without its interval, a prediction never without its distance from what was fitted.
"""

from collections.abc import Callable, Iterable, Sequence
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
    GemmRate,
    Holdout,
    Law,
    LawKind,
    Memory,
    Parameter,
    PriceTag,
    RepeatedText,
    Suite,
    TrainingRun,
    Workload,
)
from scalemark.units import (
    MISSING,
    format_amount,
    format_bytes,
    format_count,
    format_percent,
    format_seconds,
    significant,
)

LAW_TITLES: dict[LawKind, str] = {
    "step_time": "Step time law",
    "memory": "Memory law",
    "energy": "Energy law",
    "loss": "Loss law",
    "repeated_loss": "Law of repeated text",
    "communication": "Law of communication",
}
UNAVAILABLE = "unavailable"
# Short, so that a terminal has room for what stands beside it; the note says what it is.
MFU_TITLE = "MFU (vs GEMM)"
# What a step's FLOPs are: 2 per weight and token forward, twice that backward, and attention over all pairs.
FLOP_CONVENTION = "6N + full attention"
MOST_INCONCLUSIVE_ROWS = 5
MOST_ERRORS_LISTED = 6


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
    from scalemark.report.scaling import scaling_tables  # it builds on the tables below

    suite = analysis.suite
    scaling = scaling_tables(analysis.scaling, suite)
    tables = (
        price_table(analysis),
        diff_table(analysis),
        warning_table(suite),
        cost_table(suite),
        *(table for table in scaling if not table.detail),
        training_table(suite),
        *law_tables(analysis),
        repeated_table(analysis),
        machine_table(suite),
        *(table for table in scaling if table.detail),
        product_table(suite),
        operator_table(suite),
        cell_table(suite),
        setting_table(suite),
    )
    return tuple(table for table in tables if table.rows or table.note)


def machine_table(suite: Suite) -> Table:
    """The fingerprint that decides what may be compared, then the measured ceilings."""
    identity = [(_plain(name), _fact(name, value)) for name, value in suite.machine.identity.items()]
    products = suite.ceilings.gemm_flops_per_s.items()
    triads = suite.ceilings.triad_bytes_per_s.items()
    ceilings = [
        (f"GEMM ceiling, {key}", with_interval(estimate, flops_rate) + _best_product(suite, key))
        for key, estimate in products
    ]
    ceilings += [
        (f"triad ceiling, {key}", with_interval(estimate, bytes_rate) + _triad_size(suite, key))
        for key, estimate in triads
    ]
    rows = (("machine id", suite.machine.id), *identity, *ceilings)
    note = "Ceilings were measured in this run: the best matrix product on random data, and the STREAM triad."
    return Table("Machine", (Column("fact"), Column("value", "prose")), rows, note if ceilings else "")


def _triad_size(suite: Suite, device: str) -> str:
    size_bytes = suite.ceilings.triad_array_bytes.get(device)
    return f" (arrays of {format_bytes(size_bytes)} together)" if size_bytes else ""


def _best_product(suite: Suite, key: str) -> str:
    """' (1,024 × 1,024 × 1,024, best of 14)': which product of the sweep the ceiling is."""
    sweep = [product for product in suite.ceilings.gemm_sweep if f"{product.device}/{product.dtype}" == key]
    if not sweep:
        return ""
    best = max(sweep, key=lambda product: product.flops_per_s.value)
    return f" ({_product_shape(best)}, best of {len(sweep)})"


def _product_shape(product: GemmRate) -> str:
    return f"{product.m:,} × {product.n:,} × {product.k:,}"


def product_table(suite: Suite) -> Table:
    """Every product of the sweep, fastest first: the squares, and the products of the campaign's largest models."""
    columns = (
        Column("device", "text", 2),
        Column("dtype"),
        Column("m × n × k", "number"),
        Column("FLOP/s", "number"),
        Column("of the ceiling", "number", 1),
    )
    sweep = suite.ceilings.gemm_sweep
    products = sorted(sweep, key=lambda product: (product.device, product.dtype, -product.flops_per_s.value))
    note = "Products (m, k) × (k, n) on random data, 2·m·n·k FLOPs each, the right-hand side stored as (n, k)."
    rows = tuple(_product_row(suite, product) for product in products)
    return Table("Matrix products", columns, rows, note * bool(rows), detail=True)


def _product_row(suite: Suite, product: GemmRate) -> tuple[str, ...]:
    ceiling = suite.ceilings.gemm_flops_per_s.get(f"{product.device}/{product.dtype}")
    share = product.flops_per_s.value / ceiling.value if ceiling else None
    rate_text = with_interval(product.flops_per_s, flops_rate)
    return (product.device, product.dtype, _product_shape(product), rate_text, format_percent(share))


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
    rows = tuple(map(_operator_row, sorted(cells, key=lambda cell: (_params(cell), cell.workload.key))))
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
        work.rung,
        _batch(work),
        work.dtype,
        work.optimizer or MISSING,
        f"{operators.total:,}",
        format_bytes(operators.bytes_read),
        format_bytes(operators.bytes_written),
        significant(flops / moved_bytes) if flops and moved_bytes else MISSING,
    )


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
    columns = _cost_columns(cells)
    rows = tuple(tuple(write(cell) for _, write in columns) for cell in cells)
    title = "Cost of a training step"
    return Table(title, tuple(column for column, _ in columns), rows, _cost_note(suite) if cells else "")


def _cost_columns(cells: Sequence[Cell]) -> list[tuple[Column, Callable[[Cell], str]]]:
    """What stands in each column; HFU only where something is computed twice, a vendor's peak only where known."""
    columns: list[tuple[Column, Callable[[Cell], str]]] = [
        (Column("model"), lambda cell: cell.workload.rung),
        (Column("batch", "text", 1), lambda cell: _batch(cell.workload)),
        (Column("parameters", "number"), _parameters),
        (Column("step time", "number"), lambda cell: with_interval(cell.typical_s, format_seconds)),
        (Column("tokens/s", "number", 2), lambda cell: _value(cell.items_per_s, rate)),
        (Column(f"FLOP/s ({FLOP_CONVENTION})", "number", 6), lambda cell: _value(cell.flops_per_s, flops_rate)),
        (Column(MFU_TITLE, "number", 3), lambda cell: _value(cell.mfu, format_percent)),
    ]
    if any(map(_recomputes, cells)):
        columns.append((Column("HFU (vs GEMM)", "number", 7), lambda cell: _value(cell.hfu, format_percent)))
    if any(cell.vendor_mfu for cell in cells):
        columns.append(
            (Column("MFU (vs vendor peak)", "number", 7), lambda cell: _value(cell.vendor_mfu, format_percent))
        )
    columns.append((Column("peak memory", "number", 4), lambda cell: format_bytes(peak_bytes(cell.memory))))
    columns.append((Column("energy/step", "number", 5), lambda cell: _energy(cell.energy)))
    if any(_estimated_j(cell) is not None for cell in cells):
        columns.append((Column("estimated energy", "number", 8), lambda cell: _joules(_estimated_j(cell))))
    return columns


def _parameters(cell: Cell) -> str:
    return format_amount(cell.accounting.params_total if cell.accounting else None)


def _recomputes(cell: Cell) -> bool:
    return cell.hfu is not None and cell.hfu != cell.mfu


def _is_cost_cell(cell: Cell) -> bool:
    work = cell.workload
    return (
        cell.status == "ok"
        and work.phase == "step"
        and work.dtype == "float32"
        and not work.compiled
        and not work.is_parallel
        and (work.optimizer == "adamw" or work.task is not None)
    )


def _params(cell: Cell) -> int:
    return cell.accounting.params_total if cell.accounting else 0


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
    return with_interval(energy.joules_per_round, _joules)


def _joules(joules: float | None) -> str:
    return MISSING if joules is None else f"{significant(joules)} J"


def _estimated_j(cell: Cell) -> float | None:
    return cell.energy.estimated_j if cell.energy else None


def _energy_note(cells: Sequence[Cell]) -> str:
    """How energy was measured and what the device drew at rest, or why there is none; and what an estimate is not."""
    energies = [cell.energy for cell in cells if cell.energy]
    methods = sorted({_energy_method(energy) for energy in energies if energy.joules_per_round})
    reasons = sorted({energy.reason for energy in energies if energy.reason})
    parts = [
        f"Energy: {'; '.join(methods)}." if methods else "",
        f"Energy {UNAVAILABLE}: {'; '.join(reasons)}." if reasons else "",
        "Estimated energy is a power that the user stated times the step time: no measurement, and in no law."
        if any(_estimated_j(cell) is not None for cell in cells)
        else "",
    ]
    return " ".join(filter(None, parts))


def _energy_method(energy: Energy) -> str:
    """'powercap of package-0 + dram, direct, idle power (12.3 W ± 1.0 %) included'."""
    idle = with_interval(energy.idle_w, lambda watts: f"{significant(watts)} W") if energy.idle_w else "not measured"
    return f"{energy.source} of {energy.domain}, {energy.method}, idle power ({idle}) included"


def _cost_note(suite: Suite) -> str:
    ceilings = [f"{key} {flops_rate(e.value)}" for key, e in suite.ceilings.gemm_flops_per_s.items()]
    against = f"the GEMM ceiling measured in this run ({', '.join(ceilings)})" if ceilings else "no measured ceiling"
    cells = [cell for cell in suite.cells if _is_cost_cell(cell)]
    methods = sorted({cell.memory.method for cell in cells if cell.memory})
    parts = [
        "Forward, backward and AdamW in float32; medians with 90 % intervals, which tokens/s, FLOP/s and MFU share.",
        "The machine's slow moments, as reference kernels beside the rounds saw them, are taken out; times as measured"
        " are among all cells."
        if any(cell.corrected_s for cell in cells)
        else "",
        "Parameters are totals, embeddings included; batch is sequences × tokens.",
        "N: weights in matrix products, the head included and the token table not; full attention: all pairs, though"
        " the mask leaves half (PaLM, appendix B); of a user's own model, the products and convolutions counted in it.",
        f"MFU (vs GEMM) is against {against}.",
        _other_utilisations(cells),
        f"Peak memory: {'; '.join(methods)}." if methods else "",
        _energy_note(cells),
    ]
    return " ".join(filter(None, parts))


def _other_utilisations(cells: Sequence[Cell]) -> str:
    """What HFU and the vendor's peak mean, where the table has them."""
    peaks = {
        flops_rate(cell.flops_per_s.value / cell.vendor_mfu.value)
        for cell in cells
        if cell.flops_per_s and cell.vendor_mfu
    }
    parts = [
        "HFU counts the forward passes that the backward pass repeats." if any(map(_recomputes, cells)) else "",
        f"Vendor peak, dense: {', '.join(sorted(peaks))}." if peaks else "",
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
        Column("corrected", "number", 9),
        Column("fastest", "number", 10),
        Column("once", "number", 8),
        Column(MFU_TITLE, "number", 7),
        Column("rounds", "number", 6),
        Column("status"),
        Column("reason", "prose"),
    )
    cells = sorted(suite.cells, key=lambda cell: (_params(cell), cell.workload.key))
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
        f"{work.phase}, compiled" if work.compiled else work.phase,
        _batch(work),
        work.dtype,
        work.optimizer or MISSING,
        work.device,
        with_interval(cell.time_s, format_seconds),
        with_interval(cell.corrected_s, format_seconds),
        format_seconds(cell.minimum_s),
        _value(cell.once_s, format_seconds),
        _value(cell.mfu, format_percent),
        str(len(cell.samples_s)),
        ", ".join([cell.status, *cell.marks]).replace("_", " "),
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
        Column("gap", "number", 5),
        Column("epochs", "number", 6),
        Column("time", "number", 3),
        Column("status", "prose"),
    )
    begun = [run for run in suite.training_runs if run.status != "skipped"]
    runs = sorted(begun, key=lambda run: (_run_params(run), run.config.tokens, run.config.key))
    note = (
        "Loss is cross-entropy on held-out text in nats per token; accuracy is the share of held-out tokens predicted"
        " right; gap is the held-out loss less that on text the model has seen; time is the training loop as of a run"
        " of its own. Each run is one seed, so a loss has no interval of its own."
    )
    if any(run.shared for run in begun):
        note += " The models trained side by side, one thread each, so these times measure no machine."
    if any(run.repeats for run in begun):
        note += " Above one epoch, text was seen more than once."
    left_out = len(suite.training_runs) - len(begun)
    if left_out:
        note += (
            f" {left_out} more runs did not fit the budget or tell less for their time: a larger budget trains them."
        )
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
        MISSING if run.gap is None else f"{run.gap:+.3f}",
        MISSING if run.epochs is None else significant(run.epochs, 2),
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
    fitted = tuple(map(law_table, analysis.laws))
    missing = tuple(
        Table(LAW_TITLES[kind], (), (), f"No law: {reason}") for kind, reason in analysis.missing_laws.items()
    )
    return fitted + missing


def law_table(law: Law) -> Table:
    """A law's parameters, and in its note the form, what it was fitted to and how it did on what was hidden."""
    return parameter_table(LAW_TITLES[law.kind], law.parameters, _law_note(law))


def parameter_table(title: str, parameters: Sequence[Parameter], note: str) -> Table:
    """Parameters with their intervals, units and meanings."""
    columns = (
        Column("parameter"),
        Column("value", "number"),
        Column("90 % interval"),
        Column("unit", "text", 1),
        Column("meaning", "prose"),
    )
    return Table(title, columns, tuple(map(_parameter_row, parameters)), note)


def _parameter_row(parameter: Parameter) -> tuple[str, ...]:
    write = parameter_writer(parameter.unit)
    value = write(parameter.estimate.value) if parameter.identified else "not identified"
    unit = parameter.unit if parameter.unit not in ("", "1") else "none"
    return (parameter.name, value, interval(parameter.estimate, write), unit, parameter.meaning)


def _law_note(law: Law) -> str:
    largest = max(map(abs, law.residuals), default=None)
    parts = [
        f"{law.form} ({law.unit}), for {law.subject}.",
        "The measurements leave some of its parameters open." if law.status == "not_identified" else "",
        f"Fitted to {law.n} measurements, {fitted_range(law)}." if law.domain else f"Fitted to {law.n} measurements.",
        "" if largest is None else f"Largest residual {format_percent(largest)}.",
        _holdout(law.holdout),
        *map(_sentence, law.notes),
    ]
    return " ".join(filter(None, parts))


def _sentence(note: str) -> str:
    """A note that stands on its own line elsewhere, among others."""
    return f"{note[:1].upper()}{note[1:]}."


def _holdout(holdout: Holdout | None) -> str:
    if holdout is None:
        return "Not tried on hidden measurements."
    if len(holdout.errors) > MOST_ERRORS_LISTED:
        typical = sum(map(abs, holdout.errors)) / len(holdout.errors)
        errors = f"{format_percent(typical)} on average"
    else:
        errors = ", ".join(map(change, holdout.errors))
    above = quantity(holdout.variable, holdout.above)
    if not holdout.variable.endswith(("_s", "_bytes")):
        above = format_amount(holdout.above)
    return (
        f"With {holdout.variable.replace('_', ' ')} above {above} hidden and the law refitted, its predictions missed"
        f" by {errors}; {holdout.covered} of {len(holdout.errors)} lay inside their intervals.{_rivals(holdout)}"
    )


def _rivals(holdout: Holdout) -> str:
    """' Others missed them by: constant MFU 21.0 %, …': mean absolute errors of other laws on the same rows."""
    missed = [
        f"{name} {format_percent(sum(map(abs, errors)) / len(errors))}"
        for name, errors in holdout.rivals.items()
        if errors
    ]
    return f" Others missed them by: {', '.join(missed)} (mean absolute)." if missed else ""


def repeated_table(analysis: Analysis) -> Table:
    """Where, on text seen again and again, a larger model did worse, and which law says what repetition is worth."""
    columns = (
        Column("different tokens", "number"),
        Column("epochs", "number"),
        Column("parameters", "number"),
        Column("validation loss", "number"),
        Column("smaller model", "number", 2),
        Column("its loss", "number", 2),
        Column("worse by", "number"),
        Column("gap", "number", 1),
    )
    found = analysis.repeated
    if found is None:
        return Table("Repeated text", columns, ())
    rows = tuple(
        (
            format_amount(one.unique_tokens),
            significant(one.epochs, 2),
            format_amount(one.params),
            f"{one.loss:.3f}",
            format_amount(one.smaller_params),
            f"{one.smaller_loss:.3f}",
            format_percent(one.excess),
            MISSING if one.gap is None else f"{one.gap:+.3f}",
        )
        for one in found.worse_with_size
    )
    return Table("Repeated text", columns, rows, _repeated_note(found))


def _repeated_note(found: RepeatedText) -> str:
    names = {"discounted": "the law that discounts repeats", "all_new": "the law that takes every token for new"}
    names["fitted_to_all"] = "the plain law fitted to all runs"
    errors = ", ".join(f"{names[law]} by {format_percent(error)}" for law, error in found.errors.items())
    parts = [
        f"{found.n_runs} runs saw a part of the text more than once.",
        f"Predicted without their own trunk, they are missed on average: {errors}." if errors else "",
        "Listed: models that end above a smaller one on the same text, parameters without embeddings."
        if found.worse_with_size
        else "No larger model did worse than a smaller one.",
    ]
    return " ".join(filter(None, parts))


def price_table(analysis: Analysis) -> Table:
    """What larger models would cost here, each with its distance from what was measured."""
    with_energy = any(tag.training_j for tag in analysis.prices)
    columns = (
        Column("model", "text", 5),
        Column("parameters", "number"),
        Column("tokens", "number", 3),
        Column("step time", "number", 6),
        Column("tokens/s", "number", 2),
        Column("training time", "number"),
        *((Column("energy", "number", 7),) if with_energy else ()),
        Column("memory", "number", 1),
        Column("fits?", "text", 4),
        Column("fitted range"),
    )
    note = (
        "Predicted by the laws, with 90 % intervals. How far beyond the fitted range counts non-embedding parameters,"
        " from the largest model that was fitted."
    )
    rows = tuple(_price_row(tag, with_energy) for tag in analysis.prices)
    return Table("What larger models cost here", columns, rows, note * bool(rows))


def _price_row(tag: PriceTag, with_energy: bool) -> tuple[str, ...]:
    return (
        tag.model.name,
        format_amount(tag.params_total),
        format_amount(tag.training_tokens),
        with_interval(tag.step_s, format_seconds),
        with_interval(tag.tokens_per_s, rate),
        with_interval(tag.training_s, format_seconds),
        *((with_interval(tag.training_j, _watt_hours),) if with_energy else ()),
        with_interval(tag.memory_bytes, format_bytes),
        {True: "yes", False: "no", None: "unknown"}[tag.fits_memory],
        "within" if tag.extrapolation <= 1 else f"{significant(tag.extrapolation, 2)}× beyond",
    )


def _watt_hours(joules: float) -> str:
    return format_count(joules / 3600, "Wh")


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
