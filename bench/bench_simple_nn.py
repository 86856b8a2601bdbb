"""Your own model: copy this file, put your module in `simple_nn`, run `pytest bench/bench_yours.py --benchmark-only`.

A `Task` says what is trained: the module, its optimizer, its loss, its data. Times come from all phases you name;
`trainings` trains it for real and gives its validation loss and accuracy.
"""

import pytest
import torch
from torch import nn

import scalemark

WIDTHS = [10, 100, 1_000, 10_000]
N_CLASSES = 5


class SimpleNN(nn.Module):
    """One linear layer: 10 features in, 5 classes out, or as wide as asked."""

    def __init__(self, width=10):
        super().__init__()
        self.linear = nn.Linear(width, N_CLASSES)

    def forward(self, x):
        return self.linear(x)


def samples(count, width):
    """Points around one centre per class, the same every time."""
    centres = torch.randn(N_CLASSES, width, generator=torch.Generator().manual_seed(0))
    classes = torch.arange(count) % N_CLASSES
    return centres[classes] + 2.0 * torch.randn(count, width), classes


def simple_nn(width):
    model = SimpleNN(width)
    return scalemark.Task(
        model=model,
        optimizer=torch.optim.SGD(model.parameters(), lr=0.01),
        loss=nn.functional.cross_entropy,
        train=samples(2_000, width),
        validation=samples(500, width),
        batch_size=50,
    )


@pytest.mark.parametrize("workload", scalemark.workloads(simple_nn, width=WIDTHS), ids=str)
def bench_simple_nn(workload, measured):
    measured(workload)


@pytest.mark.parametrize("config", scalemark.trainings(simple_nn, samples=20_000, width=WIDTHS), ids=str)
def bench_simple_nn_trained(config, measured):
    run = measured(config)
    if run:
        accuracy_percent = 100 * run.validation_accuracy
        assert accuracy_percent > 100 / N_CLASSES, "no better than guessing"
