"""The command line: exit codes, one-line errors, and nothing heavy loaded."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from factories import make_suite
from typer.testing import CliRunner, Result

from scalemark import __version__
from scalemark.cli import app
from scalemark.record.baseline import find_baseline, save_baseline
from scalemark.record.store import ResultsFolder, save_suite
from scalemark.schema import Diff, History, Suite, TrainingPlan

BASE = make_suite("base")


def call(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def saved(suite: Suite, folder: Path) -> Path:
    path = folder / f"{suite.id}.json"
    save_suite(suite, path)
    return path


def started(suite: Suite, results: Path) -> Path:
    """The suite as a finished run below the results."""
    folder = ResultsFolder(results).start_run(suite.id)
    save_suite(suite, folder.suite_path)
    return folder.path


def only_first_cell(suite: Suite) -> Suite:
    return suite.model_copy(update={"cells": suite.cells[:1], "training_runs": ()})


def with_wide_interval(suite: Suite) -> Suite:
    cell = suite.cells[0]
    assert cell.time_s is not None
    wide = cell.time_s.model_copy(update={"low": cell.time_s.value / 2, "high": cell.time_s.value * 2})
    return suite.model_copy(update={"id": "wide", "cells": (cell.model_copy(update={"time_s": wide}),)})


def modules_after(statement: str) -> set[str]:
    """Top-level modules that a fresh interpreter has loaded after the statement."""
    code = f"{statement}\nimport sys\nprint(*{{name.split('.')[0] for name in sys.modules}})"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(run.stdout.splitlines()[-1].split())


def test_help_loads_nothing_heavy() -> None:
    statement = (
        "from typer.testing import CliRunner; from scalemark.cli import app; CliRunner().invoke(app, ['--help'])"
    )
    assert not modules_after(statement) & {"torch", "numpy", "pydantic", "rich", "pandas", "altair", "psutil"}


def test_reading_and_comparing_suites_does_not_load_torch() -> None:
    statement = "import scalemark.diff, scalemark.diff.text, scalemark.record.machine, scalemark.record.baseline"
    assert "torch" not in modules_after(statement)


def test_version_is_the_package_version() -> None:
    assert call("--version").output == f"scalemark {__version__}\n"


@pytest.mark.parametrize("command", ["fit", "report", "plan --hours 1", "baseline save"])
def test_an_error_is_one_line_on_stderr_with_exit_code_2(tmp_path: Path, command: str) -> None:
    result = call(*command.split(), tmp_path / "nowhere.json")
    assert result.exit_code == 2
    assert result.stdout == ""
    assert result.stderr.startswith("scalemark: error: there is no suite")
    assert len(result.stderr.splitlines()) == 1


def test_no_run_yet_is_an_error_that_says_how_to_make_one(tmp_path: Path) -> None:
    result = call("report", "--results", tmp_path)
    assert result.exit_code == 2
    assert "pytest bench/" in result.stderr


# fit and report


def test_fit_prints_each_law_with_its_intervals(tmp_path: Path) -> None:
    result = call("fit", saved(BASE, tmp_path))
    assert result.exit_code == 0
    assert "Step time law" in result.stdout
    assert "90 % interval" in result.stdout


def test_plan_prints_what_to_train_and_writes_it_as_json(tmp_path: Path) -> None:
    out = tmp_path / "plan.json"
    result = call("plan", saved(BASE, tmp_path), "--hours", "0.02", "--size", "d4w64", "--json", out)
    assert result.exit_code == 0, result.stderr
    made = TrainingPlan.model_validate_json(out.read_text(encoding="utf-8"))
    assert made.best.model.name in result.stdout
    assert "d4w64 instead" in result.stdout
    assert "Loss against time" in result.stdout


def test_a_plan_that_lies_too_far_says_how_to_insist(tmp_path: Path) -> None:
    path = saved(BASE, tmp_path)
    refused = call("plan", path, "--hours", "1000")
    assert refused.exit_code == 2
    assert refused.stderr.rstrip().endswith("or insist with --force")
    assert call("plan", path, "--hours", "1000", "--force").exit_code == 0


@pytest.mark.parametrize("arguments", ["", "--hours 0", "--hours 1 --loss 2", "--usd 1", "--kwh 1"])
def test_plan_tells_bad_input_in_one_line(tmp_path: Path, arguments: str) -> None:
    result = call("plan", saved(BASE, tmp_path), *arguments.split())
    assert result.exit_code == 2
    assert result.stdout == ""
    assert result.stderr.startswith("scalemark: error: ")
    assert len(result.stderr.splitlines()) == 1


def test_report_names_the_files_that_it_wrote(tmp_path: Path) -> None:
    suite = saved(BASE, tmp_path)
    page, text = tmp_path / "page.html", tmp_path / "text.md"
    result = call("report", suite, "--html", page, "--markdown", text, "--results", tmp_path)
    assert result.exit_code == 0
    assert page.read_text().lower().startswith("<!doctype html>")
    assert text.exists()
    assert str(page) in result.stdout
    assert str(text) in result.stdout


def test_report_compares_with_the_newest_baseline_of_this_machine(tmp_path: Path) -> None:
    save_baseline(BASE, tmp_path)
    result = call("report", saved(make_suite("slow", slowdown=2), tmp_path), "--results", tmp_path)
    assert result.exit_code == 0
    assert "regressed" in result.stdout


def test_a_suite_is_not_compared_with_itself(tmp_path: Path) -> None:
    save_baseline(BASE, tmp_path)
    result = call("report", saved(BASE, tmp_path), "--results", tmp_path)
    assert "itself the newest baseline" in " ".join(result.stdout.split())


def test_several_suites_are_compared_and_drawn(tmp_path: Path) -> None:
    paths = [saved(BASE, tmp_path), saved(make_suite("new", slowdown=2.0, machine_id="elsewhere"), tmp_path)]
    drawn = tmp_path / "drawn.md"
    result = call("report", f"old={paths[0]}", f"new={paths[1]}", "--usd-per-hour", "new=1", "--markdown", drawn)
    assert result.exit_code == 0
    assert result.output.startswith("old is the faster at every size")
    assert drawn.exists() and (tmp_path / "drawn-speed-up.svg").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("a={base} b={base}", "is named twice"),
        ("only={base}", "two suites or more"),
        ("{base} {new} --usd-per-hour nobody=1", "names none of"),
        ("a={base} b={new} --usd-per-hour a=-1", "is no price"),
        ("{base} nowhere.json", "no suite at nowhere.json"),
        ("a={base} b={new} --readme README.md", "--readme takes the numbers of one suite"),
    ],
)
def test_a_comparison_tells_bad_input_in_one_line(tmp_path: Path, arguments: str, message: str) -> None:
    paths = {"base": saved(BASE, tmp_path), "new": saved(make_suite("new", machine_id="elsewhere"), tmp_path)}
    result = call("report", *arguments.format(**paths).split())
    assert result.exit_code == 2
    assert message in result.stderr and len(result.stderr.splitlines()) == 1


def test_a_report_that_cannot_be_written_is_told_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    result = call("report", saved(BASE, tmp_path), "--html", tmp_path / "file" / "page.html", "--results", tmp_path)
    assert result.exit_code == 2
    assert len(result.stderr.splitlines()) == 1


def test_report_opens_the_page_in_the_users_browser(tmp_path: Path) -> None:
    run = report_in_browser(tmp_path, 'printf %s "$1" > opened')
    assert run.returncode == 0
    address = (tmp_path / "opened").read_text()
    assert address.startswith("file:///")
    assert Path(address.removeprefix("file://")).read_text().lower().startswith("<!doctype html>")


def test_without_a_browser_report_says_what_to_do(tmp_path: Path) -> None:
    run = report_in_browser(tmp_path, "exit 1")
    assert run.returncode == 0
    assert "no browser here: copy " in run.stderr


def report_in_browser(folder: Path, script: str) -> subprocess.CompletedProcess[str]:
    """`scalemark report --open` in a process of its own, where this shell script is the only browser."""
    browser = folder / "browser"
    browser.write_text(f"#!/bin/sh\n{script}\n")
    browser.chmod(0o755)
    command = [
        sys.executable,
        "-m",
        "scalemark",
        "report",
        str(saved(BASE, folder)),
        "--open",
        "--results",
        str(folder),
    ]
    screen = {"DISPLAY", "WAYLAND_DISPLAY"}
    kept = {name: value for name, value in os.environ.items() if name not in screen}
    environment = {**kept, "BROWSER": f"{browser} %s", "PATH": str(folder), "TMPDIR": str(folder)}
    return subprocess.run(command, capture_output=True, text=True, cwd=folder, env=environment)


# train


@pytest.mark.parametrize(
    ("option", "value", "says"),
    [
        ("--budget", "3 parsecs", "write it like 90s, 8m or 1h"),
        ("--budget", "1s", "give at least 45s"),
        ("--device", "tpu", "there is no device 'tpu': choose from auto, cpu, cuda"),
        ("--grid", "huge", "there is no grid 'huge': choose from plain, repeated"),
        ("--corpus", "nowhere.txt", "there is no file or folder 'nowhere.txt'"),
        ("--tokenizer", "morse", "morse"),
        ("--out", "/proc/none", "cannot write results to /proc/none"),
    ],
)
def test_train_tells_bad_input_in_one_line_and_leaves_nothing(
    option: str, value: str, says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = call("train", option, value)
    assert result.exit_code == 2
    assert result.stdout == ""
    *before, error = result.stderr.splitlines()
    assert error.startswith("scalemark: error: ") and says in error
    assert set(before) <= {"looking at the machine …"}
    assert not [path for path in tmp_path.rglob("*") if path.is_file() or path.parent.name == "runs"]


@pytest.mark.parametrize("option", ["--jobs", "--threads-per-job"])
def test_train_needs_at_least_one_model_and_one_thread(option: str) -> None:
    assert call("train", option, 0).exit_code == 2


# diff


def test_diff_exits_0_when_nothing_is_worse(tmp_path: Path) -> None:
    again = make_suite("again", seed=1).model_copy(update={"training_runs": ()})
    result = call("diff", saved(BASE.model_copy(update={"training_runs": ()}), tmp_path), saved(again, tmp_path))
    assert result.exit_code == 0
    assert result.stdout.startswith("same: again against base")


def test_diff_exits_1_on_a_regression(tmp_path: Path) -> None:
    slow = make_suite("slow", slowdown=2)
    result = call("diff", saved(BASE, tmp_path), saved(slow, tmp_path))
    assert result.exit_code == 1
    assert result.stdout.startswith("regressed: slow against base")


def test_diff_exits_2_on_a_bad_file(tmp_path: Path) -> None:
    (tmp_path / "bad.json").write_text("{")
    assert call("diff", saved(BASE, tmp_path), tmp_path / "bad.json").exit_code == 2


def test_diff_exits_3_when_it_cannot_tell(tmp_path: Path) -> None:
    base = only_first_cell(BASE)
    assert call("diff", saved(base, tmp_path), saved(with_wide_interval(base), tmp_path)).exit_code == 3


def test_diff_exits_4_when_nothing_could_be_compared(tmp_path: Path) -> None:
    other = BASE.model_copy(update={"id": "other", "cells": BASE.cells[1:2], "training_runs": ()})
    assert call("diff", saved(only_first_cell(BASE), tmp_path), saved(other, tmp_path)).exit_code == 4


def test_diff_writes_json_and_markdown_even_when_it_fails(tmp_path: Path) -> None:
    old, new = saved(BASE, tmp_path), saved(make_suite("slow", slowdown=2), tmp_path)
    call("diff", old, new, "--json", tmp_path / "out" / "diff.json", "--markdown", tmp_path / "diff.md")
    assert Diff.model_validate_json((tmp_path / "out" / "diff.json").read_text()).verdict == "regressed"
    assert (tmp_path / "diff.md").read_text().startswith("## regressed: slow against base")


def test_diff_takes_a_margin_and_refuses_what_is_none(tmp_path: Path) -> None:
    base = only_first_cell(BASE)
    (cell,) = base.cells
    assert cell.time_s
    slower = base.model_copy(
        update={"id": "slower", "cells": (cell.model_copy(update={"time_s": cell.time_s.scaled(1.3)}),)}
    )
    old, new = saved(base, tmp_path), saved(slower, tmp_path)
    assert call("diff", old, new).exit_code == 1
    assert call("diff", old, new, "--margin", "50%").exit_code == 0
    refused = call("diff", old, new, "--margin", "much")
    assert refused.exit_code == 2
    assert "write it like 5% or 0.05" in refused.stderr


def test_diff_fails_where_a_cell_is_gone(tmp_path: Path) -> None:
    fewer = BASE.model_copy(update={"id": "fewer", "cells": BASE.cells[1:]})
    result = call("diff", saved(BASE, tmp_path), saved(fewer, tmp_path))
    assert result.exit_code == 1
    assert "not part of the new run any more" in result.stdout


def test_diff_asks_for_a_new_baseline_where_a_run_is_faster(tmp_path: Path) -> None:
    fast = make_suite("fast", slowdown=0.5).model_copy(update={"training_runs": ()})
    result = call("diff", saved(BASE.model_copy(update={"training_runs": ()}), tmp_path), saved(fast, tmp_path))
    assert result.exit_code == 0
    assert "scalemark baseline save" in result.stdout


def test_diff_writes_junit(tmp_path: Path) -> None:
    old, new = saved(BASE, tmp_path), saved(make_suite("slow", slowdown=2), tmp_path)
    call("diff", old, new, "--junit", tmp_path / "junit.xml")
    assert "<failure " in (tmp_path / "junit.xml").read_text()


# export


@pytest.mark.parametrize("name", ["github-action-benchmark", "bencher", "openmetrics", "csv", "junit"])
def test_export_prints_or_writes_the_same(tmp_path: Path, name: str) -> None:
    suite, out = saved(BASE, tmp_path), tmp_path / "out" / "exported"
    printed = call("export", suite, "--format", name)
    assert printed.exit_code == 0
    assert call("export", suite, "--format", name, "--out", out).stdout == ""
    assert out.read_bytes().decode() == printed.stdout_bytes.decode()


def test_export_names_the_formats_that_there_are(tmp_path: Path) -> None:
    result = call("export", saved(BASE, tmp_path), "--format", "xlsx")
    assert result.exit_code == 2
    assert "choose from github-action-benchmark, bencher, openmetrics, csv, junit" in result.stderr


# baseline


def test_baseline_save_without_a_name_takes_the_newest_run(tmp_path: Path) -> None:
    for suite_id in ("20260101-000000-aaaa", "20260102-000000-bbbb"):
        started(make_suite(suite_id), tmp_path)
    result = call("baseline", "save", "--results", tmp_path)
    assert result.exit_code == 0
    assert (tmp_path / "baselines/machine-under-test/20260102-000000-bbbb.json").exists()
    listed = call("baseline", "list", "--results", tmp_path)
    assert "machine-under-test  20260102-000000-bbbb" in listed.stdout


def test_baseline_save_runs_its_cells_again_where_it_is_asked_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from scalemark import repeating

    monkeypatch.setattr(repeating, "_rerun", lambda request, suite, number, n, tell: make_suite("again", seed=number))
    assert call("baseline", "save", started(BASE, tmp_path), "--repeat", 4, "--results", tmp_path).exit_code == 0
    kept = find_baseline(tmp_path, BASE.machine.id)
    assert kept and all(cell.repeats and len(cell.repeats.time_s) == 4 for cell in kept.cells)


def test_a_fake_suite_is_not_run_again(tmp_path: Path) -> None:
    folder = started(BASE.model_copy(update={"fake": True}), tmp_path)
    assert call("baseline", "save", folder, "--repeat", 4, "--results", tmp_path).exit_code == 2


def test_a_fake_suite_cannot_become_a_baseline(tmp_path: Path) -> None:
    folder = started(BASE.model_copy(update={"fake": True}), tmp_path)
    result = call("baseline", "save", folder, "--results", tmp_path)
    assert result.exit_code == 2
    assert "faked" in result.stderr


def test_no_baselines_is_no_error(tmp_path: Path) -> None:
    result = call("baseline", "list", "--results", tmp_path)
    assert result.exit_code == 0
    assert "baseline save" in result.stderr


# doctor


def test_doctor_prints_a_screen_or_json() -> None:
    assert call("doctor").stdout.startswith("scalemark doctor:")
    assert json.loads(call("doctor", "--json").stdout)["checks"]


# merge and history


def test_merge_and_history_say_what_they_did_and_what_they_passed_over(tmp_path: Path) -> None:
    folder, out = tmp_path / "suites", tmp_path / "all.jsonl.gz"
    folder.mkdir()
    (folder / "cut.json").write_text("{")
    for number in range(3):
        saved(make_suite(f"2026010{number + 1}-000000-0000", seed=number), folder)
    result = call("merge", folder, "-o", out)
    assert result.exit_code == 1
    assert "suites 3, machines 1" in result.stdout
    assert "cut.json is not complete JSON" in result.stderr and "1 passed over" in result.stderr
    result = call("history", out, "--json", tmp_path / "history.json")
    assert result.exit_code == 0
    assert "3 suites of 1 machine, 0 change points." in result.stdout
    assert len(History.model_validate_json((tmp_path / "history.json").read_text()).machines) == 1
    assert call("history", folder).exit_code == 1


@pytest.mark.parametrize("command", ["history", "merge -o all.jsonl"])
def test_nothing_to_read_is_bad_input(tmp_path: Path, command: str) -> None:
    for place in (tmp_path, tmp_path / "nowhere.json"):
        result = call(*command.replace("all.jsonl", str(tmp_path / "out" / "all.jsonl")).split(), place)
        assert result.exit_code == 2
        assert result.stderr.startswith("scalemark: error: there is no suite")
        assert len(result.stderr.splitlines()) == 1


def test_history_writes_its_page_and_its_text(tmp_path: Path) -> None:
    folder = tmp_path / "suites"
    folder.mkdir()
    for number in range(2):
        saved(make_suite(f"2026010{number + 1}-000000-0000", seed=number), folder)
    result = call("history", folder, "--html", tmp_path / "h.html", "--markdown", tmp_path / "h.md")
    assert result.exit_code == 0, result.stderr
    assert "<html" in (tmp_path / "h.html").read_text(encoding="utf-8")
    assert "# How the numbers moved" in (tmp_path / "h.md").read_text(encoding="utf-8")
