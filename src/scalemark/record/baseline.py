"""Baselines: suites kept to compare with, in results/baselines/<machine id>/<suite id>.json.

Several may lie side by side for one machine; the newest by its time of creation counts, and none is overwritten.
"""

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from scalemark.errors import InputError, SchemaError
from scalemark.record.glance import SuiteGlance
from scalemark.record.store import is_file_name, load_suite, save_suite
from scalemark.schema import SCHEMA_VERSION, Cell, Suite


@dataclass(frozen=True)
class Baseline:
    """A suite on disk, and when it was made."""

    path: Path
    suite: Suite
    created: datetime


def save_baseline(suite: Suite, results_root: Path) -> Path:
    """Keep this suite as a baseline of its machine and return its file.

    An energy that was estimated, not measured, is left out of what is kept. Reruns may be added to one that is there;
    saving it without them takes none away. Raises InputError for a suite that is no measurement (fake), not whole, or
    already there with other content.
    """
    check_usable(suite)
    suite = _without_estimates(suite)
    path = _folder(results_root, suite.machine.id) / f"{suite.id}.json"
    there = load_suite(path) if path.exists() else None
    if there and _without_repeats(there) != _without_repeats(suite):
        raise InputError(f"{path} holds another suite of this id: remove it first if this one shall replace it")
    if there is None or any(cell.repeats for cell in suite.cells):
        save_suite(suite, path)
    return path


def check_usable(suite: Suite) -> None:
    """Raises InputError for a suite that cannot be a baseline."""
    if suite.fake or any(cell.energy and cell.energy.fake for cell in suite.cells):
        raise InputError(f"suite {suite.id} was made with a faked source: measure for real before saving a baseline")
    if not suite.complete:
        raise InputError(f"suite {suite.id} is not complete: let a run reach its end before saving a baseline")
    if not any(cell.status == "ok" for cell in suite.cells) and not suite.training_runs:
        raise InputError(f"suite {suite.id} measured nothing: select some cells before saving a baseline")
    for name in (suite.id, suite.machine.id):
        if not is_file_name(name):
            raise InputError(f"{name!r} cannot name a file: give a suite that scalemark wrote")
    creation_time(suite)


def _without_estimates(suite: Suite) -> Suite:
    return suite.model_copy(update={"cells": tuple(map(_without_estimate, suite.cells))})


def _without_estimate(cell: Cell) -> Cell:
    if cell.energy is None or cell.energy.estimated_j is None:
        return cell
    return cell.model_copy(update={"energy": cell.energy.model_copy(update={"estimated_j": None})})


def _without_repeats(suite: Suite) -> Suite:
    cells = tuple(cell.model_copy(update={"repeats": None}) for cell in suite.cells)
    return suite.model_copy(update={"cells": cells, "schema_version": SCHEMA_VERSION})


def list_baselines(results_root: Path) -> list[Baseline]:
    """All baselines, by machine, oldest first; raises StoreError where one cannot be read."""
    paths = (results_root / "baselines").glob("*/*.json")
    found = [_load(path) for path in paths]
    return sorted(found, key=lambda baseline: (baseline.suite.machine.id, baseline.created, baseline.suite.id))


def find_baseline(results_root: Path, machine_id: str) -> Suite | None:
    """The newest baseline of this machine, or None.

    Raises StoreError where any of them cannot be read: a broken baseline must not pass for an older one.
    """
    found = [_load(path) for path in _folder(results_root, machine_id).glob("*.json")]
    newest = max(found, key=lambda baseline: (baseline.created, baseline.suite.id), default=None)
    return newest.suite if newest else None


def _folder(results_root: Path, machine_id: str) -> Path:
    return results_root / "baselines" / machine_id


def _load(path: Path) -> Baseline:
    suite = load_suite(path)
    return Baseline(path=path, suite=suite, created=creation_time(suite))


def creation_time(suite: Suite | SuiteGlance) -> datetime:
    """When it was made, in UTC where it does not say; raises SchemaError where that is no time."""
    try:
        created = datetime.fromisoformat(suite.created)
    except ValueError as error:
        raise SchemaError(
            f"suite {suite.id} was created at {suite.created!r}, which is no time: give a suite that scalemark wrote"
        ) from error
    return created if created.tzinfo else created.replace(tzinfo=UTC)
