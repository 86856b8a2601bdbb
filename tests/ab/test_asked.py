import pytest

from scalemark.ab import AbRequest
from scalemark.ab.asked import parse_margin, parse_request, parse_task
from scalemark.ab.run import DEFAULT_RUNGS
from scalemark.errors import InputError
from scalemark.schema import TaskRef


def asked(**changes: object) -> AbRequest:
    texts = {"base": "main", "head": "HEAD", "rungs": None, "tasks": [], "time": "3m", "margin": "2%"}
    return parse_request(**{**texts, "device": "cpu", "seed": 0, **changes})  # type: ignore[arg-type]


def test_three_rungs_are_measured_unless_others_or_tasks_are_named() -> None:
    assert asked().rungs == DEFAULT_RUNGS
    assert asked(rungs="d1w64, d2w128").rungs == ("d1w64", "d2w128")
    assert asked(tasks=["bench_mine.py:mine"]).rungs == ()
    assert asked(tasks=["bench_mine.py:mine"], rungs="d1w64").rungs == ("d1w64",)


@pytest.mark.parametrize("text", ["2%", "2 %", "0.02"])
def test_a_margin_is_a_share_or_per_cent(text: str) -> None:
    assert parse_margin(text) == pytest.approx(0.02)


def test_a_task_is_named_as_it_is_called() -> None:
    expected = TaskRef(path="bench/b.py", function="nn", arguments=(("width", 10), ("act", "relu"), ("bias", False)))
    assert parse_task("bench/b.py:nn(width=10, act='relu', bias=False)") == expected


@pytest.mark.parametrize(("read", "text"), [(parse_margin, "much"), (parse_task, "bench.py"), (parse_task, "a:b")])
def test_what_cannot_be_read_is_an_input_error(read: object, text: str) -> None:
    with pytest.raises(InputError, match="write it like"):
        read(text)  # type: ignore[operator]
