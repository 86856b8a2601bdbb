"""How far the grid is: what is done, what trains just now and at which loss, and how long the rest will take."""

import time
from dataclasses import dataclass, field
from itertools import pairwise

from scalemark.process import Began, Message, Progress
from scalemark.schema import RunTrained, TrainingConfig, TrainingRun
from scalemark.train.candidate import makespan_s
from scalemark.train.jobs import RunOrder
from scalemark.train.plan import GridPlan


@dataclass
class GridProgress:
    """A plan under way. runs: those that are over, in the order in which they ended."""

    plan: GridPlan
    runs: list[TrainingRun] = field(default_factory=list)
    _notes: dict[str, Progress] = field(default_factory=dict)
    _started: float = field(default_factory=time.monotonic)

    def __post_init__(self) -> None:
        self._orders: dict[str, RunOrder] = {order.key: order for order in self.plan.orders}
        self._begun: dict[str, None] = {}
        pairs = [pair for trunk in self.plan.trunks for pair in pairwise(trunk.orders)]
        # Of each branch, what share of its steps the one before it has taken already.
        self._shared = {order.key: before.config.decay_from / order.config.n_steps for before, order in pairs}

    @property
    def running(self) -> list[tuple[TrainingConfig, float, str]]:
        """(configuration, share done, a word on its loss) of each run that trains just now."""
        notes = [self._notes.get(key, Progress(key=key, fraction=0.0)) for key in self._begun]
        return [(self._orders[note.key].config, note.fraction, note.note) for note in notes]

    @property
    def left_s(self) -> float:
        """Seconds that the rest should take, at the speed seen so far."""
        over = {run.config.key for run in self.runs}
        return self.slowness * makespan_s(
            [self._left_of(trunk.orders, over) for trunk in self.plan.trunks], self.plan.slots
        )

    @property
    def slowness(self) -> float:
        """How much longer than expected it has taken so far, within reason; 1 where that cannot be told yet."""
        trained = {run.config.key for run in self.runs if run.status != "skipped"}
        expected_s = sum(order.expected_s for key, order in self._orders.items() if key in trained)
        expected_s += sum(self._orders[key].expected_s * self._share(key) for key in self._begun)
        spent_s = (time.monotonic() - self._started) * min(self.plan.slots, max(1, len(self.plan.trunks)))
        return min(max(spent_s / expected_s, 0.5), 3.0) if expected_s > 1 else 1.0

    def take(self, message: Message) -> None:
        """Note what a worker says."""
        if isinstance(message, Began):
            self._begun[message.key] = None
        elif isinstance(message, Progress):
            self._notes[message.key] = message
        elif isinstance(message, RunTrained):
            self._begun.pop(message.run.config.key, None)
            self.runs.append(message.run)

    def _left_of(self, orders: tuple[RunOrder, ...], over: set[str]) -> float:
        left = [order for order in orders if order.key not in over]
        return sum(order.expected_s * (1 - self._share(order.key)) for order in left)

    def _share(self, key: str) -> float:
        """Of what this run adds to those before it, how much is done."""
        if key not in self._begun or key not in self._notes:
            return 0.0
        shared = self._shared.get(key, 0.0)
        return max(0.0, (self._notes[key].fraction - shared) / (1 - shared))

    def __str__(self) -> str:
        """One line: '7 of 19 training runs done; d2w64-1.05M 40 %, loss 1.62'."""
        now = "; ".join(f"{config} {share:.0%} {note}".rstrip() for config, share, note in self.running)
        return f"{len(self.runs)} of {len(self._orders)} training runs done" + (f"; {now}" if now else "")
