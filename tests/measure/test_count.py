import torch
from torch import nn

from scalemark.measure.count import count_task
from scalemark.model.task import Task


def task_of(model: nn.Module, inputs: torch.Tensor, targets: torch.Tensor) -> Task:
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    return Task(model, optimizer, nn.functional.cross_entropy, (inputs, targets), batch_size=len(inputs))


def test_a_linear_layer_is_counted_as_by_hand():
    counted = count_task(task_of(nn.Linear(10, 5), torch.zeros(50, 10), torch.zeros(50, dtype=torch.long)))
    assert counted.params_total == 10 * 5 + 5
    assert counted.flops.matmul == 2 * 50 * 10 * 5
    assert counted.items == 50
    assert counted.source == "counted"


def test_attention_is_not_counted_as_zero():
    class Attention(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.scale = nn.Parameter(torch.ones(1))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return nn.functional.scaled_dot_product_attention(self.scale * x, x, x)

    x = torch.zeros(2, 4, 16, 8)
    assert count_task(task_of(Attention(), x, x)).flops.matmul == 2 * 2 * (2 * 4) * 16 * 16 * 8
