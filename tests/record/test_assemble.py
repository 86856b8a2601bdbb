"""The suite follows from the journal, from as much of it as there is."""

import statistics
from collections.abc import Sequence
from pathlib import Path

import pytest
from factories import make_machine, make_training_run, tiny_config

import scalemark
from scalemark.errors import SchemaError
from scalemark.record.assemble import UNMEASURED, assemble
from scalemark.schema import (
    Accounting,
    Block,
    BlockMeasured,
    CellCounted,
    CellEnded,
    CellPlanned,
    CorpusFacts,
    Energy,
    EnergyMeasured,
    Flops,
    JournalEntry,
    KernelMeasured,
    MeasurementWarning,
    Memory,
    MemoryMeasured,
    ModelConfig,
    Phase,
    RunFinished,
    RunResumed,
    RunStarted,
    RunTrained,
    Settings,
    ShortLosses,
    ShortLossesMeasured,
    Suite,
    TaskRef,
    TrainingRun,
    WarningRaised,
    Workload,
)

MODEL = ModelConfig(n_layer=1, d_model=64, n_head=1)
STARTED = RunStarted(
    id="20260101-000000-test",
    created="2026-01-01T00:00:00Z",
    scalemark_version="0.1.0",
    commit="abc",
    machine=make_machine(),
    settings=Settings(budget_s=60, device="cpu", seed=0, n_blocks=3, threads=2),
)
FINISHED = RunFinished(duration_s=50.0, complete=True)
ACCOUNTING = Accounting(
    params_total=1000,
    items=512,
    flops=Flops(matmul=8e6, attention_full=2e6, attention_causal=1e6),
    parameter_bytes=4000,
    gradient_bytes=4000,
    optimizer_state_bytes=8000,
)
MEMORY = Memory(allocated_bytes=123_456, method="made up")
ENERGY = Energy(status="unavailable", reason="no energy counter on this machine")
LOSSES = ShortLosses(seeds=(0, 1), losses=((5.5, 5.1), (5.5, 5.2)))
STEADY = ((0.010, 0.011, 0.012), (0.010, 0.010, 0.011), (0.011, 0.011, 0.013))
TASK = Workload(phase="step", task=TaskRef(path="bench_mine.py", function="mine"))


def workload(phase: Phase = "step", seq_len: int = 256) -> Workload:
    return Workload(phase=phase, model=MODEL, batch=2, seq_len=seq_len, optimizer="adamw")


def blocks(of: Workload, rounds_s: Sequence[Sequence[float]] = STEADY) -> list[JournalEntry]:
    return [
        BlockMeasured(key=of.key, block=Block(index=index, warmup_s=(0.5,), rounds_s=tuple(rounds), setup_s=0.1))
        for index, rounds in enumerate(rounds_s)
    ]


def gemm(rates_per_s: Sequence[float], block_index: int = 0) -> KernelMeasured:
    return KernelMeasured(
        name="gemm", device="cpu", dtype="float32", block_index=block_index, rates_per_s=tuple(rates_per_s)
    )


def measured(of: Workload, *further: JournalEntry) -> Suite:
    return assemble([STARTED, CellPlanned(workload=of, accounting=ACCOUNTING), *blocks(of), *further, FINISHED])


# A journal with an entry of every kind
WHOLE: list[JournalEntry] = [
    STARTED,
    CellPlanned(workload=workload(), accounting=ACCOUNTING),
    CellPlanned(workload=workload("forward"), accounting=ACCOUNTING),
    CellPlanned(workload=workload(seq_len=4096), status="predicted_oom", reason="needs more than there is"),
    CellPlanned(workload=TASK),
    CellCounted(key=TASK.key, accounting=ACCOUNTING),
    gemm([2e9, 4e9]),
    KernelMeasured(name="triad", device="cpu", dtype="float32", block_index=0, rates_per_s=(1e10, 1.1e10)),
    *blocks(workload())[:2],
    *blocks(TASK)[:1],
    CellEnded(key=workload("forward").key, status="failed", reason="an error"),
    gemm([2e9, 4.1e9], block_index=1),
    blocks(workload())[2],
    MemoryMeasured(key=workload().key, memory=MEMORY),
    EnergyMeasured(key=workload().key, energy=ENERGY),
    ShortLossesMeasured(key=workload().key, short_losses=LOSSES),
    RunTrained(run=make_training_run(MODEL, 250_000)),
    WarningRaised(warning=MeasurementWarning(subject="clock", message="it is coarse: use longer rounds")),
    FINISHED,
]


# What follows from the samples


