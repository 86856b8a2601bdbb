"""Real groups of two ranks under gloo: what they report, and what is left when a rank or their launcher is lost."""

import signal
import time
from contextlib import suppress
from dataclasses import dataclass

import numpy as np
import psutil
import pytest

from scalemark.benchmarks import on_ranks
from scalemark.measure.campaign import Site
from scalemark.measure.orders import CellOrder, Scouted
from scalemark.measure.ranks import campaign as campaign_module
from scalemark.measure.ranks import selection
from scalemark.measure.ranks.campaign import GroupCampaign, block_orders, rank_affinity
from scalemark.measure.ranks.orders import CollectiveOrder, RankMemoryOrder
from scalemark.measure.ranks.selection import GroupPlan, plan_groups
from scalemark.process import default_affinity
from scalemark.schema import (
    BlockMeasured,
    CellEnded,
    CellPlanned,
    CollectiveMeasured,
    JournalEntry,
    MemoryMeasured,
    ModelConfig,
    WorkerStarted,
    Workload,
)

SCOUTED = Scouted(
    device="cpu",
    available_bytes=2**33,
    per_layer_s=0.001,
    s_per_flop=1e-11,
    energy_reason="no counter",
    worker_start_s=2.0,
    facts={},
)
TINY = ModelConfig(n_layer=1, d_model=32, n_head=2)
TIMEOUT_S = 12.0
RANK_MODULE = "scalemark.measure.ranks.rank"


def workloads(*rank_batches: int) -> list[Workload]:
    found = [on_ranks([TINY], rank_batch=batch, seq_len=16) for batch in rank_batches]
    return list(dict.fromkeys(workload for each in found for workload in each))


def planned(budget_s: float = 100.0, *rank_batches: int) -> GroupPlan:
    return plan_groups(workloads(*(rank_batches or (1,))), SCOUTED, threads=2, budget_s=budget_s)


def ranks_of_this_process() -> dict[int, psutil.Process]:
    """The ranks that run now, by number; they are our children's children."""
    found = {}
    for child in psutil.Process().children(recursive=True):
        with suppress(psutil.Error):
            if RANK_MODULE in child.cmdline():
                found[int(child.environ()["RANK"])] = child
    return found


def kill_one(ranks: dict[int, psutil.Process]) -> None:
    ranks[1].send_signal(signal.SIGKILL)


def stop_one(ranks: dict[int, psutil.Process]) -> None:
    ranks[1].send_signal(signal.SIGSTOP)


def kill_launcher(ranks: dict[int, psutil.Process]) -> None:
    ranks[0].parent().send_signal(signal.SIGKILL)


@dataclass(frozen=True)
class Outcome:
    entries: list[JournalEntry]
    ranks: list[psutil.Process]

    def of(self, kind):
        return [entry for entry in self.entries if isinstance(entry, kind)]


