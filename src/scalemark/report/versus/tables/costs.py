"""Tables of what tokens and whole trainings cost: US dollars, energy, time and memory."""

from scalemark.report.numbers import rate, with_interval
from scalemark.report.tables.table import UNAVAILABLE, Column, Table
from scalemark.report.versus.tables.shapes import (
    BEYOND,
    SHAPE_COLUMNS,
    each_step,
    farthest,
    on_line,
    shape_cells,
    without_blank,
)
from scalemark.report.versus.words import beyond, known, told, usd, watt_hours
from scalemark.schema import Contender, ContenderStep, ShapeCompared, SuiteComparison
from scalemark.units import MISSING, format_amount, format_bytes, format_seconds


def token_cost_table(comparison: SuiteComparison) -> Table:
    """US dollars and energy per million tokens, and tokens per joule; reasons for what is not known."""
    names = comparison.names
    columns = (
        *SHAPE_COLUMNS,
        *(Column(f"USD/M tokens, {name}", "number") for name in names),
        *(Column(f"tokens/J, {name}", "number", 2) for name in names),
        *(Column(f"energy/M tokens, {name}", "number", 5) for name in names),
        BEYOND,
    )
    rows = [
        (
            *shape_cells(shape),
            *each_step(comparison, shape, _usd_per_million),
            *each_step(comparison, shape, _per_joule),
            *each_step(comparison, shape, _energy_per_million),
            farthest(shape),
        )
        for shape in on_line(comparison)
        if any(step.usd or step.joules for step in shape.steps)
    ]
    return without_blank(Table("Cost of a million tokens", columns, tuple(rows), _cost_note(comparison)))


def _usd_per_million(step: ContenderStep, shape: ShapeCompared) -> str:
    return known(step, step.usd.scaled(1e6 / shape.items) if step.usd else None, usd)


def _per_joule(step: ContenderStep, shape: ShapeCompared) -> str:
    return known(step, step.joules.inverted(shape.items) if step.joules else None, rate)


def _energy_per_million(step: ContenderStep, shape: ShapeCompared) -> str:
    return known(step, step.joules.scaled(1e6 / shape.items) if step.joules else None, watt_hours)


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
    return without_blank(Table("What training costs", columns, rows, note * bool(rows)))


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
