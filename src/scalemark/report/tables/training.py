"""What training runs reached, and what repeated text did to them."""

from collections.abc import Iterator, Sequence

from scalemark.report.sampled import MOST_ROWS, evenly, some_of
from scalemark.report.tables.table import Column, Table
from scalemark.schema import Analysis, RepeatedText, Suite, TrainingRun
from scalemark.units import MISSING, format_amount, format_percent, format_seconds, significant

_NODES_NAMED = 4


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
    runs = by_size(begun)
    listed = evenly(runs, MOST_ROWS)
    note = _note(suite, begun) + some_of(len(listed), len(runs), "runs", "size and tokens")
    if len(listed) < len(runs):
        note += f" {_lowest(runs)} `scalemark export --format csv` writes all of them."
    return Table("Training runs", columns, tuple(map(_training_row, listed)), note)


def by_size(runs: Sequence[TrainingRun]) -> list[TrainingRun]:
    """Smallest first, then by tokens; of many alike, in an order that does not hang on chance."""
    few = len(runs) <= MOST_ROWS  # a key is a digest, which of very many runs takes seconds
    return sorted(
        runs, key=lambda run: (_run_params(run), run.config.tokens, run.config.key if few else run.config.seed)
    )


def _lowest(runs: Sequence[TrainingRun]) -> str:
    """The best of all, since it may not be among those that are listed."""
    losses = [(run.validation_loss, run) for run in runs if run.validation_loss is not None]
    if not losses:
        return ""
    loss, run = min(losses, key=lambda pair: pair[0])
    return f"The lowest validation loss of all is {loss:.3f} ({run.config})."


def _note(suite: Suite, begun: Sequence[TrainingRun]) -> str:
    """What the columns mean, and what is to be known of how these runs were trained."""
    if not suite.training_runs:
        return ""
    note = (
        "Loss is cross-entropy on held-out text in nats per token; accuracy is the share of held-out tokens predicted"
        " right; gap is the held-out loss less that on text the model has seen; time is the training loop as of a run"
        " of its own. Each run is one seed, so a loss has no interval of its own."
    )
    if any(run.shared and run.place is None for run in begun):
        note += " The models trained side by side, one thread each, so these times measure no machine."
    note += "".join(_placed(begun))
    if any(run.repeats for run in begun):
        note += " Above one epoch, text was seen more than once."
    left_out = len(suite.training_runs) - len(begun)
    if left_out:
        note += (
            f" {left_out} more runs did not fit the budget or tell less for their time: a larger budget trains them."
        )
    return note


def _placed(runs: Sequence[TrainingRun]) -> Iterator[str]:
    """A sentence on each executor that had runs trained elsewhere: where, and how many on nodes of their own."""
    for executor in sorted({run.place.executor for run in runs if run.place}):
        placed = [run for run in runs if run.place and run.place.executor == executor]
        nodes = sorted({run.place.node for run in placed if run.place})
        own = sum(run.has_own_node for run in placed)
        named = ", ".join(nodes[:_NODES_NAMED]) + (", …" if len(nodes) > _NODES_NAMED else "")
        yield (
            f" {executor.capitalize()} had {len(placed)} of them trained on {len(nodes)} node{'s' * (len(nodes) > 1)}"
            f" ({named}), {own} with a node of their own; the times of the others price nothing."
        )


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
