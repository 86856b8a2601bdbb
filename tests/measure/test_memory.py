import os
import platform
import subprocess
import sys

import numpy as np
import pytest
import torch

from scalemark.measure.clock import Round
from scalemark.measure.memory import measure_memory
from scalemark.measure.phases import build_task, make_round
from scalemark.model.accounting import account
from scalemark.model.task import Task
from scalemark.process import worker_environment
from scalemark.schema import Memory, ModelConfig, Workload

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


def test_what_a_composite_operator_holds_inside_counts_without_gradients_too():
    """Cross-entropy makes the logarithms of the softmax, as large as its input, and never shows them."""
    logits, targets = torch.zeros(1024, 256), torch.zeros(1024, dtype=torch.int64)

    @torch.inference_mode()
    def evaluate() -> None:
        torch.nn.functional.cross_entropy(logits.clone(), targets)

    memory = measure_memory(linear_task(), Round(lambda: None, evaluate), "cpu")
    assert memory.allocated_bytes is not None
    assert abs(memory.allocated_bytes - 2 * MIB) < 0.01 * MIB


def test_a_compiled_module_is_not_said_to_have_been_followed():
    """Under a dispatch mode torch runs the module uncompiled, so its live tensors would be another program's."""
    task = linear_task()
    model = torch.compile(task.model, backend="eager")
    compiled = Task(model, task.optimizer, task.loss, task.train, batch_size=8)

    def forward() -> None:
        model(task.train[0])

    memory = measure_memory(compiled, Round(lambda: None, forward), "cpu")
    assert memory.allocated_bytes is None
    assert memory.reason
    assert "live tensors" not in memory.method


HELD_MIB = 155
# Rounds of many blocks, each small enough for glibc to keep; one that stays at the end pins all that are freed.
RESIDENT_ROUND = f"""
import sys
import torch
from scalemark.measure import memory
from scalemark.measure.clock import Round
from scalemark.model.task import Task

if "no-trim" in sys.argv:
    memory._trim_heap = lambda: False
model = torch.nn.Linear(4, 4)
data = (torch.zeros(8, 4), torch.zeros(8, 4))
task = Task(model, torch.optim.SGD(model.parameters(), lr=0.1), torch.nn.functional.mse_loss, data, batch_size=8)
pins = []

def hold():
    blocks = [torch.ones(2**18) for _ in range({HELD_MIB})]
    pins.append(torch.ones(2**18 - 2**14))
    del blocks

hold()
hold()
print(memory.measure_memory(task, Round(lambda: None, hold), "cpu").model_dump_json())
"""


def resident_memory(environment: dict[str, str], *arguments: str) -> Memory:
    """Of a round that holds `HELD_MIB` at once and frees them, in a process of its own."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("MALLOC_")}
    run = subprocess.run(
        [sys.executable, "-c", RESIDENT_ROUND, *arguments],
        env={**inherited, "PYTHONPATH": os.pathsep.join(filter(None, sys.path)), **environment},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    memory = Memory.model_validate_json(run.stdout)
    if memory.resident_bytes is None:
        pytest.skip("the resident peak cannot be reset here: /proc/self/clear_refs is missing or not writable")
    return memory


def growth_mib(memory: Memory) -> float:
    assert memory.resident_bytes is not None and memory.resident_before_bytes is not None
    return (memory.resident_bytes - memory.resident_before_bytes) / MIB


def test_the_resident_peak_sees_a_known_allocation_that_earlier_rounds_made_too():
    memory = resident_memory(worker_environment(1, for_memory=True))
    assert HELD_MIB <= growth_mib(memory) < 1.3 * HELD_MIB
    assert "VmHWM" in memory.method


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library keeps pages in its own way")
def test_pages_that_glibc_kept_would_hide_the_peak_without_the_trim_and_the_fixed_threshold():
    kept = resident_memory(worker_environment(1), "no-trim")
    assert growth_mib(kept) < 0.5 * HELD_MIB
    trimmed = resident_memory(worker_environment(1))
    assert growth_mib(trimmed) > 0.9 * HELD_MIB
    assert "malloc_trim" in trimmed.method
