"""The whole examination of this machine, and that it is of the machine which a run would record."""

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from scalemark import session
from scalemark.doctor import Doctor, examine, render
from scalemark.doctor.screen import SCREEN_COLUMNS, SCREEN_LINES
from scalemark.measure.device import torch_facts
from scalemark.process import default_affinity, default_threads
from scalemark.record.machine import fingerprint, machine_id
from scalemark.schema import Facts
from scalemark.train.placement import LOCAL

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


@pytest.fixture(scope="module")
def here() -> Doctor:
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("TORCHINDUCTOR_CACHE_DIR", raising=False)  # torch sets it in a process that has compiled
        return examine()


@pytest.fixture(scope="module")
def examined(tmp_path_factory: pytest.TempPathFactory) -> Doctor:
    """This machine, without the kernel files that only some machines have."""
    empty = tmp_path_factory.mktemp("empty")
    return examine(empty / "results", root=empty)


def as_recorded() -> Any:
    """What a session would write of its start, had a worker just looked at the machine."""
    facts: Facts = torch_facts(DEVICE)  # type: ignore[arg-type]
    settings = {"budget_s": 60.0, "selection": None, "stated_power_w": None}
    site = {"threads": default_threads(), "affinity": default_affinity(), "seed": 0, "device": DEVICE}
    return session.run_started(
        SimpleNamespace(seed=0, placement=LOCAL, **settings),  # type: ignore[arg-type]
        SimpleNamespace(id="a-run"),  # type: ignore[arg-type]
        SimpleNamespace(**site),  # type: ignore[arg-type]
        DEVICE,  # type: ignore[arg-type]
        fingerprint(facts, default_threads(), affinity=default_affinity()),
        SimpleNamespace(facts=None),  # type: ignore[arg-type]
        n_blocks=3,
    )


def test_the_doctor_names_the_machine_as_a_run_records_it(here: Doctor) -> None:
    assert here.machine.identity == as_recorded().machine.identity
    assert here.machine.id == as_recorded().machine.id == machine_id(here.machine.identity)


def test_every_concern_is_examined_once(examined: Doctor) -> None:
    names = [check.name for check in examined.checks if check.name != "energy (gpu)"]
    assert names == [
        *("cpu", "caches", "memory", "gpu", "energy (cpu)", "resident peak", "timer"),
        *("clock", "throttling", "load", "noise", "pressure"),
        *("torch", "threads", "compiler", "packages", "corpus", "results"),
    ]


def test_the_doctor_survives_json_with_the_machine_in_it(here: Doctor) -> None:
    read = Doctor.model_validate_json(here.model_dump_json())
    assert read == here
    assert read.machine.identity and read.machine.context and read.machine.state


def test_this_machine_fits_on_one_screen_uncut(here: Doctor) -> None:
    lines = render(here).splitlines()
    assert len(lines) <= SCREEN_LINES
    assert not [line for line in lines if len(line) > SCREEN_COLUMNS or line.endswith("...")]


def test_whatever_is_missing_or_limited_here_comes_with_advice(examined: Doctor) -> None:
    assert not [check.name for check in examined.checks if check.status != "ok" and not check.advice]
