"""What a run checks and plans before it measures anything, and what it goes on from."""

from dataclasses import replace
from pathlib import Path

import pytest

from scalemark import session
from scalemark.benchmarks import on_ranks
from scalemark.errors import BudgetError, InputError, SchemaError
from scalemark.measure.orders import Scouted
from scalemark.model.ladder import BATCH, DIAGONAL, SEQ_LEN
from scalemark.record.store import Journal, RunFolder, read_journal
from scalemark.schema import (
    CorpusFacts,
    RunResumed,
    RunStarted,
    RunTrained,
    TaskRef,
    TrainingConfig,
    TrainingRun,
    Workload,
)
from scalemark.session import Request, Session, describe, finish, placed, start
from scalemark.train.candidate import TASK_S
from scalemark.train.corpus import Corpus
from scalemark.train.executors.slurm import DEFAULT_SLOTS, Spool
from scalemark.train.grid import training_grid
from scalemark.train.pace import Pace
from scalemark.train.placement import Placement

SCOUTED = Scouted(
    device="cpu",
    available_bytes=2**36,
    per_layer_s=0.003,
    s_per_flop=1e-11,
    energy_reason="no counter",
    worker_start_s=2.0,
    facts={"torch_cpu_capability": "made up"},
)
PACE = Pace(per_layer_s=0.001, s_per_gflop=0.01, s_per_gb=0.1)
FACTS = CorpusFacts(
    identity="words@abc",
    train_tokens=9_000_000,
    validation_tokens=50_000,
    vocab_size=512,
    tokenizer="bpe:512",
    documents=9,
)
CORPUS = Corpus(FACTS, Path("train.bin"), Path("validation.bin"), "uint16")
STEPS = tuple(Workload(phase="step", model=r, batch=BATCH, seq_len=SEQ_LEN, optimizer="adamw") for r in DIAGONAL)

GRID = training_grid()
FEW = training_grid(widths=[16, 32, 48], tokens=[2**16, 2**17])


def request(root: Path, budget_s: float = 480.0, workloads=STEPS, trainings=GRID) -> Request:
    return Request(workloads, trainings, budget_s, device="auto", seed=0, results_root=root)


@pytest.fixture(autouse=True)
def _no_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "scout", lambda site: SCOUTED)
    monkeypatch.setattr(session, "find_pace", lambda workshop: PACE)


def test_a_baseline_that_cannot_be_read_is_found_before_measuring_and_leaves_no_folder(tmp_path, monkeypatch):
    def unreadable(root: Path, machine_id: str) -> None:
        raise SchemaError("schema version 9: upgrade scalemark")

    monkeypatch.setattr(session, "find_baseline", unreadable)
    with pytest.raises(SchemaError, match="upgrade"):
        start(request(tmp_path))
    assert not list((tmp_path / "runs").iterdir())


def test_a_budget_that_nothing_fits_into_says_so_and_leaves_no_folder(tmp_path):
    large = training_grid(widths=[128], tokens=[4_194_304])
    with pytest.raises(BudgetError, match="raise the budget"):
        start(request(tmp_path, budget_s=46.0, workloads=(), trainings=large))
    assert not list((tmp_path / "runs").iterdir())


@pytest.mark.parametrize("budget_s", [120.0, 480.0, 3600.0])
def test_what_is_planned_fits_the_budget(tmp_path, budget_s):
    run = start(request(tmp_path, budget_s))
    assert run.plan.cells and run.grid.orders
    assert run.expected_s <= budget_s


def test_time_that_training_does_not_need_goes_to_timing_and_the_other_way_round(tmp_path):
    both = start(request(tmp_path, 300.0))
    only_steps = start(request(tmp_path, 300.0, trainings=()))
    only_training = start(request(tmp_path, 300.0, workloads=()))
    assert only_steps.plan.budget_s > 1.5 * both.plan.budget_s
    assert len(only_training.grid.orders) > len(both.grid.orders)


