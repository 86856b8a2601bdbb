"""Whole runs on two revisions of a stand-in: what is found, what is lost, what is refused."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from two_revisions import commit, git, make_repository, worktrees, write_phases
from typer.testing import CliRunner

from scalemark.ab import AbRequest, pairs, run, run_ab
from scalemark.ab.workers import SideError
from scalemark.cli import app
from scalemark.errors import InputError, ScalemarkError
from scalemark.schema import AbResult, TaskRef

RUNGS = ("d1w64", "d2w128")
# A step of the slow side looks whether it is one: the base's code is the same file with `1`.
SLEEP = "time.sleep({ms} / 1000)"


@pytest.fixture(autouse=True)
def _short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "SMALLEST_BUDGET_S", 1.0)
    monkeypatch.setattr(pairs, "WARMUP_S", 0.01)
    monkeypatch.setattr(run, "CLOSING_S", 0.2)


def measured(repository: Path, budget_s: float = 12.0, **changes: object) -> AbResult:
    request = {"base": "main", "head": "WORKTREE", "rungs": RUNGS, "budget_s": budget_s, "repository": repository}
    return run_ab(AbRequest(**{**request, **changes}), lambda _: None)  # type: ignore[arg-type]


def test_a_real_slowdown_is_found_before_the_time_is_over(tmp_path: Path) -> None:
    repository = make_repository(tmp_path / "r", SLEEP.format(ms=4))
    write_phases(repository, SLEEP.format(ms=8))
    result = measured(repository)
    assert result.diff.verdict == "regressed"
    assert {time.verdict for time in result.times} == {"regressed"}
    assert all(time.ratio and 1.5 < time.ratio.value < 2.2 for time in result.times)
    assert result.looks_taken < 3
    assert worktrees(repository) == [str(repository)]


def test_a_speedup_is_improved(tmp_path: Path) -> None:
    repository = make_repository(tmp_path / "r", SLEEP.format(ms=8))
    write_phases(repository, SLEEP.format(ms=4))
    assert {time.verdict for time in measured(repository).times} == {"improved"}


def test_the_record_holds_every_round_and_what_it_was_measured_with(tmp_path: Path) -> None:
    repository = make_repository(tmp_path / "r", SLEEP.format(ms=4))
    result = measured(repository, budget_s=8.0)
    assert AbResult.model_validate_json(result.model_dump_json()) == result
    for pair in result.pairs:
        assert {samples.key for samples in pair.samples} == {workload.key for workload in result.workloads}
        assert all(len(samples.base_s) == len(samples.head_s) > 0 for samples in pair.samples)
    assert result.base.commit == git(repository, "rev-parse", "main")
    assert result.settings.environment["GOMP_SPINCOUNT"]


def test_a_changed_counter_is_reported_with_its_values(tmp_path: Path) -> None:
    repository = make_repository(tmp_path / "r", SLEEP.format(ms=4))
    accounting = repository / "src/scalemark/model/accounting.py"
    accounting.write_text(accounting.read_text().replace("PARAMS = 100", "PARAMS = 101"))
    result = measured(repository, budget_s=6.0)
    changed = [one for one in result.diff.comparisons if one.metric == "params_total"]
    assert [(one.base, one.new, one.verdict) for one in changed] == [(100, 101, "regressed")] * len(RUNGS)


def test_a_process_that_dies_costs_its_pair_and_the_run_goes_on(tmp_path: Path) -> None:
    """Every third build of the head ends its process: the first pair of all, which only counts, is spared."""
    marker = tmp_path / "builds"
    dies = (
        f"f = open({str(marker)!r}, 'a+'); f.seek(0); n = len(f.read()); "
        "f.write('x'); f.close(); (os._exit(7) if n > 4 and n % 5 == 0 else None)"
    )
    repository = make_repository(tmp_path / "r", SLEEP.format(ms=4))
    write_phases(repository, SLEEP.format(ms=4), build=dies)
    result = measured(repository)
    lost = [pair.lost for pair in result.pairs if pair.lost]
    assert lost and all("head: its process ended with exit status 7" in str(reason) for reason in lost)
    assert sum(pair.lost is None for pair in result.pairs) >= 4


def test_a_process_that_hangs_costs_its_pair_and_the_run_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pairs, "SILENCE_AT_LEAST_S", 2.0)
    marker = tmp_path / "builds"
    hangs = (
        f"f = open({str(marker)!r}, 'a+'); f.seek(0); n = len(f.read()); f.write('x'); f.close(); "
        "(time.sleep(600) if n == 8 else None)"
    )
    repository = make_repository(tmp_path / "r", SLEEP.format(ms=4))
    write_phases(repository, SLEEP.format(ms=4), build=hangs)
    result = measured(repository)
    lost = [pair.lost for pair in result.pairs if pair.lost]
    assert len(lost) == 1 and "no answer within" in str(lost[0])


def test_a_side_that_always_dies_ends_the_run_with_its_last_words(tmp_path: Path) -> None:
    repository = make_repository(tmp_path / "r")
    write_phases(repository, "pass", build="print('out of luck', flush=True); os._exit(3)")
    with pytest.raises(ScalemarkError, match=r"head: its process ended with exit status 3 \(out of luck\)"):
        measured(repository)
    assert worktrees(repository) == [str(repository)]


def test_a_side_that_cannot_answer_is_named_with_its_error(tmp_path: Path) -> None:
    """An older version may lack what the worker calls."""
    repository = make_repository(tmp_path / "r")
    git(repository, "rm", "--quiet", "src/scalemark/measure/phases.py")
    with pytest.raises(SideError, match=r"head \(WORKTREE\) cannot be measured \(ModuleNotFoundError"):
        measured(repository)


def test_another_scalemark_than_the_side_s_own_is_refused(tmp_path: Path) -> None:
    """Else both sides could be one installed package, which never differs from itself."""
    repository = make_repository(tmp_path / "r")
    (repository / "src/sitecustomize.py").write_text(
        "import sys, types\nfake = types.ModuleType('scalemark')\nfake.__file__ = '/elsewhere/__init__.py'\n"
        "sys.modules['scalemark'] = fake\n"
    )
    with pytest.raises(SideError, match="imports scalemark from /elsewhere and not from its own"):
        measured(repository)


def test_rungs_in_another_project_are_refused_with_what_to_do(tmp_path: Path) -> None:
    repository = make_repository(tmp_path / "r")
    git(repository, "rm", "-r", "--quiet", "src/scalemark")
    commit(repository, "no scalemark")
    with pytest.raises(InputError, match="--task FILE:FUNCTION"):
        measured(repository)


def test_a_project_of_one_s_own_is_measured_by_its_tasks(tmp_path: Path) -> None:
    """The installed scalemark steps through a model that lies in each side's own files."""
    repository = tmp_path / "r"
    repository.mkdir()
    git(repository, "init", "--quiet", "--initial-branch=main")
    _write_task(repository, width=8)
    commit(repository, "narrow")
    _write_task(repository, width=16)
    task = TaskRef(path="bench_mine.py", function="mine")
    result = measured(repository, budget_s=13.0, rungs=(), tasks=(task,))
    (params,) = [one for one in result.diff.comparisons if one.metric == "params_total"]
    assert (params.base, params.new) == (8 * 8 + 8, 16 * 16 + 16)
    assert result.times[0].subject.startswith("bench_mine:mine/step")


