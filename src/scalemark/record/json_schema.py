"""The JSON Schema (2020-12) of every file that scalemark writes for other programs, from the types themselves.

The schemas are committed under docs/schema/, so that a reader in another language has something to check files with;
a test compares them with the types.
"""

import json
from typing import Any

from pydantic import TypeAdapter

from scalemark.schema import SCHEMA_VERSION, AbResult, Diff, FitResult, History, JournalEntry, Suite, TrainingPlan

DIALECT = "https://json-schema.org/draft/2020-12/schema"
# By the stem of the schema's file: what is written, and by what.
DOCUMENTS: dict[str, tuple[str, Any]] = {
    "suite": ("a suite: results/runs/<id>/suite.json, and baselines", Suite),
    "journal-entry": ("one line of results/runs/<id>/journal.jsonl", JournalEntry),
    "diff": ("what `scalemark diff --json` writes", Diff),
    "ab": ("what `scalemark ab --json` writes", AbResult),
    "fit": ("what `scalemark fit loss --json` and `fit cost --json` write", FitResult),
    "history": ("what `scalemark history --json` writes", History),
    "plan": ("what `scalemark plan --json` writes", TrainingPlan),
}


def json_schemas() -> dict[str, str]:
    """The text of each schema, by file name ('suite.schema.json'); the same text for the same types."""
    return {f"{name}.schema.json": _text(title, kind) for name, (title, kind) in DOCUMENTS.items()}


def _text(title: str, kind: Any) -> str:
    schema = TypeAdapter(kind).json_schema(mode="serialization")
    head = {"$schema": DIALECT, "$comment": f"suite format version {SCHEMA_VERSION}", **schema, "title": title}
    return json.dumps(head, indent=1, ensure_ascii=False, sort_keys=True) + "\n"
