"""Peak memory of one round of a phase, from the workload's shape alone: which cells fit is known before any runs.

A walk over the round with sizes in place of tensors. It makes and drops them where torch does, and the highest sum is
the peak:

    step   drop gradients ─> forward ─────────────────────────> backward ────────────────────> update
                             the tape grows: what autograd      the tape shrinks: activations  square roots, but
                             keeps, bfloat16 copies of weights  go, gradients come             for fused kernels

Live all along: parameters, rotary angles, AdamW's two moments and step counters once it has stepped, and the token
windows. Who holds a tensor is counted as torch counts it: a name in the model's code, and autograd. So the same walk
without a tape is the eval phase, and a checkpointed block's forward pass. Micro-batches are walks one after the other,
and the gradients of each but the first are added to those that are there.

What it agrees with is `measure.memory.LiveTensors` on CPU (torch 2.13), to the byte. Flash attention there keeps its
output and the log-sum-exp of each query, float32 under bfloat16 too, and nothing that grows with seq_len². What no
operator returns is not seen: packed weights, a kernel's scratch space.

CUDA differs, and only what torch's source says is followed; no GPU has confirmed it yet. Blocks are rounded up to 512
bytes; RMSNorm is one operator that keeps its input and one scale per row; gradients are added in place. Left out:
workspaces (cuBLAS alone has 8 MiB, 32 on Hopper), and what flash attention's backward pass holds inside (the float32
gradient of the queries, a sum per query).

`torch.compile` fuses operators, so that many temporary tensors never come to be: for a compiled workload the peak is
an upper bound.
"""

from scalemark.model.memory.round import Round
from scalemark.schema import PredictedMemory, Workload

__all__ = ["predict_memory"]


def predict_memory(workload: Workload) -> PredictedMemory | None:
    """Highest sum of live tensor bytes in one round, preparation included, and the parts that it consists of.

    None for a user's own task, whose operators no formula knows. An upper bound where the workload is compiled.
    """
    if workload.model is None:
        return None
    return Round(workload, workload.model).peak()