def test_time_is_the_median_of_the_block_medians() -> None:
    time_s = measured(workload()).cells[0].time_s
    assert time_s
    assert time_s.value == statistics.median(statistics.median(rounds) for rounds in STEADY) == 0.011
    assert 0.009 <= time_s.low < time_s.value < time_s.high <= 0.014


def test_warm_up_rounds_change_no_time() -> None:
    samples = measured(workload()).cells[0].samples_s
    assert samples == tuple(sample for rounds in STEADY for sample in rounds)


@pytest.mark.parametrize(("phase", "passes"), [("forward", 1), ("backward", 2), ("step", 3), ("eval", 1)])
def test_rates_are_what_was_done_over_the_time(phase: Phase, passes: int) -> None:
    cell = measured(workload(phase), gemm([4e9])).cells[0]
    assert cell.time_s and cell.items_per_s and cell.flops_per_s and cell.mfu
    assert cell.items_per_s.value == pytest.approx(512 / 0.011)
    assert cell.flops_per_s.value == pytest.approx(passes * (8e6 + 2e6) / 0.011)
    assert cell.mfu.value == pytest.approx(passes * (8e6 + 2e6) / 0.011 / 4e9)
    assert cell.mfu.low == pytest.approx(passes * 1e7 / cell.time_s.high / 4e9)
    assert cell.mfu.high == pytest.approx(passes * 1e7 / cell.time_s.low / 4e9)


def test_an_optimizer_update_has_a_time_and_no_rates() -> None:
    cell = measured(workload("optimizer"), gemm([4e9])).cells[0]
    assert cell.time_s
    assert (cell.items_per_s, cell.flops_per_s, cell.mfu) == (None, None, None)


def test_every_product_of_the_sweep_is_kept_and_the_best_is_the_ceiling_of_mfu() -> None:
    shapes = {(512, 512, 512): 5e9, (1024, 1024, 1024): 4e9}
    sweep = [gemm([rate]).model_copy(update={"shape": shape}) for shape, rate in shapes.items()]
    suite = measured(workload(), *sweep)
    kept = {(rate.m, rate.n, rate.k): rate.flops_per_s.value for rate in suite.ceilings.gemm_sweep}
    assert kept == pytest.approx(shapes)
    assert suite.cells[0].mfu and suite.cells[0].mfu.value == pytest.approx(3e7 / 0.011 / 5e9)
    assert suite.cells[0].hfu == suite.cells[0].mfu


def test_mfu_is_against_the_ceiling_of_the_same_dtype_and_else_unknown() -> None:
    half = KernelMeasured(name="gemm", device="cpu", dtype="bfloat16", block_index=0, rates_per_s=(9e9,))
    suite = measured(workload(), half)
    assert set(suite.ceilings.gemm_flops_per_s) == {"cpu/bfloat16"}
    assert suite.cells[0].flops_per_s and suite.cells[0].mfu is None


def test_bandwidth_is_kept_by_device() -> None:
    assert set(assemble(WHOLE).ceilings.triad_bytes_per_s) == {"cpu"}


def test_a_cell_without_accounting_has_a_time_and_no_rates() -> None:
    (cell,) = assemble([STARTED, CellPlanned(workload=TASK), *blocks(TASK)]).cells
    assert cell.status == "ok" and cell.time_s
    assert (cell.accounting, cell.items_per_s, cell.flops_per_s, cell.mfu) == (None, None, None, None)


def test_what_a_worker_counted_is_the_accounting_of_a_task() -> None:
    counted = ACCOUNTING.model_copy(update={"items": 50, "source": "counted"})
    entries = [STARTED, CellPlanned(workload=TASK), CellCounted(key=TASK.key, accounting=counted), *blocks(TASK)]
    (cell,) = assemble(entries).cells
    assert cell.accounting == counted
    assert cell.items_per_s and cell.items_per_s.value == pytest.approx(50 / 0.011)


def test_every_cell_gets_what_is_its_own() -> None:
    step, forward, ruled_out, task = assemble(WHOLE).cells
    assert (step.memory, step.energy, step.short_losses) == (MEMORY, ENERGY, LOSSES)
    assert (forward.memory, forward.energy, forward.blocks) == (None, None, ())
    assert [len(cell.blocks) for cell in (step, ruled_out, task)] == [3, 0, 1]


# How a cell ended


def test_a_cell_that_ran_out_of_memory_keeps_its_blocks_and_says_so() -> None:
    cell = measured(workload(), CellEnded(key=workload().key, status="oom", reason="killed")).cells[0]
    assert (cell.status, cell.reason) == ("oom", "killed")
    assert len(cell.blocks) == 3 and cell.time_s


