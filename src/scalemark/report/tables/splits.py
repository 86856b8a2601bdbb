"""Where the time of a step goes, in numbers: each term of the step time law as a share of the step."""

from scalemark.report.numbers import with_interval
from scalemark.report.tables.table import Column, Table
from scalemark.schema import Analysis, Estimate, TimeSplit
from scalemark.units import format_amount, format_seconds, significant

_WORTH_A_WORD = 0.1
SPLIT_TITLE = "Where the time of a step goes"
# Short names of the law's terms, for headings and legends.
TERMS: dict[str, str] = {
    "overhead_s": "overhead",
    "per_layer_s": "layers",
    "compute_s_per_flop": "products, attention",
    "matmul_s_per_flop": "matrix products",
    "attention_s_per_flop": "attention",
    "activation_s_per_byte": "activations",
    "state_s_per_byte": "weights, optimizer",
}


def term_labels(analysis: Analysis) -> dict[str, str]:
    """The label of each term of the law, by its name, in the law's order; its meaning where it has no short name."""
    return {term.name: TERMS.get(term.name, term.meaning) for split in analysis.splits[:1] for term in split.terms}


def split_table(analysis: Analysis) -> Table:
    """One row per model, smallest first."""
    columns = (
        Column("model"),
        Column("parameters", "number", 3),
        Column("measured", "number", 1),
        Column("by the law", "number", 2),
        *(Column(label, "number") for label in term_labels(analysis).values()),
    )
    rows = tuple(map(_row, analysis.splits))
    return Table(SPLIT_TITLE, columns, rows, _note(analysis) if rows else _why_not(analysis))


def split_summary(analysis: Analysis) -> Table:
    """The smallest and the largest model measured and the largest priced, each in one line of words, for a terminal."""
    labels = term_labels(analysis)
    measured = [split for split in analysis.splits if split.measured_s]
    shown = dict.fromkeys([*measured[:1], *measured[-1:], *analysis.splits[-1:]])
    columns = (Column("model"), Column("step time", "number"), Column("goes to", "prose"))
    rows = tuple((split.model.name, _time(split), _largest(split, labels)) for split in shown)
    return Table(SPLIT_TITLE, columns, rows, "" if rows else _why_not(analysis))


def _time(split: TimeSplit) -> str:
    measured = split.measured_s
    return with_interval(measured, format_seconds) if measured else f"{format_seconds(split.predicted_s)} predicted"


def _largest(split: TimeSplit, labels: dict[str, str]) -> str:
    """The terms that make a tenth of the step or more, the largest first."""
    terms = sorted(split.terms, key=lambda term: -term.share.value)
    return ", ".join(f"{labels[term.name]} {_share(term.share)}" for term in terms if term.share.value >= _WORTH_A_WORD)


def _row(split: TimeSplit) -> tuple[str, ...]:
    return (
        split.model.name,
        format_amount(split.params_non_embedding),
        with_interval(split.measured_s, format_seconds),
        format_seconds(split.predicted_s),
        *(_share(term.share) for term in split.terms),
    )


def _share(share: Estimate) -> str:
    """'36 % (12 to 48)'."""
    return f"{_percent(share.value)} % ({_percent(share.low)} to {_percent(share.high)})"


def _percent(share: float) -> str:
    return significant(share * 100, 2) if abs(share) >= 0.0995 else f"{share * 100:.1f}"


def _note(analysis: Analysis) -> str:
    law = analysis.law("step_time")
    labels, terms = term_labels(analysis).values(), analysis.splits[0].terms
    meanings = "; ".join(f"{label}: {term.meaning}" for label, term in zip(labels, terms, strict=True))
    overlap = (
        " Where parts run at the same time, a part is what the step would be shorter by if it were smaller, in"
        " proportion, so that one that hides behind another counts little."
        if law and "p-norm" in law.form
        else ""
    )
    return (
        "Shares of the law's own time with 90 % intervals over its replicates; parts that the measurements do not tell"
        " apart trade with one another, and their intervals are wide together. Parameters are without embeddings."
        f"{overlap} {meanings[:1].upper()}{meanings[1:]}."
    )


def _why_not(analysis: Analysis) -> str:
    reason = analysis.missing_laws.get("step_time")
    return f"No split, as there is no law of step time: {reason.rstrip('.')}." if reason else ""
