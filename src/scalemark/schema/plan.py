"""What a model costs, and what to train for a budget."""

from typing import Literal

from pydantic import PositiveFloat, PositiveInt

from scalemark.schema.basics import Estimate, Frozen, Goal
from scalemark.schema.law import Range
from scalemark.schema.workload import ModelConfig


class PriceTag(Frozen):
    """What it costs to train one model of a given shape here.

    extrapolation: its non-embedding parameters over the largest fitted. Fields are None where no law reaches.
    """

    model: ModelConfig
    params_total: int
    params_non_embedding: int
    training_tokens: float
    step_s: Estimate | None = None
    tokens_per_s: Estimate | None = None
    training_s: Estimate | None = None
    training_j: Estimate | None = None
    memory_bytes: Estimate | None = None
    fits_memory: bool | None = None
    extrapolation: float


class PlannedTraining(Frozen):
    """One model, how long it is trained, and what that is predicted to cost and to reach.

    tokens: seen in training, text shown again among them; epochs: tokens over the different ones there are. loss:
    validation loss in nats per token. time_s: set-up, all steps and validation, as `TrainingRun.total_seconds`.
    energy_j, usd: None where no law or price tells. regret: loss over the lowest that the same budget reaches, less 1
    (0.01 reads '1 % worse'). loss_extrapolation, cost_extrapolation: how far beyond what either law was fitted to.
    """

    model: ModelConfig
    batch: PositiveInt
    seq_len: PositiveInt
    params_total: PositiveInt
    params_non_embedding: PositiveInt
    tokens: PositiveInt
    n_steps: PositiveInt
    epochs: PositiveFloat | None = None
    loss: Estimate
    time_s: Estimate
    energy_j: Estimate | None = None
    usd: Estimate | None = None
    memory_bytes: Estimate | None = None
    regret: Estimate
    loss_extrapolation: float
    cost_extrapolation: float

    @property
    def extrapolation(self) -> float:
        """The larger of both distances."""
        return max(self.loss_extrapolation, self.cost_extrapolation)

    @property
    def tokens_per_parameter(self) -> float:
        """Of all parameters, as the rule of 20 counts them."""
        return self.tokens / self.params_total


class TrainingPlan(Frozen):
    """What to train for a budget, or what a loss takes.

    amount: of the goal: hours, US dollars, kWh, or nats per token. threads, shared: how the model is priced to be
    trained: on so many threads, beside others or alone. time_to_loss_s: for a goal of a loss, the time after which
    `best`'s shape reaches it; None where one replicate in twenty or more never does. optimal_params: non-embedding
    parameters of the best shape, with the interval over pairs of replicates of both laws. near_optimal: from the
    smallest to the largest size whose loss for the same budget is within `near_optimal_excess` of the best. rule: the
    model with `rule_tokens_per_parameter` for the same budget. front: the best model of other budgets, smallest first.
    """

    suite_id: str
    machine: str
    device: Literal["cpu", "cuda"]
    threads: PositiveInt
    shared: bool
    goal: Goal
    amount: PositiveFloat
    usd_per_hour: PositiveFloat | None = None
    best: PlannedTraining
    time_to_loss_s: Estimate | None = None
    optimal_params: Estimate
    near_optimal: Range
    near_optimal_excess: PositiveFloat
    named: tuple[PlannedTraining, ...] = ()
    rule: PlannedTraining | None = None
    rule_tokens_per_parameter: PositiveFloat
    front: tuple[PlannedTraining, ...] = ()
    memory_limit_bytes: PositiveFloat | None = None
    energy_reason: str | None = None
    notes: tuple[str, ...] = ()
