"""Keys and rules of a workload that is spread over ranks; keys of others must never change."""

import pytest
from factories import make_suite
from pydantic import ValidationError

from scalemark.benchmarks import on_ranks
from scalemark.model.ladder import find_rung
from scalemark.schema import Machine, Workload

STEP = {"phase": "step", "model": find_rung("d4w256"), "batch": 4, "seq_len": 256, "optimizer": "adamw"}


def test_the_key_of_a_step_on_one_device_is_what_it_always_was():
    assert Workload.model_validate(STEP).key == "d4w256/step/b4x256/float32/adamw/cpu"
    assert Workload.model_validate({**STEP, "compiled": True}).key.endswith("/adamw/cpu/compiled")


def test_ranks_are_a_part_of_the_key_and_of_the_name():
    work = Workload.model_validate({**STEP, "parallelism": "fsdp", "world_size": 2})
    assert work.key == "d4w256/step/b4x256/float32/adamw/cpu/fsdp2"
    assert str(work) == "d4w256-4x256-float32-adamw-fsdp2"
    assert work.rank_batch == 2


def test_no_cost_law_is_fitted_to_steps_on_ranks_not_even_on_one():
    assert Workload.model_validate(STEP).is_plain_step
    assert not Workload.model_validate({**STEP, "parallelism": "ddp"}).is_plain_step


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"world_size": 2}, "need a parallelism"),
        ({"parallelism": "ddp", "world_size": 3}, "multiple"),
        ({"parallelism": "ddp", "phase": "forward"}, "only whole steps"),
        ({"parallelism": "ddp", "compiled": True}, "only whole steps"),
    ],
)
def test_what_ranks_cannot_share_is_refused(changes, says):
    with pytest.raises(ValidationError, match=says):
        Workload.model_validate({**STEP, **changes})


def test_each_group_comes_with_one_rank_that_has_its_batch_and_one_that_has_all():
    found = {(work.parallelism, work.world_size, work.batch) for work in on_ranks([find_rung("d2w128")], (2, 4))}
    assert found == {("ddp", 1, 2), ("ddp", 1, 4), ("ddp", 1, 8)} | {
        (name, size, 2 * size) for name in ("ddp", "fsdp") for size in (2, 4)
    }


def test_a_machine_is_summed_up_by_what_is_known_of_it() -> None:
    known = Machine(id="a", identity={"cpu": "AMD EPYC", "cores": 2, "memory_bytes": 24 * 2**30, "torch": "2.13.0"})
    assert known.summary == "AMD EPYC, 2 cores, 24.0 GiB, torch 2.13.0"
    assert Machine(id="b", identity={"cpu": None, "torch": "2.13.0"}).summary == "unknown device, torch 2.13.0"


def test_a_suites_memory_is_that_of_its_device_and_of_no_more_than_its_container() -> None:
    def limit(device: str, context: dict[str, int]) -> float | None:
        suite = make_suite()
        machine = suite.machine.model_copy(
            update={"identity": {"memory_bytes": 8 * 2**30, "gpu_memory_bytes": 2**36}, "context": context}
        )
        settings = suite.settings.model_copy(update={"device": device})
        return suite.model_copy(update={"machine": machine, "settings": settings}).memory_limit_bytes

    assert limit("cpu", {}) == 8 * 2**30
    assert limit("cpu", {"memory_total_bytes": 7 * 2**30}) == 7 * 2**30
    assert limit("cpu", {"memory_total_bytes": 7 * 2**30, "memory_limit_bytes": 2**30}) == 2**30
    assert limit("cuda", {"memory_limit_bytes": 2**30}) == 2**36
