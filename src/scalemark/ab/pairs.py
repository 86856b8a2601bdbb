"""One pair: a fresh process of each side, alive at the same time, visited in turn through all workloads.

    start both ─> for each workload, in random order: build both ─> warm up ─> visits: AB BA AB AB BA … ─> end both

A visit is a few consecutive rounds, about as long as a blink, so what slows the machine for longer falls on both sides.
The one whose turn it is not sleeps in a read. Its threads must not spin meanwhile: they would take what is being timed;
they may spin for the short gaps inside a step, without which small models would take twice as long.
"""

import random
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from math import ceil
from pathlib import Path

from scalemark.ab.sides import Checkout
from scalemark.ab.workers import Answer, Lost, SideWorker
from scalemark.schema import AbPair, AbSamples, Workload

VISIT_S = 0.03
FEWEST_VISITS = 3
# The first rounds make optimizer state and meet cold caches. Long ones get one: visits are compared by their median.
WARMUP_S, WARMUPS_AT_MOST = 0.15, 10
# libgomp (turns of its waiting loop, well below a millisecond) and libiomp (milliseconds).
WAITING = {"GOMP_SPINCOUNT": "20000", "KMP_BLOCKTIME": "1"}
SILENCE_AT_LEAST_S, SILENCE_FACTOR = 60.0, 30.0


@dataclass(frozen=True)
class Visiting:
    """How one workload is visited in each pair."""

    workload: Workload
    round_s: float
    rounds_per_visit: int
    visits: int
    warmups: int

    @property
    def expected_s(self) -> float:
        """Rounds of both sides together, warm-up included."""
        return 2 * self.round_s * (self.warmups + self.visits * self.rounds_per_visit)

    @property
    def silence_s(self) -> float:
        """How long a side may take for one answer before it counts as stuck."""
        return max(SILENCE_AT_LEAST_S, SILENCE_FACTOR * self.round_s * (self.warmups + self.rounds_per_visit))


def plan_visits(workload: Workload, round_s: float, seconds: float) -> Visiting:
    """As many visits of both sides as fit into `seconds`, after a warm-up; but a few at least."""
    rounds = max(1, round(VISIT_S / round_s))
    warmups = min(WARMUPS_AT_MOST, max(1, ceil(WARMUP_S / round_s)))
    visits = int((seconds / 2 - warmups * round_s) / (rounds * round_s))
    return Visiting(workload, round_s, rounds, max(FEWEST_VISITS, visits), warmups)


@dataclass(frozen=True)
class Bench:
    """Where pairs are measured: both sides, and what all their processes share."""

    base: Checkout
    head: Checkout
    environment: Mapping[str, str]
    log_path: Path
    token_path: Path
    threads: int
    affinity: tuple[int, ...] | None
    seed: int

    def start(self, stack: ExitStack) -> tuple[SideWorker, SideWorker]:
        """A fresh process of each side, which the stack ends; raises SideError where one cannot be measured."""
        workers = [
            stack.enter_context(SideWorker(side, self.environment, self.log_path)) for side in (self.base, self.head)
        ]
        for worker in workers:
            worker.tell(
                "begin",
                threads=self.threads,
                affinity=self.affinity,
                token_path=str(self.token_path),
                seed=self.seed,
                package=str(worker.checkout.own_package) if worker.checkout.own_package else None,
            )
        for worker in workers:
            worker.has_cuda = bool(worker.hear(SILENCE_AT_LEAST_S)["cuda"])
        return workers[0], workers[1]


def measure_pair(index: int, bench: Bench, visitings: Sequence[Visiting]) -> AbPair:
    """One pair through all workloads; where a process is lost, so is the pair, and its reason is kept.

    Raises SideError where a side answers that it cannot do it.
    """
    rng = random.Random(f"{bench.seed}/{index}")
    samples: list[AbSamples] = []
    try:
        with ExitStack() as stack:
            sides = bench.start(stack)
            for visiting in rng.sample(list(visitings), len(visitings)):
                samples.append(_visit_in_turn(sides, visiting, rng))
    except Lost as lost:
        return AbPair(index=index, samples=tuple(samples), lost=str(lost))
    return AbPair(index=index, samples=tuple(samples))


def build(sides: Sequence[SideWorker], workload: Workload, silence_s: float = SILENCE_AT_LEAST_S) -> None:
    """Both sides make the workload's task, at the same time."""
    for side in sides:
        side.tell("build", workload=workload.model_dump(mode="json"))
    for side in sides:
        side.hear(silence_s)


def time_rounds_s(side: SideWorker, n: int, silence_s: float = SILENCE_AT_LEAST_S) -> list[float]:
    """Seconds of the next `n` rounds of what the side built last."""
    answer: Answer = side.ask(silence_s, "rounds", n=n)
    return [float(seconds) for seconds in answer["seconds"]]


def _visit_in_turn(sides: Sequence[SideWorker], visiting: Visiting, rng: random.Random) -> AbSamples:
    build(sides, visiting.workload, visiting.silence_s)
    for side in rng.sample(list(sides), len(sides)):
        time_rounds_s(side, visiting.warmups, visiting.silence_s)
    seconds: tuple[list[float], list[float]] = ([], [])
    for _ in range(visiting.visits):
        for turn in rng.sample((0, 1), 2):
            seconds[turn].extend(time_rounds_s(sides[turn], visiting.rounds_per_visit, visiting.silence_s))
    return AbSamples(
        key=visiting.workload.key,
        rounds_per_visit=visiting.rounds_per_visit,
        base_s=tuple(seconds[0]),
        head_s=tuple(seconds[1]),
    )
