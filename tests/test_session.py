"""What a run checks and plans before it measures anything."""

from pathlib import Path

import pytest

from scalemark import session
from scalemark.errors import BudgetError, SchemaError
from scalemark.measure.orders import Scouted
from scalemark.model.ladder import BATCH, DIAGONAL, SEQ_LEN
from scalemark.schema import TaskRef, TrainingConfig, Workload
from scalemark.session import Request, describe, placed, start
from scalemark.train.corpus import Corpus
from scalemark.train.grid import training_grid

SCOUTED = Scouted(
    device="cpu",
    available_bytes=2**36,
    per_layer_s=0.003,
    s_per_flop=1e-11,
    energy_reason="no counter",
    facts={"torch_cpu_capability": "made up"},
)
CORPUS = Corpus("kjv@abc", Path("train.bin"), Path("validation.bin"))
STEPS = tuple(Workload(phase="step", model=r, batch=BATCH, seq_len=SEQ_LEN, optimizer="adamw") for r in DIAGONAL)

GRID = training_grid()


def request(root: Path, budget_s: float = 480.0, workloads=STEPS, trainings=GRID) -> Request:
    return Request(workloads, trainings, budget_s, device="auto", seed=0, results_root=root)


@pytest.fixture(autouse=True)
def _no_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "scout", lambda site: SCOUTED)


def test_a_baseline_that_cannot_be_read_is_found_before_measuring_and_leaves_no_folder(tmp_path, monkeypatch):
    def unreadable(root: Path, machine_id: str) -> None:
        raise SchemaError("schema version 9: upgrade scalemark")

    monkeypatch.setattr(session, "find_baseline", unreadable)
    with pytest.raises(SchemaError, match="upgrade"):
        start(request(tmp_path))
    assert not list((tmp_path / "runs").iterdir())


def test_a_budget_that_nothing_fits_into_says_so_and_leaves_no_folder(tmp_path):
    large = training_grid(widths=[128], tokens=[4_194_304])
    with pytest.raises(BudgetError, match="raise --scale-budget"):
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
    assert placed(training_grid()[0], "cuda", CORPUS).corpus == "kjv@abc"
    assert placed(mine, "cuda", CORPUS).corpus is None
    assert placed(STEPS[0], "cuda", CORPUS).key.endswith("/cuda")
