"""Count what no formula gives: parameters, FLOPs and bytes of a user's own module, in a pass of its own."""

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from scalemark.model.task import Task
from scalemark.schema import Accounting, Flops


def count_task(task: Task) -> Accounting:
    """Accounting of one batch of the task as built.

    FLOPs are those torch counts in matrix products and convolutions. Attention runs on its plain backend meanwhile:
    torch counts 0 for the fused one on CPU.
    """
    inputs, targets = task.batch(0)
    counter = FlopCounterMode(display=False)
    with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), counter:
        task.model(inputs)
    parameters = list(task.model.parameters())
    parameter_bytes = sum(parameter.nbytes for parameter in parameters)
    states = 2 if isinstance(task.optimizer, torch.optim.Adam) else 0
    return Accounting(
        params_total=sum(parameter.numel() for parameter in parameters),
        items=targets.numel(),
        flops=Flops(matmul=counter.get_total_flops()),
        parameter_bytes=parameter_bytes,
        gradient_bytes=sum(parameter.nbytes for parameter in parameters if parameter.requires_grad),
        optimizer_state_bytes=states * parameter_bytes,
        source="counted",
    )
