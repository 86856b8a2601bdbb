"""Two suites compared as a whole: their cells and runs, and their laws as predictions. No torch.

The joint between fit and diff: it fits the laws of both sides on equal terms and asks them at the same places.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import hypot, log, sqrt
from statistics import median
from typing import Any

import numpy as np

from scalemark.analysis import FARTHEST_PRICE, PRICED_DEPTHS, ceilings_as_limits, law_cells
from scalemark.diff import compare
from scalemark.diff.family import standard_error
from scalemark.diff.laws import Place, TwoFits, judge_laws, missing_law
from scalemark.diff.machines import Machines
from scalemark.diff.measured import at_references, shared_references_s
from scalemark.diff.noise import mean_over_cells, run_to_run
from scalemark.diff.verdict import MARGIN_FLOOR, TIME_MARGIN
from scalemark.errors import FitError
from scalemark.fit.cost_law import distance, fit_energy_law, fit_memory_law, fit_time_law
from scalemark.fit.cost_law import predict_draws as cost_draws
from scalemark.fit.cost_law import predict_values as cost_values
from scalemark.fit.loss_law import fit_loss_law, frontier, loss_extrapolation
from scalemark.fit.loss_law import predict_draws as loss_draws
from scalemark.fit.loss_law import predict_values as loss_values
from scalemark.model.accounting import account
from scalemark.model.ladder import BATCH, SEQ_LEN, diagonal_shape
from scalemark.model.memory import predict_memory
from scalemark.schema import Cell, Diff, Law, LawDiff, LawKind, Reference, Suite, TrainingRun, Workload
from scalemark.units import format_amount

# What a seed or a shape fixes may not move by more than a law of few rows does.
EXACT_MARGIN = 0.01
LOSS_TARGETS = (1.0, 10.0)


def compare_suites(base: Suite, new: Suite, margin: float | None = None) -> Diff:
    """What `new` says against `base`, laws included; margin: as `diff.compare` takes it."""
    return compare(base, new, margin, compare_laws(base, new, margin))


def compare_laws(base: Suite, new: Suite, margin: float | None = None) -> list[LawDiff]:
    """Each law that the base has; one that the new suite did not ask for is left out."""
    machines = Machines(base.machine, new.machine)
    base, new = at_shared_references(base, new)
    both: list[TwoFits] = []
    missing: list[LawDiff] = []
    for kind, fit in _FITS.items():
        before = _fitted(fit, base, None)
        if isinstance(before, str):
            continue
        after = _fitted(fit, new, before)
        law_margin = _margin(kind, base, margin)
        if isinstance(after, Law):
            both += _two_fits(before, after, base, new, law_margin)
        elif not new.settings.selection:
            missing.append(missing_law(before, law_margin, after))
    return [*judge_laws(both, machines.reason if machines.differ else None), *missing]


_Fit = Callable[[Suite, Law | None], Law]
# Of step time, the second side takes the form of the first: several fit about as well, and only the coefficients of one
# form say what changed.
_FITS: dict[LawKind, _Fit] = {
    "step_time": lambda suite, like: fit_time_law(
        law_cells(suite), suite.settings.seed, ceilings_as_limits(suite), like=like
    ),
    "memory": lambda suite, _: fit_memory_law(law_cells(suite), suite.settings.seed),
    "energy": lambda suite, _: fit_energy_law(law_cells(suite), suite.settings.seed, ceilings_as_limits(suite)),
    "loss": lambda suite, _: fit_loss_law(suite.training_runs, suite.settings.seed, with_holdout=False),
}


def _fitted(fit: _Fit, suite: Suite, like: Law | None) -> Law | str:
    """The law, or why there is none."""
    try:
        return fit(suite, like)
    except FitError as error:
        return str(error)


def at_shared_references(base: Suite, new: Suite) -> tuple[Suite, Suite]:
    """Both suites with their corrected times at the same moment of the reference kernels: that typical of the base."""
    references_s = next((shared_references_s(cell) for cell in base.cells if cell.control), None)
    if references_s is None:
        return base, new
    return _moved(base, references_s), _moved(new, references_s)


def _moved(suite: Suite, references_s: Mapping[Reference, float]) -> Suite:
    cells = [cell.model_copy(update={"corrected_s": at_references(cell, references_s)}) for cell in suite.cells]
    return suite.model_copy(update={"cells": tuple(cells)})


def _margin(kind: LawKind, base: Suite, margin: float | None) -> float:
    if kind in ("memory", "loss"):
        return EXACT_MARGIN
    if margin is not None:
        return margin
    return MARGIN_FLOOR if any(cell.repeats for cell in base.cells) else TIME_MARGIN


def _two_fits(before: Law, after: Law, base: Suite, new: Suite, margin: float) -> list[TwoFits]:
    """Both laws where both can be asked; none where they have no place in common."""
    found = _loss_places(before, after, base, new) if before.kind == "loss" else _cost_places(before, after, base, new)
    if not found.places:
        return []
    values = [found.values(law) for law in (before, after)]
    draws = [found.draws(law) for law in (before, after)]
    shared_sd = _shared_sd(before.kind, base, new)
    return [TwoFits(before, after, found.places, values[0], values[1], draws[0], draws[1], margin, shared_sd)]


@dataclass(frozen=True)
class _Asked:
    """Places, and how a law is asked there."""

    places: tuple[Place, ...]
    values: Callable[[Law], np.ndarray]
    draws: Callable[[Law], np.ndarray]


def _shared_sd(kind: LawKind, base: Suite, new: Suite) -> float:
    """Scatter of a whole law from run to run: that of its cells' mean, or without reruns that of a typical cell."""
    if kind in ("memory", "loss"):
        return 0.0
    keys = {cell.workload.key for cell in law_cells(new)}
    cells = [cell for cell in law_cells(base) if cell.workload.key in keys]
    quantity = "joules" if kind == "energy" else "corrected_s" if all(one.control for one in cells) else "time_s"
    noise = run_to_run({"all": mean_over_cells(cells, quantity)}).get("all")
    if noise:
        return sqrt(2) * noise.sd  # the base's law is of one run, as the new one is
    return hypot(*(_typical_error(law_cells(suite)) for suite in (base, new)))


