"""How fast training goes, under the conditions of the grid: as many workers at once as it will have.

Three shapes are trained for some steps in every slot at the same time, one after the other in one process, which before
them pays for what a process does once; the seconds of a step are then a sum of what a
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

PACED_WIDTHS = (16, 48, 128)
# Of another seed, so that its run is told from those that count.
WARM_UP_SEED = 1
STEPS = 40
PACE_BUDGET_S = 60.0


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
    """Train the paced shapes in each of `slots` at the same time. execute: runs jobs and gives back what they trained.

    template: the jobs' text and device; its orders are not used.
    """
    runs = [run for run in execute([_job(template)] * slots) if run.config.seed != WARM_UP_SEED]
    if not any(run.accounting and run.seconds for run in runs):
        reasons = {run.reason for run in runs if run.reason}
        why = f" ({min(reasons)})" if reasons else ""
        raise DeviceError(f"not one training step could be timed{why}: workers.log in the run's folder says why")
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
    tokens = [STEPS * BATCH * SEQ_LEN]
    warm_up = training_grid(PACED_WIDTHS[:1], tokens, [WARM_UP_SEED])
    return [*warm_up, *training_grid(PACED_WIDTHS, tokens)]


def _job(template: TrunkJob) -> TrunkJob:
    configs = [config.model_copy(update={"device": template.device}) for config in _configs()]
    orders = tuple(RunOrder(config=config, expected_s=1.0) for config in configs)
    changes = {"orders": orders, "budget_s": PACE_BUDGET_S, "validation_windows": 1, "checkpoints": None}
    return template.model_copy(update=changes)
