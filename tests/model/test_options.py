"""Options are told apart, compared with what they should be, and refused where they make no sense."""

from typing import Any

import pytest
from pydantic import ValidationError

from scalemark.model.ladder import find_rung
from scalemark.model.options import compared_steps, step_options, why_unsupported
from scalemark.schema import TaskRef, Workload

PLAIN = Workload(phase="step", model=find_rung("d4w256"), batch=4, seq_len=256, optimizer="adamw")
OPTIONS: dict[str, dict[str, Any]] = {
    "compiled": {"compiled": True},
    "checkpointed": {"checkpointed": True},
    "accumulate2": {"micro_batches": 2},
    "accumulate4": {"micro_batches": 4},
    "math-attention": {"attention": "math"},
    "foreach": {"optimizer_kernels": "foreach"},
    "for_loop": {"optimizer_kernels": "for_loop"},
}


def with_option(**changes: Any) -> Workload:
    return Workload.model_validate({**PLAIN.model_dump(), **changes})


def test_a_plain_step_is_called_what_it_always_was() -> None:
    assert PLAIN.key == "d4w256/step/b4x256/float32/adamw/cpu"
    assert str(PLAIN) == "d4w256-4x256-float32-adamw"
    assert with_option(compiled=True).key == "d4w256/step/b4x256/float32/adamw/cpu/compiled"


@pytest.mark.parametrize(("name", "option"), OPTIONS.items(), ids=OPTIONS)
def test_an_option_is_in_the_key_and_the_name_and_no_law_is_fitted_to_it(name: str, option: dict[str, Any]) -> None:
    work = with_option(**option)
    assert work.key == f"{PLAIN.key}/{name}"
    assert str(work) == f"{PLAIN}-{name}"
    assert not work.is_plain_step


def test_every_declared_workload_has_a_key_of_its_own() -> None:
    declared = step_options()
    assert len({work.key for work in declared}) == len({str(work) for work in declared}) == len(declared)


@pytest.mark.parametrize("option", OPTIONS.values(), ids=OPTIONS)
def test_an_option_is_judged_against_the_same_step_without_it(option: dict[str, Any]) -> None:
    assert with_option(**option).base == PLAIN
    assert with_option(dtype="bfloat16", **option).base == with_option(dtype="bfloat16")
    assert with_option(dtype="bfloat16", **option).plain == PLAIN


def test_bfloat16_is_judged_against_float32_and_a_plain_step_against_nothing() -> None:
    assert with_option(dtype="bfloat16").base == PLAIN
    assert PLAIN.base is None


@pytest.mark.parametrize("changes", [{"phase": "backward"}, {"optimizer": "sgd"}])
def test_only_whole_adamw_steps_are_judged(changes: dict[str, Any]) -> None:
    assert with_option(checkpointed=True, **changes).base is None


def test_the_steps_to_compare_are_those_with_an_option_that_the_ladder_has_not() -> None:
    other = with_option(seq_len=128)
    assert compared_steps([PLAIN, with_option(checkpointed=True), other]) == {PLAIN}
    assert compared_steps([PLAIN, with_option(compiled=True), with_option(dtype="bfloat16")]) == set()


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"micro_batches": 3}, "3 micro-batches must divide the batch"),
        ({"micro_batches": 2, "phase": "forward"}, "of a whole step"),
        ({"optimizer_kernels": "foreach", "optimizer": "sgd"}, "only AdamW"),
        ({"checkpointed": True, "model": None, "task": TaskRef(path="a.py", function="f")}, "ladder's models alone"),
    ],
)
def test_an_option_that_makes_no_sense_is_refused(changes: dict[str, Any], says: str) -> None:
    with pytest.raises(ValidationError, match=says):
        with_option(**changes)


@pytest.mark.parametrize(
    ("attention", "device", "dtype", "runs"),
    [
        ("math", "cpu", "float32", True),
        ("flash", "cpu", "float32", True),
        ("efficient", "cpu", "float32", False),
        ("flash", "cuda", "float32", False),
        ("flash", "cuda", "bfloat16", True),
        ("efficient", "cuda", "float32", True),
    ],
)
def test_what_no_such_device_runs_is_known_beforehand(attention: str, device: str, dtype: str, runs: bool) -> None:
    assert (why_unsupported(with_option(attention=attention, device=device, dtype=dtype)) is None) == runs
