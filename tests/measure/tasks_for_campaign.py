"""Tasks that workers build in tests: one that behaves, and three that do not."""

import os
import signal
import sys
import time

import torch

from scalemark.model.task import Task


def well_behaved(width: int = 8) -> Task:
    print("a stray print must not look like a report")
    print("nor this", file=sys.stderr)
    model = torch.nn.Linear(width, 3)
    inputs, classes = torch.randn(64, width), torch.arange(64) % 3
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    return Task(model, optimizer, torch.nn.functional.cross_entropy, (inputs, classes), batch_size=32)


def killed() -> Task:
    os.kill(os.getpid(), signal.SIGKILL)
    return well_behaved()


def raises() -> Task:
    raise ValueError("the third layer is upside down")


def out_of_memory() -> Task:
    torch.empty(2**62, dtype=torch.uint8)
    return well_behaved()


def hangs() -> Task:
    time.sleep(600)
    return well_behaved()
