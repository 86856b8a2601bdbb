"""Every table of a comparison as formatted text: one column for each contender, in the order in which they were named.

A value that a law predicts stands behind '≈', and its row says how far beyond the fitted range it lies.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence

from scalemark.report.numbers import bytes_rate, flops_rate, parameter_writer, rate, with_interval
from scalemark.report.tables.table import UNAVAILABLE, Column, Table
from scalemark.report.versus.headline import how_it_runs
from scalemark.report.versus.words import beyond, crossover_size, known, speedup, told, usd, watt_hours
from scalemark.schema import (
    BestRange,
    Contender,
    ContenderStep,
    Crossover,
    Estimate,
    Law,
    LossCompared,
    Parameter,
    ShapeCompared,
    SuiteComparison,
)
from scalemark.units import MISSING, format_amount, format_bytes, format_percent, format_seconds

# Losses of equal configurations that differ by less are the same training to within rounding on another device.
ALIKE = 0.01
# A term that takes less of a step hides behind another.
_HIDDEN_SHARE = 1e-3
_COMMIT_LENGTH = 12


def leading_tables(comparison: SuiteComparison) -> tuple[Table, ...]:
    """What a terminal shows."""
    tables = (
        best_table(comparison),
        time_table(comparison),
        training_cost_table(comparison),
        token_cost_table(comparison),
        cause_table(comparison),
        memory_table(comparison),
        loss_table(comparison),
        not_compared_table(comparison),
    )
    return tuple(table for table in tables if table.rows or table.note)


def contender_table(comparison: SuiteComparison) -> Table:
    """What stands behind each name, one column each; rows in which they differ are marked."""
    facts = [_facts(one) for one in comparison.contenders]
    rows = []
    for name in facts[0]:
        values = [each[name] for each in facts]
        rows.append((name, *values, "yes" if len(set(values)) > 1 else "no"))
    columns = (Column("fact"), *(Column(name, "prose") for name in comparison.names), Column("differs", "text", 1))
    return Table("What is compared", columns, tuple(rows))


def _facts(contender: Contender) -> dict[str, str]:
    suite, identity = contender.suite, contender.suite.machine.identity
    gemm = suite.ceilings.gemm_flops_per_s.get(f"{suite.settings.device}/{contender.dtype}")
    triad = suite.ceilings.triad_bytes_per_s.get(suite.settings.device)
    return {
        "machine": suite.machine.summary,
        "steps": how_it_runs(contender),
        "price": f"{usd(contender.usd_per_hour)} an hour" if contender.usd_per_hour else "not given",
        "matrix products in its dtype": with_interval(gemm, flops_rate),
        "memory triad": with_interval(triad, bytes_rate),
        "threads": str(suite.settings.threads),
        "python": str(identity.get("python") or "unknown"),
        "scalemark": f"{suite.scalemark_version}, commit {(suite.commit or 'unknown')[:_COMMIT_LENGTH]}",
        "suite": f"{suite.id}, {suite.created}",
        "machine id": suite.machine.id,
        "step time law": _law_fact(contender),
    }


def _law_fact(contender: Contender) -> str:
    law = contender.law("step_time")
    if law is None:
        return f"none: {contender.missing_laws.get('step_time', 'not compared')}"
    largest = max(map(abs, law.residuals), default=0.0)
    return f"{law.form}; {law.n} measurements, largest residual {format_percent(largest)}"


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
    return _without_blank(Table("Who is fastest", columns, rows, note if rows else _no_laws(comparison)))


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


# --- one row per shape ------------------------------------------------------------------------------------------------


def time_table(comparison: SuiteComparison) -> Table:
    """Step time and speed-up, of the growing model alone: what was measured, then what is priced."""
    return _time_table("Step time", comparison, _on_line(comparison))


def other_shapes_table(comparison: SuiteComparison) -> Table:
    """The same of all other shapes and of users' own models."""
    shapes = [shape for shape in comparison.shapes if shape not in _on_line(comparison)]
    table = _time_table("Step time of other shapes", comparison, shapes)
    return Table(table.title, table.columns, table.rows, detail=True)


def _on_line(comparison: SuiteComparison) -> list[ShapeCompared]:
    """Shapes that the laws' lines go through; all, where none does."""
    return [shape for shape in comparison.shapes if shape.on_line] or list(comparison.shapes)


