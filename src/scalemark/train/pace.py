"""How fast training goes here, under the conditions of the grid: as many workers at once as it will have.

Three shapes are trained for some steps in every slot at the same time; the seconds of a step are then a sum of what a
layer costs whatever its size, what a FLOP costs, and what a byte of activations costs.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import nnls

from scalemark.errors import DeviceError
from scalemark.schema import Accounting, TrainingConfig, TrainingRun
from scalemark.train.grid import BATCH, SEQ_LEN, training_grid
from scalemark.train.jobs import RunOrder, TrunkJob

# Shape by shape: a first one that pays for what a process does once, then those that count.
PACED_WIDTHS = (16, 16, 48, 128)
STEPS = 40
PACE_BUDGET_S = 20.0


@dataclass(frozen=True)
class Pace:
    """Seconds of a training step: per_layer_s · layers + s_per_gflop · model GFLOPs + s_per_gb · GB of activations."""

    per_layer_s: float
    s_per_gflop: float
    s_per_gb: float

    def step_s(self, accounting: Accounting) -> float:
        """Seconds of one step of this shape, in one slot while all others are at work."""
        return float(np.dot(_terms(accounting), [self.per_layer_s, self.s_per_gflop, self.s_per_gb]))


def measure_pace(
    execute: Callable[[Sequence[TrunkJob]], Sequence[TrainingRun]], slots: int, template: TrunkJob
) -> Pace:
    """Train the paced shapes, `slots` of each at the same time. execute: runs jobs and gives back what they trained.

    template: the jobs' text and device; its orders are not used.
    """
    configs = [config.model_copy(update={"device": template.device}) for config in _configs()]
    jobs = [_job(config, template) for config in configs for _ in range(slots)]
    runs = [run for run in execute(jobs)[slots:] if run.accounting and run.seconds]
    if not runs:
        raise DeviceError("not one training step could be timed: workers.log in the run's folder says why")
    return fit_pace(
        [(run.accounting, run.seconds / run.config.n_steps) for run in runs if run.accounting and run.seconds]
    )


def fit_pace(steps: Sequence[tuple[Accounting, float]]) -> Pace:
    """Non-negative least squares on relative errors, so that a small model's step counts like a large one's."""
    seconds = np.array([step_s for _, step_s in steps])
    rows = np.array([_terms(accounting) for accounting, _ in steps])
    found, _ = nnls(rows / seconds[:, None], np.ones(len(steps)))
    return Pace(*(float(value) for value in found))


def _terms(accounting: Accounting) -> list[float]:
    return [
        accounting.n_layer,
        accounting.flops.model_flops("step") / 1e9,
        (accounting.activation_bytes or 0) / 1e9,
    ]


def _configs() -> list[TrainingConfig]:
    return [training_grid([width], [STEPS * BATCH * SEQ_LEN])[0] for width in PACED_WIDTHS]


def _job(config: TrainingConfig, template: TrunkJob) -> TrunkJob:
    order = RunOrder(config=config, expected_s=1.0)
    changes = {"orders": (order,), "budget_s": PACE_BUDGET_S, "validation_windows": 1, "checkpoints": None}
    return template.model_copy(update=changes)
