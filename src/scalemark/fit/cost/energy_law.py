"""Energy of a step: a power that is drawn while it lasts, whatever it does, and joules per FLOP and per byte.

    energy = standing power · step time(shape) + J/FLOP · FLOPs + J/byte · bytes

The time is that of the energy's own windows where they tell it, since a clock that rose or fell between two passes
moves both. To predict, the time comes from the time law of the same cells, replicate by replicate.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from scalemark.errors import FitError
from scalemark.fit.cost.fitting import REPLICATES, Fit, estimate, fit
from scalemark.fit.cost.hidden import covered_by, errors_of, largest
from scalemark.fit.cost.law import floats, parameters, sizes_domain
from scalemark.fit.cost.problem import Problem
from scalemark.fit.cost.rivals import Sizes, rival_errors
from scalemark.fit.cost.solver import Array
from scalemark.fit.cost.terms import Form, Limits, Term, state_bytes, time_forms
from scalemark.fit.cost.time_law import Timed, resample, time_problem
from scalemark.fit.prediction import hidden_rows
from scalemark.schema import Accounting, Cell, Estimate, Holdout, Law

_NO_LIMITS = Limits()
_OWN_TERMS = (
    Term("standing_power_w", "W", "power drawn while a step lasts, whatever it computes", lambda row: row.seconds),
    Term(
        "energy_per_flop_j",
        "J/FLOP",
        "matrix products and attention, beyond the standing power",
        lambda row: row.accounting.flops.model_flops("step"),
    ),
    Term(
        "energy_per_byte_j",
        "J/byte",
        "activations, logits, parameters, gradients and optimizer states, beyond the standing power",
        lambda row: moved_bytes(row.accounting),
    ),
)
ENERGY_FORM = Form("sum", "energy = standing power · time + J/FLOP · FLOPs + J/byte · bytes", _OWN_TERMS)


@dataclass(frozen=True)
class EnergyRow:
    """A shape and how long its step takes."""

    accounting: Accounting
    seconds: float


@dataclass(frozen=True)
class Composed:
    """The energy form with a time form in place of the time. Coefficients: those of energy, then those of time."""

    time: Form

    @property
    def text(self) -> str:
        return f"{ENERGY_FORM.text}; {self.time.text}"

    def quantities(self, counted: Sequence[Any]) -> Array:
        """Shape (rows, terms of energy and time); the time is put in when the form is evaluated."""
        own = ENERGY_FORM.quantities([EnergyRow(one, 1.0) for one in counted])
        return np.hstack([own, self.time.quantities(counted)])

    def evaluate(self, coefficients: Array, quantities: Array) -> Array:
        """Joules, shape (…, rows)."""
        n = len(_OWN_TERMS)
        seconds = self.time.evaluate(coefficients[..., n:], quantities[:, n:])
        return np.asarray(coefficients[..., :1] * seconds + coefficients[..., 1:n] @ quantities[:, 1:n].T)


@cache
def energy_forms() -> tuple[Composed, ...]:
    """One for each form that the time of a step may have."""
    return tuple(Composed(form) for asynchronous in (False, True) for form in time_forms("step", asynchronous))


def fit_energy_law(cells: Sequence[Cell], seed: int = 0, limits: Limits = _NO_LIMITS) -> Law:
    """Joules of a step; raises FitError, with the counter's reason, where no energy was measured.

    limits: ceilings of the run, for the time law inside.
    """
    usable = metered_cells(cells)
    if cells and not usable:
        raise FitError(f"no energy was measured: {_reason(cells)}")
    problem = _problem(usable, seed)
    both = _Both.of(usable, seed, limits)
    return Law(
        kind="energy",
        form=both.form.text,
        unit="J",
        subject="training step",
        parameters=parameters(both.own, problem),
        domain=sizes_domain([row.accounting for row in problem.counted]),
        n=len(usable),
        residuals=floats(np.expm1(both.own.log_residuals)),
        residual_sd=both.scatter(is_beyond=False),
        coefficients=floats(both.coefficients),
        draws=tuple(floats(draw) for draw in both.draws),
        notes=(*_idle_note(usable), "its residuals were told the time, predictions take it from the time law"),
        holdout=_holdout(usable, seed, limits),
    )


def metered_cells(cells: Sequence[Cell]) -> list[Cell]:
    """The cells that an energy law is fitted to, in its order."""
    return [cell for cell in cells if cell.accounting and cell.typical_s and _joules(cell)]


@dataclass(frozen=True)
class _Both:
    """The law of energy at a known time, and that of the time, fitted to the same cells."""

    own: Fit
    time: Fit

    @classmethod
    def of(cls, cells: Sequence[Cell], seed: int, limits: Limits) -> "_Both":
        own = fit(_problem(cells, seed))
        return cls(own, fit(time_problem(Timed.of(cells, seed), "step", limits, seed)))

    @property
    def form(self) -> Composed:
        return Composed(self.time.form)

    @property
    def coefficients(self) -> Array:
        return np.concatenate([self.own.coefficients, self.time.coefficients])

    @property
    def draws(self) -> Array:
        """Shape (replicates, coefficients): a replicate of the one beside the same replicate of the other."""
        return np.hstack([self.own.draws, self.time.draws])

    def scatter(self, is_beyond: bool) -> float:
        """Of the logarithm of an energy whose time is predicted."""
        if is_beyond:
            return float(np.hypot(self.own.beyond_sd, self.time.beyond_sd))
        return float(np.hypot(self.own.residual_sd, self.time.residual_sd))

    def predict(self, accounting: Accounting, is_beyond: bool) -> Estimate:
        """Joules of a step of a shape whose time is not known."""
        return estimate(self.form, self.coefficients, self.draws, accounting, self.scatter(is_beyond))


def _holdout(cells: Sequence[Cell], seed: int, limits: Limits) -> Holdout | None:
    """Both laws refitted without the largest sizes, whose time is not told either."""
    problem = _problem(cells, seed)
    hidden = largest(problem.sizes.params)
    if hidden is None:
        return None
    kept, unseen = problem.only(~hidden), problem.only(hidden)
    both = _Both.of([cell for cell, hide in zip(cells, hidden, strict=True) if not hide], seed, limits)
    above = float(kept.sizes.params.max())
    predicted = [
        both.predict(row.accounting, bool(params > above))
        for row, params in zip(unseen.counted, unseen.sizes.params, strict=True)
    ]
    return Holdout(
        variable="params_non_embedding",
        above=above,
        errors=errors_of(predicted, unseen.values),
        covered=covered_by(predicted, unseen.values),
        reach=float(unseen.sizes.params.max()) / above,
        rivals=rival_errors(kept.sizes, kept.values, unseen.sizes, unseen.values),
        rows=hidden_rows(np.flatnonzero(hidden), unseen.values, predicted),
    )


def _problem(cells: Sequence[Cell], seed: int) -> Problem:
    rows = tuple(EnergyRow(cell.accounting, _seconds(cell)) for cell in cells if cell.accounting)
    joules = [measured for cell in cells if (measured := _joules(cell))]
    keys = [cell.workload.key for cell in cells]
    resampled = [resample(key, measured, seed) for key, measured in zip(keys, joules, strict=True)]
    return Problem(
        forms=(ENERGY_FORM,),
        counted=rows,
        values=np.array([measured.value for measured in joules]),
        resampled=np.array(resampled).reshape(-1, REPLICATES),
        sizes=Sizes(
            np.array([float(row.accounting.params_non_embedding) for row in rows]),
            np.array([row.accounting.flops.model_flops("step") for row in rows]),
            np.array([float(row.accounting.items) for row in rows]),
        ),
        seed=seed,
    )


def moved_bytes(accounting: Accounting) -> int:
    """Activations, logits and everything that the optimizer goes through, each byte once."""
    return (accounting.activation_bytes or 0) + (accounting.logits_bytes or 0) + state_bytes(accounting)


def _joules(cell: Cell) -> Estimate | None:
    """What a counter gave; never what was estimated from a stated power."""
    energy = cell.energy
    return energy.joules_per_round if energy and energy.status == "ok" else None


def _seconds(cell: Cell) -> float:
    """Of the window that counted the energy; of the timed rounds where preparation was taken off by subtraction."""
    energy, typical = cell.energy, cell.typical_s
    assert energy and typical
    if energy.method == "direct" and energy.window_s and energy.rounds:
        return energy.window_s / energy.rounds
    return typical.value


def _reason(cells: Sequence[Cell]) -> str:
    reasons = [cell.energy.reason for cell in cells if cell.energy and cell.energy.reason]
    return reasons[0] if reasons else "the run had no energy pass"


def _idle_note(cells: Sequence[Cell]) -> tuple[str, ...]:
    """What the device draws at rest: the standing power is what to compare with it."""
    idle = [cell.energy.idle_w.value for cell in cells if cell.energy and cell.energy.idle_w]
    return (f"at rest the device drew {np.median(idle):.3g} W",) if idle else ()
