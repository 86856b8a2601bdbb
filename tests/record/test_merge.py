"""Merging loses nothing: neither a suite's identity, nor a result, nor the news that two of them differ."""

from pathlib import Path

import pytest
from factories import make_suite

from scalemark.errors import InputError, StoreError
from scalemark.record.collection import read_suites, write_collection
from scalemark.record.merge import Merged, merge
from scalemark.schema import CorpusFacts, Estimate, Suite

WHOLE = make_suite("whole")


def saved(folder: Path, *suites: Suite) -> Path:
    folder.mkdir(exist_ok=True)
    for number, suite in enumerate(suites):
        (folder / f"{number:03}.json").write_text(suite.model_dump_json())
    return folder


def suites_of(path: Path) -> list[Suite]:
    return [suite for _, suite in read_suites([path], [])]


def merged(paths: list[Path], out: Path, join: bool = False) -> tuple[Merged, list[Suite]]:
    return merge(paths, out, join), suites_of(out)


def shards(count: int) -> list[Suite]:
    """The cells and training runs of a whole, dealt out in turn."""
    return [
        WHOLE.model_copy(
            update={
                "id": f"shard-{number}",
                "cells": WHOLE.cells[number::count],
                "training_runs": WHOLE.training_runs[number::count],
                "duration_s": 100.0,
            }
        )
        for number in range(count)
    ]


def test_suites_of_several_machines_stay_what_they_are(tmp_path: Path) -> None:
    here, there = make_suite("a"), make_suite("a", machine_id="another")
    found, suites = merged([saved(tmp_path / "in", here, there)], tmp_path / "all.jsonl")
    assert suites == [here, there]
    assert (found.written, found.machines) == (2, {"machine-under-test", "another"})


def test_a_suite_that_is_found_twice_is_kept_once(tmp_path: Path) -> None:
    folder = saved(tmp_path / "in", WHOLE)
    write_collection([WHOLE], folder / "earlier.jsonl")
    found, suites = merged([folder, folder / "000.json"], tmp_path / "all.jsonl")
    assert suites == [WHOLE]
    assert found.found_twice == 2


def test_merging_into_a_collection_that_is_among_them_adds_nothing(tmp_path: Path) -> None:
    folder = saved(tmp_path / "in", WHOLE)
    for _ in range(2):
        _, suites = merged([folder], folder / "all.jsonl")
        assert suites == [WHOLE]


def test_one_id_with_two_contents_is_said_and_both_are_kept(tmp_path: Path) -> None:
    other = make_suite("whole", seed=1)
    found, suites = merged([saved(tmp_path / "in", WHOLE, other)], tmp_path / "all.jsonl")
    assert suites == [WHOLE, other]
    assert found.conflicts == ["whole"]


def test_nothing_is_written_where_a_named_file_is_bad_or_there_is_none(tmp_path: Path) -> None:
    folder = saved(tmp_path / "in", WHOLE)
    (tmp_path / "bad.json").write_text("{")
    with pytest.raises(StoreError, match="cut off"):
        merge([folder, tmp_path / "bad.json"], tmp_path / "all.jsonl")
    (tmp_path / "empty").mkdir()
    with pytest.raises(StoreError, match="there is no suite in"):
        merge([tmp_path / "empty"], tmp_path / "all.jsonl")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bad.json", "empty", "in"]


def test_a_bad_file_in_a_folder_is_passed_over(tmp_path: Path) -> None:
    folder = saved(tmp_path / "in", WHOLE)
    (folder / "bad.json").write_text("{")
    found, suites = merged([folder], tmp_path / "all.jsonl")
    assert suites == [WHOLE]
    assert [Path(one.place).name for one in found.passed_over] == ["bad.json"]


def test_a_collection_is_not_written_as_one_suite(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"all\.jsonl"):
        merge([saved(tmp_path / "in", WHOLE)], tmp_path / "all.json")


# Shards


def test_shards_become_the_suite_that_they_are_of(tmp_path: Path) -> None:
    found, (suite,) = merged([saved(tmp_path / "in", *shards(3))], tmp_path / "all.jsonl", join=True)
    assert sorted(cell.workload.key for cell in suite.cells) == sorted(cell.workload.key for cell in WHOLE.cells)
    assert {cell.workload.key: cell for cell in suite.cells} == {cell.workload.key: cell for cell in WHOLE.cells}
    assert set(suite.training_runs) == set(WHOLE.training_runs)
    assert suite.parts == ("shard-0", "shard-1", "shard-2")
    assert suite.id == "shard-0+2"
    assert suite.duration_s == 300
    assert (suite.settings.budget_s, suite.machine.id) == (3 * WHOLE.settings.budget_s, WHOLE.machine.id)
    assert found.joined == 3


