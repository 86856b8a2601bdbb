"""`torchrun … -m scalemark measure` on two local ranks, one of which is killed: torchrun starts both again."""

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from scalemark.cli import app
from scalemark.errors import InputError
from scalemark.launched import _keys_done, blame, check_launched, group_sizes
from scalemark.measure.ranks.launch import cause
from scalemark.measure.ranks.orders import RankFailed, sweep
from scalemark.record.store import load_suite, read_journal
from scalemark.schema import BlockMeasured, CellEnded, CollectiveMeasured, Suite

LONGEST_S = 240.0


@pytest.fixture(scope="module")
def suite(tmp_path_factory: pytest.TempPathFactory) -> Suite:
    folder = tmp_path_factory.mktemp("launched")
    launch = "-m torch.distributed.run --standalone --nproc-per-node 2 --max-restarts 1 -m scalemark measure"
    options = "--rungs d1w64 --parallelism ddp --seq-len 64 --budget 2m --timeout 1m --device cpu"
    where = ["--out", str(folder), "--results", str(folder)]
    command = [sys.executable, *launch.split(), *options.split(), *where]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "1"}
    with (folder / "log").open("wb") as log:
        agent = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
        try:
            _kill_rank_1(agent, folder / "journal.jsonl")
            assert agent.wait(timeout=LONGEST_S) == 0, (folder / "log").read_text()[-3000:]
        finally:
            agent.kill()
    return load_suite(folder)


def _kill_rank_1(agent: subprocess.Popen[bytes], journal: Path) -> None:
    """Once the first step on two ranks has been timed, and so the next order is under way."""
    deadline = time.monotonic() + LONGEST_S
    while time.monotonic() < deadline and agent.poll() is None:
        entries = read_journal(journal) if journal.exists() else []
        if any(isinstance(entry, BlockMeasured | CollectiveMeasured) for entry in entries):
            for child in psutil.Process(agent.pid).children(recursive=True):
                with suppress(psutil.Error):
                    if child.environ().get("RANK") == "1":
                        child.send_signal(signal.SIGKILL)
                        return
        time.sleep(0.02)
    raise AssertionError("no rank measured anything")


def test_the_run_goes_on_after_a_rank_was_lost_and_ends_with_a_whole_suite(suite):
    assert suite.complete
    assert suite.settings.device == "cpu"
    assert {one.world_size for one in suite.collectives} == {2}
    measured = [cell for cell in suite.cells if cell.status == "ok"]
    assert measured and all({block.index for block in cell.blocks} == {0, 1, 2} for cell in measured)
    assert all(len(block.ranks.steps_s) == cell.workload.world_size for cell in measured for block in cell.blocks)


def test_what_ran_when_the_rank_was_lost_ends_with_its_number(suite):
    """A cell or, had it been a message, a warning; never more than one of them."""
    lost = [cell.reason for cell in suite.cells if cell.status != "ok"]
    lost += [warning.message for warning in suite.warnings if "was not measured in one block" in warning.message]
    assert len(lost) == 1 and "rank 1" in lost[0], lost


def test_every_cell_is_there_once(suite):
    keys = [cell.workload.key for cell in suite.cells]
    assert len(keys) == len(set(keys)) == 3


# Without running anything


def test_groups_are_powers_of_two_and_all():
    assert [group_sizes(size) for size in (1, 2, 6, 8)] == [[1], [1, 2], [1, 2, 4, 6], [1, 2, 4, 8]]


def test_without_a_launcher_the_command_says_how_to_start_it(monkeypatch):
    monkeypatch.delenv("RANK", raising=False)
    with pytest.raises(InputError, match="torchrun --nproc-per-node 2 -m scalemark measure"):
        check_launched()
    assert any(command.callback.__name__ == "measure" for command in app.registered_commands)


def test_a_cell_that_failed_is_not_tried_again_and_a_message_only_in_the_blocks_that_lack_it():
    assert _keys_done(CellEnded(key="a", status="failed", reason="why"), 2) == ("a", "a/memory")
    order = sweep("cpu", (1, 2))[0]
    done = CollectiveMeasured(
        operation=order.operation,
        backend="gloo",
        device="cpu",
        world_size=2,
        message_bytes=order.message_bytes,
        block_index=1,
        rounds_s=(1.0,),
    )
    assert [_keys_done(done, index) for index in (0, 1)] == [(), (order.key,)]


def test_under_torchrun_a_rank_that_says_nothing_is_the_one_that_is_gone():
    status, reason = blame(failed(0, True), 2)
    assert (status, reason.startswith("rank 1 ended or hangs")) == ("failed", True)
    assert blame(failed(0, True) | failed(1, False, "oom"), 2) == ("oom", "rank 1: reason 1")


def failed(rank: int, lost_peer: bool, status: str = "failed") -> dict[int, RankFailed]:
    return {rank: RankFailed(rank=rank, status=status, reason=f"reason {rank}", lost_peer=lost_peer)}


@pytest.mark.parametrize(
    ("failures", "signals", "hung", "says"),
    [
        (failed(0, True) | failed(1, False, "oom"), {0: 15}, (), ("oom", "rank 1: reason 1")),
        (failed(0, True), {0: 15, 1: 9}, (), ("failed", "rank 1 was killed (signal 9, as the kernel does when memory")),
        (failed(0, True), {0: 15, 1: 9}, (1,), ("timeout", "rank 1 did not answer the others within 60 s")),
        (failed(0, True) | failed(1, True), {}, (), ("failed", "rank 0: reason 0")),
        ({}, {1: 15}, (), ("failed", "a rank ended without a word")),
    ],
    ids=["one raised", "one was killed", "one hung", "all complain", "nobody says anything"],
)
def test_whose_fault_it_was(failures, signals, hung, says):
    status, reason = cause(failures, signals, hung, 60.0)
    assert (status, reason.startswith(says[1])) == (says[0], True), reason
