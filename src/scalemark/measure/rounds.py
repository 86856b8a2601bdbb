"""Time a cell's rounds in one process: warm up until steady, then turns of rounds until precise or out of time.

    triad ─> warm-up ─> [ product, exchange ─> look ─> round, round, … ─> look ] × turns ─> triad
                        └ a turn: about a tenth of a second ┘

Nothing is deleted: a round that met steal, pressure, preemption or throttling is tagged and kept.
"""

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from scalemark.measure.clock import Round, Timed, time_round
from scalemark.measure.device import Device
from scalemark.measure.orders import WARMUP_S
from scalemark.measure.reference import References
from scalemark.measure.watch import Look, Watch, knows_usage
from scalemark.schema import Conditions, Tag
from scalemark.stats import halves_agree, relative_half_width

PRECISE_HALF_WIDTH = 0.01
TURN_S, TURN_ROUNDS_AT_MOST = 0.1, 25
# Halves that differ by less are steady: on a shared machine neighbouring rounds differ by some per cent on their own.
STEADY_TOLERANCE = 0.05
WARMUP_SHARE, WARMUP_AT_MOST = 0.25, 40
# The newest rounds that are looked at; the first round pays for what happens once and is never among them.
STEADY_WINDOW = 6
# Of two rounds, one is always the slower.
FEWEST_TO_TELL = 4
# What tags a turn: a share of its time stolen (of all CPUs), a share with a task waiting; and per round, switches.
STOLEN_SHARE, PRESSURED_SHARE, SWITCHES_PER_S = 0.01, 0.1, 20.0


@dataclass(frozen=True)
class Limits:
    """When to stop: at `at_most` rounds, or precise, or past `budget_s`, but not before `at_least`."""

    budget_s: float
    at_least: int
    at_most: int


@dataclass(frozen=True)
class Sampled:
    """What one visit to a cell gave."""

    warmup_s: tuple[float, ...]
    rounds_s: tuple[float, ...]
    steady: bool | None
    conditions: Conditions


@dataclass
class Turn:
    """Rounds between two looks, and the reference kernels before them."""

    gemm_s: float
    exchange_s: float | None
    timed: list[Timed] = field(default_factory=list)
    seen: Look = field(default_factory=Look)

    @property
    def seconds(self) -> float:
        return sum(one.seconds for one in self.timed)


def sample(one: Round, device: Device, limits: Limits, references: References, watch: Watch) -> Sampled:
    """Rounds of one cell, with what the machine did meanwhile."""
    triad_s = [references.triad_s()]
    warmup_s = warm_up(one, device, limits.budget_s)
    turns = time_turns(one, device, limits, references, watch)
    triad_s.append(references.triad_s())
    rounds_s = _to_the_ns(timed.seconds for turn in turns for timed in turn.timed)
    return Sampled(_to_the_ns(warmup_s), rounds_s, is_steady(warmup_s, rounds_s), _conditions(turns, triad_s))


def _to_the_ns(seconds: Iterable[float]) -> tuple[float, ...]:
    """No clock here tells less than a nanosecond, and the record is shorter without it."""
    return tuple(round(second, 9) for second in seconds)


def warm_up(one: Round, device: Device, budget_s: float) -> tuple[float, ...]:
    """Rounds until the newest agree with those just before them, or a share of the budget is spent; at least one."""
    most_s = max(WARMUP_S, WARMUP_SHARE * budget_s)
    started = time.perf_counter()
    seconds: list[float] = []
    while True:
        seconds.append(time_round(one, device).seconds)
        spent_s = time.perf_counter() - started
        settled = spent_s >= WARMUP_S and len(seconds) > STEADY_WINDOW and _agree(seconds[-STEADY_WINDOW:])
        if settled or spent_s >= most_s or len(seconds) >= WARMUP_AT_MOST:
            return tuple(seconds)


def is_steady(warmup_s: Sequence[float], rounds_s: Sequence[float]) -> bool | None:
    """By the warm-up if its newest rounds agree, else by the halves of all after the first; None of too few to tell."""
    if len(warmup_s) > STEADY_WINDOW and _agree(warmup_s[-STEADY_WINDOW:]):
        return True
    after_first = [*warmup_s[1:], *rounds_s]
    return _agree(after_first) if len(after_first) >= FEWEST_TO_TELL else None


