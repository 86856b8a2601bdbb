"""What is run again for a baseline's noise, and for how long."""

from pathlib import Path
from types import SimpleNamespace

import pytest
from factories import make_machine, make_suite

from scalemark import repeating
from scalemark.errors import InputError
from scalemark.record.store import Journal
from scalemark.repeating import repeat_cells, rerun_request, timing_budget_s
from scalemark.schema import RunStarted, Suite

BASE = make_suite("base")


def changed(**fields: object) -> Suite:
    return BASE.model_copy(update=fields)


def test_the_same_cells_run_again_with_the_same_settings_and_nothing_is_trained(tmp_path: Path) -> None:
    first = BASE.cells[0].model_copy(update={"status": "oom"})
    request = rerun_request(changed(cells=(first, *BASE.cells[1:])), tmp_path)
    assert request.workloads == tuple(cell.workload for cell in BASE.cells[1:])
    assert request.trainings == ()
    assert (request.device, request.seed) == (BASE.settings.device, BASE.settings.seed)


def test_they_get_the_time_that_timing_had() -> None:
    """Of 480 s, models of one thread, two at a time, took half of the sum of theirs."""
    trained_s = sum(run.total_seconds or 0 for run in BASE.training_runs)
    assert timing_budget_s(BASE) == pytest.approx(480 - trained_s / 2)
    assert timing_budget_s(changed(training_runs=())) == 480


def test_they_get_no_less_than_a_run_needs() -> None:
    short = BASE.settings.model_copy(update={"budget_s": 60.0})
    assert timing_budget_s(changed(settings=short)) == 45


def test_a_suite_without_cells_has_no_noise(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no measured cell"):
        rerun_request(changed(cells=()), tmp_path)


def faked(machine_id: str, root: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Runs that only begin a journal and hand back a suite; what they were asked to do, in order."""
    done: list[str] = []

    def start(request: object) -> SimpleNamespace:
        folder = SimpleNamespace(journal_path=root / f"{len(done)}.jsonl", suite_path=root / "suite.json")
        begun = RunStarted(
            id="again",
            created=BASE.created,
            scalemark_version="0.1.0",
            machine=make_machine(machine_id),
            settings=BASE.settings,
        )
        Journal(folder.journal_path).append(begun)
        return SimpleNamespace(folder=folder, expected_s=60.0)

    monkeypatch.setattr(repeating, "start", start)
    monkeypatch.setattr(repeating, "describe", lambda session: ["the plan"])
    monkeypatch.setattr(repeating, "measure", lambda session, tell: done.append("measured"))
    monkeypatch.setattr(repeating, "finish", lambda session, complete: make_suite("again", seed=len(done)))
    return done


def test_each_rerun_is_a_campaign_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done = faked(BASE.machine.id, tmp_path, monkeypatch)
    told: list[str] = []
    found = repeat_cells(BASE, 3, tmp_path, told.append)
    assert done == ["measured"] * 3
    times = [make_suite(seed=seed).cells[0].time_s.value for seed in (1, 2, 3)]  # type: ignore[union-attr]
    assert found.cells[0].repeats and list(found.cells[0].repeats.time_s) == times
    assert told[0].startswith("3 reruns, about 3.0 min") and "the plan" in told
    assert told[-1].startswith("rerun 3 of 3")


def test_another_machine_is_refused_before_anything_is_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = faked("elsewhere", tmp_path, monkeypatch)
    with pytest.raises(InputError, match="rerun it where it was measured"):
        repeat_cells(BASE, 3, tmp_path, lambda line: None)
    assert done == []
