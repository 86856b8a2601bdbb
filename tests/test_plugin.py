"""The plugin as a user meets it: whole pytest runs over a small model of their own."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from factories import make_suite

from scalemark.plugin import ScalePlugin
from scalemark.record.store import load_suite, save_suite
from scalemark.schema import Analysis, Comparison, Diff, Suite

BENCH = """
    import pytest, torch
    import scalemark

    def linear(width):
        model = torch.nn.Linear(width, 3)
        inputs, classes = torch.randn(60, width), torch.arange(60) % 3
        return scalemark.Task(
            model=model,
            optimizer=torch.optim.SGD(model.parameters(), lr=0.1),
            loss=torch.nn.functional.cross_entropy,
            train=(inputs, classes),
            validation=(inputs, classes),
            batch_size=20,
        )

    @pytest.mark.parametrize("workload", scalemark.workloads(linear, width=[4, 8]), ids=str)
    def bench_linear(workload, measured):
        measured(workload)

    @pytest.mark.parametrize("config", scalemark.trainings(linear, samples=600, width=[4]), ids=str)
    def bench_linear_trained(config, measured):
        run = measured(config)
        assert run is None or run.validation_accuracy is not None

    def bench_without_benchmark():
        raise AssertionError("--benchmark-only skips what does not request the fixture")
"""
INI = """
    [pytest]
    python_files = bench_*.py
    python_functions = bench_*
