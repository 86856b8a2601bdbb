"""A folder of suites becomes one history per machine: in order, with what moved, and with what could not be read."""

import random
from pathlib import Path
from statistics import median

import pytest
from factories import make_machine
from scale_suites import history_suites, write_suite

from scalemark.errors import StoreError
from scalemark.history import read_history
from scalemark.record.collection import write_collection
from scalemark.schema import Cell, ControlVariate, HistorySeries, MachineHistory, Memory, Suite


def folder_of(path: Path, suites: list[Suite]) -> Path:
    """In files whose names tell nothing of their order."""
    path.mkdir()
    names = random.Random(0).sample(range(1000), len(suites))
    for name, suite in zip(names, suites, strict=True):
        write_suite(suite, path / f"{name}.json")
    return path


def history_of(tmp_path: Path, suites: list[Suite]) -> MachineHistory:
    (machine,) = read_history([folder_of(tmp_path / "suites", suites)]).machines
    return machine


def of_kind(machine: MachineHistory, metric: str) -> list[HistorySeries]:
    return [series for series in machine.series if series.metric == metric]


def changed(suite: Suite, number: int, **fields: object) -> Suite:
    """The suite with other fields in one of its cells."""
    cells = list(suite.cells)
    cells[number] = cells[number].model_copy(update=fields)
    return suite.model_copy(update={"cells": tuple(cells)})


@pytest.fixture(scope="module")
def stepped(tmp_path_factory: pytest.TempPathFactory) -> MachineHistory:
    """Thirty suites, a tenth slower from the twentieth on."""
    return history_of(tmp_path_factory.mktemp("stepped"), list(history_suites(30, step_at=20, noise=0.002)))


def test_suites_stand_in_the_order_in_which_they_were_made(stepped: MachineHistory) -> None:
    assert [suite.commit[:7] for suite in stepped.suites if suite.commit] == [f"{n:07d}" for n in [*range(10)]] + [
        f"{n:07x}" for n in range(10, 30)
    ]


def test_a_slower_commit_is_marked_in_every_step_and_in_the_law(stepped: MachineHistory) -> None:
    (change,) = stepped.changes
    assert change.index == 20
    moved = {stepped.series[move.series].subject: move.ratio for move in change.moves}
    steps = [series.subject for series in of_kind(stepped, "time_s")]
    assert len(steps) == 9
    assert set(steps) <= moved.keys()
    assert all(moved[step].low < 1.1 < moved[step].high for step in steps)


def test_a_slower_machine_has_a_lower_rate_in_its_law(stepped: MachineHistory) -> None:
    rate = next(series for series in stepped.series if series.subject.endswith("flops_per_s"))
    before, after = ([value for value in part if value] for part in (rate.values[:20], rate.values[20:]))
    assert median(after) / median(before) == pytest.approx(1 / 1.1, rel=0.05)


def test_levels_are_the_means_between_changes(stepped: MachineHistory) -> None:
    for series in of_kind(stepped, "time_s"):
        first, second = series.levels
        assert (first.first, second.first) == (0, 20)
        assert second.value / first.value == pytest.approx(1.1, rel=0.01)
        assert series.scatter == pytest.approx(0.002, rel=0.5)


def test_memory_that_stays_as_it_is_has_one_level(stepped: MachineHistory) -> None:
    peaks = of_kind(stepped, "memory_bytes")
    assert len(peaks) == 9
    assert {(series.exact, len(series.levels)) for series in peaks} == {(True, 1)}
    assert [series.scatter for series in peaks] == pytest.approx([0.0] * 9, abs=1e-9)


def test_coefficients_are_of_one_form_and_carry_intervals(stepped: MachineHistory) -> None:
    rate = next(series for series in stepped.series if series.subject.endswith("flops_per_s"))
    assert rate.unit == "FLOP/s"
    told = [
        (low, value, high)
        for low, value, high in zip(rate.lows, rate.values, rate.highs, strict=True)
        if low and value and high
    ]
    assert len(told) > 25
    assert all(low <= value <= high for low, value, high in told)
    assert stepped.n_laws == 30 and stepped.law_form


def test_machines_are_never_mixed_and_the_break_is_said(tmp_path: Path) -> None:
    old, new = make_machine("test-cpu-2c-aaaaaaaa"), make_machine("test-cpu-2c-bbbbbbbb")
    new = new.model_copy(update={"identity": {**new.identity, "torch": "2.14.0"}})
    suites = [
        suite.model_copy(update={"machine": old if number < 6 else new})
        for number, suite in enumerate(history_suites(12, step_at=6))
    ]
    first, second = read_history([folder_of(tmp_path / "suites", suites)]).machines
    assert [len(machine.suites) for machine in (first, second)] == [6, 6]
    assert first.succeeds is None
    assert second.succeeds == "test-cpu-2c-aaaaaaaa: torch 2.13.0 → 2.14.0"
    assert not first.changes and not second.changes