def _write_task(repository: Path, width: int) -> None:
    (repository / "bench_mine.py").write_text(
        "import torch\nfrom scalemark import Task\nfrom helper import WIDTH\n\n"
        "def mine():\n    model = torch.nn.Linear(WIDTH, WIDTH)\n"
        "    data = torch.randn(64, WIDTH)\n"
        "    loss = torch.nn.functional.mse_loss\n"
        "    return Task(model, torch.optim.SGD(model.parameters(), lr=0.1), loss, (data, data))\n"
    )
    (repository / "helper.py").write_text(f"WIDTH = {width}\n")


def test_a_bad_revision_is_one_line_and_exit_2(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(make_repository(tmp_path / "r"))
    result = CliRunner().invoke(app, ["ab", "--base", "nowhere"])
    assert result.exit_code == 2
    assert result.stderr.count("\n") == 1
    assert "nowhere" in result.stderr


def test_ctrl_c_leaves_no_worktree_and_no_process(tmp_path: Path) -> None:
    repository = make_repository(tmp_path / "r", SLEEP.format(ms=4))
    process = subprocess.Popen(
        [sys.executable, "-m", "scalemark", "ab", "--base", "main", "--time", "60s"],
        cwd=repository,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "TMPDIR": str(tmp_path)},
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL) and None,
    )
    assert process.stderr is not None
    while "pair 1" not in process.stderr.readline():
        assert process.poll() is None
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=30) == 130
    assert worktrees(repository) == [str(repository)]
    deadline = time.monotonic() + 10
    while (left := _processes_in(tmp_path)) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not left
    assert [path.name for path in tmp_path.iterdir()] == ["r"]


def _processes_in(folder: Path) -> list[str]:
    import psutil

    found = (process.info["cwd"] for process in psutil.process_iter(["cwd"]))
    return [cwd for cwd in found if cwd and cwd.startswith(str(folder / "scalemark-ab"))]
