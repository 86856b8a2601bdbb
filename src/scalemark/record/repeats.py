"""What whole reruns of a suite's cells gave, put beside them: how far runs of one code differ here."""

from collections.abc import Mapping, Sequence
from statistics import median

from scalemark.errors import InputError
from scalemark.schema import Cell, Reference, Repeats, Suite


def with_repeats(suite: Suite, reruns: Sequence[Suite]) -> Suite:
    """The suite, each cell with what the reruns gave for it; the suite's own run is not among them.

    Corrected times are at references that are typical of the reruns: one run may have met a moment so slow that
    correcting all others to it would only add noise. Raises InputError where a rerun is of another machine, is not
    whole or was made up.
    """
    for rerun in reruns:
        _check(suite, rerun)
    references_s = _typical_references_s(reruns)
    found = [{cell.workload.key: cell for cell in rerun.cells if cell.status == "ok"} for rerun in reruns]
    return suite.model_copy(update={"cells": tuple(_with_repeats(cell, found, references_s) for cell in suite.cells)})


def _typical_references_s(reruns: Sequence[Suite]) -> dict[Reference, float]:
    """Each reference kernel's median over the reruns that ran it."""
    found: dict[Reference, list[float]] = {}
    for rerun in reruns:
        control = next((cell.control for cell in rerun.cells if cell.control), None)
        for kernel, second in (control.references_s if control else {}).items():
            found.setdefault(kernel, []).append(second)
    return {kernel: median(seconds) for kernel, seconds in found.items()}


def _check(suite: Suite, rerun: Suite) -> None:
    why_not = {
        "is of another machine": rerun.machine.id != suite.machine.id,
        "is not complete": not rerun.complete,
        "was made with a faked source": rerun.fake,
    }
    for what, holds in why_not.items():
        if holds:
            raise InputError(f"rerun {rerun.id} {what}, so its noise is not that of {suite.id}: rerun it here, whole")


def _with_repeats(cell: Cell, reruns: Sequence[Mapping[str, Cell]], references_s: Mapping[Reference, float]) -> Cell:
    again = [rerun.get(cell.workload.key) for rerun in reruns]
    if cell.status != "ok" or not any(again):
        return cell
    repeats = Repeats(
        time_s=tuple(one.time_s.value if one and one.time_s else None for one in again),
        corrected_s=tuple(_corrected_s(one, references_s) for one in again),
        references_s=dict(references_s),
        joules=tuple(_joules(one) for one in again),
    )
    return cell.model_copy(update={"repeats": repeats})


def _corrected_s(again: Cell | None, references_s: Mapping[Reference, float]) -> float | None:
    """The rerun's time at these references."""
    if again is None or again.corrected_s is None or again.control is None:
        return None
    return again.corrected_s.value * again.control.factor_at(dict(references_s))


def _joules(again: Cell | None) -> float | None:
    measured = again.energy.joules_per_round if again and again.energy else None
    return measured.value if measured else None
