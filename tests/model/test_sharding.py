"""What a rank holds, against tensors that are built and cut."""

import pytest

from scalemark.model.memory import predict_memory
from scalemark.model.sharding import (
    parameter_shapes,
    predict_rank_memory,
    replicated_state_bytes,
    shard_elements,
    state_bytes,
)
from scalemark.model.transformer import Transformer
from scalemark.schema import ModelConfig, Workload

MODELS = [
    ModelConfig(n_layer=2, d_model=32, n_head=2, vocab_size=33),
    ModelConfig(n_layer=1, d_model=48, n_head=3, vocab_size=100, activation="swiglu"),
    ModelConfig(n_layer=3, d_model=16, n_head=2, vocab_size=7, tied_head=True),
]


def workload(parallelism: str, world_size: int, optimizer: str = "adamw") -> Workload:
    return Workload.model_validate(
        {
            "phase": "step",
            "model": MODELS[0],
            "batch": 4 * world_size,
            "seq_len": 64,
            "optimizer": optimizer,
            "parallelism": parallelism,
            "world_size": world_size,
        }
    )


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.name)
def test_the_shapes_are_those_of_the_module(model):
    built = sorted(parameter.numel() for parameter in Transformer(model, 8).parameters())
    assert sorted(rows * width for rows, width in parameter_shapes(model)) == built


@pytest.mark.parametrize("world_size", [1, 2, 3, 8])
@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.name)
def test_a_rank_holds_the_chunks_that_torch_cuts(model, world_size):
    for rank in range(world_size):
        chunks = [parameter.chunk(world_size) for parameter in Transformer(model, 8).parameters()]
        held = sum(parts[rank].numel() for parts in chunks if rank < len(parts))
        assert shard_elements(model, world_size, rank) == held


def test_replicas_hold_everything_and_shards_their_part_of_it():
    replica, shard = workload("ddp", 2), workload("fsdp", 2)
    numel = sum(parameter.numel() for parameter in Transformer(MODELS[0], 64).parameters())
    assert state_bytes(replica, 1) == replicated_state_bytes(shard) == 16 * numel
    assert sum(state_bytes(shard, rank) for rank in range(2)) == 16 * numel
    assert replicated_state_bytes(workload("fsdp", 2, "sgd")) == 8 * numel


def test_one_rank_needs_what_a_plain_step_needs_and_shards_keep_less_than_replicas():
    alone, replica, shard = (predict_rank_memory(workload(*how)) for how in (("ddp", 1), ("ddp", 8), ("fsdp", 8)))
    plain = workload("ddp", 1).model_copy(update={"parallelism": "none"})
    assert alone == predict_memory(plain)
    assert replica.activation_bytes == shard.activation_bytes == alone.activation_bytes, "a batch as large each"
    assert replica.peak_bytes > alone.peak_bytes, "gradients stay in their buckets"
    assert shard.optimizer_state_bytes * 7 < replica.optimizer_state_bytes
    parts = replica.model_dump(exclude={"peak_bytes"})
    assert sum(parts.values()) == replica.peak_bytes
