import shutil
import statistics

import numpy as np
import pytest
import torch

from scalemark.measure.clock import time_rounds_s
from scalemark.measure.operators import count_operators
from scalemark.measure.phases import build_task, make_round
from scalemark.measure.worker import status_of
from scalemark.model.task import Task
from scalemark.schema import ModelConfig, Phase, Workload

TEXT = np.frombuffer(b"In the beginning God created the heaven and the earth. " * 40, dtype=np.uint8)
TINY = ModelConfig(n_layer=1, d_model=32, n_head=2)


def workload(phase: Phase, **changes) -> Workload:
    return Workload(**{"phase": phase, "model": TINY, "batch": 2, "seq_len": 16, "optimizer": "adamw", **changes})


def built(phase: Phase, **changes) -> tuple[Task, "object"]:
    one_workload = workload(phase, **changes)
    task = build_task(one_workload, TEXT, seed=0)
    return task, make_round(task, one_workload)


def parameters(task: Task) -> list[torch.Tensor]:
    return [parameter.detach().clone() for parameter in task.model.parameters()]


def has_gradients(task: Task) -> bool:
    return any(parameter.grad is not None for parameter in task.model.parameters())


def run(one) -> None:
    one.prepare()
    one.timed()


@pytest.mark.parametrize("phase", ["forward", "eval"])
def test_a_pass_without_learning_leaves_parameters_and_gradients_alone(phase):
    task, one = built(phase)
    before = parameters(task)
    run(one)
    assert not has_gradients(task)
    assert all(torch.equal(old, new) for old, new in zip(before, parameters(task), strict=True))


def test_backward_makes_gradients_on_the_clock_and_forward_is_off_it():
    task, one = built("backward")
    one.prepare()
    assert not has_gradients(task)
    one.timed()
    assert has_gradients(task)


def test_backward_does_not_add_up_gradients_over_rounds():
    task, one = built("backward")
    task.train[0].copy_(task.train[0][:1].expand_as(task.train[0]))  # every batch alike
    task.train[1].copy_(task.train[1][:1].expand_as(task.train[1]))
    run(one)
    first = task.model.get_parameter("head.weight").grad.clone()
    run(one)
    assert torch.equal(first, task.model.get_parameter("head.weight").grad)


@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
def test_the_optimizer_alone_changes_parameters_without_a_forward_pass(optimizer):
    task, one = built("optimizer", optimizer=optimizer)
    before = parameters(task)
    calls: list[int] = []
    task.model.register_forward_hook(lambda *_: calls.append(1))
    run(one)
    assert not calls
    assert any(not torch.equal(old, new) for old, new in zip(before, parameters(task), strict=True))


def test_steps_learn():
    task, one = built("step")
    inputs, targets = task.batch(0)
    before = task.loss(task.model(inputs), targets).item()
    for _ in range(20):
        run(one)
    assert task.loss(task.model(inputs), targets).item() < before


def test_a_step_is_forward_backward_and_update():
    """The whole step's effect equals that of the three phases by hand, to the last bit."""
    task, one = built("step")
    by_hand = build_task(workload("step"), TEXT, seed=0)
    run(one)
    inputs, targets = by_hand.batch(0)
    by_hand.loss(by_hand.model(inputs), targets).backward()
    by_hand.optimizer.step()
    assert all(torch.equal(a, b) for a, b in zip(parameters(task), parameters(by_hand), strict=True))


def test_bfloat16_multiplies_in_bfloat16_and_keeps_float32_parameters():
    task, one = built("forward", dtype="bfloat16")
    seen: list[torch.dtype] = []
    task.model.get_submodule("blocks.0.feed_forward.up").register_forward_hook(
        lambda _, __, out: seen.append(out.dtype)
    )
    run(one)
    assert seen == [torch.bfloat16]
    assert {parameter.dtype for parameter in task.model.parameters()} == {torch.float32}


def test_batches_are_real_text_and_targets_the_next_bytes():
    task, _ = built("forward")
    inputs, targets = task.batch(0)
    assert bytes(inputs[0].tolist()) in TEXT.tobytes()
    assert torch.equal(inputs[:, 1:], targets[:, :-1])


