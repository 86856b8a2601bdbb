"""From bytes to a suite, or the one line that says why they are none."""

import json
from collections.abc import Iterable
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from scalemark.errors import SchemaError
from scalemark.schema import SCHEMA_VERSION, Suite

_Model = TypeVar("_Model", bound=BaseModel)


def parse_suite(content: bytes, place: object) -> Suite:
    """The suite that these bytes hold. place: where they are from, for messages.

    Raises SchemaError where they are truncated, foreign, or of a newer schema.
    """
    return parse_as(Suite, content, place)


def parse_as(model: type[_Model], content: bytes, place: object) -> _Model:
    """As `parse_suite`, of another view of a suite, with a schema_version."""
    try:
        found = model.model_validate_json(content)
    except ValidationError as error:
        raise SchemaError(_why_none(content, error, place)) from error
    _check_version(found.schema_version, place)  # type: ignore[attr-defined]
    return found


def _why_none(content: bytes, error: ValidationError, place: object) -> str:
    """What is wrong, by the first thing that a reader must know."""
    try:
        found = json.loads(content)
    except (ValueError, RecursionError):
        return f"{place} is not complete JSON: it was cut off or is no suite; restore it or measure again"
    version = found.get("schema_version") if isinstance(found, dict) else None
    if not isinstance(version, int) or "machine" not in found:
        return f"{place} is JSON but no scalemark suite: give a suite.json or a run's folder"
    _check_version(version, place)
    return f"{place} is not a valid suite ({first_problem(error)}): restore it or measure again"


def _check_version(version: int, place: object) -> None:
    if version > SCHEMA_VERSION:
        raise SchemaError(
            f"{place} has schema version {version}, this scalemark reads up to {SCHEMA_VERSION}: upgrade scalemark"
        )


def first_problem(error: ValidationError) -> str:
    """'cells.0.status: Field required, and 3 more'."""
    problems: Iterable[Any] = error.errors(include_url=False, include_context=False, include_input=False)
    first, *others = problems
    where = ".".join(map(str, first["loc"])) or "the whole"
    return f"{where}: {first['msg']}" + (f", and {len(others)} more" if others else "")