def test_a_shard_that_comes_twice_counts_once(tmp_path: Path) -> None:
    one, two = shards(2)
    found, (suite,) = merged([saved(tmp_path / "in", one, two, one)], tmp_path / "all.jsonl", join=True)
    assert len(suite.cells) == len(WHOLE.cells)
    assert suite.duration_s == 200
    assert found.found_twice == 1


def test_only_shards_of_one_machine_code_and_settings_join(tmp_path: Path) -> None:
    one, two, three = shards(3)
    two = two.model_copy(update={"commit": "another"})
    three = three.model_copy(update={"settings": three.settings.model_copy(update={"threads": 1})})
    four = make_suite("four", machine_id="another")
    found, suites = merged([saved(tmp_path / "in", one, two, three, four)], tmp_path / "all.jsonl", join=True)
    assert [suite.id for suite in suites] == ["shard-0", "shard-1", "shard-2", "four"]
    assert not [suite for suite in suites if suite.parts]
    assert found.joined == 0


def test_shards_that_contradict_one_another_are_refused_with_what_to_do(tmp_path: Path) -> None:
    again = make_suite("again", slowdown=1.1)
    with pytest.raises(InputError, match=r"one result in whole and another in again.*without --join"):
        merge([saved(tmp_path / "in", WHOLE, again)], tmp_path / "all.jsonl", join=True)
    assert not (tmp_path / "all.jsonl").exists()


def test_a_run_trained_again_at_another_pace_is_the_same_result(tmp_path: Path) -> None:
    slower = [run.model_copy(update={"seconds": 99.0, "shared": True}) for run in WHOLE.training_runs]
    one = WHOLE.model_copy(update={"cells": ()})
    two = one.model_copy(update={"id": "again", "training_runs": tuple(slower)})
    _, (suite,) = merged([saved(tmp_path / "in", one, two)], tmp_path / "all.jsonl", join=True)
    assert suite.training_runs == WHOLE.training_runs


def test_a_result_takes_the_place_of_a_failure_and_of_what_was_skipped(tmp_path: Path) -> None:
    runs = WHOLE.training_runs
    lost = [run.model_copy(update={"status": "failed", "validation_loss": None, "reason": "node lost"}) for run in runs]
    skipped = [run.model_copy(update={"status": "skipped", "validation_loss": None}) for run in runs]
    parts = [
        WHOLE.model_copy(update={"id": str(number), "cells": (), "training_runs": tuple(each)})
        for number, each in enumerate((skipped, lost, runs, skipped))
    ]
    _, (suite,) = merged([saved(tmp_path / "in", *parts)], tmp_path / "all.jsonl", join=True)
    assert set(suite.training_runs) == set(runs)


def test_a_joined_suite_is_no_better_than_its_parts(tmp_path: Path) -> None:
    one, two = shards(2)
    faked = two.model_copy(update={"fake": True, "complete": False})
    _, (suite,) = merged([saved(tmp_path / "in", one, faked)], tmp_path / "all.jsonl", join=True)
    assert suite.fake and not suite.complete


def test_shards_on_different_text_are_refused(tmp_path: Path) -> None:
    texts = [
        shard.model_copy(
            update={
                "corpus": CorpusFacts(identity=f"text-{shard.id}", train_tokens=10, validation_tokens=10, documents=1)
            }
        )
        for shard in shards(2)
    ]
    with pytest.raises(InputError, match="different text"):
        merge([saved(tmp_path / "in", *texts)], tmp_path / "all.jsonl", join=True)


def test_the_ceiling_of_a_joined_suite_is_the_highest_that_was_reached(tmp_path: Path) -> None:
    one, two = shards(2)
    rate = Estimate(value=9e11, low=8e11, high=1e12)
    two = two.model_copy(
        update={"ceilings": two.ceilings.model_copy(update={"gemm_flops_per_s": {"cpu/float32": rate}})}
    )
    _, (suite,) = merged([saved(tmp_path / "in", one, two)], tmp_path / "all.jsonl", join=True)
    assert suite.ceilings.gemm_flops_per_s["cpu/float32"] == rate
    assert suite.ceilings.triad_bytes_per_s == WHOLE.ceilings.triad_bytes_per_s
