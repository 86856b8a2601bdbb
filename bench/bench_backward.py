"""The backward pass alone; the forward pass that it needs is outside the clock."""

import pytest

import scalemark


@pytest.mark.parametrize("workload", scalemark.ladder("backward"), ids=str)
def bench_backward(workload, measured):
    measured(workload)
