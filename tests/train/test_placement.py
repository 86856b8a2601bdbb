"""What is asked of an executor is checked before anything runs."""

import sys

import pytest
from typer.testing import CliRunner

from scalemark.cli import app
from scalemark.errors import InputError
from scalemark.train.placement import Placement


@pytest.mark.parametrize(("executor", "package"), [("ray", "ray"), ("slurm", "submitit")])
def test_without_its_extra_an_executor_names_the_command_that_installs_it(
    executor: str, package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    result = CliRunner().invoke(app, ["train", "--executor", executor])
    assert result.exit_code == 2
    assert f'this needs {package}: run `pip install "scalemark[{executor}]"`' in result.stderr
    assert len(result.stderr.strip().splitlines()) == 2, "the first says that the machine is looked at"


@pytest.mark.parametrize(
    "asked",
    [
        Placement("local", ray_address="1.2.3.4:6379"),
        Placement("slurm", ray_address="1.2.3.4:6379"),
        Placement("local", slurm_options={"partition": "short"}),
        Placement("ray", slurm_options={"partition": "short"}),
    ],
)
def test_an_option_of_another_executor_is_refused(asked: Placement) -> None:
    with pytest.raises(InputError, match="add --executor"):
        asked.check()


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--executor", "kubernetes"], "there is no executor 'kubernetes': choose from local, ray, slurm"),
        (["--executor", "slurm", "--slurm-option", "=short"], "takes K=V"),
    ],
)
def test_what_cannot_be_meant_is_one_line(arguments: list[str], complaint: str) -> None:
    result = CliRunner().invoke(app, ["train", *arguments])
    assert result.exit_code == 2 and complaint in result.stderr


def test_slots_on_this_machine_are_its_cores_or_its_one_gpu() -> None:
    assert Placement().slots(threads=2, n_cpus=8, device="cpu") == 4
    assert Placement().slots(threads=16, n_cpus=8, device="cpu") == 1
    assert Placement().slots(threads=8, n_cpus=8, device="cuda") == 1


def test_what_was_asked_for_is_recorded() -> None:
    assert Placement().options == {}
    assert Placement("ray", "auto").options == {"ray_address": "auto"}
    assert Placement("slurm", None, {"partition": "short"}).options == {"partition": "short"}