def test_a_cell_that_was_ruled_out_keeps_its_reason() -> None:
    cell = assemble(WHOLE).cells[2]
    assert (cell.status, cell.reason, cell.time_s) == ("predicted_oom", "needs more than there is", None)


def test_a_cell_that_nobody_came_to_is_skipped_and_says_why() -> None:
    (cell,) = assemble([STARTED, CellPlanned(workload=workload(), accounting=ACCOUNTING)]).cells
    assert (cell.status, cell.reason, cell.time_s) == ("skipped", UNMEASURED, None)


# The run as a whole


def test_the_suite_carries_what_the_run_began_with() -> None:
    suite = assemble([STARTED])
    for field in ("id", "created", "scalemark_version", "commit", "machine", "settings", "fake"):
        assert getattr(suite, field) == getattr(STARTED, field)


def test_a_fake_run_stays_fake() -> None:
    assert assemble([STARTED.model_copy(update={"fake": True})]).fake


@pytest.mark.parametrize("length", range(1, len(WHOLE) + 1))
def test_a_journal_cut_anywhere_gives_a_suite_that_can_be_read_again(length: int) -> None:
    suite = assemble(WHOLE[:length])
    assert Suite.model_validate_json(suite.model_dump_json()) == suite
    assert suite.complete == (length == len(WHOLE))
    assert len(suite.cells) == sum(isinstance(entry, CellPlanned) for entry in WHOLE[:length])
    n_samples = sum(len(entry.block.rounds_s) for entry in WHOLE[:length] if isinstance(entry, BlockMeasured))
    assert sum(len(cell.samples_s) for cell in suite.cells) == n_samples
    assert all(cell.reason for cell in suite.cells if cell.status != "ok")


@pytest.mark.parametrize("entries", [[], WHOLE[1:], [FINISHED]])
def test_a_journal_that_does_not_begin_with_a_run_is_refused(entries: list[JournalEntry]) -> None:
    with pytest.raises(SchemaError, match="does not begin with a run"):
        assemble(entries)


def test_a_run_that_was_killed_is_incomplete_and_of_unknown_length() -> None:
    suite = assemble(WHOLE[:-1])
    assert not suite.complete and suite.duration_s is None


def test_a_run_that_ended_early_is_incomplete_and_of_known_length() -> None:
    suite = assemble([STARTED, RunFinished(duration_s=3.0, complete=False)])
    assert not suite.complete and suite.duration_s == 3.0


def test_training_runs_are_kept_in_the_order_they_ended() -> None:
    runs = [make_training_run(MODEL, tokens) for tokens in (500_000, 250_000)]
    assert assemble([STARTED, *(RunTrained(run=run) for run in runs)]).training_runs == tuple(runs)


# Runs that went on after an interruption

RESUMED = RunResumed(created="2026-01-02T00:00:00Z", budget_s=60)
TRAINED = make_training_run(MODEL, 250_000)
LATER = make_training_run(MODEL, 500_000)


def again(status: str, reason: str) -> RunTrained:
    """Another word on the run that was trained."""
    return RunTrained(run=TrainingRun.model_validate({"config": TRAINED.config, "status": status, "reason": reason}))


def test_a_run_that_went_on_is_one_suite_of_all_its_parts() -> None:
    parts = [RunTrained(run=TRAINED), RESUMED, RunTrained(run=LATER), FINISHED]
    suite = assemble([STARTED, *parts])
    assert suite.training_runs == (TRAINED, LATER)
    assert (suite.id, suite.created, suite.settings) == (STARTED.id, STARTED.created, STARTED.settings)


def test_the_times_of_all_parts_that_came_to_an_end_are_summed() -> None:
    first, second = RunFinished(duration_s=3.0, complete=False), RunFinished(duration_s=50.0, complete=True)
    assert assemble([STARTED, first, RESUMED, second]).duration_s == 53.0
    assert assemble([STARTED, RESUMED, second]).duration_s == 50.0, "of the killed part nobody knows"


@pytest.mark.parametrize(
    ("ends", "complete"),
    [
        ([False, True], True),
        ([True, False], False),
        ([True, None], False),
        ([None, True], True),
        ([True, True], True),
    ],
    ids=str,
)
def test_a_suite_is_complete_if_its_last_part_is(ends: list[bool | None], complete: bool) -> None:
    """None: that part was killed."""
    entries: list[JournalEntry] = [STARTED]
    for end in ends:
        entries += [] if end is None else [RunFinished(duration_s=1.0, complete=end)]
        entries.append(RESUMED)
    assert assemble(entries[:-1]).complete == complete


