"""Runs survive kills, and a bad file is told in one line."""

import json
from datetime import datetime
from pathlib import Path

import pytest
from factories import make_suite

from scalemark.errors import SchemaError, StoreError
from scalemark.record.store import (
    Journal,
    ResultsFolder,
    latest_suite,
    load_suite,
    new_run_id,
    read_journal,
    save_suite,
)
from scalemark.schema import SCHEMA_VERSION, Block, BlockMeasured, MeasurementWarning, RunFinished

FIRST = BlockMeasured(key="d1w64/step", block=Block(index=0, warmup_s=(0.2,), rounds_s=(0.1, 0.1), setup_s=1.5))
LAST = RunFinished(duration_s=12.5, complete=True)
SUITE = make_suite()


def assert_one_line(error: BaseException) -> None:
    assert "\n" not in str(error)


# The results folder


def test_a_check_makes_the_folder_and_leaves_it_empty(tmp_path: Path) -> None:
    ResultsFolder(tmp_path / "new" / "results").check_writable()
    assert list((tmp_path / "new" / "results").iterdir()) == []


def test_a_folder_that_cannot_be_made_is_told_before_measuring(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StoreError, match="choose another results folder") as caught:
        ResultsFolder(tmp_path / "file" / "results").check_writable()
    assert_one_line(caught.value)


def test_a_run_gets_a_folder_of_its_own(tmp_path: Path) -> None:
    folder = ResultsFolder(tmp_path).start_run("20260101-120000-ab12")
    assert folder.path == tmp_path / "runs" / "20260101-120000-ab12"
    assert folder.path.is_dir()
    with pytest.raises(StoreError, match="already"):
        ResultsFolder(tmp_path).start_run("20260101-120000-ab12")


def test_run_ids_sort_by_time_and_differ_within_a_second() -> None:
    now = datetime(2026, 1, 1, 12, 0, 0)
    ids = {new_run_id(now) for _ in range(20)}
    assert len(ids) > 1
    assert all(run_id.startswith("20260101-120000-") for run_id in ids)
    assert max(ids) < new_run_id(datetime(2026, 1, 1, 12, 0, 1))


# The journal