def test_the_plan_names_each_rung_with_its_time_and_all_that_is_left_out(tmp_path):
    run = start(request(tmp_path, 120.0))
    lines = describe(run)
    said = "\n".join(lines)
    assert all(cell.workload.rung in said for cell in (*run.plan.cells, *run.plan.ruled_out))
    assert all(str(order.config) in said for order in (*run.grid.orders, *run.grid.left_out))
    assert max(map(len, lines)) <= 100


def test_the_text_is_named_by_language_models_alone():
    mine = TrainingConfig(task=TaskRef(path="bench_mine.py", function="mine"), tokens=100)
    assert placed(training_grid()[0], "cuda", CORPUS).corpus == "words@abc"
    assert placed(mine, "cuda", CORPUS).corpus is None
    assert placed(STEPS[0], "cuda", CORPUS).key.endswith("/cuda")


def test_a_language_model_has_as_many_symbols_as_its_text_and_a_rung_that_is_timed_keeps_its_own():
    config, rung = placed(training_grid()[0], "cpu", CORPUS), placed(STEPS[0], "cpu", CORPUS)
    assert config.model and config.model.vocab_size == 512
    assert rung == STEPS[0]


# Where models are trained


def test_on_a_cpu_there_is_a_model_on_every_core(tmp_path, monkeypatch):
    monkeypatch.setattr(session, "default_threads", lambda: 6)
    few = request(tmp_path, workloads=(), trainings=FEW)
    shop = start(few).workshop
    assert (shop.slots, shop.threads) == (6, 1)
    shop = start(replace(few, threads_per_job=2)).workshop
    assert (shop.slots, shop.threads) == (3, 2)
    shop = start(replace(few, jobs=4, threads_per_job=8)).workshop
    assert (shop.slots, shop.threads) == (4, 8)


def test_on_a_gpu_there_is_one_model_at_a_time(tmp_path, monkeypatch):
    monkeypatch.setattr(session, "default_threads", lambda: 6)
    monkeypatch.setattr(session, "scout", lambda site: SCOUTED.model_copy(update={"device": "cuda"}))
    run = start(request(tmp_path, workloads=(), trainings=FEW))
    assert (run.workshop.slots, run.workshop.threads, run.workshop.device) == (1, 6, "cuda")
    assert {order.config.device for order in run.grid.orders} == {"cuda"}


@pytest.mark.parametrize("complete", [True, False])
def test_states_stay_only_where_a_later_run_may_go_on(tmp_path, complete):
    """Nobody asks for a benchmark run's folder again."""
    own, nameless = begun(tmp_path), start(request(tmp_path, workloads=(), trainings=FEW))
    for run in (own, nameless):
        assert run.workshop.checkpoints == run.folder.checkpoints_path
        run.folder.checkpoints_path.mkdir()
        finish(run, complete)
    assert own.folder.checkpoints_path.exists() and not nameless.folder.checkpoints_path.exists()


def test_no_pace_is_looked_for_where_no_language_model_is_trained(tmp_path, monkeypatch):
    monkeypatch.setattr(session, "find_pace", lambda workshop: pytest.fail("nothing here has one"))
    mine = TrainingConfig(task=TaskRef(path="bench_mine.py", function="mine"), tokens=100)
    run = start(request(tmp_path, trainings=(mine,)))
    assert len(run.grid.orders) == 1, "timing may have all the rest of the time, but not this"
    assert run.expected_s <= 480


def test_training_gets_the_time_for_all_that_there_is_where_that_is_little(tmp_path):
    few = training_grid(widths=[16, 32], tokens=[2**19])
    run = start(request(tmp_path, trainings=few))
    assert len(run.grid.orders) == 2 and run.plan.cells


@pytest.mark.parametrize("own", [True, False])
def test_timing_that_took_all_of_the_budget_leaves_a_users_task_its_second_and_a_grid_nothing(
    tmp_path, monkeypatch, own
):
    given_s = []
    monkeypatch.setattr(session, "train_within", lambda left_s, *_: given_s.append(left_s))
    mine = TrainingConfig(task=TaskRef(path="bench_mine.py", function="mine"), tokens=100)
    run = start(request(tmp_path, workloads=(), trainings=(mine,) if own else FEW))
    session.measure(replace(run, started_s=run.started_s - 10_000), print)
    assert given_s[0] > TASK_S if own else given_s[0] <= 0


