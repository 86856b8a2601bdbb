"""Jobs for executors, and someone who hears what comes of them and may disturb it in the middle."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from factories import tiny_config

from scalemark.process import Message, Progress
from scalemark.schema import RunTrained, TrainingConfig, TrainingRun
from scalemark.train.executors.pool import Ended, Pool
from scalemark.train.jobs import RunOrder, TokenFiles, TrunkJob

# Of one trunk: its state is kept where the short one leaves it, at step 45.
SHORT, LONG = tiny_config(60), tiny_config(400)
OTHER = tiny_config(60, seed=1)
NO_FILES = TokenFiles(train_path="unused", validation_path="unused")


def job(*configs: TrainingConfig, files: TokenFiles = NO_FILES, checkpoints: Path | None = None) -> TrunkJob:
    orders = tuple(RunOrder(config=config, expected_s=0.001) for config in configs)
    place = str(checkpoints) if checkpoints else None
    return TrunkJob(orders=orders, files=files, budget_s=300.0, checkpoints=place, validation_windows=8)


def all_of(pool: Pool, *jobs: TrunkJob) -> list[Ended]:
    with pool:
        for one in jobs:
            pool.submit(one)
        return list(pool.as_completed())


@dataclass
class Listener:
    """Hears what is trained; `act` is done once, when the long run is under way. at: how much was heard by then."""

    act: Callable[[], None] = lambda: None
    heard: list[Message] = field(default_factory=list)
    at: int | None = None

    def __call__(self, message: Message) -> None:
        self.heard.append(message)
        if self.at is None and isinstance(message, Progress) and message.key == LONG.key and message.fraction > 0.2:
            self.at = len(self.heard)
            self.act()

    @property
    def runs(self) -> list[TrainingRun]:
        return [message.run for message in self.heard if isinstance(message, RunTrained)]

    @property
    def shares_after(self) -> list[float]:
        """How far the long run was each time that it was told after the act."""
        after = self.heard[self.at :]
        return [message.fraction for message in after if isinstance(message, Progress) and message.key == LONG.key]