def test_a_driver_that_changed_under_one_machine_is_said_where_it_did(tmp_path: Path) -> None:
    suites = []
    for number, suite in enumerate(history_suites(6)):
        context = {"gpu_driver": "550" if number < 4 else "560", "memory_total_bytes": number, "kernel": None}
        machine = suite.machine.model_copy(update={"context": context})
        suites.append(suite.model_copy(update={"machine": machine}))
    (change,) = history_of(tmp_path, suites).context_changes
    assert (change.index, change.fact, change.before, change.after) == (4, "gpu_driver", "550", "560")


def test_a_step_that_failed_is_missing_with_its_reason(tmp_path: Path) -> None:
    suites = list(history_suites(8))
    suites[3] = changed(suites[3], 0, status="oom", reason="killed", time_s=None)
    suites[5] = suites[5].model_copy(update={"cells": suites[5].cells[1:]})
    series = of_kind(history_of(tmp_path, suites), "time_s")[0]
    assert [index for index, value in enumerate(series.values) if value is None] == [3, 5]
    assert series.absent == {3: "oom: killed"}


def test_interrupted_faked_and_noisy_suites_are_marked(tmp_path: Path) -> None:
    suites = [suite.model_copy(update={"fake": False}) for suite in history_suites(8)]
    suites[1] = suites[1].model_copy(update={"complete": False})
    suites[2] = suites[2].model_copy(update={"fake": True})
    suites[4] = suites[4].model_copy(update={"cells": tuple(map(wide, suites[4].cells))})
    notes = {index: suite.notes for index, suite in enumerate(history_of(tmp_path, suites).suites) if suite.notes}
    assert notes.keys() == {1, 2, 4}
    assert notes[1] == ("interrupted",) and notes[2] == ("fake",)
    assert notes[4][0].startswith("noisy: intervals")


def wide(cell: Cell) -> Cell:
    assert cell.time_s
    time_s = cell.time_s.model_copy(update={"low": cell.time_s.value / 1.5, "high": cell.time_s.value * 1.5})
    return cell.model_copy(update={"time_s": time_s})


def test_memory_is_marked_at_the_first_suite_that_takes_another_amount(tmp_path: Path) -> None:
    suites = list(history_suites(5))
    more = Memory(allocated_bytes=123_456_789, method="made up")
    suites[4] = changed(suites[4], 0, memory=more)
    (change,) = history_of(tmp_path, suites).changes
    assert change.index == 4 and len(change.moves) == 1


def test_times_are_compared_at_one_moment_of_the_reference_kernels(tmp_path: Path) -> None:
    """Every other run met a machine half as fast again, which its own correction says."""
    suites = []
    for number, suite in enumerate(history_suites(12, noise=0.001)):
        slow = 1.5 if number % 2 else 1.0
        control = ControlVariate(coefficients={"gemm": 1.0}, references_s={"gemm": 0.01 * slow})
        cells = [
            cell.model_copy(update={"time_s": time_s, "corrected_s": time_s, "control": control})
            for cell in suite.cells
            if cell.time_s and (time_s := cell.time_s.scaled(slow))
        ]
        suites.append(suite.model_copy(update={"cells": tuple(cells)}))
    assert all(series.scatter and series.scatter < 0.003 for series in of_kind(history_of(tmp_path, suites), "time_s"))


def test_a_suite_that_lies_in_two_places_counts_once(tmp_path: Path) -> None:
    suites = list(history_suites(4))
    folder = folder_of(tmp_path / "suites", suites)
    write_collection(suites, folder / "all.jsonl.gz")
    (machine,) = read_history([folder, folder / "all.jsonl.gz"]).machines
    assert (len(machine.suites), machine.duplicates) == (4, 8)


def test_bad_files_are_counted_and_the_rest_is_read(tmp_path: Path) -> None:
    suites = list(history_suites(4))
    suites[0] = suites[0].model_copy(update={"created": "yesterday"})
    folder = folder_of(tmp_path / "suites", suites)
    (folder / "cut.json").write_text("{")
    history = read_history([folder])
    assert len(history.machines[0].suites) == 3
    reasons = sorted(one.reason for one in history.passed_over)
    assert len(reasons) == 2
    assert "cut off" in reasons[0] and "yesterday" in reasons[1]


def test_a_folder_without_a_suite_is_refused_with_what_was_found(tmp_path: Path) -> None:
    (tmp_path / "foreign.json").write_text("{}")
    with pytest.raises(StoreError, match=r"no suite in .*1 files that are none"):
        read_history([tmp_path])
