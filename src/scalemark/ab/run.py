"""An A/B run from two revisions to verdicts: check out, count, measure pairs until decided or out of time.

check out ─> one pair counts exactly, and shows how long rounds take
          ─> pairs ─> look ─> pairs ─> look ─> pairs ─> last look ─> result
                      └ decided: stop      an undecided look asks for more pairs by itself
"""

import random
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from scalemark import __version__
from scalemark.ab.decide import compare_times, is_decided, look_levels, verdict_of
from scalemark.ab.pairs import WAITING, Bench, Visiting, build, measure_pair, plan_visits, time_rounds_s
from scalemark.ab.sides import Checkout, checked_out
from scalemark.ab.workers import Answer, Lost, SideWorker
from scalemark.diff.compare import compare_exact
from scalemark.diff.verdict import worst
from scalemark.errors import BudgetError, InputError, ScalemarkError
from scalemark.model.ladder import BATCH, SEQ_LEN, find_rung
from scalemark.process import default_affinity, default_threads, worker_environment
from scalemark.schema import (
    AbPair,
    AbResult,
    AbSettings,
    Accounting,
    Cell,
    Comparison,
    Diff,
    Machine,
    Memory,
    Operators,
    TaskRef,
    Workload,
)
from scalemark.units import format_seconds

DEFAULT_RUNGS = ("d2w128", "d4w256", "d6w384")
ALPHA = 0.01
LOOKS = (0.4, 0.7, 1.0)
SMALLEST_BUDGET_S = 30.0
# Of fewer, Student's quantile is large; of more, starting and warming them takes the time.
PAIRS_WANTED = 16
# A disturbance that outlasts a visit falls on both sides, and long rounds make long visits (docs/notes.md).
NOISE_POWER = 0.25
TRIED_ROUNDS = 3
TOKENS = 1 << 18
# Of the budget, for the last look and for taking the worktrees away.
CLOSING_S = 1.0
MOST_LOST_IN_A_ROW = 3
# Every pair imports both sides anew; what is compiled for that lies in the temporary folder.
_KEEP_BYTECODE = {"PYTHONDONTWRITEBYTECODE": ""}


@dataclass(frozen=True)
class AbRequest:
    """What is asked for. tasks: of the repository's own, in place of rungs. repository: any folder of it."""

    base: str
    head: str
    rungs: tuple[str, ...] = DEFAULT_RUNGS
    tasks: tuple[TaskRef, ...] = ()
    budget_s: float = 180.0
    margin: float = 0.02
    device: Literal["auto", "cpu", "cuda"] = "auto"
    seed: int = 0
    repository: Path = Path()


def run_ab(request: AbRequest, tell: Callable[[str], None]) -> AbResult:
    """Measure both revisions and judge. tell: hears in words how far it is.

    Raises InputError for a revision, rung or task that is not there, SideError where a side cannot be measured.
    """
    started_s = time.monotonic()
    _check(request)
    workloads = _workloads(request)
    with checked_out(request.base, request.head, request.repository) as (base, head, folder):
        _check_own_code(base, head, request)
        bench = _bench(base, head, folder, request.seed)
        tell("counting")
        seen = _observe(bench, workloads, request.device)
        run = _Run(request, bench, seen, started_s, tell)
        looks_taken = run.measure()
    return run.result(looks_taken)


def _check(request: AbRequest) -> None:
    if request.budget_s < SMALLEST_BUDGET_S:
        raise BudgetError(f"{format_seconds(request.budget_s)} is too short for enough pairs: give --time 30s or more")
    if not 0 < request.margin < 1:
        raise InputError(f"a margin of {request.margin:g} cannot be used: give one between 0 and 100 %, as in 2%")


def _workloads(request: AbRequest) -> tuple[Workload, ...]:
    steps = [
        Workload(phase="step", model=find_rung(name), batch=BATCH, seq_len=SEQ_LEN, optimizer="adamw")
        for name in request.rungs
    ]
    found = (*steps, *(Workload(phase="step", task=task) for task in request.tasks))
    if not found or len({workload.key for workload in found}) < len(found):
        raise InputError("nothing to measure, or one thing twice: name each rung and task once")
    return found