def test_the_same_seed_gives_the_same_batches_and_model():
    (first, _), (second, _) = built("step"), built("step")
    assert torch.equal(first.train[0], second.train[0])
    assert all(torch.equal(a, b) for a, b in zip(parameters(first), parameters(second), strict=True))


def gradients(seed: int = 0, **option) -> list[torch.Tensor]:
    """Of one step that a learning rate of zero leaves where it began, from weights none of which is zero."""
    one_workload = workload("step", batch=4, **option)
    task = build_task(one_workload, TEXT, seed)
    with torch.no_grad():
        torch.manual_seed(1)
        for parameter in task.model.parameters():
            parameter.normal_(std=0.2)
    task.optimizer.param_groups[0]["lr"] = 0.0
    run(make_round(task, one_workload))
    return [parameter.grad for parameter in task.model.parameters()]


def furthest(one: list[torch.Tensor], other: list[torch.Tensor]) -> float:
    """Largest difference relative to the largest entry of its tensor."""
    return max(float((a - b).abs().max() / b.abs().max()) for a, b in zip(one, other, strict=True))


@pytest.mark.parametrize("parts", [2, 4])
def test_micro_batches_add_up_to_the_gradient_of_the_whole_batch(parts):
    whole = gradients()
    assert furthest(gradients(micro_batches=parts), whole) < 1e-5
    assert furthest(gradients(seed=7), whole) > 1e-2, "another batch has another gradient"


@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 1e-5), ("bfloat16", 0.05)])
@pytest.mark.parametrize("backend", ["math", "flash"])
def test_attention_backends_agree(backend, dtype, tolerance):
    assert furthest(gradients(dtype=dtype, attention=backend), gradients(dtype=dtype)) < tolerance


def test_the_attention_that_was_chosen_is_the_one_that_runs():
    for backend, uses_flash in (("math", False), ("flash", True)):
        one = built("step", attention=backend)[1]
        calls = count_operators(one.timed).calls
        assert any("flash_attention" in name for name in calls) is uses_flash


def test_an_attention_that_the_device_has_not_skips_its_cell():
    one_workload = workload("step", attention="efficient")
    with pytest.raises(RuntimeError) as error:
        run(make_round(build_task(one_workload, TEXT, 0), one_workload))
    assert status_of(error.value, one_workload) == "skipped"
    assert status_of(error.value, workload("step")) == "failed"


@pytest.mark.parametrize("kernels", ["foreach", "for_loop"])
def test_other_kernels_make_the_same_update(kernels):
    tasks = {}
    for choice in (None, kernels):
        task, one = built("step", optimizer_kernels=choice)
        for _ in range(3):
            run(one)
        tasks[choice] = parameters(task)
    for one, other in zip(tasks[None], tasks[kernels], strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-6)


def test_each_choice_of_kernels_runs_other_operators():
    seen = {}
    for choice in (None, "foreach", "for_loop"):
        one = built("optimizer", optimizer_kernels=choice)[1]
        run(one)  # the first update makes the state
        seen[choice] = set(count_operators(one.timed).calls)
    assert "aten._fused_adamw_" in seen[None]
    assert any("_foreach_" in name for name in seen["foreach"])
    assert not any("_foreach_" in name or "_fused_" in name for name in seen["for_loop"])


@pytest.mark.skipif(not any(map(shutil.which, ("g++", "clang++", "c++"))), reason="torch.compile needs a C++ compiler")
def test_a_compiled_workload_computes_the_same_and_pays_for_it_in_its_first_round():
    losses, seconds = {}, {}
    for is_compiled in (False, True):
        _, one = built("eval", compiled=is_compiled)
        seconds[is_compiled] = time_rounds_s(one, "cpu", budget_s=0.0, at_least=6, at_most=6)
        losses[is_compiled] = one.timed.__self__.loss
    assert torch.allclose(losses[False], losses[True], rtol=1e-4)
    assert seconds[True][0] > 20 * statistics.median(seconds[True][1:])
