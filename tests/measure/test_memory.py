import numpy as np
import torch

from scalemark.measure.clock import Round
from scalemark.measure.memory import measure_memory
from scalemark.measure.phases import build_task, make_round
from scalemark.model.accounting import account
from scalemark.model.task import Task
from scalemark.schema import ModelConfig, Workload

MIB = 2**20


def linear_task() -> Task:
    model = torch.nn.Linear(4, 4)
    data = (torch.zeros(8, 4), torch.zeros(8, 4))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    return Task(model, optimizer, torch.nn.functional.mse_loss, data, batch_size=8)


def test_the_peak_is_what_was_live_at_once_not_the_sum_and_not_the_end():
    def allocate() -> None:
        first = torch.empty(32 * MIB, dtype=torch.uint8)
        del first
        second, third = torch.empty(16 * MIB, dtype=torch.uint8), torch.empty(24 * MIB, dtype=torch.uint8)
        del second, third

    memory = measure_memory(linear_task(), Round(lambda: None, allocate), "cpu")
    assert memory.allocated_bytes is not None
    assert abs(memory.allocated_bytes - 40 * MIB) < 0.01 * MIB


def test_what_is_live_before_the_round_counts():
    task = linear_task()
    with torch.no_grad():
        task.model.weight = torch.nn.Parameter(torch.zeros(1024, 1024))
    memory = measure_memory(task, Round(lambda: None, lambda: torch.empty(1) and None), "cpu")
    assert memory.allocated_bytes is not None
    assert abs(memory.allocated_bytes - 4 * MIB) < 0.01 * MIB


def test_a_training_step_holds_its_states_and_most_of_its_activations():
    """More than parameters, states and activations; less than with the activations half again and logits thrice."""
    model = ModelConfig(n_layer=2, d_model=64, n_head=2)
    workload = Workload(phase="step", model=model, batch=4, seq_len=64, optimizer="adamw")
    task = build_task(workload, np.arange(2000).astype(np.uint8), seed=0)
    one = make_round(task, workload)
    one.timed()
    counted = account(model, 4, 64)
    memory = measure_memory(task, one, "cpu")
    states = counted.parameter_bytes + counted.optimizer_state_bytes
    assert memory.allocated_bytes is not None
    assert counted.activation_bytes is not None and counted.logits_bytes is not None
    assert states + counted.activation_bytes < memory.allocated_bytes
    assert memory.allocated_bytes < states + 1.6 * (counted.activation_bytes + 3 * counted.logits_bytes)


def test_the_peak_is_the_same_each_time():
    workload = Workload(
        phase="step", model=ModelConfig(n_layer=1, d_model=32, n_head=2), batch=2, seq_len=16, optimizer="adamw"
    )
    peaks = set()
    for _ in range(2):
        task = build_task(workload, np.arange(2000).astype(np.uint8), seed=0)
        one = make_round(task, workload)
        one.timed()
        peaks.add(measure_memory(task, one, "cpu").allocated_bytes)
    assert len(peaks) == 1
