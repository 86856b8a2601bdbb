"""The workflows are YAML that GitHub takes, and every command of ours that they run exists as they write it."""

import re
import shlex
from pathlib import Path

import pytest
from typer.main import get_command

from scalemark.cli import app

yaml = pytest.importorskip("yaml")
FOLDER = Path(__file__).parents[1] / ".github" / "workflows"
WORKFLOWS = sorted(FOLDER.glob("*.yml"))


def loaded(path: Path) -> dict:
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def scripts(path: Path) -> list[str]:
    return [step["run"] for job in loaded(path)["jobs"].values() for step in job["steps"] if "run" in step]


def our_commands() -> list[str]:
    lines = [line.strip() for path in WORKFLOWS for script in scripts(path) for line in script.splitlines()]
    return [line for line in lines if line.startswith("scalemark ")]


def test_the_workflows_were_found() -> None:
    assert [path.name for path in WORKFLOWS] == ["benchmark.yml", "tests.yml"]
    assert len(our_commands()) >= 4


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_every_job_has_a_runner_a_time_limit_and_steps(path: Path) -> None:
    workflow = loaded(path)
    assert {"name", "permissions", "jobs"} <= set(workflow)
    assert workflow.get("on", workflow.get(True)), "YAML 1.1 reads the key `on` as true"
    for job in workflow["jobs"].values():
        assert job["runs-on"] and job["timeout-minutes"] <= 60
        assert all(("run" in step) != ("uses" in step) for step in job["steps"])


@pytest.mark.parametrize("command", our_commands())
def test_a_command_of_ours_and_its_options_exist(command: str) -> None:
    words = shlex.split(command.split("||")[0])[1:]
    found = get_command(app)
    while words and words[0] in getattr(found, "commands", {}):
        found = found.commands[words.pop(0)]
    known = {name for parameter in found.params for name in parameter.opts}
    assert not hasattr(found, "commands"), f"{command!r} names no command of scalemark"
    assert {word for word in words if word.startswith("--")} <= known


def test_the_options_of_pytest_are_those_of_the_plugin(pytestconfig: pytest.Config) -> None:
    given = {word for path in WORKFLOWS for script in scripts(path) for word in re.findall(r"--scale-[a-z-]+", script)}
    assert given
    for option in given:
        assert pytestconfig.getoption(option.removeprefix("--").replace("-", "_"), default=KeyError) is not KeyError


def test_the_comment_carries_a_marker_by_which_it_is_found_again() -> None:
    assert "<!-- scalemark: benchmark -->" in (FOLDER / "benchmark.yml").read_text(encoding="utf-8")


def test_the_summary_is_cut_at_what_github_takes() -> None:
    assert loaded(FOLDER / "benchmark.yml")["env"]["SUMMARY_LIMIT_BYTES"] == 1024 * 1024