def _time_table(title: str, comparison: SuiteComparison, shapes: Sequence[ShapeCompared]) -> Table:
    first, *others = comparison.names
    columns = (
        *_SHAPE_COLUMNS,
        *(Column(name, "number", 2 * (len(others) > 1)) for name in comparison.names),
        *(Column(_speedup_title(name, others), "number") for name in others),
        _BEYOND,
    )
    rows = tuple(
        (
            *_shape(shape),
            *_each(comparison, shape, lambda step: known(step, step.seconds, format_seconds)),
            *(speedup(step.speedup) if (step := shape.step(name)) else MISSING for name in others),
            _farthest(shape),
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


_SHAPE_COLUMNS = (Column("model"), Column("batch", "text", 4), Column("parameters", "number", 3))
_BEYOND = Column("fitted range", "text", 1)


def _shape(shape: ShapeCompared) -> tuple[str, str, str]:
    batch = MISSING if shape.batch is None else f"{shape.batch} × {shape.seq_len or 1}"
    return shape.name, batch, format_amount(shape.params_non_embedding)


def _each(comparison: SuiteComparison, shape: ShapeCompared, write: Callable[[ContenderStep], str]) -> Iterable[str]:
    """What each contender's step says, a dash where it has none."""
    for name in comparison.names:
        step = shape.step(name)
        yield write(step) if step else MISSING


def _farthest(shape: ShapeCompared) -> str:
    """The farthest of what was predicted."""
    predicted = [step.extrapolation for step in shape.steps if not step.measured]
    return beyond(max(predicted)) if predicted else "measured"


def memory_table(comparison: SuiteComparison) -> Table:
    """Peak memory of a training step."""
    shapes = [shape for shape in _on_line(comparison) if sum(step.memory_bytes is not None for step in shape.steps) > 1]
    columns = (*_SHAPE_COLUMNS, *(Column(name, "number") for name in comparison.names), _BEYOND)
    rows = tuple(
        (
            *_shape(shape),
            *_each(comparison, shape, lambda step: known(step, step.memory_bytes, format_bytes) + _room(step)),
            _farthest(shape),
        )
        for shape in shapes
    )
    return Table("Memory", columns, rows, _memory_note(comparison) * bool(rows))


def _room(step: ContenderStep) -> str:
    return ", does not fit" if step.fits_memory is False else ""


def _memory_note(comparison: SuiteComparison) -> str:
    methods = [
        f"{one.name}: {', '.join(sorted({cell.memory.method for cell in one.suite.cells if cell.memory}))}"
        for one in comparison.contenders
    ]
    return f"Peak of live tensors of one step. {'; '.join(methods)}."


def token_cost_table(comparison: SuiteComparison) -> Table:
    """US dollars and energy per million tokens, and tokens per joule; reasons for what is not known."""
    names = comparison.names
    columns = (
        *_SHAPE_COLUMNS,
        *(Column(f"USD/M tokens, {name}", "number") for name in names),
        *(Column(f"tokens/J, {name}", "number", 2) for name in names),
        *(Column(f"energy/M tokens, {name}", "number", 5) for name in names),
        _BEYOND,
    )
    rows = [
        (
            *_shape(shape),
            *_each(comparison, shape, lambda step: _usd_per_million(step, shape)),  # noqa: B023 read at once
            *_each(comparison, shape, lambda step: _per_joule(step, shape)),  # noqa: B023
            *_each(comparison, shape, lambda step: _energy_per_million(step, shape)),  # noqa: B023
            _farthest(shape),
        )
        for shape in _on_line(comparison)
        if any(step.usd or step.joules for step in shape.steps)
    ]
    return _without_blank(Table("Cost of a million tokens", columns, tuple(rows), _cost_note(comparison)))


def _usd_per_million(step: ContenderStep, shape: ShapeCompared) -> str:
    return known(step, step.usd.scaled(1e6 / shape.items) if step.usd else None, usd)


def _per_joule(step: ContenderStep, shape: ShapeCompared) -> str:
    return known(step, step.joules.inverted(shape.items) if step.joules else None, rate)


def _energy_per_million(step: ContenderStep, shape: ShapeCompared) -> str:
    return known(step, step.joules.scaled(1e6 / shape.items) if step.joules else None, watt_hours)


def _without_blank(table: Table) -> Table:
    """Without the columns in which nothing is known: the note says why."""
    kept = [
        index
        for index, column in enumerate(table.columns)
        if not table.rows or any(row[index] != MISSING for row in table.rows)
    ]
    columns = tuple(table.columns[index] for index in kept)
    rows = tuple(tuple(row[index] for index in kept) for row in table.rows)
    return Table(table.title, columns, rows, table.note, table.detail)


def _cost_note(comparison: SuiteComparison) -> str:
    """What each energy counts, and why there is no price or no energy."""
    unpriced = [one.name for one in comparison.contenders if one.usd_per_hour is None]
    parts = [
        f"Price {UNAVAILABLE} for {', '.join(unpriced)}: give --usd-per-hour NAME=P." if unpriced else "",
        *(f"Energy of {names}: {words}." for words, names in _by_words(comparison).items()),
    ]
    return " ".join(filter(None, parts))


def _by_words(comparison: SuiteComparison) -> dict[str, str]:
    """Names of contenders by what is to be said of their energy."""
    said: dict[str, list[str]] = {}
    for one in comparison.contenders:
        said.setdefault(_energy_words(one), []).append(one.name)
    return {words: ", ".join(names) for words, names in said.items()}


def _energy_words(contender: Contender) -> str:
    """'nvml of gpu 0, direct': which part of the machine was counted and how; or why nothing was."""
    energies = [cell.energy for cell in contender.suite.cells if cell.energy and cell.workload.phase == "step"]
    counted = sorted({f"{one.source} of {one.domain}" for one in energies if one.joules_per_round and not one.fake})
    reasons = sorted({one.reason for one in energies if one.reason})
    return "; ".join(counted) or f"{UNAVAILABLE}, {'; '.join(reasons) or 'the run had no energy pass'}"


# --- whole trainings --------------------------------------------------------------------------------------------------


def training_cost_table(comparison: SuiteComparison) -> Table:
    """What it takes to train each priced model on each contender: the table for a decision."""
    columns = (
        Column("model"),
        Column("parameters", "number", 4),
        Column("tokens", "number", 3),
        Column("on"),
        Column("training time", "number"),
        Column("price", "number", 1),
        Column("energy", "number", 2),
        Column("memory", "number", 5),
        Column("fits?", "text", 2),
        Column("fitted range", "text", 1),
    )
    rows = tuple(
        _training_row(shape, shape.training_tokens, step)
        for shape in comparison.shapes
        if shape.training_tokens
        for step in shape.steps
    )
    note = (
        "Training on 20 tokens per parameter, one device, at the batch that was measured; a larger batch is a plan's"
        " business (scalemark plan). Predictions have 90 % intervals; none is made past 100 times the fitted range."
    )
    return _without_blank(Table("What training costs", columns, rows, note * bool(rows)))


def _training_row(shape: ShapeCompared, tokens: float, step: ContenderStep) -> tuple[str, ...]:
    steps = tokens / shape.items
    return (
        shape.name,
        format_amount(shape.params_total),
        format_amount(tokens),
        step.contender,
        with_interval(step.seconds.scaled(steps), format_seconds),
        with_interval(step.usd.scaled(steps), usd) if step.usd else MISSING,
        with_interval(step.joules.scaled(steps), watt_hours) if step.joules else MISSING,
        told(step.memory_bytes, format_bytes),
        {True: "yes", False: "no", None: "unknown"}[step.fits_memory],
        "measured" if step.measured else beyond(step.extrapolation),
    )


# --- causes and losses ------------------------------------------------------------------------------------------------


def cause_table(comparison: SuiteComparison) -> Table:
    """Where the time of one step goes, by laws in one form."""
    columns = (Column("what a step pays for", "prose"), *(Column(name, "number") for name in comparison.names))
    steps_s = [
        sum(seconds.value for one in comparison.coefficients if (seconds := one.seconds[index]))
        for index in range(len(comparison.names))
    ]
    rows = tuple(
        (one.meaning, *(_taken(seconds, step_s) for seconds, step_s in zip(one.seconds, steps_s, strict=True)))
        for one in comparison.coefficients
        if any(one.seconds)
    )
    note = (
        f"What each term of the law takes of one step of {comparison.cause_shape}, batch 2 × 256; where terms overlap,"
        " the one that hides behind another counts little, so that all add up to the step. All laws have the form"
        f" '{comparison.common_form}', which describes all together best; predictions come from the form that describes"
        " each best."
    )
    return Table("Where a step's time goes", columns, rows, note * bool(rows))


def _taken(seconds: Estimate | None, step_s: float) -> str:
    """What a term takes of a step of `step_s`; one that another hides is told by its upper end alone."""
    if seconds and seconds.value < _HIDDEN_SHARE * step_s:
        return f"hidden, at most {format_seconds(seconds.high)}"
    return with_interval(seconds, format_seconds)


def coefficient_table(comparison: SuiteComparison) -> Table:
    """The coefficients of these laws side by side, as rates where they can be."""
    names = comparison.names
    columns = (
        Column("what a step pays for", "prose"),
        *(Column(name, "number") for name in names),
        *(Column("ratio" if len(names) == 2 else f"ratio, {name}", "number", 1) for name in names[1:]),
    )
    rows = tuple(
        (one.meaning, *map(_parameter, one.parameters), *map(speedup, one.ratios[1:]))
        for one in comparison.coefficients
    )
    note = (
        "Of the laws of step time in that form. 'Not identified' is what the measurements leave open, or what the law"
        f" holds at the measured ceiling. Ratio: over {names[0]}; of a rate, above 1 is faster."
    )
    return _without_blank(Table("Coefficients of the laws", columns, rows, note * bool(rows)))


def _parameter(parameter: Parameter | None) -> str:
    if parameter is None:
        return "no law"
    if not parameter.identified:
        return "not identified"
    return told(parameter.estimate, parameter_writer(parameter.unit))


def loss_table(comparison: SuiteComparison) -> Table:
    """Losses of equal configurations: whether all train alike."""
    columns = (
        Column("model"),
        Column("parameters", "number", 2),
        Column("tokens", "number"),
        *(Column(name, "number") for name in comparison.names),
        Column("differ by", "number"),
    )
    rows = tuple(_loss_row(one) for one in comparison.losses)
    return Table("Losses of equal configurations", columns, rows, _alike_note(comparison))


def _loss_row(one: LossCompared) -> tuple[str, ...]:
    losses = (MISSING if loss is None else f"{loss:.4f}" for loss in one.losses)
    size = format_amount(one.params_non_embedding) if one.params_non_embedding else MISSING
    tokens = format_amount(one.tokens)
    return (one.model, size, tokens, *losses, format_percent(one.spread, 2))


def _alike_note(comparison: SuiteComparison) -> str:
    if not comparison.losses:
        return ""
    worst = max(one.spread for one in comparison.losses)
    verdict = "they train alike" if worst < ALIKE else "they do not train alike: look for a fault before comparing"
    return (
        f"Validation loss in nats per token, same model, text, seed and schedule. The largest difference is"
        f" {format_percent(worst, 2)}: {verdict} (rounding alone moves a seeded loss by some tenths of a per cent)."
    )


def loss_law_tables(comparison: SuiteComparison) -> tuple[Table, ...]:
    """Parameters of the loss laws side by side; nothing where no contender has one of its own."""
    laws = {one.name: one.law("loss") for one in comparison.contenders}
    fitted = {name: law for name, law in laws.items() if law}
    if not fitted or len({one.suite.id for one in comparison.contenders}) < 2:
        return ()
    columns = (
        Column("parameter"),
        *(Column(name, "number") for name in comparison.names),
        Column("meaning", "prose", 1),
    )
    names = list(dict.fromkeys(parameter.name for law in fitted.values() for parameter in law.parameters))
    rows = tuple(_law_row(name, list(laws.values())) for name in names)
    forms = "; ".join(f"{name}: {law.form}, {law.n} runs" for name, law in fitted.items())
    missing = [
        f"{one.name} has none: {one.missing_laws.get('loss', 'not compared')}"
        for one in comparison.contenders
        if one.name not in fitted
    ]
    return (Table("Loss laws", columns, rows, ". ".join([forms, *missing]) + ".", detail=True),)


def _law_row(name: str, laws: Sequence[Law | None]) -> tuple[str, ...]:
    found = [next((one for one in law.parameters if one.name == name), None) if law else None for law in laws]
    meaning = next(one.meaning for one in found if one)
    return (name, *(MISSING if one is None else _parameter(one) for one in found), meaning)


def not_compared_table(comparison: SuiteComparison) -> Table:
    """What is no comparison, or not one on equal terms, with the fields that differ."""
    columns = (Column("what"), Column("differs", "prose"), Column("what that means", "prose"))
    rows = tuple((one.what, "; ".join(one.fields), one.reason) for one in comparison.not_compared)
    return Table("Not compared, or not on equal terms", columns, rows)
