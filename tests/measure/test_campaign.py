"""Real workers on tasks that take milliseconds."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from scalemark.errors import DeviceError
from scalemark.measure import campaign as campaign_module
from scalemark.measure.campaign import Campaign, Site, scout
from scalemark.measure.selection import FEW_BLOCKS, Plan, PlannedCell
from scalemark.process import default_affinity
from scalemark.schema import (
    BlockMeasured,
    CellCounted,
    CellEnded,
    EnergyMeasured,
    JournalEntry,
    KernelMeasured,
    MemoryMeasured,
    OperatorsCounted,
    ShortLossesMeasured,
    TaskRef,
    WorkerStarted,
    Workload,
)

TASKS = Path(__file__).parent / "tasks_for_campaign.py"


def workload(function: str, **arguments: int) -> Workload:
    return Workload(phase="step", task=TaskRef(path=str(TASKS), function=function, arguments=tuple(arguments.items())))


def site_in(folder: Path) -> Site:
    tokens = folder / "tokens.bin"
    np.arange(4000).astype(np.uint8).tofile(tokens)
    one_cpu = default_affinity()[:1] if default_affinity() else None
    return Site(tokens, folder / "workers.log", threads=1, seed=0, device="cpu", affinity=one_cpu)


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return site_in(tmp_path)


def carried_out(site: Site, *workloads: Workload) -> list[JournalEntry]:
    entries: list[JournalEntry] = []
    plan = Plan(tuple(PlannedCell(one, None, 0.001) for one in workloads), (), budget_s=20, energy=False, worker_s=3.0)
    Campaign(plan, site, entries.append, lambda _: None, "no counter here", lambda: {"load_average_1min": 0.5}).run()
    return entries


def of(kind, entries):
    return [entry for entry in entries if isinstance(entry, kind)]


@dataclass(frozen=True)
class Whole:
    """A campaign from its memory pass to its last block."""

    site: Site
    cells: list[Workload]
    entries: list[JournalEntry]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Whole:
    site = site_in(tmp_path_factory.mktemp("whole"))
    cells = [workload("well_behaved", width=8), workload("well_behaved", width=16)]
    return Whole(site, cells, carried_out(site, *cells))


def test_every_block_measures_every_cell_with_the_reference_kernels_among_them(whole):
    cells, entries = whole.cells, whole.entries
    blocks = {(entry.key, entry.block.index) for entry in of(BlockMeasured, entries)}
    assert blocks == {(cell.key, index) for cell in cells for index in range(FEW_BLOCKS)}
    assert {kernel.name for kernel in of(KernelMeasured, entries)} == {"gemm", "triad"}
    assert {kernel.block_index for kernel in of(KernelMeasured, entries)} == set(range(FEW_BLOCKS))
    assert {entry.key for entry in of(MemoryMeasured, entries)} == {cell.key for cell in cells}
    assert {entry.energy.reason for entry in of(EnergyMeasured, entries)} == {"no counter here"}
    counted = {entry.key: entry.accounting.params_total for entry in of(CellCounted, entries)}
    assert counted == {cells[0].key: 8 * 3 + 3, cells[1].key: 16 * 3 + 3}
    assert all(sample > 0 for entry in of(BlockMeasured, entries) for sample in entry.block.rounds_s)
    assert {entry.key: entry.operators.calls["aten.addmm"] for entry in of(OperatorsCounted, entries)} == {
        cell.key: 1 for cell in cells
    }


def test_every_block_says_what_its_worker_ran_with_and_what_the_machine_did_beside_its_rounds(whole):
    site, entries = whole.site, whole.entries
    workers = of(WorkerStarted, entries)
    assert [(worker.purpose, worker.index) for worker in workers] == [
        ("memory", 0),
        *(("time", index) for index in range(FEW_BLOCKS)),
    ]
    for worker in workers:
        assert worker.threads == site.threads
        assert worker.affinity == site.affinity
        assert worker.environment["OMP_NUM_THREADS"] == "1"
        assert worker.start_s > 0
        assert worker.state == {"load_average_1min": 0.5}
    for entry in of(BlockMeasured, entries):
        conditions = entry.block.conditions
        assert sum(conditions.turn_lengths) == len(entry.block.rounds_s)
        assert all(second > 0 for second in (*conditions.gemm_s, *conditions.exchange_s, *conditions.triad_s))
        assert len(entry.block.warmup_s) > 1


def test_losses_are_taken_of_what_is_compared_and_a_cell_of_few_blocks_is_left_out_of_the_later_ones(site):
    compared, other = workload("well_behaved", width=8), workload("well_behaved", width=16)
    cells = (PlannedCell(compared, None, 0.001, n_blocks=1, compared=True), PlannedCell(other, None, 0.001, n_blocks=2))
    entries: list[JournalEntry] = []
    Campaign(Plan(cells, (), 15, False, 3.0, 2), site, entries.append, lambda _: None, "no counter here").run()
    (losses,) = of(ShortLossesMeasured, entries)
    assert losses.key == compared.key
    assert losses.short_losses.seeds == (0, 1, 2)
    assert [worker.purpose for worker in of(WorkerStarted, entries)] == ["memory", "loss", "time", "time"]
    blocks = [(entry.key, entry.block.index) for entry in of(BlockMeasured, entries)]
    assert sorted(blocks) == sorted([(compared.key, 0), (other.key, 0), (other.key, 1)])


def test_a_second_look_adds_blocks_of_its_cells_and_of_the_kernels_and_observes_nothing_else(site):
    entries: list[JournalEntry] = []
    cell = workload("well_behaved", width=8)
    plan = Plan((PlannedCell(cell, None, 0.001),), (), budget_s=12, energy=False, worker_s=3.0)
    Campaign(plan, site, entries.append, lambda _: None, "no counter here").time_again(first=5)
    assert [(entry.key, entry.block.index) for entry in of(BlockMeasured, entries)] == [
        (cell.key, i) for i in (5, 6, 7)
    ]
    assert {kernel.block_index for kernel in of(KernelMeasured, entries)} == {5, 6, 7}
    assert {type(entry) for entry in entries} == {BlockMeasured, KernelMeasured, WorkerStarted}


def test_a_cell_that_fails_ends_with_its_reason_and_the_rest_go_on(site, monkeypatch):
    monkeypatch.setattr(campaign_module, "SILENCE_AT_LEAST_S", 15.0)
    monkeypatch.setattr(campaign_module, "SILENCE_FACTOR", 0.0)
    good = workload("well_behaved")
    bad = {name: workload(name) for name in ("killed", "raises", "out_of_memory", "hangs")}
    entries = carried_out(site, good, *bad.values())
    ends = {entry.key: entry for entry in of(CellEnded, entries)}
    assert ends[bad["killed"].key].status == "oom"
    assert ends[bad["raises"].key].status == "failed"
    assert "the third layer is upside down" in ends[bad["raises"].key].reason
    assert ends[bad["out_of_memory"].key].status == "oom"
    assert ends[bad["hangs"].key].status == "timeout"
    assert len(ends) == len(of(CellEnded, entries)), "a cell that ended must not be tried again"
    assert [entry.key for entry in of(BlockMeasured, entries)] == [good.key] * FEW_BLOCKS


def test_the_scout_says_what_is_there(site):
    seen = scout(site)
    assert seen.device == "cpu"
    assert seen.available_bytes > 0
    assert seen.s_per_flop > 0


def test_a_device_that_is_not_there_is_refused_before_anything_runs(site):
    import torch

    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    on_gpu = Site(site.token_path, site.log_path, site.threads, site.seed, device="cuda")
    with pytest.raises(DeviceError, match="--scale-device cpu"):
        scout(on_gpu)
