"""What a plan stands on: the laws of one suite, and what they were fitted to."""

from dataclasses import dataclass

from scalemark.plan.optimum import Losses
from scalemark.plan.prices import MemoryPrice, Prices
from scalemark.plan.shapes import Recipe
from scalemark.schema import Law, ModelConfig, Suite, TrainingRun


@dataclass(frozen=True)
class Grounds:
    """What a suite tells about training more: its laws, and what they were fitted to.

    trained: the runs behind the loss law; recipe: how most of them were trained. repeats_are_told: whether what text
    seen again is worth comes from this suite.
    """

    suite: Suite
    loss_law: Law
    losses: Losses
    repeats_are_told: bool
    trained: tuple[TrainingRun, ...]
    recipe: Recipe
    time: Prices
    energy: Prices | None
    energy_reason: str | None
    memory: MemoryPrice

    @property
    def shapes(self) -> tuple[ModelConfig, ...]:
        """Each trained shape once, in the order of the runs."""
        return tuple(dict.fromkeys(run.config.model for run in self.trained if run.config.model))
