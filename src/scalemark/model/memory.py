"""Peak memory of one round of a phase, from the workload's shape alone: which cells fit is known before any runs.

A walk over the round with sizes in place of tensors. It makes and drops them where torch does, and the highest sum is
the peak:

    step   drop gradients ─> forward ─────────────────────────> backward ────────────────────> update
                             the tape grows: what autograd      the tape shrinks: activations  AdamW's square
                             keeps, bfloat16 copies of weights  go, gradients come             roots, one by one

Live all along: parameters, rotary angles, AdamW's two moments and step counters once it has stepped, and the token
windows. Who holds a tensor is counted as torch counts it: a name in the model's code, and autograd. So the same walk
without a tape is the eval phase.

What it agrees with is `measure.memory.LiveTensors` on CPU (torch 2.13), to the byte. Flash attention there keeps its
output and the log-sum-exp of each query, float32 under bfloat16 too, and nothing that grows with seq_len². What no
operator returns is not seen: packed weights, a kernel's scratch space.

CUDA differs, and only what torch's source says is followed; no GPU has confirmed it yet. Blocks are rounded up to 512
bytes; RMSNorm is one operator that keeps its input and one scale per row; gradients are added in place; AdamW takes
the square roots of all parameters at once. Left out: workspaces (cuBLAS alone has 8 MiB, 32 on Hopper), and what flash
attention's backward pass holds inside (the float32 gradient of the queries, a sum per query).

`torch.compile` fuses operators, so that many temporary tensors never come to be: for a compiled workload the peak is
an upper bound.
"""

from collections import Counter
from collections.abc import Callable
from typing import Literal

from scalemark.model.ladder import N_BATCHES
from scalemark.schema import ModelConfig, PredictedMemory, Workload

_FLOAT32_BYTES, _BFLOAT16_BYTES, _INT64_BYTES = 4, 2, 8
# CUDA's caching allocator hands out multiples of this (kMinBlockSize in c10/cuda/CUDACachingAllocator.cpp).
_CUDA_GRANULE_BYTES = 512

_Part = Literal["parameter", "gradient", "optimizer_state", "activation", "logits", "temporary", "data"]


def predict_memory(workload: Workload) -> PredictedMemory | None:
    """Highest sum of live tensor bytes in one round, preparation included, and the parts that it consists of.

    None for a user's own task, whose operators no formula knows. An upper bound where the workload is compiled.
    """
    if workload.model is None:
        return None
    return _Walk(workload, workload.model).peak()


class _Tensor:
    """Bytes that live as long as somebody holds them."""

    __slots__ = ("bytes", "holders", "part")

    def __init__(self, bytes: int, part: _Part) -> None:
        self.bytes, self.part, self.holders = bytes, part, 1