def _check_own_code(base: Checkout, head: Checkout, request: AbRequest) -> None:
    """Rungs are scalemark's own models: in another project both sides would be the installed scalemark."""
    without = [checkout.side.revision for checkout in (base, head) if checkout.own_package is None]
    if request.rungs and without:
        raise InputError(
            f"{' and '.join(without)} holds no scalemark, so rungs would be the same on both sides: "
            "name your own model with --task FILE:FUNCTION"
        )


def _bench(base: Checkout, head: Checkout, folder: Path, seed: int) -> Bench:
    token_path = folder / "tokens.bin"  # what a step costs does not depend on what the text says
    token_path.write_bytes(random.Random(seed).randbytes(TOKENS))
    threads = default_threads()
    environment = {**worker_environment(threads), **WAITING, **_KEEP_BYTECODE}
    return Bench(base, head, environment, folder / "workers.log", token_path, threads, default_affinity(), seed)


# --- the first look ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Seen:
    """What the first pair told: a cell of exact counters for each side and workload, and the time of a round."""

    device: Literal["cpu", "cuda"]
    start_s: float
    base: tuple[Cell, ...]
    head: tuple[Cell, ...]
    round_s: tuple[float, ...]


def _observe(bench: Bench, workloads: Sequence[Workload], device: Literal["auto", "cpu", "cuda"]) -> _Seen:
    """Count both sides exactly, at the same time; then try some rounds of each. A side that cannot is found here."""
    started_s = time.monotonic()
    try:
        with ExitStack() as stack:
            sides = bench.start(stack)
            start_s = time.monotonic() - started_s
            chosen = _choose(device, sides)
            placed = [workload.model_copy(update={"device": chosen}) for workload in workloads]
            cells = [_count(sides, workload) for workload in placed]
            round_s = [_try_rounds(sides, workload) for workload in placed]
    except Lost as lost:
        raise ScalemarkError(f"{lost}{_last_words(bench.log_path)}: see that both revisions run here") from lost
    return _Seen(chosen, start_s, tuple(b for b, _ in cells), tuple(h for _, h in cells), tuple(round_s))


def _choose(device: Literal["auto", "cpu", "cuda"], sides: Sequence[SideWorker]) -> Literal["cpu", "cuda"]:
    if device == "auto":
        return "cuda" if all(side.has_cuda for side in sides) else "cpu"
    return device


def _count(sides: Sequence[SideWorker], workload: Workload) -> tuple[Cell, Cell]:
    for side in sides:
        side.tell("count", workload=workload.model_dump(mode="json"))
    base, head = (_counted_cell(side.hear(300.0), workload) for side in sides)
    return base, head


def _counted_cell(answer: Answer, workload: Workload) -> Cell:
    """What another version wrote may have fields that this one does not know, or lack some: those are left out."""
    known = {name: _known(kind, answer.get(name)) for name, kind in _COUNTERS.items()}
    return Cell.model_validate({"workload": workload, "status": "ok", **known})


_COUNTERS: dict[str, type[Accounting] | type[Operators] | type[Memory]] = {
    "accounting": Accounting,
    "operators": Operators,
    "memory": Memory,
}


def _known(kind: type[Accounting] | type[Operators] | type[Memory], fields: Answer | None) -> object:
    if fields is None:
        return None
    try:
        return kind.model_validate({name: value for name, value in fields.items() if name in kind.model_fields})
    except ValueError:
        return None


def _try_rounds(sides: Sequence[SideWorker], workload: Workload) -> float:
    """Seconds of a round, of the faster side, once it is warm."""
    build(sides, workload)
    return min(min(time_rounds_s(side, TRIED_ROUNDS)) for side in sides)


def _last_words(log_path: Path) -> str:
    """The end of what the processes printed, as an error's cause stands there."""
    lines = log_path.read_text(encoding="utf-8", errors="replace").strip().splitlines() if log_path.exists() else []
    return f" ({lines[-1].strip()})" if lines else ""


