"""Medians and their intervals. Rounds inside one block are correlated, so blocks are resampled first."""

from collections.abc import Sequence

import numpy as np

from scalemark.schema import INTERVAL_LEVEL, Estimate

_REPLICATES = 1000


def percentile_interval(draws: Sequence[float] | np.ndarray, value: float, level: float = INTERVAL_LEVEL) -> Estimate:
    """`value` with the central `level` share of the bootstrap `draws` (Efron's percentile interval).

    The interval is widened, never the value moved, where the draws all lie on one side of it.
    """
    low, high = np.quantile(np.asarray(draws, dtype=float), [(1 - level) / 2, (1 + level) / 2])
    return Estimate(value=value, low=min(float(low), value), high=max(float(high), value), level=level)


def median_over_blocks(blocks: Sequence[Sequence[float]], seed: int = 0, level: float = INTERVAL_LEVEL) -> Estimate:
    """Median of the block medians, with a hierarchical bootstrap interval.

    blocks: one sequence of samples per worker process. Blocks are drawn with replacement, then rounds within
    each drawn block, so luck that belongs to a process widens the interval instead of hiding in many rounds.
    """
    arrays = [np.asarray(block, dtype=float) for block in blocks if len(block)]
    assert arrays, "a median needs at least one sample"
    value = float(np.median([np.median(array) for array in arrays]))
    rng = np.random.default_rng(seed)
    resampled = np.stack([_resampled_medians(array, len(arrays), rng) for array in arrays])
    chosen = rng.integers(len(arrays), size=(_REPLICATES, len(arrays)))
    columns = np.arange(len(arrays))
    replicates = np.arange(_REPLICATES)[:, None]
    draws = np.median(resampled[chosen, replicates, columns], axis=1)
    return percentile_interval(draws, value, level)


def _resampled_medians(samples: np.ndarray, slots: int, rng: np.random.Generator) -> np.ndarray:
    """Bootstrap medians of one block, shape (replicates, slots): one independent draw per place it may fill."""
    indices = rng.integers(len(samples), size=(_REPLICATES * slots, len(samples)), dtype=np.int32)
    medians: np.ndarray = np.median(samples[indices], axis=1)
    return medians.reshape(_REPLICATES, slots)
