"""The learning rate rises, stays and falls away, and never is nothing."""

from itertools import pairwise

import pytest

from scalemark.train.schedule import BASE_LEARNING_RATE, BASE_WIDTH, learning_rate_for_width, warmup_stable_decay

N_STEPS = 1000
SHARES = [warmup_stable_decay(step, N_STEPS) for step in range(N_STEPS)]


def test_the_warm_up_rises_to_the_peak() -> None:
    warm_up = SHARES[:50]
    assert warm_up[0] == pytest.approx(1 / 50)
    assert all(later > earlier for earlier, later in pairwise(warm_up))
    assert warm_up[-1] == 1


def test_the_plateau_is_the_peak() -> None:
    assert set(SHARES[50:700]) == {1.0}


def test_the_decay_falls_to_almost_nothing() -> None:
    decay = SHARES[701:]
    assert all(later < earlier for earlier, later in pairwise(decay))
    assert decay[-1] == pytest.approx(1 / 300)


@pytest.mark.parametrize("n_steps", [1, 2, 3, 7, 40, 999])
def test_every_step_of_any_run_learns(n_steps: int) -> None:
    shares = [warmup_stable_decay(step, n_steps) for step in range(n_steps)]
    assert all(0 < share <= 1 for share in shares)
    assert max(shares) == 1


def test_four_times_the_width_takes_half_the_learning_rate() -> None:
    assert learning_rate_for_width(BASE_WIDTH) == BASE_LEARNING_RATE
    for width in (16, 64, 96):
        assert learning_rate_for_width(4 * width) == pytest.approx(learning_rate_for_width(width) / 2)
