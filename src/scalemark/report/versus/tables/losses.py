"""Tables of what was trained: losses of equal configurations, and loss laws side by side."""

from collections.abc import Sequence

from scalemark.report.tables.table import Column, Table
from scalemark.report.versus.tables.causes import parameter_text
from scalemark.schema import Law, LossCompared, SuiteComparison
from scalemark.units import MISSING, format_amount, format_percent

# Losses of equal configurations that differ by less are the same training to within rounding on another device.
ALIKE = 0.01


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
    return (name, *(MISSING if one is None else parameter_text(one) for one in found), meaning)