# Going on


def begun(root: Path, **changes: object) -> Session:
    """A run in a folder of its own, or its next part."""
    return start(replace(request(root, workloads=(), trainings=FEW), out=root / "run", **changes))


def recorded(run: Session, *statuses: str) -> list[TrainingConfig]:
    """Let the first runs of the plan end so."""
    configs = [order.config for order in run.grid.orders][: len(statuses)]
    for config, status in zip(configs, statuses, strict=True):
        ended = {"config": config, "status": status, "reason": None if status == "ok" else "made up"}
        run.journal.append(RunTrained(run=TrainingRun.model_validate(ended)))
    return configs


def test_a_folder_is_begun_and_then_goes_on(tmp_path):
    first = begun(tmp_path)
    begun(tmp_path, budget_s=500.0)
    entries = read_journal(first.folder.journal_path)
    assert [type(entry) for entry in entries] == [RunStarted, RunResumed]
    assert entries[0].id == "run" and entries[0].corpus == first.corpus.facts
    assert entries[1].budget_s == 500.0


def test_what_is_trained_is_planned_no_more_and_what_is_not_is_tried_again(tmp_path):
    """A run that came apart would come apart again; one that failed or was skipped may do better."""
    ok, apart, failed, skipped = recorded(begun(tmp_path), "ok", "diverged", "failed", "skipped")
    second = begun(tmp_path)
    assert second.trained == {ok.key, apart.key}
    planned = {order.key for order in (*second.grid.orders, *second.grid.left_out)}
    assert not planned & {ok.key, apart.key}
    assert {failed.key, skipped.key} <= planned
    assert len(planned) == len(FEW) - 2
    assert f"trained already: 2 of {len(FEW)}" in "\n".join(describe(second))


def test_a_first_part_says_nothing_of_what_is_trained_already(tmp_path):
    assert "already" not in "\n".join(describe(begun(tmp_path)))


def test_another_seed_in_the_same_folder_is_more_to_train(tmp_path):
    recorded(begun(tmp_path), "ok")
    other_seed = tuple(config.model_copy(update={"seed": 1}) for config in FEW)
    more = begun(tmp_path, trainings=other_seed)
    assert len(more.grid.orders) + len(more.grid.left_out) == len(FEW)
    assert "already" not in "\n".join(describe(more))


def test_another_text_is_refused_and_nothing_is_written(tmp_path):
    journal = begun(tmp_path).folder.journal_path
    before = journal.read_bytes()
    with pytest.raises(InputError, match=r"begun with another text .*choose another folder with --out"):
        begun(tmp_path, corpus="synthetic:100k")
    assert journal.read_bytes() == before


def test_another_machine_is_refused(tmp_path, monkeypatch):
    """Another torch is another machine: its losses differ in their last bits."""
    begun(tmp_path)
    other = SCOUTED.model_copy(update={"facts": {"torch_cpu_capability": "another"}})
    monkeypatch.setattr(session, "scout", lambda site: other)
    with pytest.raises(InputError, match="begun with another machine"):
        begun(tmp_path)


def test_another_text_is_refused_before_the_pace_is_taken(tmp_path, monkeypatch):
    """It takes up to a minute, which would be for nothing."""
    begun(tmp_path)
    monkeypatch.setattr(session, "find_pace", lambda workshop: pytest.fail("the text was not looked at"))
    with pytest.raises(InputError, match="begun with another text"):
        begun(tmp_path, corpus="synthetic:100k")


# Trained elsewhere

SLURM = Placement("slurm", slurm_options={"cluster": "local"})


