"""What a gate times once more: cells left open, once, in new blocks beside the old ones."""

from dataclasses import replace

import pytest
from tests.test_session import PACE, SCOUTED, STEPS, request

from scalemark import rechecking, session
from scalemark.rechecking import open_keys, recheck
from scalemark.record.assemble import assemble
from scalemark.record.store import read_journal
from scalemark.schema import Block, BlockMeasured, CellPlanned, Comparison, Diff, Estimate
from scalemark.session import Session, start

CALM, WILD = (step.key for step in STEPS[:2])


@pytest.fixture
def run(tmp_path, monkeypatch) -> Session:
    """A run that has timed two cells, and its baseline: one as steady as can be, the other between 1 and 2 s."""
    monkeypatch.setattr(session, "scout", lambda site: SCOUTED)
    monkeypatch.setattr(session, "find_pace", lambda workshop: PACE)
    run = start(request(tmp_path, workloads=STEPS[:2], trainings=()))
    for planned in run.plan.cells:
        run.journal.append(CellPlanned(workload=planned.workload, accounting=planned.accounting))
    for index, wild_s in enumerate((1.0, 1.5, 2.0)):
        append_block(run, CALM, index, 1.0)
        append_block(run, WILD, index, wild_s)
    return replace(run, baseline=assemble(read_journal(run.folder.journal_path)))


def append_block(run: Session, key: str, index: int, seconds: float) -> None:
    run.journal.append(BlockMeasured(key=key, block=block(index, seconds)))


def block(index: int, seconds: float) -> Block:
    return Block(index=index, rounds_s=(seconds,) * 5, warmup_s=(seconds,), setup_s=0.1)


class Remeasured:
    """In place of a campaign: its cells take as long as ever, to the last digit."""

    def __init__(self, plan, site, record, *_):
        self.plan, self.record = plan, record

    def time_again(self, first: int) -> None:
        for cell in self.plan.cells:
            for index in range(first, first + 40):
                self.record(BlockMeasured(key=cell.workload.key, block=block(index, 1.5)))


def test_only_what_is_open_is_timed_again_in_blocks_after_the_first_ones(run, monkeypatch):
    monkeypatch.setattr(rechecking, "Campaign", Remeasured)
    said: list[str] = []
    assert recheck(run, said.append) == (WILD,)
    assert WILD in said[0] and CALM not in said[0]
    cells = {cell.workload.key: cell for cell in assemble(read_journal(run.folder.journal_path)).cells}
    assert len(cells[CALM].blocks) == 3
    assert [block.index for block in cells[WILD].blocks[:4]] == [0, 1, 2, run.plan.n_blocks]
    width = [(cell.time_s.high - cell.time_s.low) for cell in (run.baseline.cells[1], cells[WILD])]
    assert width[1] < 0.2 * width[0]


def test_nothing_is_timed_again_without_a_baseline(run):
    assert recheck(replace(run, baseline=None), pytest.fail) == ()


def test_nothing_is_timed_again_where_all_is_decided(run):
    steady = [cell for cell in run.baseline.cells if cell.workload.key == CALM]
    assert recheck(replace(run, baseline=run.baseline.model_copy(update={"cells": steady})), pytest.fail) == ()


def open_in(*times: tuple[str, str, bool]) -> frozenset[str]:
    ratio = Estimate(value=1.0, low=0.8, high=1.2)
    comparisons = tuple(
        Comparison(subject=key, metric="time_s", verdict=verdict, ratio=ratio if measured else None)
        for key, verdict, measured in times
    )
    return open_keys(Diff(base_id="a", new_id="b", verdict="same", advisory=False, comparisons=comparisons))


def test_a_cell_that_there_was_no_time_for_is_not_open():
    assert open_in(("a", "inconclusive", False), ("b", "same", True)) == frozenset()


def test_where_only_the_mean_is_open_every_cell_is_timed_again():
    assert open_in(("a", "same", True), ("b", "same", True), ("all timed cells", "inconclusive", True)) == {"a", "b"}
    assert open_in(("a", "inconclusive", True), ("b", "same", True), ("all timed cells", "inconclusive", True)) == {"a"}
