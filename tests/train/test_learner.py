"""A learner can be kept and put back at any step, and what it records does not depend on who looks when."""

import math
from collections.abc import Callable, Iterator
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor, nn

from scalemark.model.task import Batch, Task
from scalemark.schema import LossPoint
from scalemark.train import learner as learner_module
from scalemark.train.learner import MARKS, DivergedError, Learner, State

ALWAYS, NEVER = -1.0, math.inf
N_STEPS = 40


@pytest.fixture(autouse=True, scope="module")
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def looks(monkeypatch: pytest.MonkeyPatch, every_s: float) -> None:
    monkeypatch.setattr(learner_module, "LOOK_EVERY_S", every_s)


def batch_at(step: int) -> Batch:
    generator = torch.Generator().manual_seed(step)
    inputs = torch.randn(8, 3, generator=generator)
    return inputs, inputs.sum(1, keepdim=True)


def line(loss: Callable[[Tensor, Tensor], Tensor] = nn.functional.mse_loss, **changes: object) -> Learner:
    """A line fitted by AdamW, whose state holds moments and a step of its own."""
    torch.manual_seed(0)
    model = nn.Linear(3, 1)
    task = Task(model, torch.optim.AdamW(model.parameters(), lr=0.05), loss, batch_at(0), batch_size=8)
    return Learner(task, batch_at, 8, **changes)  # type: ignore[arg-type]


def trained(learner: Learner, until: int = N_STEPS, look: Callable[[Learner], None] = lambda _: None) -> Learner:
    learner.advance(until, None, look)
    return learner


def weights(learner: Learner) -> list[float]:
    return [value for parameter in learner.task.model.parameters() for value in parameter.flatten().tolist()]


def told_loss(losses: dict[int, float], otherwise: float = 1.0) -> Callable[[Tensor, Tensor], Tensor]:
    """A loss that is what the table says at that step (the first is 1), whatever the model does."""
    steps = iter(range(1, 1000))

    def loss(outputs: Tensor, _: Tensor) -> Tensor:
        return outputs.mean() * 0 + losses.get(next(steps), otherwise)

    return loss


# Kept and put back


@pytest.mark.parametrize("at", [0, 1, 7, 8, 25, N_STEPS])
def test_a_learner_put_back_goes_on_as_if_nothing_had_been(at: int) -> None:
    state = trained(line(), at).snapshot()
    again = trained(line(), 3)
    again.restore(state)
    undisturbed = trained(line())
    assert weights(trained(again)) == weights(undisturbed)
    assert again.curve == undisturbed.curve
    assert again.last_loss == undisturbed.last_loss


def test_further_steps_leave_a_snapshot_alone_and_it_serves_more_than_once() -> None:
    learner = trained(line(), 10)
    snapshot = learner.snapshot()
    ends = []
    for _ in range(3):
        learner.restore(snapshot)
        ends.append(weights(trained(learner, 20)))
    assert ends[0] == ends[1] == ends[2] == weights(trained(line(), 20))
    assert snapshot["step"] == 10 and snapshot["curve"][-1][0] <= 10


def test_seconds_go_on_where_they_were() -> None:
    state = trained(line(), 10).snapshot() | {"seconds": 1000.0}
    learner = line()
    learner.restore(state)
    assert 1000 < trained(learner, 20).seconds < 1060


# What is recorded


def test_the_curve_is_the_mean_loss_between_marks() -> None:
    losses = {step: float(step) for step in range(1, N_STEPS + 1)}
    curve = trained(line(told_loss(losses))).curve
    marks = sorted(mark for mark in MARKS if mark <= N_STEPS)
    assert [point.step for point in curve] == marks
    assert curve[:3] == [LossPoint(step=n, tokens=8 * n, train_loss=float(n)) for n in (1, 2, 3)]
    last, before = marks[-1], marks[-2]
    assert curve[-1].train_loss == pytest.approx((before + 1 + last) / 2)


def test_the_end_is_marked_once() -> None:
    learner = trained(line(), 13)
    learner.mark()
    learner.mark()
    steps = [point.step for point in learner.curve]
    assert steps[-1] == 13 and len(set(steps)) == len(steps)


@pytest.mark.parametrize("every_s", [ALWAYS, NEVER])
def test_nothing_depends_on_how_often_one_looks(every_s: float, monkeypatch: pytest.MonkeyPatch) -> None:
    usual = trained(line())
    looks(monkeypatch, every_s)
    looked = trained(line())
    assert (weights(looked), looked.curve) == (weights(usual), usual.curve)


