"""Time of a phase as a sum of what every step pays for, fitted to cells that differ in shape alone."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from statistics import NormalDist
from zlib import crc32

import numpy as np

from scalemark.fit.cost.breaks import Break, find_break
from scalemark.fit.cost.choosing import aicc
from scalemark.fit.cost.fitting import REPLICATES
from scalemark.fit.cost.law import Described, fit_law, sizes_domain
from scalemark.fit.cost.problem import Problem, solve_form
from scalemark.fit.cost.rivals import Sizes
from scalemark.fit.cost.solver import Array
from scalemark.fit.cost.terms import PHASE_NAMES, Limits, state_bytes, time_forms
from scalemark.schema import Accounting, Cell, Estimate, Law, Phase
from scalemark.units import format_bytes, format_percent

_NO_LIMITS = Limits()


@dataclass(frozen=True)
class Timed:
    """Cells with a time, as columns. resampled_s: times that each may truly have, shape (cells, replicates).

    asynchronous: on a device that works through a queue, which the host fills meanwhile.
    """

    counted: tuple[Accounting, ...]
    seconds: Array
    resampled_s: Array
    asynchronous: bool = False

    @classmethod
    def of(cls, cells: Sequence[Cell], seed: int) -> "Timed":
        """The cells that have a time, with times drawn anew within their intervals."""
        usable = [(cell, counted_of(cell), cell.typical_s) for cell in timed_cells(cells) if cell.typical_s]
        resampled = [resample(cell.workload.key, time_s, seed) for cell, _, time_s in usable]
        return cls(
            tuple(accounting for _, accounting, _ in usable),
            np.array([time_s.value for _, _, time_s in usable]),
            np.array(resampled).reshape(-1, REPLICATES),
            any(cell.workload.device == "cuda" for cell, _, _ in usable),
        )


def fit_time_law(
    cells: Sequence[Cell],
    seed: int = 0,
    limits: Limits = _NO_LIMITS,
    phase: Phase = "step",
    like: Law | None = None,
    form_name: str | None = None,
) -> Law:
    """Time of one phase of cells that differ in shape alone; raises FitError where there are too few.

    limits: ceilings measured in the same run, which no term may exceed. like: a law whose form to take, or form_name:
    one that `common_form` gave, so that the coefficients of several can be compared; else the form that fits best.
    """
    timed = Timed.of([cell for cell in cells if cell.workload.phase == phase], seed)
    problem = time_problem(timed, phase, limits, seed)
    if same := tuple(form for form in problem.forms if form.name == form_name or (like and form.text == like.form)):
        problem = replace(problem, forms=same)
    found = _break(problem, phase) if timed.counted else None
    notes = (break_note(found),) if found else ()
    domain = sizes_domain(timed.counted) if timed.counted else {}
    return fit_law(problem, Described("step_time", "s", PHASE_NAMES[phase], domain, notes))


def common_form(groups: Iterable[tuple[Sequence[Cell], Limits]], phase: Phase = "step") -> str:
    """Name of the form that describes all groups best together, among those that each may have.

    Each group is the cells of one law, with its limits. Groups err apart, so their AICc add up.
    """
    scores: list[dict[str, float]] = []
    for cells, limits in groups:
        problem = time_problem(Timed.of(cells, 0), phase, limits, 0)
        scores.append({form.name: aicc(problem, form, solve_form(problem, form)) for form in problem.forms})
    shared = [name for name in scores[0] if all(name in score for score in scores)]
    assert shared, "every device may have the form of a host and its device"
    return min(shared, key=lambda name: sum(score[name] for score in scores))


def timed_cells(cells: Sequence[Cell]) -> list[Cell]:
    """The cells that a time law is fitted to, in its order."""
    return [cell for cell in cells if cell.accounting and cell.typical_s]


def counted_of(cell: Cell) -> Accounting:
    """With attention scores, which suites of before do not have: 4 FLOPs per score and width of a head."""
    counted, model = cell.accounting, cell.workload.model
    assert counted is not None
    if counted.attention_scores is not None or model is None:
        return counted
    scores = round(counted.flops.attention_full / (4 * model.d_head))
    return counted.model_copy(update={"attention_scores": scores})


def time_problem(timed: Timed, phase: Phase, limits: Limits, seed: int) -> Problem:
    """The rows of a time law."""
    params = np.array([float(one.params_non_embedding) for one in timed.counted])
    flops = np.array([one.flops.model_flops(phase) for one in timed.counted])
    items = np.array([float(one.items) for one in timed.counted])
    sizes, forms = Sizes(params, flops, items), time_forms(phase, timed.asynchronous)
    return Problem(forms, timed.counted, timed.seconds, timed.resampled_s, sizes, limits, seed)


def resample(key: str, measured: Estimate, seed: int) -> Array:
    """Values that a cell may truly have, log-normal within its interval (a block bootstrap); shape (replicates,)."""
    rng = np.random.default_rng([seed, crc32(key.encode())])
    low = max(measured.low, measured.value * 1e-3)
    sd = float(np.log(measured.high / low)) / 2 / NormalDist().inv_cdf((1 + measured.level) / 2)
    return np.asarray(measured.value * np.exp(sd * rng.standard_normal(REPLICATES)))


# --- breaks -----------------------------------------------------------------------------------------------------------


def _break(problem: Problem, phase: Phase) -> Break | None:
    """Held against the bytes that a step goes through: what no longer fits a cache is slower from there on."""
    form = problem.forms[0]
    held_bytes = np.array([float(state_bytes(one, phase) + (one.activation_bytes or 0)) for one in problem.counted])
    # What overlaps is linear in its slopes where the fit ended.
    slopes = form.slopes(solve_form(problem, form), form.quantities(problem.counted))
    return find_break(slopes, problem.values, held_bytes, form.lowest(problem.limits), problem.seed)


def break_note(found: Break) -> str:
    return (
        f"a break: shapes that go through {format_bytes(found.above)} and more take"
        f" {format_percent(found.excess, 0)} longer than those up to {format_bytes(found.below)} say, as when a cache"
        " or memory spills; this law mixes both sides"
    )
