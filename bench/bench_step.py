"""The whole training step as a loop runs it: gradients away, forward, backward, update. The cost laws are fitted to it.

The diagonal grows in all directions at once, so on its own it cannot tell a slow matrix product from slow memory; the
shapes, batches and sequence lengths off it can.
"""

import pytest

import scalemark
from scalemark.model.ladder import DIAGONAL, LARGE_DIAGONAL, OFF_DIAGONAL

EVERY_SECOND = (*DIAGONAL[1::2], DIAGONAL[-1], *LARGE_DIAGONAL)
D4W256 = (scalemark.find_rung("d4w256"),)

LADDER = scalemark.ladder("step", rungs=(*DIAGONAL, *LARGE_DIAGONAL, *OFF_DIAGONAL), optimizer="adamw")
OTHER_BATCHES = [
    *scalemark.ladder("step", rungs=D4W256, batch=1, seq_len=128, optimizer="adamw"),
    *scalemark.ladder("step", rungs=D4W256, batch=8, seq_len=256, optimizer="adamw"),
    *scalemark.ladder("step", rungs=D4W256, batch=1, seq_len=1024, optimizer="adamw"),
]
BFLOAT16 = scalemark.ladder("step", rungs=EVERY_SECOND, dtype="bfloat16", optimizer="adamw")
COMPILED = scalemark.ladder("step", rungs=(scalemark.find_rung("d2w128"), *D4W256), optimizer="adamw", compiled=True)
SGD = scalemark.ladder("step", rungs=EVERY_SECOND[:3], optimizer="sgd")


@pytest.mark.parametrize("workload", [*LADDER, *OTHER_BATCHES], ids=str)
def bench_step(workload, measured):
    measured(workload)


@pytest.mark.parametrize("workload", BFLOAT16, ids=str)
def bench_step_bfloat16(workload, measured):
    measured(workload)


@pytest.mark.parametrize("workload", COMPILED, ids=str)
def bench_step_compiled(workload, measured):
    measured(workload)


@pytest.mark.parametrize("workload", SGD, ids=str)
def bench_step_sgd(workload, measured):
    measured(workload)


@pytest.mark.parametrize("workload", scalemark.ladder("optimizer", rungs=EVERY_SECOND, optimizer="adamw"), ids=str)
def bench_optimizer_adamw(workload, measured):
    measured(workload)


@pytest.mark.parametrize("workload", scalemark.ladder("optimizer", rungs=EVERY_SECOND, optimizer="sgd"), ids=str)
def bench_optimizer_sgd(workload, measured):
    measured(workload)
