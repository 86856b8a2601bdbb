"""Baselines are real, whole, never overwritten, and the newest counts."""

from pathlib import Path

import pytest
from factories import make_suite

from scalemark.errors import InputError, SchemaError
from scalemark.record.baseline import find_baseline, list_baselines, save_baseline
from scalemark.schema import Energy, Suite


def suite(id: str = "a", created: str = "2026-01-01T00:00:00Z", machine_id: str = "here", **changes: object) -> Suite:
    return make_suite(id=id, machine_id=machine_id).model_copy(update={"created": created, **changes})


def test_a_baseline_lies_below_its_machine_and_comes_back_equal(tmp_path: Path) -> None:
    path = save_baseline(suite(), tmp_path)
    assert path == tmp_path / "baselines" / "here" / "a.json"
    assert find_baseline(tmp_path, "here") == suite()


def test_the_newest_by_creation_counts_whatever_its_name_or_time_zone(tmp_path: Path) -> None:
    save_baseline(suite("b", "2026-01-02T00:00:00+02:00"), tmp_path)  # 22:00 UTC the day before
    save_baseline(suite("a", "2026-01-01T23:00:00Z"), tmp_path)
    newest = find_baseline(tmp_path, "here")
    assert newest is not None
    assert newest.id == "a"
    assert [baseline.suite.id for baseline in list_baselines(tmp_path)] == ["b", "a"]


def test_another_machine_has_no_baseline_here(tmp_path: Path) -> None:
    save_baseline(suite(), tmp_path)
    assert find_baseline(tmp_path, "elsewhere") is None


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"fake": True}, "faked"),
        ({"complete": False}, "not complete"),
        ({"cells": (), "training_runs": ()}, "measured nothing"),
        ({"id": "../../a"}, "cannot name a file"),
    ],
)
def test_a_suite_that_is_no_measurement_is_refused(tmp_path: Path, change: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        save_baseline(suite().model_copy(update=change), tmp_path)
    assert list_baselines(tmp_path) == []


def with_energy(energy: Energy) -> Suite:
    whole = suite()
    return whole.model_copy(update={"cells": (whole.cells[0].model_copy(update={"energy": energy}), *whole.cells[1:])})


def test_one_faked_reading_makes_a_suite_no_measurement(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="faked"):
        save_baseline(with_energy(Energy(status="unavailable", reason="a stub", fake=True)), tmp_path)


def test_an_estimated_energy_is_not_kept_in_a_baseline(tmp_path: Path) -> None:
    estimated = with_energy(Energy(status="unavailable", reason="no counter", estimated_j=3.0))
    assert save_baseline(estimated, tmp_path) == save_baseline(estimated, tmp_path)
    assert find_baseline(tmp_path, "here") == with_energy(Energy(status="unavailable", reason="no counter"))


def test_saving_twice_is_no_change_and_other_content_is_refused(tmp_path: Path) -> None:
    assert save_baseline(suite(), tmp_path) == save_baseline(suite(), tmp_path)
    with pytest.raises(InputError, match="remove it first"):
        save_baseline(suite(commit="abc"), tmp_path)
    assert find_baseline(tmp_path, "here") == suite()


def test_a_broken_baseline_does_not_pass_for_an_older_one(tmp_path: Path) -> None:
    path = save_baseline(suite(), tmp_path)
    (path.parent / "b.json").write_text("{")
    with pytest.raises(SchemaError, match=r"b\.json"):
        find_baseline(tmp_path, "here")


def test_a_suite_without_a_time_of_creation_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SchemaError, match="no time"):
        save_baseline(suite(created="yesterday"), tmp_path)