def _agree(seconds: Sequence[float]) -> bool:
    return halves_agree(seconds, STEADY_TOLERANCE)


def time_turns(one: Round, device: Device, limits: Limits, references: References, watch: Watch) -> list[Turn]:
    """Turns of rounds until the limits say that it is enough."""
    deadline = time.perf_counter() + limits.budget_s
    turns: list[Turn] = []
    rounds_s: list[float] = []
    while not _is_enough(rounds_s, limits, time.perf_counter() > deadline):
        turns.append(_time_turn(one, device, limits.at_most - len(rounds_s), references, watch))
        rounds_s += [timed.seconds for timed in turns[-1].timed]
    return turns


def _is_enough(rounds_s: Sequence[float], limits: Limits, is_late: bool) -> bool:
    if len(rounds_s) < limits.at_least:
        return False
    return is_late or len(rounds_s) >= limits.at_most or relative_half_width(rounds_s) <= PRECISE_HALF_WIDTH


def _time_turn(one: Round, device: Device, at_most: int, references: References, watch: Watch) -> Turn:
    turn = Turn(references.gemm_s(), references.exchange_s())
    before = watch.look()
    end = time.perf_counter() + TURN_S
    while True:
        turn.timed.append(time_round(one, device))
        if len(turn.timed) >= min(at_most, TURN_ROUNDS_AT_MOST) or time.perf_counter() > end:
            break
    turn.seen = watch.look().since(before)
    return turn


def _conditions(turns: Sequence[Turn], triad_s: Sequence[float]) -> Conditions:
    timed = [one for turn in turns for one in turn.timed]
    throttled = _column(turn.seen.throttled for turn in turns)
    return Conditions(
        turn_lengths=tuple(len(turn.timed) for turn in turns),
        steal_s=_column(turn.seen.steal_s for turn in turns),
        pressure_s=_column(turn.seen.pressure_s for turn in turns),
        throttled=None if throttled is None else tuple(map(int, throttled)),
        gemm_s=_to_the_ns(turn.gemm_s for turn in turns),
        exchange_s=_column(turn.exchange_s for turn in turns),
        triad_s=_to_the_ns(triad_s),
        cpu_s=_to_the_ns(one.used.cpu_s for one in timed) if knows_usage() else None,
        switches=tuple(one.used.switches for one in timed) if knows_usage() else None,
        host_s=_column(one.host_s for one in timed),
        tagged=tags(turns),
    )


def _column(values: Iterable[float | None]) -> tuple[float, ...] | None:
    """All of them, or None where one is not known."""
    known = list(values)
    return None if None in known else _to_the_ns(value for value in known if value is not None)


def tags(turns: Sequence[Turn]) -> dict[Tag, tuple[int, ...]]:
    """Indices of the rounds that something disturbed, by what."""
    found: dict[Tag, list[int]] = {}
    first = 0
    for turn in turns:
        for index, one in enumerate(turn.timed, start=first):
            for tag in (*_tags_of_turn(turn), *_tags_of_round(one)):
                found.setdefault(tag, []).append(index)
        first += len(turn.timed)
    return {tag: tuple(indices) for tag, indices in found.items()}


def _tags_of_turn(turn: Turn) -> list[Tag]:
    seen, seconds = turn.seen, turn.seconds
    told: dict[Tag, bool] = {
        "stolen": (seen.steal_s or 0) > STOLEN_SHARE * seconds,
        "pressured": (seen.pressure_s or 0) > PRESSURED_SHARE * seconds,
        "throttled": (seen.throttled or 0) > 0,
    }
    return [tag for tag, is_so in told.items() if is_so]


def _tags_of_round(one: Timed) -> list[Tag]:
    """A CPU was lost more often than the timer of an otherwise idle system explains."""
    return ["preempted"] if one.used.switches > 1 + SWITCHES_PER_S * one.seconds else []
