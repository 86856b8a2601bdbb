"""The forward pass: model and loss over a batch of real text, the graph kept for a backward pass."""

import pytest

import scalemark


@pytest.mark.parametrize("workload", scalemark.ladder("forward"), ids=str)
def bench_forward(workload, measured):
    measured(workload)
