"""Laws of collective communication: what a message of so many bytes takes among p ranks.

    time = overhead + rounds(p) · latency + passes(p) · bytes / bandwidth

                        rounds(p)     passes(p)
    all_reduce          2(p − 1)      2(p − 1)/p       a ring that scatters sums, then gathers them
    all_gather          p − 1         (p − 1)/p
    reduce_scatter      p − 1         (p − 1)/p

Thakur, Rabenseifner & Gropp 2005 (ring algorithms) on Hockney's (1994) cost of a message: latency plus bytes over
bandwidth. Overhead is of the call, whatever p is. One world size cannot tell it from latency, so it is then taken for
latency, and the interval reaches from there to all of it being overhead. The law knows links of one kind: it holds on
as many nodes as it was fitted to (`fit_all` fits one node and several apart). Nothing in it knows congestion.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from scalemark.errors import FitError
from scalemark.fit.cost.solver import SETTLED, solve
from scalemark.fit.prediction import predict_with_scatter, range_of, residual_sd
from scalemark.schema import Collective, CollectiveTime, Estimate, Law, Parameter
from scalemark.stats import percentile_interval

Array = NDArray[np.float64]

FORM = "overhead + rounds · latency + passes · bytes / bandwidth"
REPLICATES = 200
# Two unknowns, and one message more to see whether they hold.
FEWEST_MESSAGES = 3
# An interval needs no more than this of a replicate; and of a share that nothing tells, the ends must lie inside it.
_DRAWN_SETTLED, _ENDS = 1e-2, 0.1
# No link is taken to be more than so many times as fast as the fastest message went; else noise would make it infinite.
_LINK_BEYOND = 10.0
_PASSES: dict[Collective, int] = {"all_reduce": 2, "all_gather": 1, "reduce_scatter": 1}


@dataclass(frozen=True)
class Message:
    """A collective of one size among so many ranks."""

    world_size: int
    message_bytes: float


def terms(operation: Collective, messages: Sequence[Message]) -> Array:
    """What overhead, latency and seconds per byte are multiplied by, shape (messages, 3)."""
    ranks = np.array([message.world_size for message in messages], dtype=float)
    sizes = np.array([message.message_bytes for message in messages], dtype=float)
    passes = _PASSES[operation] * (ranks - 1)
    return np.stack([np.ones_like(ranks), passes, passes / ranks * sizes], axis=1)


def fit_collective(times: Sequence[CollectiveTime], seed: int = 0) -> Law:
    """The law of one operation on one kind of links; raises FitError for fewer than `FEWEST_MESSAGES` messages.

    Relative residuals, Huber's loss and coefficients that cannot be negative, as in the other cost laws. Draws refit to
    messages drawn with replacement, each moved by its own interval.
    """
    _check(times)
    first = times[0]
    messages = [Message(one.world_size, one.message_bytes) for one in times]
    quantities, values = terms(first.operation, messages), np.array([one.time_s.value for one in times])
    told = len({one.world_size for one in times}) > 1
    lowest = np.array([0.0, 0.0, 1 / (_LINK_BEYOND * max(one.bus_bytes_per_s.value for one in times))])
    coefficients = _solve(quantities, values, lowest, told)
    log_residuals = np.log(quantities @ coefficients / values)
    sd = residual_sd(log_residuals, int(np.count_nonzero(coefficients)))
    draws = _draws(quantities, times, lowest, told, seed)
    return Law(
        kind="communication",
        form=FORM,
        unit="s",
        subject=f"{first.operation} over {first.backend}, {'one node' if first.n_nodes == 1 else 'several nodes'}",
        parameters=_parameters(coefficients, draws, lowest[2], told),
        domain={
            "world_size": range_of(np.array([one.world_size for one in times])),
            "message_bytes": range_of(np.array([one.message_bytes for one in times])),
        },
        n=len(times),
        residuals=tuple(map(float, np.expm1(log_residuals))),
        residual_sd=sd,
        coefficients=tuple(map(float, coefficients)),
        draws=tuple(tuple(map(float, draw)) for draw in draws),
        notes=() if told else ("one world size cannot tell overhead from latency: taken for latency",),
    )


def _check(times: Sequence[CollectiveTime]) -> None:
    sizes = {one.message_bytes for one in times}
    if len(sizes) < FEWEST_MESSAGES:
        raise FitError(
            f"too few message sizes for a law of communication ({len(sizes)}): measure at least {FEWEST_MESSAGES}"
        )
    assert len({(one.operation, one.n_nodes > 1) for one in times}) == 1, "one operation on one kind of links"


def _solve(quantities: Array, values: Array, lowest: Array, told: bool, settled: float = SETTLED) -> Array:
    """Overhead, latency, seconds per byte; overhead 0 where nothing tells it from latency."""
    used = quantities if told else quantities * np.array([0.0, 1.0, 1.0])
    coefficients = solve(used, values, lowest, settled)
    return np.where(used.any(axis=0), coefficients, 0.0)


def _draws(quantities: Array, times: Sequence[CollectiveTime], lowest: Array, told: bool, seed: int) -> Array:
    rng = np.random.default_rng(seed)
    values = np.array([one.time_s.value for one in times])
    sds = np.array([max(0.0, np.log(one.time_s.high / one.time_s.low)) / (2 * 1.645) for one in times])
    return np.stack([_draw(quantities, values, sds, lowest, told, rng) for _ in range(REPLICATES)])


def _draw(quantities: Array, values: Array, sds: Array, lowest: Array, told: bool, rng: np.random.Generator) -> Array:
    rows = rng.integers(len(values), size=len(values))
    while len(np.unique(quantities[rows, 2])) < 2:  # one message, again and again, is no sample
        rows = rng.integers(len(values), size=len(values))
    moved = values[rows] * np.exp(sds[rows] * rng.standard_normal(len(rows)))
    drawn = _solve(quantities[rows], moved, lowest, told, _DRAWN_SETTLED)
    if not told:  # any share of what a call takes may be overhead, none of it and all of it among them
        share, rounds = np.clip(rng.uniform(-_ENDS, 1 + _ENDS), 0.0, 1.0), quantities[0, 1]
        drawn = np.array([share * rounds * drawn[1], (1 - share) * drawn[1], drawn[2]])
    return drawn


def _parameters(coefficients: Array, draws: Array, least_per_byte: float, told: bool) -> tuple[Parameter, ...]:
    """Bandwidth is not identified where its bound holds one replicate in twenty or more."""
    _, latency, per_byte = coefficients
    bandwidth = percentile_interval(1 / draws[:, 2], 1 / per_byte)
    at_bound = float(np.mean(draws[:, 2] <= least_per_byte * 1.001))
    overhead = Parameter(
        name="overhead",
        estimate=percentile_interval(draws[:, 0], coefficients[0]),
        unit="s",
        meaning="of a call, among however many ranks",
        identified=told,
    )
    return (
        overhead,
        Parameter(
            name="latency",
            estimate=percentile_interval(draws[:, 1], latency),
            unit="s",
            meaning="of one round from rank to rank",
            identified=told and latency > 0,
        ),
        Parameter(
            name="bandwidth",
            estimate=bandwidth,
            unit="bytes/s",
            meaning="of one rank's link, data going round a ring",
            identified=at_bound < 0.05,
        ),
    )


def fit_all(times: Sequence[CollectiveTime], seed: int = 0) -> dict[tuple[Collective, bool], Law]:
    """A law for each operation, on one node (False) and on several (True); what has too few messages is left out."""
    groups: dict[tuple[Collective, bool], list[CollectiveTime]] = {}
    for one in times:
        groups.setdefault((one.operation, one.n_nodes > 1), []).append(one)
    laws = {}
    for key, group in groups.items():
        try:
            laws[key] = fit_collective(group, seed)
        except FitError:
            continue
    return laws


def seconds(law: Law, operation: Collective, messages: Sequence[Message]) -> float:
    """What all these messages take one after another, by the law."""
    return float((terms(operation, messages) @ np.array(law.coefficients)).sum())


def seconds_draws(law: Law, operation: Collective, messages: Sequence[Message]) -> Array:
    """The same under each replicate, shape (replicates,)."""
    found: Array = (np.array(law.draws) @ terms(operation, messages).T).sum(axis=1)
    return found


def predict_message(law: Law, operation: Collective, message: Message) -> Estimate:
    """A new measurement of one message, scatter about the law included."""
    log_draws = np.log(np.maximum(seconds_draws(law, operation, [message]), 1e-300))
    return predict_with_scatter(float(np.log(seconds(law, operation, [message]))), log_draws, law.residual_sd)
