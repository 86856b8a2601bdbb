"""Which runs tell most about the loss of larger models for the time they take (optimal design; Fedorov 1972).

The law is L = E + A/N^alpha + B/D^beta. With a first guess of it, what is known of its five parameters, and how far
runs lie from it, the loss of larger models has an uncertainty after each set of runs (kriging with a trend; Cressie
1993). Runs are taken one at a time: the one that lowers that uncertainty most per second. Branches of one trunk share
an error, so a second branch tells less than a second size; and the law is only nearly true, so large runs tell more of
larger ones than any number of small ones. The guess decides what is trained, never a result.

The largest trunk comes first, and while there is something else to train no other has a run of more than a quarter of
its compute: so a fit that hides the largest runs is tried on models well beyond those that it knows.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from scalemark.train.candidate import Candidate, by_trunk, costs_s, makespan_s

Array = NDArray[np.float64]

# E, A, B, alpha, beta as fitted to a standard grid on the default text (docs/training.md).
GUESS = (0.98, 55.0, 3100.0, 0.53, 0.68)
# What is known of log E, log A, log B, alpha and beta before anything is trained, as standard deviations.
PRIOR_SD = (0.5, 2.0, 2.0, 0.3, 0.3)
# Relative errors of a loss: one that a trunk's branches share, and one that each has of its own.
TRUNK_SD, RUN_SD = 0.004, 0.002
# How far the law is off, much the same for models within a factor of e^`MISFIT_REACH` in size and tokens.
MISFIT_SD, MISFIT_REACH = 0.008, 1.2
# The models whose loss is to be told: compute-optimal, at so many times the compute of the largest run that fits.
TARGETS = (4.0, 16.0)
# The largest trunk: what it may take of all the time, and its compute over that of any run beside it.
LARGEST_SHARE, LARGEST_REACH = 0.3, 4.0

Runs = Sequence[Candidate]


def choose(candidates: Runs, taken: Runs, known: Runs, time_s: float, slots: int, wanted: Runs = ()) -> list[Candidate]:
    """Of the candidates those that tell most for their time, in the order of their worth, while all of it fits.

    taken: runs that have their place already; known: those that are there already, and cost nothing. slots: how many
    trunks are trained at a time. wanted: of the candidates, those that are chosen whatever they tell.
    """
    chosen = [*wanted]

    def spent_s(one: Candidate | None = None) -> list[float]:
        runs = [*known, *taken, *chosen, *([one] if one else [])]
        return [sum(costs_s(trunk, known)) for trunk in by_trunk(runs)]

    def fits(one: Candidate) -> bool:
        return makespan_s(spent_s(one), slots) <= time_s

    affordable = [candidate for candidate in candidates if fits(candidate)]
    targets = targets_beyond([*affordable, *known])
    chosen += [] if chosen else _largest(affordable, LARGEST_SHARE * slots * time_s)
    beside = [candidate for candidate in affordable if _may_stand_beside(candidate, chosen)]
    for left in (beside, affordable):  # what time is left when no more may stand beside it goes to any
        while left := [candidate for candidate in left if candidate not in chosen and fits(candidate)]:
            before_s, before = sum(spent_s()), uncertainty([*known, *chosen], targets)
            worth = [
                (before - uncertainty([*known, *chosen, one], targets)) / (sum(spent_s(one)) - before_s) for one in left
            ]
            chosen.append(left[int(np.argmax(worth))])
    return chosen


def _largest(candidates: Runs, most_s: float) -> list[Candidate]:
    """The one with most compute among those that take no more than this; none where there is none."""
    cheap = [candidate for candidate in candidates if candidate.added_s(0) <= most_s]
    return sorted(cheap, key=lambda candidate: candidate.compute)[-1:]


def _may_stand_beside(candidate: Candidate, largest: Runs) -> bool:
    """Whether it is a branch of the largest trunk, or has much less compute than its end."""
    return all(candidate.trunk == top.trunk or LARGEST_REACH * candidate.compute <= top.compute for top in largest)


def uncertainty(runs: Runs, targets: Array) -> float:
    """Mean log variance of the predicted log losses at the targets, (N, D) rows, after these runs."""
    before = np.diag(_covariance(targets, targets))
    if not runs:
        return float(np.mean(np.log(before)))
    sizes = _sizes(runs)
    trunks = np.array([run.trunk for run in runs])
    scatter = TRUNK_SD**2 * (trunks[:, None] == trunks) + RUN_SD**2 * np.eye(len(runs))
    shared = _covariance(targets, sizes)
    told = np.einsum("tr,rt->t", shared, np.linalg.solve(_covariance(sizes, sizes) + scatter, shared.T))
    return float(np.mean(np.log(before - told)))


def _covariance(one: Array, other: Array) -> Array:
    """Of the log losses at (N, D) rows: through the law's parameters, and through how far the law is off."""
    law = _derivatives(one) * np.square(PRIOR_SD) @ _derivatives(other).T
    apart = np.square(np.log(one)[:, None] - np.log(other)).sum(axis=-1)
    return np.asarray(law + MISFIT_SD**2 * np.exp(-apart / (2 * MISFIT_REACH**2)))


def _sizes(runs: Runs) -> Array:
    """(N without embeddings, D) of each run, shape (runs, 2)."""
    return np.array([(run.params, run.config.tokens) for run in runs], dtype=float)


def _derivatives(sizes: Array) -> Array:
    """Of log L by log E, log A, log B, alpha and beta, shape (rows, 5); A and B at the middle of the candidates."""
    e, a, b, alpha, beta = GUESS
    log_n, log_d = np.log(sizes).T
    of_n, of_d = a * np.exp(-alpha * log_n), b * np.exp(-beta * log_d)
    terms = np.stack([np.full_like(of_n, e), of_n, of_d, -(log_n - _LOG_N) * of_n, -(log_d - _LOG_D) * of_d], axis=-1)
    return np.asarray(terms / (e + of_n + of_d)[:, None])


# Where the prior on A and B is meant: what a model of this size lacks, and what this much text leaves to learn.
_LOG_N, _LOG_D = float(np.log(5e4)), float(np.log(1e6))


def targets_beyond(candidates: Runs) -> Array:
    """Compute-optimal models (Hoffmann et al. 2022, equation 4) beyond the largest candidate, as (N, D) rows."""
    if not candidates:
        return np.array([[5e4, 1e6]])
    largest = float(np.max(np.prod(_sizes(candidates), axis=1)))
    _, a, b, alpha, beta = GUESS
    ratio = (alpha * a / (beta * b)) ** (1 / (alpha + beta))
    aims = largest * np.array(TARGETS)
    params = ratio * aims ** (beta / (alpha + beta))
    return np.stack([params, aims / params], axis=-1)