def _typical_error(cells: Sequence[Cell]) -> float:
    errors = [standard_error(cell.typical_s, len(cell.blocks)) for cell in cells if cell.typical_s]
    return median(errors) if errors else 0.0


# --- places -----------------------------------------------------------------------------------------------------------


def _cost_places(before: Law, after: Law, base: Suite, new: Suite) -> _Asked:
    """The whole steps that both suites timed, and the shapes that are priced."""
    keys = {cell.workload.key for cell in law_cells(new)}
    rungs = [cell for cell in law_cells(base) if cell.workload.key in keys and cell.accounting]
    counted = [_counted(before, cell.workload) for cell in rungs]
    places = _with_pivot([(_rung_name(cell.workload), _size(cell.workload)) for cell in rungs])
    for workload in _priced(base.settings.device):
        one = _counted(before, workload)
        far = max(distance(before, one), distance(after, one))
        if workload not in [cell.workload for cell in rungs] and far <= FARTHEST_PRICE:
            counted.append(one)
            places.append(Place(_rung_name(workload), "target", _size(workload), far))
    return _Asked(tuple(places), lambda law: cost_values(law, counted), lambda law: cost_draws(law, counted))


def _priced(device: Any) -> Iterator[Workload]:
    for depth in PRICED_DEPTHS:
        yield Workload(
            phase="step", model=diagonal_shape(depth), batch=BATCH, seq_len=SEQ_LEN, device=device, optimizer="adamw"
        )


def _counted(law: Law, workload: Workload) -> Any:
    """What a law of this kind is asked with."""
    assert workload.model and workload.batch and workload.seq_len, "cost laws are of transformers"
    if law.kind != "memory":
        return account(workload.model, workload.batch, workload.seq_len)
    predicted = predict_memory(workload)
    assert predicted is not None, "the shape of a model has a predicted memory"
    return predicted


def _size(workload: Workload) -> float:
    assert workload.model and workload.batch and workload.seq_len
    return float(account(workload.model, workload.batch, workload.seq_len).params_non_embedding)


def _rung_name(workload: Workload) -> str:
    shape = "" if (workload.batch, workload.seq_len) == (BATCH, SEQ_LEN) else f" {workload.batch}x{workload.seq_len}"
    return f"{workload.rung}{shape}"


def _with_pivot(named: Sequence[tuple[str, float]]) -> list[Place]:
    """The one nearest to the geometric mean of their sizes is the pivot."""
    if not named:
        return []
    centre = sum(log(size) for _, size in named) / len(named)
    pivot = min(range(len(named)), key=lambda index: abs(log(named[index][1]) - centre))
    return [Place(name, "pivot" if index == pivot else "rung", size) for index, (name, size) in enumerate(named)]


def _loss_places(before: Law, after: Law, base: Suite, new: Suite) -> _Asked:
    """Each model at the most tokens that both trained it on, and the frontier of the base up to ten times the compute.

    Laws with an open parameter hold near their grid alone.
    """
    keys = {run.config.key for run in new.training_runs if run.status == "ok"}
    shared = [run for run in base.training_runs if run.status == "ok" and run.config.key in keys and _is_plain(run)]
    longest: dict[str, TrainingRun] = {}
    for run in sorted(shared, key=lambda run: run.config.tokens):
        longest[run.config.model.name] = run  # type: ignore[union-attr]
    points = [(float(run.accounting.params_non_embedding), float(run.config.tokens)) for run in longest.values()]  # type: ignore[union-attr]
    names = [f"{name}, {format_amount(run.config.tokens)} tokens" for name, run in longest.items()]
    places = _with_pivot([(name, size) for name, (size, _) in zip(names, points, strict=True)])
    if before.status == after.status == "ok" and places:
        for share in LOSS_TARGETS:
            compute_flops = before.domain["compute_flops"].high * share
            size, tokens, _ = frontier(before, compute_flops)
            points.append((size, tokens))
            far = max(loss_extrapolation(law, size, tokens) for law in (before, after))
            name = f"{format_amount(size)} parameters, {format_amount(tokens)} tokens"
            places.append(Place(name, "target", size, far))
    columns = np.array(points).reshape(-1, 2).T
    return _Asked(tuple(places), lambda law: loss_values(law, *columns), lambda law: loss_draws(law, *columns))


def _is_plain(run: TrainingRun) -> bool:
    return run.config.model is not None and run.config.unique_tokens is None and run.accounting is not None
