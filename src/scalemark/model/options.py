"""Other ways to run the same step, and which of them a device cannot. No torch here.

Each is compared with the same step without it: the memory of activations for a second forward pass, one large batch for
several small ones, one kernel for another.
"""

from collections.abc import Iterable
from typing import Any

from scalemark.model.ladder import LARGE_DIAGONAL, SEQ_LEN, diagonal_shape
from scalemark.schema import ModelConfig, Workload

# Four sequences can be cut into one, two and four micro-batches.
OPTIONS_BATCH = 4
OPTIONS_RUNGS = (*(diagonal_shape(depth) for depth in (1, 2, 4, 6, 8)), *LARGE_DIAGONAL)
# The attention backends in bfloat16: on CUDA the flash kernels take nothing wider.
_OPTIONS: tuple[dict[str, Any], ...] = (
    {},
    {"dtype": "bfloat16"},
    {"compiled": True},
    {"checkpointed": True},
    {"micro_batches": 2},
    {"micro_batches": 4},
    {"optimizer_kernels": "foreach"},
    {"optimizer_kernels": "for_loop"},
    *({"dtype": "bfloat16", "attention": backend} for backend in ("math", "flash", "efficient")),
)


def step_options(
    rungs: Iterable[ModelConfig] = OPTIONS_RUNGS, batch: int = OPTIONS_BATCH, seq_len: int = SEQ_LEN
) -> list[Workload]:
    """The plain AdamW step of each rung, and the same with one option at a time."""
    how = {"phase": "step", "batch": batch, "seq_len": seq_len, "optimizer": "adamw"}
    return [Workload.model_validate({"model": model, **how, **option}) for model in rungs for option in _OPTIONS]


def compared_steps(workloads: Iterable[Workload]) -> frozenset[Workload]:
    """Plain steps whose options are asked for; compilation alone, which the ladder has too, does not ask for others."""
    return frozenset(work.plain for work in workloads if work.base and set(work.options) - {"compiled"})


def why_unsupported(workload: Workload) -> str | None:
    """Why no device of this kind runs the workload; None where it may. Older devices say so when they are asked."""
    if workload.attention == "efficient" and workload.device == "cpu":
        return "torch has memory-efficient attention on CUDA alone: measure it there, or choose flash or math"
    if workload.attention == "flash" and workload.device == "cuda" and workload.dtype == "float32":
        return "flash attention on CUDA takes bfloat16 alone: declare it in bfloat16, or choose efficient or math"
    return None
