"""Which matrix products make the ceiling: a few squares, and those of the campaign's own models. No torch here.

The squares say what the machine can do; the models' own products say what it does on shapes that are really run, and
whether the squares left something out: the best of all is the ceiling.
"""

from collections.abc import Iterable, Sequence
from typing import Literal

from scalemark.measure.orders import KernelOrder
from scalemark.model.accounting import account
from scalemark.schema import Dtype, ModelConfig, Workload

Shape = tuple[int, int, int]

# From one that fits a core's cache to one past the last-level cache, or that fills a large GPU.
SQUARES = {"cpu": (512, 1024, 1536, 2048), "cuda": (4096, 8192, 16384)}
N_LARGEST_RUNGS = 2
# The triad is one kernel, so it alone meets two moments of a block; the products are many and meet as many.
N_TRIADS = 2


def kernel_orders(workloads: Iterable[Workload], device: Literal["cpu", "cuda"]) -> list[KernelOrder]:
    """Every reference kernel of one block: the triad, and for each dtype that is measured the whole sweep."""
    workloads = list(workloads)
    dtypes: list[Dtype] = sorted({workload.dtype for workload in workloads} | {"float32"})
    products = [
        KernelOrder(name="gemm", dtype=dtype, shape=shape)
        for dtype in dtypes
        for shape in gemm_shapes(device, [workload for workload in workloads if workload.dtype == dtype])
    ]
    return [KernelOrder(name="triad")] * N_TRIADS + products


def gemm_shapes(device: Literal["cpu", "cuda"], dtype_workloads: Sequence[Workload]) -> tuple[Shape, ...]:
    """The sweep of one dtype as (m, n, k), each once: squares, then the products of the two largest rungs.

    dtype_workloads: those of that dtype. A user's own task has no shape that is known here, so it adds none.
    """
    squares = [(size, size, size) for size in SQUARES[device]]
    own = [shape for model, tokens in _largest_rungs(dtype_workloads) for shape in model_products(model, tokens)]
    return tuple(dict.fromkeys([*squares, *own]))


def model_products(model: ModelConfig, tokens: int) -> tuple[Shape, ...]:
    """(m, n, k) of each linear layer's forward product over a batch of `tokens`: (tokens, in) × (in, out).

    Query, key and value as one; attention output; feed-forward up (gate and value as one for SwiGLU) and down; head.
    """
    d, f = model.d_model, model.d_ff
    up = f if model.activation == "relu2" else 2 * f
    return ((tokens, 3 * d, d), (tokens, d, d), (tokens, up, d), (tokens, d, f), (tokens, model.vocab_size, d))


def _largest_rungs(workloads: Sequence[Workload]) -> list[tuple[ModelConfig, int]]:
    """The rungs of most parameters, each with the most tokens that a batch of it has."""
    most_tokens: dict[ModelConfig, int] = {}
    for workload in workloads:
        if workload.model:
            tokens = (workload.batch or 1) * (workload.seq_len or 1)
            most_tokens[workload.model] = max(tokens, most_tokens.get(workload.model, 0))
    by_size = sorted(most_tokens, key=lambda model: account(model, 1, 1).params_total, reverse=True)
    return [(model, most_tokens[model]) for model in by_size[:N_LARGEST_RUNGS]]
