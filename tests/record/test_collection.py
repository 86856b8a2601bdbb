"""A path is read one suite at a time, and what is no suite is named, passed over and counted."""

import gzip
import json
import tracemalloc
from pathlib import Path

import pytest
from factories import make_suite

from scalemark.errors import SchemaError, StoreError
from scalemark.fitting import loss_rows
from scalemark.record.collection import Place, read_suites, write_collection
from scalemark.record.store import Journal, ResultsFolder, load_suite, save_suite
from scalemark.schema import SCHEMA_VERSION, LossPoint, PassedOver, RunFinished, Suite

A, B = make_suite("a"), make_suite("b", seed=1)


def ids_in(*paths: Path, passed_over: list[PassedOver] | None = None) -> list[str]:
    return [suite.id for _, suite in read_suites(paths, [] if passed_over is None else passed_over)]


@pytest.mark.parametrize("name", ["all.jsonl", "all.jsonl.gz"])
def test_a_collection_gives_back_its_suites_in_order(tmp_path: Path, name: str) -> None:
    assert write_collection([A, B], tmp_path / name) == 2
    found = list(read_suites([tmp_path / name], []))
    assert [suite for _, suite in found] == [A, B]
    assert [place for place, _ in found] == [Place(tmp_path / name, 1), Place(tmp_path / name, 2)]


def test_the_same_suites_give_the_same_compressed_bytes(tmp_path: Path) -> None:
    for name in ("one.jsonl.gz", "two.jsonl.gz"):
        write_collection([A], tmp_path / name)
    assert (tmp_path / "one.jsonl.gz").read_bytes() == (tmp_path / "two.jsonl.gz").read_bytes()


def test_a_folder_gives_everything_below_it_by_name(tmp_path: Path) -> None:
    folder = ResultsFolder(tmp_path).start_run("20260101-000000-0000")
    Journal(folder.journal_path).append(RunFinished(duration_s=1, complete=True))
    save_suite(A, folder.suite_path)
    write_collection([B], tmp_path / "kept.jsonl")
    (tmp_path / ".hidden.json").write_text("not looked at")
    passed_over: list[PassedOver] = []
    assert ids_in(tmp_path, passed_over=passed_over) == ["b", "a"]  # kept.jsonl, then runs/…
    assert passed_over == []


def test_files_that_hold_no_suite_are_named_with_the_reason(tmp_path: Path) -> None:
    save_suite(A, tmp_path / "good.json")
    line = B.model_dump_json()
    bad = {
        "cut.json": line[:-50],
        "empty.json": "",
        "foreign.json": '{"machine_info": {}}',
        "future.json": json.dumps({"schema_version": SCHEMA_VERSION + 1, "machine": {}}),
        "deep.json": "[" * 100_000,
        "half.jsonl": f"{line}\n{line[:1000]}\n",
    }
    for name, content in bad.items():
        (tmp_path / name).write_text(content)
    (tmp_path / "cut.json.gz").write_bytes(gzip.compress(line.encode())[:-20])
    (tmp_path / "no.json.gz").write_bytes(b"plain")
    (tmp_path / "binary.json").write_bytes(b"\x80\x00\xff")
    passed_over: list[PassedOver] = []
    assert ids_in(tmp_path, passed_over=passed_over) == ["a", "b"]  # the whole line of the collection counts
    assert [Path(one.place.partition(",")[0]).name for one in passed_over] == sorted(
        [*bad, "cut.json.gz", "no.json.gz", "binary.json"]
    )
    reasons = {Path(one.place.partition(",")[0]).name: one.reason for one in passed_over}
    assert "upgrade scalemark" in reasons["future.json"]
    assert "no scalemark suite" in reasons["foreign.json"]
    assert "gzip" in reasons["cut.json.gz"] and "gzip" in reasons["no.json.gz"]
    assert "half.jsonl, line 2" in reasons["half.jsonl"]
    assert not [reason for reason in reasons.values() if "\n" in reason]


def test_a_file_that_was_named_must_hold_a_suite(tmp_path: Path) -> None:
    (tmp_path / "bad.json").write_text("{}")
    with pytest.raises(SchemaError, match="no scalemark suite"):
        ids_in(tmp_path / "bad.json")
    with pytest.raises(StoreError, match="there is no suite"):
        ids_in(tmp_path / "nowhere.jsonl")


# One suite of a collection, wherever a command takes one


def test_a_suite_of_a_collection_is_named_by_its_id(tmp_path: Path) -> None:
    path = tmp_path / "all.jsonl"
    write_collection([A, B], path)
    assert load_suite(Path(f"{path}#b")) == B
    assert len(loss_rows(Path(f"{path}#b"))) == len(B.training_runs)


def test_a_collection_of_one_needs_no_id(tmp_path: Path) -> None:
    write_collection([A], tmp_path / "one.jsonl.gz")
    assert load_suite(tmp_path / "one.jsonl.gz") == A


def test_of_several_suites_none_is_guessed(tmp_path: Path) -> None:
    path = tmp_path / "all.jsonl"
    write_collection([A, B], path)
    with pytest.raises(StoreError, match=r"several suites \(a, b\): name one, as in .*all.jsonl#a"):
        load_suite(path)
    with pytest.raises(StoreError, match="no suite 'c'"):
        load_suite(Path(f"{path}#c"))
    write_collection([], tmp_path / "none.jsonl")
    with pytest.raises(StoreError, match="holds no suite"):
        load_suite(tmp_path / "none.jsonl")


def test_an_id_inside_another_suite_does_not_mislead(tmp_path: Path) -> None:
    path = tmp_path / "all.jsonl"
    joined = A.model_copy(update={"commit": '"id":"b"'})
    write_collection([joined, B], path)
    assert load_suite(Path(f"{path}#b")) == B


def test_a_file_may_have_a_sharp_in_its_name(tmp_path: Path) -> None:
    save_suite(A, tmp_path / "run#1.json")
    assert load_suite(tmp_path / "run#1.json") == A


def test_reading_takes_the_memory_of_one_suite(tmp_path: Path) -> None:
    path = tmp_path / "all.jsonl"

    def peak_bytes(count: int) -> int:
        write_collection((A.model_copy(update={"id": str(number)}) for number in range(count)), path)
        tracemalloc.start()
        for _ in read_suites([path], []):
            pass
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return peak

    assert peak_bytes(12) < 1.3 * peak_bytes(3)


# The format


def test_suites_with_points_as_objects_are_read_and_written_as_lists(tmp_path: Path) -> None:
    """Schema version 4."""
    old = json.loads(A.model_dump_json())
    old["schema_version"] = 4
    for run in old["training_runs"]:
        run["curve"] = [dict(zip(LossPoint._fields, point, strict=True)) for point in run["curve"]]
    path = tmp_path / "old.json"
    path.write_text(json.dumps(old))
    loaded = load_suite(path)
    assert loaded.training_runs == A.training_runs
    save_suite(loaded, tmp_path / "new.json")
    assert json.loads((tmp_path / "new.json").read_text())["schema_version"] == SCHEMA_VERSION
    assert load_suite(tmp_path / "new.json") == A


@pytest.mark.parametrize("point", ["[1, 2]", "[1, 2, NaN]", '["a", 2, 3.0]', "[1, 2, 3.0, 4]", "{}"])
def test_a_point_that_is_none_is_refused(point: str) -> None:
    content = A.model_dump_json()
    first = A.training_runs[0].curve[0]
    broken = content.replace(f"[{first.step},{first.tokens},{first.train_loss}]", point, 1)
    assert broken != content
    with pytest.raises(ValueError, match="curve"):
        Suite.model_validate_json(broken)
