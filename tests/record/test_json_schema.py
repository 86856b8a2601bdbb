"""The committed JSON schemas say what the files hold."""

import json
from pathlib import Path

import jsonschema
import pytest

from scalemark.record.json_schema import json_schemas
from scalemark.record.store import load_suite

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "docs" / "schema"
BASELINES = sorted((ROOT / "results" / "baselines").glob("*/*.json"))


def schema(name: str) -> dict:
    return json.loads((FOLDER / name).read_text(encoding="utf-8"))


def test_the_committed_schemas_are_those_of_the_types():
    committed = {path.name: path.read_text(encoding="utf-8") for path in FOLDER.glob("*.json")}
    assert committed == json_schemas(), "renew them: scalemark schema docs/schema"


@pytest.mark.parametrize("name", sorted(json_schemas()))
def test_each_is_a_json_schema(name):
    jsonschema.Draft202012Validator.check_schema(schema(name))


@pytest.mark.parametrize("path", BASELINES, ids=lambda path: path.parent.name)
def test_a_suite_on_disk_follows_its_schema_and_one_with_a_word_for_a_time_does_not(path):
    validator = jsonschema.Draft202012Validator(schema("suite.schema.json"))
    suite = load_suite(path).model_dump(mode="json")
    validator.validate(suite)
    suite["cells"][0]["time_s"] = "soon"
    with pytest.raises(jsonschema.ValidationError):
        validator.validate(suite)
