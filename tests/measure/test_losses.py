"""Short losses repeat exactly, and differ between options by what these change and nothing else."""

import numpy as np
import pytest

from scalemark.measure.losses import short_losses
from scalemark.measure.orders import LOSS_SEEDS, LOSS_STEPS
from scalemark.measure.phases import build_task
from scalemark.schema import ModelConfig, ShortLosses, Workload

TEXT = np.frombuffer(b"In the beginning God created the heaven and the earth. " * 40, dtype=np.uint8)
TINY = ModelConfig(n_layer=2, d_model=32, n_head=2)


def losses(**option: object) -> ShortLosses:
    fields = {"phase": "step", "model": TINY, "batch": 4, "seq_len": 16, "optimizer": "adamw", **option}
    work = Workload.model_validate(fields)
    return short_losses(work, lambda seed: build_task(work, TEXT, seed), first_seed=5)


def furthest(one: ShortLosses, other: ShortLosses) -> float:
    return float(np.abs(np.array(one.losses) - np.array(other.losses)).max())


@pytest.fixture(scope="module")
def plain() -> ShortLosses:
    return losses()


def test_there_is_a_loss_for_each_step_of_each_seed_and_it_falls(plain: ShortLosses) -> None:
    assert np.array(plain.losses).shape == (LOSS_SEEDS, LOSS_STEPS)
    assert plain.seeds == (5, 6, 7)
    assert all(run[-1] < run[0] for run in plain.losses)


def test_they_are_the_same_on_every_run_and_others_from_another_seed(plain: ShortLosses) -> None:
    assert losses() == plain
    assert len(set(plain.last)) == LOSS_SEEDS


def test_a_checkpointed_step_computes_the_same_to_the_last_bit(plain: ShortLosses) -> None:
    assert losses(checkpointed=True) == plain


@pytest.mark.parametrize(
    "option",
    [
        {"micro_batches": 2},
        {"micro_batches": 4},
        {"optimizer_kernels": "foreach"},
        {"optimizer_kernels": "for_loop"},
        {"attention": "math"},
        {"attention": "flash"},
    ],
    ids=str,
)
def test_an_option_that_only_rounds_otherwise_changes_no_more_than_rounding(
    plain: ShortLosses, option: dict[str, object]
) -> None:
    assert furthest(losses(**option), plain) < 2e-5


def test_bfloat16_changes_more_than_rounding_of_float32(plain: ShortLosses) -> None:
    assert 1e-4 < furthest(losses(dtype="bfloat16"), plain) < 0.1


def test_an_update_that_went_wrong_would_show(plain: ShortLosses) -> None:
    """The tolerances above tell: with gradients of twice the size, plain SGD's losses are others altogether."""
    by_sgd = losses(optimizer="sgd")
    doubled = Workload(phase="step", model=TINY, batch=4, seq_len=16, optimizer="sgd")

    def build(seed: int):
        task = build_task(doubled, TEXT, seed)
        for parameter in task.model.parameters():
            parameter.register_hook(lambda gradient: 2 * gradient)
        return task

    assert furthest(short_losses(doubled, build, first_seed=5), by_sgd) > 1e-3
