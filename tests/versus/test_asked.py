"""What the command line asks for: names, which steps take part, prices, and one clear line for each mistake."""

from pathlib import Path

import pytest
from contending import gpu_suite, machine_suite

from scalemark.errors import InputError, StoreError
from scalemark.record.collection import write_collection
from scalemark.record.store import save_suite
from scalemark.schema import Contender, Suite
from scalemark.versus.asked import Asked, contenders_asked, parse_prices, parse_suite, with_names


@pytest.fixture(scope="module")
def paths(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("suites")
    found = (folder / "a.json", folder / "b.json")
    for suite, path in zip((machine_suite(), gpu_suite()), found, strict=True):
        save_suite(suite, path)
    return found


def names(*suites: Suite, **choices: object) -> list[str]:
    return [one.name for one in with_names([Contender(name="", suite=suite, **choices) for suite in suites])]  # type: ignore[arg-type]


def other(suite: Suite, **identity: object) -> Suite:
    """Another run of the same machine but for these facts."""
    machine = suite.machine.model_copy(update={"identity": {**suite.machine.identity, **identity}})
    return suite.model_copy(update={"id": f"{suite.id}-other", "machine": machine})


@pytest.mark.parametrize(
    ("text", "asked"),
    [
        ("runs/a", Asked(None, Path("runs/a"))),
        ("laptop=runs/a", Asked("laptop", Path("runs/a"))),
        ("my laptop=runs/a:bfloat16", Asked("my laptop", Path("runs/a"), {"dtype": "bfloat16"})),
        ("runs/a:compiled:sgd", Asked(None, Path("runs/a"), {"compiled": True, "optimizer": "sgd"})),
        ("runs/a:b", Asked(None, Path("runs/a:b"))),
    ],
)
def test_a_suite_is_a_path_with_a_name_before_and_steps_behind(text: str, asked: Asked) -> None:
    assert parse_suite(text) == asked


def test_a_file_of_that_very_name_is_the_path(tmp_path: Path) -> None:
    path = tmp_path / "lr=0.1:sgd"
    path.touch()
    assert parse_suite(str(path)) == Asked(None, path)
    assert parse_suite(f"mine={path}") == Asked("mine", path)


def test_suites_are_read_named_and_priced(paths: tuple[Path, Path]) -> None:
    laptop, gpu = contenders_asked([f"laptop={paths[0]}", str(paths[1])], ["laptop=0.05"])
    assert (laptop.name, laptop.usd_per_hour, laptop.suite.id) == ("laptop", 0.05, "machine-0")
    assert (gpu.name, gpu.usd_per_hour) == ("Test GPU", None)


def test_a_collection_stands_for_all_of_its_suites_and_a_name_for_one(tmp_path: Path) -> None:
    both = tmp_path / "both.jsonl"
    write_collection([machine_suite(), gpu_suite()], both)
    assert [one.name for one in contenders_asked([str(both)])] == ["Test CPU, 2 cores", "Test GPU"]
    one, other = contenders_asked([f"a={both}#gpu", f"b={both}#machine-0"])
    assert (one.suite.id, other.suite.id) == ("gpu", "machine-0")
    with pytest.raises(InputError, match=r"holds several suites: name one, as in a=.*both\.jsonl#ID"):
        contenders_asked([f"a={both}", f"b={both}#gpu"])


def test_one_suite_twice_is_refused_unless_other_steps_of_it_are_meant(paths: tuple[Path, Path]) -> None:
    with pytest.raises(InputError, match="machine-0 is named twice"):
        contenders_asked([f"a={paths[0]}", f"b={paths[0]}"])
    plain, half = contenders_asked([str(paths[0]), f"{paths[0]}:bfloat16"])
    assert (plain.dtype, half.dtype) == ("float32", "bfloat16")
    assert (plain.name, half.name) == ("float32", "bfloat16")


@pytest.mark.parametrize(
    ("suites", "message"),
    [
        (["{a}"], "two suites or more"),
        (["{a}", "=runs/b"], "no name before"),
        (["x={a}", "x={b}"], "two suites are called 'x'"),
        (["{a}", "{b}:bf16"], "no steps 'bf16'.*bfloat16"),
    ],
)
def test_what_cannot_be_compared_is_refused(paths: tuple[Path, Path], suites: list[str], message: str) -> None:
    with pytest.raises(InputError, match=message):
        contenders_asked([text.format(a=paths[0], b=paths[1]) for text in suites])


def test_a_suite_that_is_not_there_is_named(paths: tuple[Path, Path]) -> None:
    with pytest.raises(StoreError, match=r"no suite at nowhere/suite\.json"):
        contenders_asked([str(paths[0]), "gpu=nowhere/suite.json"])


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        (["cpu=1"], "names none of laptop, a=b"),
        (["3"], "names none of"),
        (["laptop=-1"], "is no price"),
        (["laptop=0"], "is no price"),
        (["laptop=nan"], "is no price"),
        (["laptop=cheap"], "is no price"),
        (["laptop=1", "laptop=2"], "two prices"),
    ],
)
def test_a_price_needs_a_known_name_and_a_positive_amount(texts: list[str], message: str) -> None:
    with pytest.raises(InputError, match=message):
        parse_prices(texts, ["laptop", "a=b"])


def test_a_name_may_hold_an_equals_sign() -> None:
    assert parse_prices(["a=b=2.5"], ["laptop", "a=b"]) == {"a=b": 2.5}


def test_machines_are_named_after_what_they_are() -> None:
    assert names(machine_suite(), gpu_suite()) == ["Test CPU, 2 cores", "Test GPU"]


def test_what_differs_tells_suites_of_one_machine_apart() -> None:
    base = machine_suite()
    newer = other(base, torch="2.14.0")
    assert names(base, newer) == ["torch 2.13.0", "torch 2.14.0"]
    committed = [base.model_copy(update={"commit": "1" * 40}), other(base).model_copy(update={"commit": "2" * 40})]
    assert names(*committed) == ["commit 11111111", "commit 22222222"]
    assert names(base, other(base)) == ["machine-0", "machine-0-other"]


def test_a_third_machine_is_not_burdened_with_what_tells_two_others_apart() -> None:
    base = machine_suite()
    assert names(base, other(base, torch="2.14.0"), gpu_suite()) == [
        "Test CPU, 2 cores, torch 2.13.0",
        "Test CPU, 2 cores, torch 2.14.0",
        "Test GPU",
    ]