def test_what_jobs_of_slurm_trained_after_their_driver_was_killed_is_recorded_once(tmp_path):
    first = begun(tmp_path, placement=SLURM)
    ok, failed, *_ = [order.config for order in first.grid.orders]
    spool = Spool(tmp_path / "run" / "slurm" / "a.jsonl")
    spool.path.parent.mkdir()
    paced = training_grid(widths=[16], tokens=[2**18])[0]
    for config, status in ((ok, "ok"), (failed, "failed"), (paced, "ok"), (ok, "ok")):
        spool.append(RunTrained(run=TrainingRun(config=config, status=status)).model_dump_json())
    for _ in range(2):
        again = begun(tmp_path, placement=SLURM)
        assert again.trained == {ok.key}
        assert failed.key in {order.key for order in again.grid.orders}
    entries = read_journal(first.folder.journal_path)
    assert [entry.run.config for entry in entries if isinstance(entry, RunTrained)] == [ok]
    assert spool.is_to_stop, "and its job is told that nobody waits for it"


def test_a_grid_that_others_train_may_be_for_a_device_that_is_not_here(tmp_path, monkeypatch):
    looked_for = []
    monkeypatch.setattr(session, "scout", lambda site: looked_for.append(site.device) or SCOUTED)
    run = begun(tmp_path, placement=SLURM, device="cuda")
    assert looked_for == ["cpu"]
    assert (run.workshop.device, run.workshop.threads, run.workshop.slots) == ("cuda", 1, DEFAULT_SLOTS)
    assert {order.config.device for order in run.grid.orders} == {"cuda"}
    (started, *_) = read_journal(run.folder.journal_path)
    assert (started.settings.device, started.settings.executor) == ("cuda", "slurm")
    assert started.settings.executor_options == {"cluster": "local"}
    assert "training runs on cuda (slurm: 4 at a time, 1 thread each)" in describe(run)[0]


def test_a_folder_with_a_foreign_journal_is_refused(tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "journal.jsonl").write_text('{"kind": "a diary"}\n')
    with pytest.raises(SchemaError, match="line 1, is not a journal entry"):
        begun(tmp_path)


@pytest.mark.parametrize("left", [b"", b'{"kind": "run_star'])
def test_a_run_that_was_killed_before_its_first_line_is_begun_anew(tmp_path, left):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "journal.jsonl").write_bytes(left)
    entries = read_journal(begun(tmp_path).folder.journal_path)
    assert [type(entry) for entry in entries] == [RunStarted]


def test_a_journal_that_was_cut_off_in_a_line_goes_on_after_the_line_before(tmp_path):
    first = begun(tmp_path)
    (ok,) = recorded(first, "ok")
    with first.folder.journal_path.open("ab") as file:
        file.write(b'{"kind": "trained", "run": {"conf')
    assert begun(tmp_path).trained == {ok.key}
    Journal(RunFolder(tmp_path / "run").journal_path)
    assert [type(entry) for entry in read_journal(first.folder.journal_path)] == [RunStarted, RunTrained, RunResumed]


# Steps on several ranks

RANKS = tuple(on_ranks([DIAGONAL[1]]))


def test_ranks_get_a_small_share_of_a_long_run_and_nothing_of_a_short_one(tmp_path, monkeypatch):
    monkeypatch.setattr(session, "default_threads", lambda: 2)
    long, short = (start(request(tmp_path, budget_s, workloads=(*STEPS, *RANKS))) for budget_s in (480.0, 120.0))
    assert {cell.workload for cell in long.groups.cells} == set(RANKS)
    assert 0 < long.groups.expected_s < 0.2 * 480
    assert long.expected_s <= 480
    assert not short.groups.cells and {cell.workload for cell in short.groups.ruled_out} == set(RANKS)
    assert not {cell.workload for cell in long.plan.cells} & set(RANKS), "ordinary workers know nothing of ranks"
    assert "fsdp2" in "\n".join(describe(long))


def test_ranks_alone_get_all_the_time_there_is(tmp_path, monkeypatch):
    monkeypatch.setattr(session, "default_threads", lambda: 2)
    alone = start(request(tmp_path, 120.0, workloads=RANKS, trainings=()))
    assert {cell.workload for cell in alone.groups.cells} == set(RANKS)
    assert alone.groups.expected_s > 60
