"""What each rank holds between steps, from the shape alone (no torch).

`fully_shard` cuts each parameter along its first dimension into as many chunks as there are ranks, as torch.chunk does:
all of ⌈rows / p⌉ rows, the last ones shorter or empty. Gradients and optimizer states are cut alike.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from scalemark.model.memory import predict_memory
from scalemark.schema import ModelConfig, PredictedMemory, Workload

_BYTES = 4
_STATES = {"adamw": 2, "sgd": 0, None: 0}


def parameter_shapes(model: ModelConfig) -> Iterator[tuple[int, int]]:
    """(rows, elements of a row) of each parameter; a gain is a row per element."""
    d, up = model.d_model, model.d_ff * (2 if model.activation == "swiglu" else 1)
    for _ in range(model.n_layer):
        yield from ((d, 1), (3 * d, d), (d, d), (d, 1), (up, d), (d, model.d_ff))
    yield from ((model.vocab_size, d), (d, 1))
    if not model.tied_head:
        yield (model.vocab_size, d)


def shard_elements(model: ModelConfig, world_size: int, rank: int) -> int:
    """Elements of all parameters that this rank holds."""
    return sum(_rows(rows, world_size, rank) * width for rows, width in parameter_shapes(model))


def _rows(rows: int, world_size: int, rank: int) -> int:
    chunk = -(-rows // world_size)
    return max(0, min(chunk, rows - rank * chunk))


def state_bytes(workload: Workload, rank: int) -> int:
    """Parameters, gradients and optimizer states of this rank, in float32; the optimizer's step counters left out."""
    assert workload.model
    shards = workload.world_size if workload.parallelism == "fsdp" else 1
    return shard_elements(workload.model, shards, rank if shards > 1 else 0) * _per_element(workload)


def replicated_state_bytes(workload: Workload) -> int:
    """The same of a rank that holds everything."""
    assert workload.model
    return shard_elements(workload.model, 1, 0) * _per_element(workload)


def _per_element(workload: Workload) -> int:
    return _BYTES * (2 + _STATES[workload.optimizer])


@dataclass(frozen=True)
class _Gathered:
    """Sharded parameters that are whole for a while. blocks: two, the one in use and the one being gathered."""

    model: ModelConfig

    @property
    def bytes(self) -> int:
        shapes = [rows * width for rows, width in parameter_shapes(self.model)]
        block, root = sum(shapes[:6]), sum(shapes[6 * self.model.n_layer :])
        return _BYTES * (2 * block + root)


def predict_rank_memory(workload: Workload) -> PredictedMemory | None:
    """Peak of the rank that needs most, as `predict_memory` gives it for the rank's own batch.

    ddp: gradients stay in their buckets from one step to the next. fsdp: shards in place of all states, and what is
    whole for a while: parameters and gradients of two blocks and of what no block holds. Neither knows the backend's
    buffers.
    """
    assert workload.model and workload.rank_batch
    alone = workload.model_copy(update={"parallelism": "none", "world_size": 1, "batch": workload.rank_batch})
    plain = predict_memory(alone)
    if plain is None or workload.world_size == 1:
        return plain
    elements = shard_elements(workload.model, workload.world_size if workload.parallelism == "fsdp" else 1, 0)
    gathered = 2 * _Gathered(workload.model).bytes if workload.parallelism == "fsdp" else 0
    changed = {
        "parameter_bytes": plain.parameter_bytes - (shard_elements(workload.model, 1, 0) - elements) * _BYTES,
        "gradient_bytes": elements * _BYTES,
        "optimizer_state_bytes": elements * _BYTES * _STATES[workload.optimizer],
        "temporary_bytes": plain.temporary_bytes + gathered,
    }
    parts = {**plain.model_dump(exclude={"peak_bytes"}), **changed}
    return PredictedMemory(peak_bytes=sum(parts.values()), **parts)