@pytest.fixture(scope="module")
def outcome(tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    """One campaign through everything: three groups that are lost, and one that does the rest."""
    folder = tmp_path_factory.mktemp("ranks")
    np.arange(4000).astype(np.uint8).tofile(folder / "tokens.bin")
    site = Site(folder / "tokens.bin", folder / "workers.log", 2, 0, "cpu", default_affinity())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(selection, "TIMEOUT_AT_LEAST_S", TIMEOUT_S)
        patch.setattr(selection, "TIMEOUT_FACTOR", 0.0)
        return _carried_out(site, patch)


def _carried_out(site: Site, patch: pytest.MonkeyPatch) -> Outcome:
    plan = planned(100.0, 1, 2, 3)
    cells = {str(cell.workload): cell.workload for cell in plan.cells}
    doomed = [cells[f"d1w32-{batch}x16-float32-adamw-ddp2"] for batch in (2, 4, 6)]
    disturbances = dict(zip((one.key for one in doomed), (kill_one, stop_one, kill_launcher), strict=True))
    entries: list[JournalEntry] = []
    everyone: list[psutil.Process] = []
    campaign = GroupCampaign(plan, site, entries.append, lambda _: None, lambda: {"load_average_1min": 0.5})
    hear = campaign._take

    def disturb(message) -> None:
        hear(message)
        if getattr(message, "kind", "") == "began":
            ranks = ranks_of_this_process()
            everyone.extend(ranks.values())
            if act := disturbances.pop(message.key, None):
                act(ranks)

    patch.setattr(campaign, "_take", disturb)
    left = [cells["d1w32-2x16-float32-adamw-fsdp2"], cells["d1w32-1x16-float32-adamw-ddp1"]]
    campaign.run_block(
        0,
        [
            *(CellOrder(workload=one, budget_s=20.0) for one in doomed),
            *(CellOrder(workload=one, budget_s=0.5) for one in left),
            CollectiveOrder(operation="all_reduce", world_size=2, message_bytes=2**16),
            *(RankMemoryOrder(workload=one) for one in left),
        ],
    )
    return Outcome(entries, everyone)


def end_of(outcome: Outcome, which: int) -> CellEnded:
    return outcome.of(CellEnded)[which]


def test_a_rank_that_is_killed_fails_its_cell_with_its_number_and_the_signal(outcome):
    assert end_of(outcome, 0).key == "d1w32/step/b2x16/float32/adamw/cpu/ddp2"
    assert end_of(outcome, 0).reason.startswith("rank 1 was killed (signal 9")
    assert end_of(outcome, 0).status == "failed"


def test_a_rank_that_hangs_fails_its_cell_with_its_number_once_the_others_have_waited_long_enough(outcome):
    assert end_of(outcome, 1).key == "d1w32/step/b4x16/float32/adamw/cpu/ddp2"
    assert end_of(outcome, 1).reason == f"rank 1 did not answer the others within {TIMEOUT_S:.0f} s"
    assert end_of(outcome, 1).status == "timeout"


def test_a_launcher_that_is_killed_fails_its_cell(outcome):
    assert end_of(outcome, 2).key == "d1w32/step/b6x16/float32/adamw/cpu/ddp2"
    assert len(outcome.of(CellEnded)) == 3, "a cell that ended is not tried again"


def test_whoever_is_lost_no_rank_is_left_behind(outcome):
    deadline = time.monotonic() + 5
    while any(map(_runs, outcome.ranks)) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert len({rank.pid for rank in outcome.ranks}) == 8, "four groups of two"
    assert not list(filter(_runs, outcome.ranks))


def _runs(process: psutil.Process) -> bool:
    return process.is_running() and process.status() != psutil.STATUS_ZOMBIE


def test_the_campaign_goes_on_with_what_is_left(outcome):
    assert [entry.key for entry in outcome.of(BlockMeasured)] == [
        "d1w32/step/b2x16/float32/adamw/cpu/fsdp2",
        "d1w32/step/b1x16/float32/adamw/cpu/ddp1",
    ]
    assert [entry.message_bytes for entry in outcome.of(CollectiveMeasured)] == [2**16]


def test_a_round_is_its_slowest_rank_and_each_rank_is_kept(outcome):
    two, one = (entry.block for entry in outcome.of(BlockMeasured))
    assert len(two.ranks.steps_s) == len(two.ranks.compute_s) == 2
    assert two.rounds_s == tuple(max(pair) for pair in zip(*two.ranks.steps_s, strict=True))
    assert len(two.rounds_s) == len(two.ranks.compute_s[0]) >= selection.PAIRS_AT_LEAST
    assert all(second > 0 for rank in (*two.ranks.steps_s, *two.ranks.compute_s) for second in rank)
    assert len(one.ranks.steps_s) == 1
    assert (two.ranks.backend, two.ranks.threads, one.ranks.threads) == ("gloo", 1, 1)


def test_each_rank_says_what_it_ran_with_and_has_cpus_of_its_own(outcome):
    started = outcome.of(WorkerStarted)[-2:]
    assert [worker.rank for worker in started] == [0, 1]
    assert [worker.threads for worker in started] == [1, 1]
    assert started[0].state == {"load_average_1min": 0.5}
    if default_affinity() and len(default_affinity()) >= 2:
        assert not set(started[0].affinity) & set(started[1].affinity)


def test_shards_hold_what_the_shape_says_and_half_of_a_replica(outcome):
    memory = {entry.key: entry.memory for entry in outcome.of(MemoryMeasured)}
    sharded, alone = (memory[entry.key].ranks for entry in outcome.of(BlockMeasured))
    assert sharded.state_bytes == sharded.predicted_state_bytes
    assert sum(sharded.state_bytes) == sharded.replicated_state_bytes
    assert alone.state_bytes == alone.predicted_state_bytes == (alone.replicated_state_bytes,)


def test_a_failure_outside_of_a_cell_is_a_warning():
    plan = planned()
    entry = campaign_module.end_of(CellEnded(key="all_reduce/2 ranks/4096 bytes", status="failed", reason="why"), plan)
    assert entry.kind == "warning"
    assert "why" in entry.warning.message


# What is asked for, without running anything


def test_a_rung_is_taken_whole_or_not_at_all():
    large = ModelConfig(n_layer=8, d_model=512, n_head=8)
    asked = [*workloads(1), *on_ranks([large])]
    budgets = [plan_groups(asked, SCOUTED, 2, budget_s) for budget_s in (5.0, 60.0, 600.0)]
    assert [{cell.workload.model for cell in plan.cells} for plan in budgets] == [set(), {TINY}, {TINY, large}]
    assert all(len(plan.cells) + len(plan.ruled_out) == len(asked) for plan in budgets)
    assert all(isinstance(one, CellPlanned) and one.reason for plan in budgets for one in plan.ruled_out)


def test_more_ranks_than_cores_are_refused_with_what_there_is():
    plan = plan_groups(on_ranks([TINY], world_sizes=(2, 8), seq_len=16), SCOUTED, threads=2, budget_s=600.0)
    assert plan.world_sizes == (1, 2)
    refused = [one for one in plan.ruled_out if one.workload.world_size == 8]
    assert refused and all("needs 8 ranks" in (one.reason or "") for one in refused)


def test_ranks_share_the_threads_and_one_alone_has_no_more():
    assert planned().threads == 1
    eight = plan_groups(workloads(1), SCOUTED, threads=8, budget_s=600.0)
    assert eight.threads == 4
    assert rank_affinity((0, 1, 2, 3), 2, 2) == ((0, 1), (2, 3))
    assert rank_affinity((0, 1, 2), 2, 2) is None


def test_a_block_times_all_cells_and_messages_in_an_order_of_its_own_and_reads_memory_last():
    plan = planned()
    first, second = (block_orders(plan, 30.0, index, seed=0) for index in range(2))
    assert [type(order) for order in first[-len(plan.cells) :]] == [RankMemoryOrder] * len(plan.cells)
    assert not [order for order in second if isinstance(order, RankMemoryOrder)]
    timed = first[: -len(plan.cells)]
    assert {order.key for order in timed} == {order.key for order in second}
    assert [order.key for order in timed] != [order.key for order in second]


def test_the_expected_time_is_the_budget_or_nothing():
    assert planned(100.0).expected_s == pytest.approx(100.0)
    assert planned(1.0).expected_s == 0.0