def test_one_looks_at_every_mark_and_at_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    looks(monkeypatch, NEVER)
    seen: list[int] = []
    trained(line(), 13, lambda learner: seen.append(learner.step))
    assert seen == [mark for mark in sorted(MARKS) if mark < 13] + [13]


def test_the_clock_stands_still_while_one_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = SimpleNamespace(now=0.0)
    monkeypatch.setattr(learner_module, "time", SimpleNamespace(perf_counter=lambda: clock.now))

    def tick(step: int) -> Batch:
        clock.now += 0.25
        return batch_at(step)

    def look(_: Learner) -> None:
        clock.now += 100.0

    learner = line()
    learner._batch_at = tick
    assert trained(learner, 13, look).seconds == 13 * 0.25


def test_a_rate_is_that_of_the_step_times_the_scale_of_the_group() -> None:
    learner = line()
    model = learner.task.model
    groups = [{"params": [model.weight], "scale": 10.0}, {"params": [model.bias]}]
    learner.task = Task(model, torch.optim.SGD(groups, lr=1.0), learner.task.loss, batch_at(0), batch_size=8)
    learner.advance(3, lambda step: (step + 1) / 100, lambda _: None)
    assert [group["lr"] for group in learner.task.optimizer.param_groups] == pytest.approx([0.3, 0.03])


@pytest.mark.parametrize(("clip", "moved"), [(True, 1.0), (False, 1000.0)])
def test_gradients_are_clipped_to_a_norm_of_one_where_that_is_asked(clip: bool, moved: float) -> None:
    learner = line(lambda outputs, _: 1000 * outputs.mean(), clip=clip)
    model = learner.task.model
    nn.init.zeros_(model.weight)
    learner.task = Task(model, torch.optim.SGD([model.bias], lr=1.0), learner.task.loss, batch_at(0), batch_size=8)
    model.weight.requires_grad_(False)
    before = model.bias.item()
    assert before - trained(learner, 1).task.model.bias.item() == pytest.approx(moved, rel=1e-4)


# Coming apart


@pytest.mark.parametrize("every_s", [ALWAYS, NEVER])
@pytest.mark.parametrize("at", [1, 2, 19, 20, 31])
@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_loss_that_is_no_number_is_found_at_its_step(
    bad: float, at: int, every_s: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks(monkeypatch, every_s)
    learner = line(told_loss({at: bad}))
    with pytest.raises(DivergedError, match=f"after step {at - 1}") as caught:
        trained(learner)
    assert caught.value.step == at - 1
    assert all(math.isfinite(point.train_loss) and point.step < at for point in learner.curve)


@pytest.mark.parametrize("every_s", [ALWAYS, NEVER])
def test_a_model_that_does_worse_than_guessing_has_come_apart(every_s: float, monkeypatch: pytest.MonkeyPatch) -> None:
    looks(monkeypatch, every_s)
    with pytest.raises(DivergedError):
        trained(line(told_loss({}, otherwise=3.0), highest_loss=2.0))


@pytest.mark.parametrize("every_s", [ALWAYS, NEVER])
def test_a_moment_of_high_loss_is_judged_alike_however_often_one_looks(
    every_s: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One bad step among the good ones up to the next mark: were it looked at alone, the run would be lost."""
    looks(monkeypatch, every_s)
    learner = trained(line(told_loss({34: 3.0}), highest_loss=2.0))
    assert learner.step == N_STEPS


@pytest.mark.parametrize("until", [34, N_STEPS])
def test_nor_does_it_matter_where_another_branch_leaves(until: int, monkeypatch: pytest.MonkeyPatch) -> None:
    looks(monkeypatch, NEVER)
    learner = line(told_loss({33: 3.0, 34: 3.0}), highest_loss=2.0)
    assert trained(trained(learner, until), N_STEPS).step == N_STEPS


def test_a_state_is_plain_values_and_tensors() -> None:
    """So that it can be read back without running any code."""

    def kinds(value: object) -> set[type]:
        if isinstance(value, dict):
            return {kind for part in value.values() for kind in kinds(part)}
        if isinstance(value, list | tuple):
            return {kind for part in value for kind in kinds(part)}
        return {type(value)}

    state: State = trained(line(), 5).state()
    assert kinds(state) <= {Tensor, int, float, bool, str, type(None)}
