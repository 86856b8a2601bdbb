"""A rank of two: some steps of each parallelism, and what rank 0 has to show for it. Run by `test_spread.py`."""

import os
import sys
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist
from torch.distributed.tensor import DTensor

from scalemark.measure.ranks.group import Group, joined
from scalemark.measure.ranks.spread import Spread, spread
from scalemark.schema import ModelConfig, Workload

STEPS = 6
MODEL = ModelConfig(n_layer=2, d_model=32, n_head=2, vocab_size=33)  # 33 rows do not divide evenly


def workload(parallelism: str, world_size: int) -> Workload:
    return Workload.model_validate(
        {
            "phase": "step",
            "model": MODEL,
            "batch": 4,
            "seq_len": 16,
            "optimizer": "adamw",
            "parallelism": parallelism,
            "world_size": world_size,
        }
    )


def text() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 33, 5000).astype(np.uint8)


def gradients(mine: Spread) -> dict[str, torch.Tensor]:
    found = {}
    for name, parameter in mine.steps.task.model.named_parameters():
        gradient = parameter.grad
        found[name.removeprefix("module.")] = gradient.full_tensor() if isinstance(gradient, DTensor) else gradient
    return {name: gradient.clone() for name, gradient in found.items()}


def stepped(mine: Spread) -> dict[str, object]:
    """After some steps: the loss over all ranks, and every gradient whole."""
    for _ in range(STEPS):
        mine.whole.prepare()
        mine.whole.timed()
    loss = mine.steps.loss.detach().clone()
    if dist.is_initialized():
        dist.all_reduce(loss, op=dist.ReduceOp.SUM)
        loss /= dist.get_world_size()
    return {"loss": loss, "gradients": gradients(mine)}


def after_compute_only(mine: Spread) -> dict[str, object]:
    """As a campaign takes them in turn: two steps without communication, then a whole one."""
    for _ in range(2):
        mine.compute.prepare()
        mine.compute.timed()
    mine.whole.prepare()
    mine.whole.timed()
    return {"gradients": gradients(mine)}


def main(path: Path) -> None:
    torch.set_num_threads(1)
    with joined("cpu", [2], 60.0) as world:
        group = world.groups[2]
        assert isinstance(group, Group)
        sharded = spread(workload("fsdp", 2), text(), 0, group)
        found = {
            "ddp": stepped(spread(workload("ddp", 2), text(), 0, group)),
            "fsdp": stepped(sharded),
            "fsdp, after compute only": after_compute_only(sharded),
        }
    if int(os.environ["RANK"]) == 0:
        torch.save(found, path)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