class _Ledger:
    """What is live, by part, and what was when its sum was highest."""

    def __init__(self, granule_bytes: int) -> None:
        self._granule_bytes = granule_bytes
        self._live: Counter[_Part] = Counter()
        self._at_peak: Counter[_Part] = Counter()

    def new(self, bytes: int, part: _Part = "temporary") -> _Tensor:
        """A tensor with one holder."""
        tensor = _Tensor(-(-bytes // self._granule_bytes) * self._granule_bytes, part)
        self._live[part] += tensor.bytes
        if self._live.total() > self._at_peak.total():
            self._at_peak = self._live.copy()
        return tensor

    def drop(self, *tensors: _Tensor) -> None:
        """One holder lets go of each; the last one frees it."""
        for tensor in tensors:
            tensor.holders -= 1
            assert tensor.holders >= 0, "a tensor was dropped more often than it was held"
            if tensor.holders == 0:
                self._live[tensor.part] -= tensor.bytes

    def keep(self, *tensors: _Tensor) -> None:
        """Autograd is one more holder of each, which counts as an activation from then on."""
        for tensor in tensors:
            tensor.holders += 1
            if tensor.part == "temporary":
                self._live["temporary"] -= tensor.bytes
                self._live["activation"] += tensor.bytes
                tensor.part = "activation"

    def peak(self) -> PredictedMemory:
        """The parts at the highest sum."""
        parts = {f"{part}_bytes": part_bytes for part, part_bytes in self._at_peak.items()}
        return PredictedMemory(peak_bytes=self._at_peak.total(), **parts)


class _Walk:
    """One round of a workload: forward functions, and for each its mirror image on the way back.

    n = tokens of the batch; d, f and V as in `accounting`. Forward, a tensor that is handed over still belongs to the
    caller, as a name in the model's code does, unless the function says that it takes it over; backward, the function
    that takes a gradient also drops it, as autograd does.
    """

    def __init__(self, workload: Workload, model: ModelConfig) -> None:
        assert workload.batch and workload.seq_len
        self._workload, self._layers = workload, model.n_layer
        self._gated, self._tied = model.activation == "swiglu", model.tied_head
        self._n, self._seq_len = workload.batch * workload.seq_len, workload.seq_len
        self._d, self._f, self._V = model.d_model, model.d_ff, model.vocab_size
        self._heads, self._d_head = model.n_head, model.d_head
        self._cuda, self._mixed = workload.device == "cuda", workload.dtype == "bfloat16"
        self._ledger = _Ledger(_CUDA_GRANULE_BYTES if self._cuda else 1)
        self._drop = self._ledger.drop
        self._tape: list[tuple[_Tensor, ...]] = []
        self._gradients: list[_Tensor] = []

    # The round

    def peak(self) -> PredictedMemory:
        """Walk through the phase as `measure.phases` runs it; SGD and the fused AdamW update in place."""
        rounds: dict[str, tuple[Callable[[], None], ...]] = {
            "forward": (self._forward,),
            "backward": (self._forward, self._backward),
            "optimizer": (self._place_gradients,),
            "step": (self._place_gradients, self._drop_gradients, self._forward, self._backward),
            "eval": (self._forward,),
        }
        self._place_what_stays()
        for walk_through in rounds[self._workload.phase]:
            walk_through()
        return self._ledger.peak()

    def _place_what_stays(self) -> None:
        """Windows (inputs and targets), rotary angles (cos and sin), parameters, optimizer state."""
        for _ in range(2):
            self._ledger.new(N_BATCHES * self._n * _INT64_BYTES, "data")
            self._floats(self._seq_len * self._d_head, "parameter")
        has_state = self._workload.phase in ("step", "optimizer") and self._workload.optimizer == "adamw"
        for numel in self._parameters():
            self._floats(numel, "parameter")
            for elements in (1, numel, numel) if has_state else ():  # a step counter and two moments
                self._floats(elements, "optimizer_state")

    def _parameters(self) -> list[int]:
        """Elements of each parameter, in the order of `Transformer.parameters()`."""
        d, table = self._d, self._V * self._d
        block = [d, 3 * d * d, d * d, d, self._up_width * d, self._f * d]
        return [table, *block * self._layers, d, *([] if self._tied else [table])]

    @property
    def _up_width(self) -> int:
        return 2 * self._f if self._gated else self._f

    def _place_gradients(self) -> None:
        self._gradients = [self._floats(numel, "gradient") for numel in self._parameters()]

    def _drop_gradients(self) -> None:
        self._drop(*self._gradients)
        self._gradients = []

    # Tensors

    def _floats(self, elements: int, part: _Part = "temporary") -> _Tensor:
        return self._ledger.new(elements * _FLOAT32_BYTES, part)

    def _operand(self, elements: int, part: _Part = "temporary") -> _Tensor:
        """In the dtype that matrix products take."""
        return self._ledger.new(elements * (_BFLOAT16_BYTES if self._mixed else _FLOAT32_BYTES), part)

    def _as_operand(self, x: _Tensor, elements: int) -> _Tensor:
        """A float32 tensor cast for a matrix product: a copy under autocast, else itself with one more holder."""
        if self._mixed:
            return self._operand(elements)
        x.holders += 1
        return x

    def _keep(self, *tensors: _Tensor) -> None:
        """Autograd writes the tape that the backward pass reads from its end; in eval there is none."""
        if self._workload.phase != "eval":
            self._ledger.keep(*tensors)
            self._tape.append(tensors)

    # Forward

    def _forward(self) -> None:
        embedded = self._floats(self._n * self._d)
        x = self._norm(embedded, self._d, rows=self._n, has_gain=False)
        self._drop(embedded)
        for _ in range(self._layers):
            x = self._block(x)
        self._loss(self._logits(x))

    def _block(self, x: _Tensor) -> _Tensor:
        middle = self._residual(x, self._attention)
        out = self._residual(middle, self._feed_forward)
        self._drop(middle, x)
        return out

    def _residual(self, x: _Tensor, branch: Callable[[_Tensor], _Tensor]) -> _Tensor:
        normed = self._norm(x, self._d, rows=self._n)
        added = branch(normed)
        self._drop(normed)
        out = self._floats(self._n * self._d)
        self._drop(added)
        return out

    def _norm(self, x: _Tensor, width: int, rows: int, has_gain: bool = True) -> _Tensor:
        """RMSNorm of n × width float32, with one scale per row."""
        if self._cuda:
            return self._fused_norm(x, self._floats(self._n * width), rows)
        squares, means, scale = self._floats(self._n * width), self._floats(rows), self._floats(rows)
        self._drop(squares, means)
        normalised = self._floats(self._n * width)
        self._keep(x, scale)
        if not has_gain:
            self._drop(scale)
            return normalised
        out = self._floats(self._n * width)
        self._keep(normalised)
        self._drop(normalised, scale)
        return out

    def _fused_norm(self, x: _Tensor, out: _Tensor, rows: int) -> _Tensor:
        scale = self._floats(rows)
        self._keep(x, scale)
        self._drop(scale)
        return out

    def _linear(self, x: _Tensor, n_in: int, n_out: int, part: _Part = "temporary") -> _Tensor:
        """x: n × n_in, an operand. Autograd keeps it, and the weight's bfloat16 copy."""
        copies = [self._operand(n_in * n_out)] if self._mixed else []
        out = self._operand(self._n * n_out, part)
        self._keep(x, *copies)
        self._drop(*copies)
        return out

    def _linear_of_stream(self, x: _Tensor, n_in: int, n_out: int, part: _Part = "temporary") -> _Tensor:
        """x: n × n_in, float32."""
        operand = self._as_operand(x, self._n * n_in)
        out = self._linear(operand, n_in, n_out, part)
        self._drop(operand)
        return out

    def _attention(self, x: _Tensor) -> _Tensor:
        width = self._n * self._d
        qkv = self._linear_of_stream(x, self._d, 3 * self._d)
        query_key = self._rotate(self._query_key_norm(qkv))
        attended, log_sum_exp = self._operand(width), self._floats(self._n * self._heads)
        self._keep(query_key, qkv, attended, log_sum_exp)
        self._drop(log_sum_exp)
        out = self._linear(attended, self._d, self._d)
        self._drop(qkv, query_key, attended)
        return out

    def _query_key_norm(self, qkv: _Tensor) -> _Tensor:
        """On CPU in float32, cast back and forth under autocast; one scale per query head and key head."""
        width, rows = 2 * self._d, 2 * self._n * self._heads
        if self._cuda:
            return self._fused_norm(qkv, self._operand(self._n * width), rows)
        if not self._mixed:
            return self._norm(qkv, width, rows, has_gain=False)
        wide = self._floats(self._n * width)
        normalised = self._norm(wide, width, rows, has_gain=False)
        self._drop(wide)
        out = self._operand(self._n * width)
        self._drop(normalised)
        return out

    def _rotate(self, x: _Tensor) -> _Tensor:
        """x: n × 2·d. Takes it over, since nothing else names it. Under autocast each layer casts cos and sin anew."""
        width, angles = 2 * self._n * self._d, self._seq_len * self._d_head
        casts = [self._operand(angles), self._operand(angles)] if self._mixed else []
        by_cos, rolled, by_sin = self._operand(width), self._operand(width), self._operand(width)
        self._drop(rolled)
        out = self._operand(width)
        self._keep(*casts)
        self._drop(by_cos, by_sin, x, *casts)
        return out

    def _feed_forward(self, x: _Tensor) -> _Tensor:
        up = self._linear_of_stream(x, self._d, self._up_width)
        active, hidden = self._operand(self._n * self._f), self._operand(self._n * self._f)
        if self._gated:
            self._keep(up, active)  # gate and value are halves of up, and named until the end
            self._drop(active)
        else:
            self._keep(active, active)  # by the ReLU and by the square
            self._drop(active, up)
        out = self._linear(hidden, self._f, self._d)
        self._drop(hidden, *([up] if self._gated else []))
        return out

    def _logits(self, x: _Tensor) -> _Tensor:
        """Takes x over."""
        normed = self._norm(x, self._d, rows=self._n)
        logits = self._linear_of_stream(normed, self._d, self._V, "logits")
        self._drop(normed, x)
        return logits

    def _loss(self, logits: _Tensor) -> None:
        """Cross-entropy in float32: autograd keeps the logarithms of the softmax. Takes the logits over."""
        copies = [self._floats(self._n * self._V, "logits")] if self._mixed else []
        log_softmax = self._floats(self._n * self._V, "logits")
        _loss, total_weight = self._floats(1), self._floats(1)
        self._keep(log_softmax, total_weight)
        self._drop(log_softmax, total_weight, logits, *copies)

    # Backward

    def _backward(self) -> None:
        seed = self._floats(1)
        g = self._linear_of_stream_backward(self._loss_backward(), self._d, self._V)
        g = self._norm_backward(g, self._d, rows=self._n)
        for _ in range(self._layers):
            g = self._residual_backward(g, self._feed_forward_backward)
            g = self._residual_backward(g, self._attention_backward)
        g = self._norm_backward(g, self._d, rows=self._n, has_gain=False)
        self._embedding_backward(g)
        self._drop(seed)
        assert not self._tape, "every forward function has its mirror image"

    def _loss_backward(self) -> _Tensor:
        log_softmax, total_weight = self._tape.pop()
        picked = self._floats(self._n * self._V, "logits")
        self._drop(total_weight)
        g = self._floats(self._n * self._V, "logits")
        self._drop(picked, log_softmax)
        return self._narrowed(g, self._n * self._V, "logits")

    def _narrowed(self, g: _Tensor, elements: int, part: _Part = "temporary") -> _Tensor:
        """The gradient of a cast to float32."""
        if not self._mixed:
            return g
        narrow = self._operand(elements, part)
        self._drop(g)
        return narrow

    def _widened(self, g: _Tensor, elements: int) -> _Tensor:
        """The gradient of a cast to bfloat16."""
        if not self._mixed:
            return g
        wide = self._floats(elements)
        self._drop(g)
        return wide

    def _linear_backward(self, g: _Tensor, n_in: int, n_out: int) -> _Tensor:
        dx, weight_gradient = self._products_backward(g, n_in, n_out)
        self._accumulate(weight_gradient, n_in * n_out)
        return dx

    def _linear_of_stream_backward(self, g: _Tensor, n_in: int, n_out: int) -> _Tensor:
        dx, weight_gradient = self._products_backward(g, n_in, n_out)
        dx = self._widened(dx, self._n * n_in)
        self._accumulate(weight_gradient, n_in * n_out)
        return dx

    def _products_backward(self, g: _Tensor, n_in: int, n_out: int) -> tuple[_Tensor, _Tensor]:
        """Gradients of the input and of the weight."""
        kept = self._tape.pop()
        weight_gradient = self._operand(n_in * n_out, "temporary" if self._mixed else "gradient")
        dx = self._operand(self._n * n_in)
        self._drop(g, *kept)
        return dx, weight_gradient

    def _accumulate(self, weight_gradient: _Tensor, elements: int) -> None:
        """The parameter's gradient is float32; without autocast it is the product's result itself."""
        if self._mixed:
            self._gradients.append(self._floats(elements, "gradient"))
            self._drop(weight_gradient)
        else:
            self._gradients.append(weight_gradient)

    def _residual_backward(self, g: _Tensor, branch_backward: Callable[[_Tensor], _Tensor]) -> _Tensor:
        dx = branch_backward(self._as_operand(g, self._n * self._d))
        return self._norm_backward(dx, self._d, rows=self._n, past_branch=g)

    def _norm_backward(
        self, g: _Tensor, width: int, rows: int, has_gain: bool = True, past_branch: _Tensor | None = None
    ) -> _Tensor:
        """past_branch: the gradient that went past the branch, to which this one is added."""
        if self._cuda:
            dx = self._fused_norm_backward(g, self._floats(self._n * width), width if has_gain else 0)
            return self._sum(past_branch, dx, self._n * width)
        if has_gain:
            g = self._gain_backward(g, width)
        return self._scaling_backward(g, self._n * width, rows, past_branch)

    def _scaling_backward(self, g: _Tensor, elements: int, rows: int, past_branch: _Tensor | None) -> _Tensor:
        """x enters twice: as what is scaled, and through the scale, (mean of x²) ** -1/2."""
        x, scale = self._tape.pop()
        for_scale, through = self._floats(elements), self._floats(elements)
        scale_gradient = self._floats(rows)
        self._drop(for_scale, g)
        through = self._sum(past_branch, through, elements)
        mean_gradient = self._power_backward(scale_gradient, scale, rows)
        squares_gradient = self._floats(elements)
        self._drop(mean_gradient)
        through_scale = self._power_backward(squares_gradient, x, elements)
        dx = self._floats(elements)
        self._drop(through, through_scale)
        return dx

    def _gain_backward(self, g: _Tensor, width: int) -> _Tensor:
        (normalised,) = self._tape.pop()
        for_gain, through = self._floats(self._n * width), self._floats(self._n * width)
        self._gradients.append(self._floats(width, "gradient"))
        self._drop(for_gain, g, normalised)
        return through

    def _power_backward(self, g: _Tensor, base: _Tensor, elements: int, narrow: bool = False) -> _Tensor:
        """g · p · base^(p-1), a tensor for each factor."""
        new = self._operand if narrow else self._floats
        power, scaled, product = new(elements), new(elements), new(elements)
        self._drop(power, scaled, g, base)
        return product

    def _fused_norm_backward(self, g: _Tensor, dx: _Tensor, gain_width: int) -> _Tensor:
        if gain_width:
            self._gradients.append(self._floats(gain_width, "gradient"))
        self._drop(g, *self._tape.pop())
        return dx

    def _sum(self, first: _Tensor | None, second: _Tensor, elements: int, part: _Part = "temporary") -> _Tensor:
        """Of gradients from two uses. Autograd adds in place, but not while `LiveTensors` looks on."""
        if first is None:
            return second
        if self._cuda:
            self._drop(second)
            return first
        total = self._floats(elements, part)
        self._drop(first, second)
        return total

    def _attention_backward(self, g: _Tensor) -> _Tensor:
        width = self._n * self._d
        g = self._linear_backward(g, self._d, self._d)
        for_query, for_key, for_value = self._operand(width), self._operand(width), self._operand(width)
        self._drop(g, *self._tape.pop())
        g = self._operand(2 * width)
        self._drop(for_query, for_key)
        g = self._query_key_norm_backward(self._rotate_backward(g))
        joined = self._operand(3 * width)
        self._drop(g, for_value)
        return self._linear_of_stream_backward(joined, self._d, 3 * self._d)

    def _rotate_backward(self, g: _Tensor) -> _Tensor:
        width, angles = 2 * self._n * self._d, self._tape.pop()
        by_sin = self._operand(width)
        self._drop(*angles[1:])
        rolled = self._operand(width)
        self._drop(by_sin)
        by_cos = self._operand(width)
        self._drop(g, *angles[:1])
        total = self._operand(width)
        self._drop(rolled, by_cos)
        return total

    def _query_key_norm_backward(self, g: _Tensor) -> _Tensor:
        width, rows = 2 * self._d, 2 * self._n * self._heads
        if self._cuda:
            return self._fused_norm_backward(g, self._operand(self._n * width), 0)
        g = self._norm_backward(self._widened(g, self._n * width), width, rows, has_gain=False)
        return self._narrowed(g, self._n * width)

    def _feed_forward_backward(self, g: _Tensor) -> _Tensor:
        g = self._linear_backward(g, self._f, self._d)
        g = self._gate_backward(g) if self._gated else self._squared_relu_backward(g)
        return self._linear_of_stream_backward(g, self._d, self._up_width)

    def _squared_relu_backward(self, g: _Tensor) -> _Tensor:
        active, same = self._tape.pop()
        g = self._power_backward(g, active, self._n * self._f, narrow=True)
        dx = self._operand(self._n * self._f)
        self._drop(g, same)
        return dx

    def _gate_backward(self, g: _Tensor) -> _Tensor:
        up, active = self._tape.pop()
        width = self._n * self._f
        for_value, for_active = self._operand(width), self._operand(width)
        self._drop(g, active)
        for_gate = self._operand(width)
        self._drop(for_active, up)
        joined = self._operand(2 * width)
        self._drop(for_gate, for_value)
        return joined

    def _embedding_backward(self, g: _Tensor) -> None:
        table = self._floats(self._V * self._d, "gradient")
        self._drop(g)
        if self._tied:  # the head's was the first gradient of all
            table = self._sum(self._gradients[0], table, self._V * self._d, "gradient")
        self._gradients.append(table)