# --- pairs until decided ----------------------------------------------------------------------------------------------


class _Run:
    """Pairs being measured, and what they say so far."""

    def __init__(
        self, request: AbRequest, bench: Bench, seen: _Seen, started_s: float, tell: Callable[[str], None]
    ) -> None:
        self.request, self.bench, self.seen, self.tell = request, bench, seen, tell
        self.started_s = started_s
        self.end_s = started_s + request.budget_s - CLOSING_S
        self.pairs: list[AbPair] = []
        self.times: tuple[Comparison, ...] = ()
        self.visitings = self._plan()
        self.pair_s = seen.start_s + sum(visiting.expected_s for visiting in self.visitings)

    def _plan(self) -> list[Visiting]:
        """Longer rounds get more time, by what they are noisier for the time that they get."""
        pair_s = max((self.end_s - time.monotonic()) / PAIRS_WANTED - self.seen.start_s, 0.0)
        weights = [round_s**NOISE_POWER for round_s in self.seen.round_s]
        cells = zip(self.seen.base, self.seen.round_s, weights, strict=True)
        return [plan_visits(cell.workload, round_s, pair_s * weight / sum(weights)) for cell, round_s, weight in cells]

    def measure(self) -> int:
        """Pairs from look to look; returns how many looks it took."""
        keys = [visiting.workload.key for visiting in self.visitings]
        begin_s = time.monotonic()
        for look, level in enumerate(look_levels(ALPHA, LOOKS)):
            self._measure_until(begin_s + LOOKS[look] * (self.end_s - begin_s))
            self.times = compare_times(self.pairs, keys, level, self.request.margin)
            if is_decided(self.times):
                break
        return look + 1

    def _measure_until(self, until_s: float) -> None:
        while time.monotonic() + self.pair_s <= until_s:
            pair_started_s = time.monotonic()
            self.pairs.append(measure_pair(len(self.pairs), self.bench, self.visitings))
            self.pair_s = max(time.monotonic() - pair_started_s, 0.9 * self.pair_s)
            self.tell(f"pair {len(self.pairs)}, {self.end_s - time.monotonic():.0f} s left")
            self._stop_if_all_are_lost()

    def _stop_if_all_are_lost(self) -> None:
        newest = self.pairs[-MOST_LOST_IN_A_ROW:]
        if len(newest) == MOST_LOST_IN_A_ROW and all(pair.lost for pair in newest):
            why = f"{newest[-1].lost}{_last_words(self.bench.log_path)}"
            raise ScalemarkError(f"{MOST_LOST_IN_A_ROW} pairs in a row were lost, the last because {why}: run it alone")

    def result(self, looks_taken: int) -> AbResult:
        """All of it as one record."""
        base, head = self.bench.base.side, self.bench.head.side
        exact = tuple(self._exact())
        return AbResult(
            scalemark_version=__version__,
            created=datetime.now(UTC).isoformat(timespec="seconds"),
            base=base,
            head=head,
            workloads=tuple(visiting.workload for visiting in self.visitings),
            settings=self._settings(),
            pairs=tuple(self.pairs),
            diff=Diff(
                base_id=f"{base.revision} ({base.commit[:12]})",
                new_id=f"{head.revision} ({head.commit[:12]})",
                verdict=worst([verdict_of(self.times), *(comparison.verdict for comparison in exact)]),
                comparisons=(*exact, *self.times),
            ),
            looks_taken=looks_taken,
            duration_s=time.monotonic() - self.started_s,
        )

    def _exact(self) -> Iterator[Comparison]:
        here = Machine(id="this machine", identity={})
        for base, head in zip(self.seen.base, self.seen.head, strict=True):
            yield from compare_exact(base, head, here)

    def _settings(self) -> AbSettings:
        return AbSettings(
            budget_s=self.request.budget_s,
            margin=self.request.margin,
            alpha=ALPHA,
            looks=LOOKS,
            seed=self.request.seed,
            device=self.seen.device,
            threads=self.bench.threads,
            affinity=self.bench.affinity,
            environment=dict(self.bench.environment),
        )