"""
QUICK = ("--benchmark-only", "--scale-budget", "120s")


@pytest.fixture
def project(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    """Whose pytest does not take itself for a worker of the one that runs these tests."""
    monkeypatch.delenv("PYTEST_XDIST_WORKER", raising=False)
    pytester.makeini(INI)
    pytester.makepyfile(bench_linear=BENCH)
    return pytester


def only_suite(path: Path) -> Suite:
    (suite_path,) = path.glob("results/runs/*/suite.json")
    return load_suite(suite_path)


def test_one_run_measures_trains_and_reports_and_the_table_is_the_suite(project):
    result = project.runpytest_subprocess(*QUICK, "--benchmark-json=table.json")
    result.assert_outcomes(passed=5, skipped=1)
    suite = only_suite(project.path)
    assert suite.complete
    assert {cell.status for cell in suite.cells} == {"ok"}
    table = {row["extra_info"]["key"]: row["stats"] for row in json.loads(Path("table.json").read_text())["benchmarks"]}
    assert len(table) == 5
    for cell in suite.cells:
        assert table[cell.workload.key]["data"] == pytest.approx(cell.samples_s, rel=1e-12)
    (run,) = suite.training_runs
    assert table[run.config.key]["median"] == pytest.approx(run.seconds, rel=1e-12)
    output = result.stdout.str()
    assert str(project.path / "results" / "runs" / suite.id / "suite.json") in output
    for form in ("report.md", "report.html"):
        assert (project.path / "results" / "runs" / suite.id / form).stat().st_size > 1000


def test_disabled_benchmarks_run_once_and_measure_nothing(project):
    result = project.runpytest_subprocess("--benchmark-disable", "-k", "linear_trained or step")
    result.assert_outcomes(passed=3, deselected=3)
    assert not list(project.path.glob("results/runs/*"))


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--scale-budget", "3 parsecs"), "write it like 90s, 8m or 1h"),
        (("--scale-budget", "1s"), "give at least 45s"),
        (("--scale-stated-power", "-5"), "give --scale-stated-power a positive number"),
        (("--scale-rungs", "d4w256,d0w0"), "there is no rung 'd0w0'"),
        (("--scale-results", "/proc/none"), "cannot write results to /proc/none"),
        (("--scale-baseline", "nowhere.json"), "there is no suite at nowhere.json"),
    ],
)
def test_bad_input_is_one_line_that_says_what_to_do(project, arguments, says):
    result = project.runpytest_subprocess(*QUICK, *arguments)
    assert result.ret == 2
    text = result.stdout.str() + result.stderr.str()
    assert says in text
    assert "Traceback" not in text
    assert not list(project.path.glob("results/runs/*"))


def test_a_narrowed_run_prints_its_plan_first_and_fails_where_it_must(project):
    """The base shares no cell with the run: nothing could be checked, which the strict gate does not let pass."""
    save_suite(make_suite("named"), project.path / "named.json")
    gate = ("--scale-baseline", "named.json", "--scale-fail-on", "inconclusive")
    result = project.runpytest_subprocess(*QUICK, "-k", "step", *gate)
    assert result.ret == 1
    output = result.stdout.str()
    assert output.index("2 cells and 0 training runs on cpu") < output.index("bench_linear.py")
    assert {cell.workload.phase for cell in only_suite(project.path).cells} == {"step"}
    assert "failed by --scale-fail-on inconclusive: not_comparable" in output
    assert "Against baseline named" in output


@pytest.mark.parametrize(
    ("verdict", "fail_on", "fails"),
    [
        ("regressed", "regressed", True),
        ("regressed", "never", False),
        ("inconclusive", "regressed", False),
        ("inconclusive", "inconclusive", True),
        ("same", "inconclusive", False),
    ],
)
def test_the_gate_fails_what_it_is_asked_to(verdict, fail_on, fails):
    plugin = ScalePlugin(SimpleNamespace(getoption=lambda name: fail_on))
    told = Comparison(subject="d4w256", metric="time_s", verdict=verdict)
    diff = Diff(base_id="old", new_id="new", verdict=verdict, comparisons=(told,))
    plugin.analysis = Analysis(suite=make_suite(), diff=diff)
    assert bool(plugin._gate()) is fails


def test_no_baseline_passes_unless_the_gate_is_strict():
    for fail_on, fails in (("regressed", False), ("inconclusive", True)):
        plugin = ScalePlugin(SimpleNamespace(getoption=lambda name, fail_on=fail_on: fail_on))
        plugin.analysis = Analysis(suite=make_suite(), no_diff_reason="no baseline of this machine")
        said = plugin._gate()
        assert bool(said) is fails
        assert said is None or said.endswith("not_comparable (no baseline of this machine)")


def test_a_device_that_is_not_there_ends_the_run_with_one_line(project):
    import torch

    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    result = project.runpytest_subprocess(*QUICK, "--scale-device", "cuda")
    assert result.ret == 2
    assert "use --scale-device cpu" in result.stdout.str() + result.stderr.str()


def test_a_cell_that_fails_fails_its_test_and_no_other(project):
    broken = BENCH.replace(
        "return scalemark.Task(", "assert width != 8, 'eight is broken'\n        return scalemark.Task("
    )
    project.makepyfile(bench_linear=broken)
    result = project.runpytest_subprocess(*QUICK)
    result.assert_outcomes(passed=3, failed=2, skipped=1)
    assert "eight is broken" in result.stdout.str()


def test_ctrl_c_leaves_a_readable_suite_of_what_was_measured(project):
    command = [sys.executable, "-m", "pytest", "--benchmark-only", "--scale-budget", "10m"]
    process = subprocess.Popen(
        command,
        cwd=project.path,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
        preexec_fn=_listen_to_ctrl_c,
    )
    deadline = time.monotonic() + 90
    while time.monotonic() < deadline and not _journal_has(project.path, '"kind":"block"'):
        time.sleep(0.05)
    output = _interrupted(process)
    suite = only_suite(project.path)
    assert process.returncode == 2
    assert not suite.complete
    assert any(cell.status == "ok" and cell.samples_s for cell in suite.cells)
    assert "suite.json" in output


def _interrupted(process):
    """What it printed until it ended."""
    os.killpg(process.pid, signal.SIGINT)
    return process.communicate(timeout=90)[0]


def _listen_to_ctrl_c() -> None:
    """Also where these tests themselves run in the background of a shell, which ignores it for all that it starts."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def _journal_has(path: Path, text: str) -> bool:
    return any(text in journal.read_text() for journal in path.glob("results/runs/*/journal.jsonl"))


def test_without_benchmarks_of_ours_the_plugin_does_nothing(pytester):
    pytester.makepyfile("def test_other(): pass")
    result = pytester.runpytest_subprocess("--scale-budget", "not looked at")
    result.assert_outcomes(passed=1)
    assert not (pytester.path / "results").exists()
