"""The same global batch on one rank and on two, with real processes and gloo."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from scalemark.measure.phases import random_windows
from scalemark.measure.ranks.group import Group
from scalemark.measure.ranks.spread import Spread, rank_windows, spread

from . import parity_rank

TOLERANCE = {"rtol": 1e-3, "atol": 1e-7}


def alone() -> Spread:
    """One rank with the whole batch: a plain module in this process, no group."""
    nobody = Group(rank=0, size=1, n_nodes=1, backend="gloo", channel=None, control=None)
    return spread(parity_rank.workload("ddp", 1), parity_rank.text(), 0, nobody)


@pytest.fixture(scope="module")
def on_two(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, object]]:
    path = tmp_path_factory.mktemp("parity") / "found.pt"
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    where = {"MASTER_ADDR": "localhost", "MASTER_PORT": str(port), "WORLD_SIZE": "2", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, str(Path(parity_rank.__file__)), str(path)]
    ranks = [
        subprocess.Popen(command, env={**os.environ, **where, "RANK": str(rank), "LOCAL_RANK": str(rank)}, stderr=-1)
        for rank in range(2)
    ]
    errors = [rank.communicate(timeout=120)[1].decode() for rank in ranks]
    assert all(rank.returncode == 0 for rank in ranks), errors
    return torch.load(path)


@pytest.mark.parametrize("parallelism", ["ddp", "fsdp"])
def test_a_step_on_two_ranks_has_the_loss_and_the_gradients_of_one_with_the_same_batch(on_two, parallelism):
    one, two = parity_rank.stepped(alone()), on_two[parallelism]
    assert torch.isfinite(one["loss"])
    torch.testing.assert_close(two["loss"], one["loss"], **TOLERANCE)
    torch.testing.assert_close(two["gradients"], one["gradients"], **TOLERANCE)
    smallest = min(gradient.abs().max() for gradient in one["gradients"].values())
    assert smallest > 10 * TOLERANCE["atol"], "gradients of 0 would equal anything"


def test_steps_without_communication_leave_nothing_behind_in_shards(on_two):
    """On one rank: the update repeated with the gradients of the step before, which is what shards do."""
    mine = alone()
    parity_rank.stepped(mine)
    for _ in range(2):
        mine.steps.index += 1
        mine.steps.update()
    mine.steps.step()
    found = on_two["fsdp, after compute only"]
    torch.testing.assert_close(found["gradients"], parity_rank.gradients(mine), **TOLERANCE)


def test_the_ranks_batches_together_are_the_batch_of_one():
    work = parity_rank.workload("ddp", 2)
    whole = random_windows(work, parity_rank.text(), seed=0)
    parts = [rank_windows(whole, rank, 2, 2) for rank in range(2)]
    for which in range(2):
        for index in range(4):
            batch = whole[which][4 * index : 4 * index + 4]
            shares = [part[which][2 * index : 2 * index + 2] for part in parts]
            assert np.array_equal(torch.cat(shares), batch)
