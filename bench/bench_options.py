"""What if the step ran otherwise? bfloat16, torch.compile, checkpointing, micro-batches, AdamW's kernels, attention.

Each option is compared with the same step without it: time, memory, and the loss of a few first steps. Of the rungs,
the largest that have the time are measured; run this file alone to give them all of it.
"""

import pytest

import scalemark


@pytest.mark.parametrize("workload", scalemark.step_options(), ids=str)
def bench_options(workload, measured):
    measured(workload)