def test_the_journal_gives_back_what_was_appended(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal.jsonl")
    journal.append(FIRST)
    journal.append(LAST)
    assert read_journal(journal.path) == [FIRST, LAST]


@pytest.mark.parametrize("cut", [1, 2, 40])
def test_a_line_that_a_kill_cut_off_is_dropped(tmp_path: Path, cut: int) -> None:
    journal = Journal(tmp_path / "journal.jsonl")
    journal.append(LAST)
    journal.append(FIRST)
    content = journal.path.read_bytes()
    journal.path.write_bytes(content[:-cut])
    expected = [LAST, FIRST] if cut == 1 else [LAST]  # only the line's end is lost
    assert read_journal(journal.path) == expected


@pytest.mark.parametrize("cut", [0, 1, 40])
def test_a_resumed_journal_can_be_read_again(tmp_path: Path, cut: int) -> None:
    path = tmp_path / "journal.jsonl"
    Journal(path).append(FIRST)
    path.write_bytes(path.read_bytes()[: -cut or None])
    Journal(path).append(LAST)
    assert read_journal(path) == ([LAST] if cut == 40 else [FIRST, LAST])


def test_a_letter_cut_in_two_is_dropped_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    Journal(path).append(LAST)
    path.write_bytes(path.read_bytes() + '{"kind": "cell_ended", "key": "µ'.encode()[:-1])
    assert read_journal(path) == [LAST]


def test_a_bad_line_elsewhere_is_told_with_its_number(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    Journal(path).append(FIRST)
    path.write_bytes(path.read_bytes() + b'{"kind": "unheard of"}\n')
    Journal(path).append(LAST)
    with pytest.raises(SchemaError, match="line 2") as caught:
        read_journal(path)
    assert_one_line(caught.value)


def test_an_empty_journal_has_no_entries(tmp_path: Path) -> None:
    (tmp_path / "journal.jsonl").write_bytes(b"")
    assert read_journal(tmp_path / "journal.jsonl") == []


def test_a_full_disk_says_that_what_was_measured_is_kept(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="so far is kept"):
        Journal(tmp_path / "no folder" / "journal.jsonl").append(FIRST)


# The suite


def test_a_suite_comes_back_equal_from_its_file_and_from_its_folder(tmp_path: Path) -> None:
    save_suite(SUITE, tmp_path / "suite.json")
    assert load_suite(tmp_path / "suite.json") == SUITE
    assert load_suite(tmp_path) == SUITE


def test_a_save_that_fails_leaves_the_old_suite_and_no_litter(tmp_path: Path) -> None:
    (tmp_path / "suite.json").mkdir()
    (tmp_path / "suite.json" / "old").write_text("kept")
    with pytest.raises(StoreError, match="cannot write"):
        save_suite(SUITE, tmp_path / "suite.json")
    assert (tmp_path / "suite.json" / "old").read_text() == "kept"
    assert [path.name for path in tmp_path.iterdir()] == ["suite.json"]


def broken(tmp_path: Path, content: str | bytes) -> Path:
    path = tmp_path / "suite.json"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (SUITE.model_dump_json()[:-100], "cut off"),
        ("", "cut off"),
        (b"\xff\xfe\x00", "cut off"),
        ("[1, 2]", "no scalemark suite"),
        ('{"machine_info": {}, "benchmarks": []}', "no scalemark suite"),
        ('{"schema_version": 1, "machine": {}}', "not a valid suite"),
        (json.dumps({"schema_version": SCHEMA_VERSION + 1, "machine": "of another kind"}), "upgrade scalemark"),
    ],
    ids=["truncated", "empty", "binary", "a list", "foreign", "fields missing", "newer"],
)
def test_a_bad_suite_is_told_in_one_line(tmp_path: Path, content: str | bytes, message: str) -> None:
    with pytest.raises(SchemaError, match=message) as caught:
        load_suite(broken(tmp_path, content))
    assert_one_line(caught.value)


def test_a_missing_suite_is_told_with_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="pytest bench/"):
        load_suite(tmp_path / "nowhere.json")


def test_a_run_without_a_suite_is_told_as_cut_off(tmp_path: Path) -> None:
    Journal(tmp_path / "journal.jsonl").append(FIRST)
    with pytest.raises(StoreError, match="cut off before its end"):
        load_suite(tmp_path)


def test_the_latest_suite_is_of_the_newest_finished_run(tmp_path: Path) -> None:
    results = ResultsFolder(tmp_path)
    for run_id in ("20260102-000000-aaaa", "20260101-000000-ffff"):
        save_suite(SUITE, results.start_run(run_id).suite_path)
    results.start_run("20260103-000000-0000")
    assert latest_suite(tmp_path) == tmp_path / "runs" / "20260102-000000-aaaa" / "suite.json"


def test_no_finished_run_is_told_with_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="pytest bench/"):
        latest_suite(tmp_path)


def test_numbers_stand_in_one_line_and_read_back_the_same(tmp_path: Path) -> None:
    suite = make_suite()
    path = tmp_path / "suite.json"
    save_suite(suite, path)
    assert load_suite(path) == suite
    lists = [line for line in path.read_text().splitlines() if '"rounds_s": [' in line]
    assert len(lists) == sum(len(cell.blocks) for cell in suite.cells)
    assert all(line.rstrip(",").endswith("]") for line in lists)


def test_text_that_looks_like_numbers_is_left_as_it_is(tmp_path: Path) -> None:
    warning = MeasurementWarning(subject="[\n1,\n 2\n]", message="[ 1, 2 ]")
    suite = make_suite().model_copy(update={"warnings": (warning,)})
    path = tmp_path / "suite.json"
    save_suite(suite, path)
    assert load_suite(path).warnings == (warning,)
