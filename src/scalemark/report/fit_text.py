"""What a fit to a table says, for a terminal: the law, how well it is told, and how it foretold the largest rows."""

import textwrap
from collections.abc import Iterator, Sequence

from scalemark.report.tables import LAW_TITLES, parameter_table
from scalemark.report.terminal import table_lines
from scalemark.schema import Estimate, FitResult, HiddenRows, Parameter
from scalemark.units import format_amount, format_percent, format_seconds, significant

_STATUS_WORDS = {
    "converged": "",
    "bound": "a parameter stopped at the edge of its range: the rows do not tell it",
    "unfinished": "the solver was still going down when its steps were over: do not trust these numbers",
    "not_finite": "the objective is not a number anywhere: look at the rows",
    "not_identified": "the rows leave a parameter open: predictions near them hold, it does not",
}


def fit_lines(result: FitResult, parameters: Sequence[Parameter], width: int) -> list[str]:
    """All of it, at most `width` columns wide."""
    table = parameter_table(LAW_TITLES[result.kind], parameters, f"{result.formula}.")
    prose = (line for text in _lines(result) for line in textwrap.wrap(text, width, subsequent_indent=" " * 10))
    return [*table_lines(table, width), "", *prose]


def _lines(result: FitResult) -> Iterator[str]:
    dropped = f", {result.dropped} dropped" if result.dropped else ""
    name = result.objective.name + (f" (δ = {result.objective.delta:g})" if result.objective.delta else "")
    yield f"fit       {result.form}, {result.n} rows{dropped}; {name} {result.objective.value:.7g}"
    if words := _STATUS_WORDS[result.status]:
        yield f"status    {result.status}: {words}"
    if result.steepness is not None:
        starts = f"; {format_percent(result.reached, 0)} of the starts ended there" if result.reached else ""
        yield f"solver    slope {result.steepness:.1g} at the end{starts}"
    boot = result.bootstrap
    lost = f", {boot.unconverged} not at rest" if boot.unconverged else ""
    yield f"bootstrap {boot.replicates} refits{lost}, {format_seconds(boot.seconds, 2)} with the fit"
    if result.allocation:
        yield f"optimum   N ∝ C^a with a = {_interval(result.allocation)}"
    yield from _convention_lines(result)
    yield from _holdout_lines(result.holdout)
    yield from _knowledge_lines(result)
    yield from (f"note      {note}" for note in result.notes)
    if result.data_sha256:
        yield f"data      {result.source}, SHA-256 {result.data_sha256[:12]}…"


def _interval(estimate: Estimate) -> str:
    """'0.514 (0.487 to 0.549)'."""
    return f"{significant(estimate.value)} ({significant(estimate.low)} to {significant(estimate.high)})"


def _convention_lines(result: FitResult) -> Iterator[str]:
    """What a is by other approaches, and how far other conventions move it and the optimal size."""
    for check in result.checks:
        if check.allocation:
            yield f"          {check.how}: a = {_interval(check.allocation)}"
    found = [one.allocation.value for one in result.conventions if one.allocation]
    sizes = [one.optimal_params for one in result.conventions if one.optimal_params]
    if found and sizes:
        yield (
            f"          other conventions (δ, outliers, form): a from {significant(min(found))} to "
            f"{significant(max(found))}, size at ten times the compute {format_amount(min(sizes))} to "
            f"{format_amount(max(sizes))}"
        )


def _knowledge_lines(result: FitResult) -> Iterator[str]:
    """What the rows tell of each parameter, which form they ask for, and which run would tell most."""
    for verdict in result.verdicts.values():
        if "not identified" in verdict:
            yield f"open      {verdict}"
    scores = [
        f"{one.form} {one.aicc:.1f} ({format_percent(one.mape, 2)})" for one in result.forms if one.aicc is not None
    ]
    if scores:
        yield f"forms     AICc (error on the largest quarter): {', '.join(scores)}"
    if run := result.next_run:
        yield (
            f"next run  {format_amount(run.params)} parameters on {format_amount(run.tokens)} tokens would narrow the "
            f"prediction at ten times the compute by {format_percent(run.narrowing)}"
        )


def _holdout_lines(holdout: HiddenRows | None) -> Iterator[str]:
    if holdout is None:
        yield "holdout   too few rows to hide the largest and still fit a law"
        return
    error, coverage = format_percent(holdout.mape, 2), format_percent(holdout.coverage, 0)
    yield (
        f"holdout   {holdout.n} rows hidden, up to {significant(holdout.reach, 2)}× beyond the {holdout.n_kept} kept: "
        f"mean error {error}, {coverage} inside their 90 % intervals"
    )
    if holdout.rivals:
        others = ", ".join(f"{name} {format_percent(missed)}" for name, missed in holdout.rivals.items())
        yield f"          simpler laws missed them by more: {others}"