@pytest.mark.parametrize("status", ["skipped", "failed"])
def test_what_was_trained_is_not_lost_to_a_later_part_that_left_it_out(status: str) -> None:
    suite = assemble([STARTED, RunTrained(run=TRAINED), RESUMED, again(status, "no time"), FINISHED])
    assert suite.training_runs == (TRAINED,)


def test_nor_is_a_run_that_came_apart() -> None:
    apart = again("diverged", "the loss blew up after step 7")
    suite = assemble([STARTED, apart, RESUMED, again("skipped", "no time"), FINISHED])
    assert suite.training_runs == (apart.run,)


@pytest.mark.parametrize("status", ["skipped", "failed", "diverged"])
def test_what_was_not_trained_before_is_replaced_when_it_is(status: str) -> None:
    suite = assemble([STARTED, again(status, "no time"), RESUMED, RunTrained(run=TRAINED), FINISHED])
    assert suite.training_runs == (TRAINED,)


def test_of_several_words_on_a_run_that_was_never_trained_the_last_one_counts() -> None:
    words = [again("skipped", "no time"), RESUMED, again("failed", "killed")]
    (run,) = assemble([STARTED, *words, FINISHED]).training_runs
    assert (run.status, run.reason) == ("failed", "killed")


def test_branches_of_one_trunk_are_runs_of_their_own() -> None:
    runs = [TrainingRun(config=tiny_config(steps), status="ok", validation_loss=2.0) for steps in (8, 20)]
    assert assemble([STARTED, *(RunTrained(run=run) for run in runs)]).training_runs == tuple(runs)


def test_the_text_that_was_trained_on_is_in_the_suite() -> None:
    facts = CorpusFacts(identity="kjv@1", train_tokens=3_000_000, validation_tokens=500_000, documents=66)
    assert assemble([STARTED.model_copy(update={"corpus": facts})]).corpus == facts
    assert assemble([STARTED]).corpus is None


# Warnings


def test_a_warning_raised_while_measuring_is_kept() -> None:
    assert "clock" in {warning.subject for warning in assemble(WHOLE).warnings}


def test_a_wide_interval_is_a_warning_that_names_the_worst_cell() -> None:
    wide, wider = workload("forward"), workload("step")
    planned = [CellPlanned(workload=of, accounting=ACCOUNTING) for of in (wide, wider, workload("eval"))]
    noise = [blocks(wide, [[0.010], [0.011], [0.013]]), blocks(wider, [[0.010], [0.015], [0.030]])]
    suite = assemble([STARTED, *planned, *noise[0], *noise[1], *blocks(workload("eval"), [[0.01], [0.01], [0.01]])])
    (warning,) = suite.warnings
    assert warning.subject == "2 of 3 cells"
    assert wider.key in warning.message and "--scale-budget" in warning.message


def test_a_ceiling_that_moved_is_a_warning_with_advice() -> None:
    suite = assemble([STARTED, *(gemm([rate], index) for index, rate in enumerate((1e9, 2e9, 3e9)))])
    (warning,) = suite.warnings
    assert warning.subject == "cpu/float32"
    assert "measure when the machine is quiet" in warning.message


def test_a_quiet_machine_gets_no_warning() -> None:
    steady = blocks(workload(), [[0.010, 0.0101]] * 3)
    suite = assemble([STARTED, CellPlanned(workload=workload(), accounting=ACCOUNTING), *steady, gemm([1e9, 1.01e9])])
    assert suite.warnings == ()


# Energy from a stated power


def test_a_stated_power_gives_an_estimate_beside_the_measured_energy_and_changes_nothing_of_it() -> None:
    stated = STARTED.model_copy(update={"settings": STARTED.settings.model_copy(update={"stated_power_w": 120.0})})
    entries = [CellPlanned(workload=workload()), *blocks(workload()), EnergyMeasured(key=workload().key, energy=ENERGY)]
    (cell,) = assemble([stated, *entries]).cells
    assert cell.time_s and cell.energy
    assert cell.energy == ENERGY.model_copy(update={"estimated_j": pytest.approx(120.0 * cell.time_s.value)})
    (plain,) = assemble([STARTED, *entries]).cells
    assert plain.energy == ENERGY


@pytest.mark.parametrize("part", ["fit", "plan", "diff"])
def test_no_fit_and_no_comparison_reads_an_estimate(part: str) -> None:
    sources = (Path(scalemark.__file__).parent / part).rglob("*.py")
    assert not [path.name for path in sources if "estimated_j" in path.read_text(encoding="utf-8")]


def test_one_faked_counter_makes_the_whole_suite_fake() -> None:
    faked = EnergyMeasured(key=workload().key, energy=ENERGY.model_copy(update={"fake": True}))
    assert measured(workload(), faked).fake
    assert not measured(workload()).fake
