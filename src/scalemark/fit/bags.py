"""Some of many rows, for what would take too long over all of them.

A bag of little bootstraps (Kleiner, Talwalkar, Sarkar & Jordan 2014, JRSS B 76:795): n rows are resampled by drawing n
times, with replacement, from a small bag of them, so that a replicate is as uncertain as n rows are and as cheap as the
bag. Several bags, each a random part of the rows, share the replicates. Rows that err together are drawn together.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from scalemark.fit.rows import Labels
from scalemark.fit.solver import Array

# Beyond so many, rows are many: a bootstrap over all of them would take more than some ten seconds.
MANY_ROWS = 1000
# n^0.6, which the paper finds enough, is 1,000 for n = 100,000.
_BAG_EXPONENT, _SMALLEST_BAG = 0.6, 500
# Enough to tell the starts that lead to the best end from the others.
_SAMPLE = 500
_BAGS = 10
_SAMPLE_SEED = 0


@dataclass(frozen=True)
class Bag:
    """rows: indices of the rows in the bag. weights: how often each replicate draws them, (replicates, rows)."""

    rows: Labels
    weights: Array


def sample(n: int) -> Labels:
    """Indices of all of few rows, of a random part of many; the same for the same n."""
    if n <= MANY_ROWS:
        return np.arange(n)
    return np.sort(np.random.default_rng(_SAMPLE_SEED).permutation(n)[:_SAMPLE])


def few_groups(groups: Labels, n: int) -> Labels:
    """Indices of all of few rows; of many, those of a random part of the groups, about `MANY_ROWS` of them."""
    if n <= MANY_ROWS:
        return np.arange(n)
    members = _members(groups, n)
    order = np.random.default_rng(_SAMPLE_SEED).permutation(len(members))
    sizes = np.cumsum([len(members[group]) for group in order])
    chosen = order[: max(2, int(np.searchsorted(sizes, MANY_ROWS, side="right")))]
    return np.sort(np.concatenate([members[group] for group in chosen]))


def bag_size(n: int) -> int:
    """Rows of a bag of n."""
    return max(_SMALLEST_BAG, int(float(n) ** _BAG_EXPONENT))


def bags(groups: Labels | None, n: int, replicates: int, rng: np.random.Generator) -> Iterator[Bag]:
    """Bags that share the replicates. groups: labels of rows that err together, shape (n,); None: each errs alone."""
    members = _members(groups, n)
    share = bag_size(n) / n
    for number in np.diff(np.linspace(0, replicates, min(_BAGS, replicates) + 1).round().astype(int)):
        chosen = rng.permutation(len(members))[: max(2, round(share * len(members)))]
        counts = rng.multinomial(len(members), np.full(len(chosen), 1 / len(chosen)), size=int(number))
        sizes = np.array([len(members[group]) for group in chosen])
        yield Bag(np.concatenate([members[group] for group in chosen]), np.repeat(counts, sizes, axis=1).astype(float))


def _members(groups: Labels | None, n: int) -> list[Labels]:
    """The rows of each group."""
    if groups is None:
        return list(np.arange(n)[:, None])
    order = np.argsort(groups, kind="stable")
    return np.split(order, np.flatnonzero(np.diff(groups[order])) + 1)
