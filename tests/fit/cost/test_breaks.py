"""A planted break is found where it is, and none is claimed of data that have only noise."""

import numpy as np
import pytest

from scalemark.fit.cost.breaks import find_break

SIZES = np.geomspace(1e6, 1e9, 14)
QUANTITIES = np.column_stack([np.ones(14), SIZES ** (1 / 3), SIZES])
TRUTH = np.array([1e-3, 1e-5, 1e-9])
NOTHING = np.zeros(3)


def times(seed: int, excess: float = 0.0, first: int = 10, noise: float = 0.02) -> np.ndarray:
    """Noisy step times, of which those from row `first` on take `excess` longer."""
    factors = np.where(np.arange(14) >= first, 1 + excess, 1.0)
    return QUANTITIES @ TRUTH * factors * np.exp(noise * np.random.default_rng(seed).standard_normal(14))


@pytest.mark.parametrize("seed", range(4))
def test_a_planted_break_is_found_with_its_place_and_its_size(seed: int) -> None:
    found = find_break(QUANTITIES, times(seed, excess=0.3), SIZES, NOTHING)
    assert found is not None
    assert (found.below, found.above) == (SIZES[9], SIZES[10])
    assert found.excess == pytest.approx(0.3, abs=0.08)


def test_no_break_is_claimed_of_noise_alone() -> None:
    """One in a hundred is allowed: two of forty would be a fault."""
    claimed = [find_break(QUANTITIES, times(seed), SIZES, NOTHING) is not None for seed in range(100, 140)]
    assert sum(claimed) <= 1


def test_no_break_is_claimed_where_nothing_is_left_over() -> None:
    assert find_break(QUANTITIES, times(0, noise=0.0), SIZES, NOTHING) is None


def test_what_gets_faster_with_size_is_no_spill() -> None:
    assert find_break(QUANTITIES, times(0, excess=-0.3), SIZES, NOTHING) is None


def test_a_last_row_alone_makes_no_break() -> None:
    assert find_break(QUANTITIES, times(0, excess=0.5, first=13), SIZES, NOTHING) is None
