"""What a fitted loss law does not know: open parameters, other approaches, other conventions, the run to train next.

The joint between the checks in `scalemark.fit` and what a result says of them.
"""

from collections.abc import Callable, Iterable

from scalemark.errors import FitError
from scalemark.fit.compare import compare_forms
from scalemark.fit.identify import identify
from scalemark.fit.isoflop import AllocationCheck, envelope, isoflop
from scalemark.fit.loss_fit import LossFit
from scalemark.fit.next_run import next_run
from scalemark.fit.rows import Rows
from scalemark.fit.sensitivity import sensitivity
from scalemark.schema import AllocationFound, Estimate, FormScore, UsefulRun

_APPROACHES: dict[str, Callable[[Rows], AllocationCheck]] = {"envelope": envelope, "IsoFLOP profiles": isoflop}


def diagnose(fit: LossFit, rows: Rows, all_rows: Rows, dropped: int) -> dict[str, object]:
    """Fields of a `FitResult`. rows: those that were fitted; all_rows: with the `dropped` highest losses among them."""
    told = identify(fit, rows)
    return {
        "condition": told.condition,
        "verdicts": {profile.name: profile.verdict for profile in told.profiles},
        "forms": _forms(rows),
        "checks": tuple(_check(how, approach, rows) for how, approach in _APPROACHES.items()),
        "conventions": tuple(_conventions(fit, all_rows, dropped)),
        "next_run": _next_run(fit, rows),
    }


def _forms(rows: Rows) -> tuple[FormScore, ...]:
    try:
        return compare_forms(rows)
    except FitError:
        return ()


def _check(how: str, approach: Callable[[Rows], AllocationCheck], rows: Rows) -> AllocationFound:
    try:
        return AllocationFound(how=how, allocation=approach(rows).exponent)
    except FitError as error:
        return AllocationFound(how=how, reason=str(error))


def _conventions(fit: LossFit, all_rows: Rows, dropped: int) -> Iterable[AllocationFound]:
    """Each choice alone, all else as it was fitted; none for a form without an optimal size."""
    try:
        swept = sensitivity(all_rows, fit.form, dropped, fit.delta)
    except FitError:
        return
    for choice in swept.choices:
        a = Estimate(value=choice.allocation, low=choice.allocation, high=choice.allocation)
        yield AllocationFound(how=choice.name, allocation=a, optimal_params=choice.params)


def _next_run(fit: LossFit, rows: Rows) -> UsefulRun | None:
    try:
        best = next_run(fit, rows).best
    except FitError:
        return None
    return UsefulRun(params=best.params, tokens=best.tokens, compute_flops=best.cost, narrowing=best.narrowing)
