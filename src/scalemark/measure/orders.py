"""What the campaign asks of a worker, and what only the campaign wants to hear back. No torch here."""

from typing import Literal

from scalemark.schema import Dtype, Facts, Frozen, Purpose, Workload

ROUNDS_AT_LEAST, ROUNDS_AT_MOST = 2, 100
# What a short cell warms up for, at least; a long one for a round.
WARMUP_S = 0.15
# What the losses of options are compared over. Another seed is another start on other text.
LOSS_SEEDS, LOSS_STEPS = 3, 6


class CellOrder(Frozen):
    """Observe this workload; when timing, for `budget_s`, but neither fewer nor more rounds than the limits."""

    workload: Workload
    budget_s: float = 0.0

    @property
    def key(self) -> str:
        """What the worker says when it begins on it."""
        return self.workload.key


class KernelOrder(Frozen):
    """Run this reference kernel. shape: (m, n, k) of a matrix product (m, k) × (k, n); None for the triad."""

    name: Literal["gemm", "triad"]
    dtype: Dtype = "float32"
    shape: tuple[int, int, int] | None = None


class MeasureJob(Frozen):
    """What one worker does, in this order. token_path: uint8 text to draw real batches from.

    affinity: CPUs that it keeps to; None where the system knows no such thing.
    """

    purpose: Purpose
    device: Literal["cpu", "cuda", "auto"]
    threads: int
    affinity: tuple[int, ...] | None = None
    seed: int
    token_path: str
    block_index: int = 0
    orders: tuple[CellOrder | KernelOrder, ...] = ()


class Scouted(Frozen):
    """First look at the machine: enough to say beforehand what fits and how long it takes.

    A float32 training step takes about per_layer_s · n_layer + s_per_flop · model FLOPs + s_per_activation_byte ·
    activation bytes. energy_reason: why energy cannot be measured; None where it can. worker_start_s: from the making
    of a worker's process until its device has run a first kernel. device_count: GPUs that torch sees; 1 for a CPU.
    """

    kind: Literal["scouted"] = "scouted"
    device: Literal["cpu", "cuda"]
    available_bytes: int
    per_layer_s: float
    s_per_flop: float
    s_per_activation_byte: float = 0.0
    energy_reason: str | None
    worker_start_s: float
    device_count: int = 1
    facts: Facts
