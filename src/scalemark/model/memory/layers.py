"""The model's layers as a walk with sizes in place of tensors: forward functions, and for each its mirror image.

n = tokens that go forward together; d, f and V as in `accounting`. Forward, a tensor that is handed over still belongs
to the caller, as a name in the model's code does, unless the function says that it takes it over; backward, the
function that takes a gradient also drops it, as autograd does.
"""

from collections.abc import Callable

from scalemark.model.memory.ledger import Ledger, Part, Tensor
from scalemark.schema import ModelConfig, Workload

FLOAT32_BYTES, BFLOAT16_BYTES = 4, 2
# CUDA's caching allocator hands out multiples of this (kMinBlockSize in c10/cuda/CUDACachingAllocator.cpp).
_CUDA_GRANULE_BYTES = 512


class Layers:
    """Layers of one workload's model, and the ledger that they write to.

    records: whether there is a tape: not in eval, nor in the forward pass of a checkpointed block. casts: bfloat16
    copies of weights that autocast holds until its context is left, where no tape does.
    """

    def __init__(self, workload: Workload, model: ModelConfig) -> None:
        assert workload.batch and workload.seq_len
        self._layers, self._checkpointed = model.n_layer, workload.checkpointed and workload.phase != "eval"
        self._gated, self._tied = model.activation == "swiglu", model.tied_head
        self._seq_len = workload.seq_len
        self._n = workload.batch // workload.micro_batches * workload.seq_len
        self._d, self._f, self._V = model.d_model, model.d_ff, model.vocab_size
        self._heads, self._d_head = model.n_head, model.d_head
        self._cuda, self._mixed = workload.device == "cuda", workload.dtype == "bfloat16"
        self._by_math = workload.attention == "math"
        self._ledger = Ledger(_CUDA_GRANULE_BYTES if self._cuda else 1)
        self._drop = self._ledger.drop
        self._records = workload.phase != "eval"
        self._tape: list[tuple[Tensor, ...]] = []
        self._casts: list[Tensor] = []
        self._gradients: list[Tensor] = []
        self._head_gradient: Tensor | None = None
        self._arrived = 0

    @property
    def _up_width(self) -> int:
        return 2 * self._f if self._gated else self._f

    # Tensors

    def _floats(self, elements: int, part: Part = "temporary") -> Tensor:
        return self._ledger.new(elements * FLOAT32_BYTES, part)

    def _operand(self, elements: int, part: Part = "temporary") -> Tensor:
        """In the dtype that matrix products take."""
        return self._ledger.new(elements * (BFLOAT16_BYTES if self._mixed else FLOAT32_BYTES), part)

    def _as_operand(self, x: Tensor, elements: int) -> Tensor:
        """A float32 tensor cast for a matrix product: a copy under autocast, else itself with one more holder."""
        if self._mixed:
            return self._operand(elements)
        x.holders += 1
        return x

    def _keep(self, *tensors: Tensor) -> None:
        """Autograd writes the tape that the backward pass reads from its end; in eval there is none."""
        if self._records:
            self._ledger.keep(*tensors)
            self._tape.append(tensors)

    # Forward

    def _embed(self) -> Tensor:
        """The residual stream: normalised embeddings."""
        embedded = self._floats(self._n * self._d)
        x = self._norm(embedded, self._d, rows=self._n, has_gain=False)
        self._drop(embedded)
        return x

    def _residual(self, x: Tensor, branch: Callable[[Tensor], Tensor]) -> Tensor:
        normed = self._norm(x, self._d, rows=self._n)
        added = branch(normed)
        self._drop(normed)
        out = self._floats(self._n * self._d)
        self._drop(added)
        return out

    def _norm(self, x: Tensor, width: int, rows: int, has_gain: bool = True) -> Tensor:
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

    def _fused_norm(self, x: Tensor, out: Tensor, rows: int) -> Tensor:
        scale = self._floats(rows)
        self._keep(x, scale)
        self._drop(scale)
        return out

    def _linear(self, x: Tensor, n_in: int, n_out: int, part: Part = "temporary") -> Tensor:
        """x: n × n_in, an operand. Autograd keeps it, and the weight's bfloat16 copy."""
        copies = self._keep_operands(x, n_in * n_out)
        out = self._operand(self._n * n_out, part)
        self._release(copies)
        return out

    def _keep_operands(self, x: Tensor, weights: int) -> list[Tensor]:
        """What a product keeps for its backward pass before it has a result; the weight's bfloat16 copy is named."""
        copies = [self._operand(weights)] if self._mixed else []
        self._keep(x, *copies)
        return copies

    def _release(self, copies: list[Tensor]) -> None:
        """Autocast keeps a weight's copy as long as its context lasts, in case that it is used again."""
        if self._checkpointed:
            self._casts += copies
        else:
            self._drop(*copies)

    def _linear_of_stream(self, x: Tensor, n_in: int, n_out: int, part: Part = "temporary") -> Tensor:
        """x: n × n_in, float32."""
        operand = self._as_operand(x, self._n * n_in)
        out = self._linear(operand, n_in, n_out, part)
        self._drop(operand)
        return out

    def _feed_forward(self, x: Tensor) -> Tensor:
        hidden, named = self._hidden(x)
        out = self._linear(hidden, self._f, self._d)
        self._drop(hidden, *named)
        return out

    def _hidden(self, x: Tensor) -> tuple[Tensor, list[Tensor]]:
        """The hidden layer, and what else the code still names until the end."""
        up = self._linear_of_stream(x, self._d, self._up_width)
        active, hidden = self._operand(self._n * self._f), self._operand(self._n * self._f)
        if self._gated:
            self._keep(up, active)  # gate and value are halves of up, and named until the end
            self._drop(active)
        else:
            self._keep(active, active)  # by the ReLU and by the square
            self._drop(active, up)
        return hidden, [up] if self._gated else []

    def _logits(self, x: Tensor) -> Tensor:
        """Takes x over."""
        normed = self._norm(x, self._d, rows=self._n)
        logits = self._linear_of_stream(normed, self._d, self._V, "logits")
        self._drop(normed, x)
        return logits

    def _loss(self, logits: Tensor) -> Tensor:
        """Cross-entropy in float32: autograd keeps the logarithms of the softmax. Takes the logits over."""
        copies = [self._floats(self._n * self._V, "logits")] if self._mixed else []
        log_softmax = self._floats(self._n * self._V, "logits")
        loss, total_weight = self._floats(1), self._floats(1)
        self._keep(log_softmax, total_weight)
        self._drop(log_softmax, total_weight, logits, *copies)
        return loss

    # Backward

    def _loss_backward(self) -> Tensor:
        log_softmax, total_weight = self._tape.pop()
        picked = self._floats(self._n * self._V, "logits")
        self._drop(total_weight)
        g = self._floats(self._n * self._V, "logits")
        self._drop(picked, log_softmax)
        return self._narrowed(g, self._n * self._V, "logits")

    def _narrowed(self, g: Tensor, elements: int, part: Part = "temporary") -> Tensor:
        """The gradient of a cast to float32."""
        if not self._mixed:
            return g
        narrow = self._operand(elements, part)
        self._drop(g)
        return narrow

    def _widened(self, g: Tensor, elements: int) -> Tensor:
        """The gradient of a cast to bfloat16."""
        if not self._mixed:
            return g
        wide = self._floats(elements)
        self._drop(g)
        return wide

    def _linear_backward(self, g: Tensor, n_in: int, n_out: int) -> Tensor:
        dx, weight_gradient = self._products_backward(g, n_in, n_out)
        self._accumulate(weight_gradient, n_in * n_out)
        return dx

    def _linear_of_stream_backward(self, g: Tensor, n_in: int, n_out: int) -> Tensor:
        dx, weight_gradient = self._products_backward(g, n_in, n_out)
        dx = self._widened(dx, self._n * n_in)
        self._accumulate(weight_gradient, n_in * n_out)
        return dx

    def _products_backward(self, g: Tensor, n_in: int, n_out: int) -> tuple[Tensor, Tensor]:
        """Gradients of the input and of the weight."""
        kept = self._tape.pop()
        weight_gradient = self._operand(n_in * n_out, "temporary" if self._mixed else "gradient")
        dx = self._operand(self._n * n_in)
        self._drop(g, *kept)
        return dx, weight_gradient

    def _accumulate(self, weight_gradient: Tensor, elements: int) -> None:
        """The parameter's gradient is float32; without autocast it is the product's result itself."""
        if self._mixed:
            wide = self._floats(elements, "gradient")
            self._drop(weight_gradient)
            weight_gradient = wide
        self._arrive(weight_gradient)

    def _arrive(self, gradient: Tensor) -> None:
        """The parameter's gradient, or what is added in place to the one that an earlier micro-batch left.

        The first to arrive is the head's; tied to the table, it waits for the table's.
        """
        if self._tied and self._arrived == 0 and self._head_gradient is None:
            self._head_gradient = gradient
            return
        if self._arrived < len(self._gradients):
            self._drop(gradient)
        else:
            self._gradients.append(gradient)
        self._arrived += 1

    def _residual_backward(self, g: Tensor, branch_backward: Callable[[Tensor], Tensor]) -> Tensor:
        dx = branch_backward(self._as_operand(g, self._n * self._d))
        return self._norm_backward(dx, self._d, rows=self._n, past_branch=g)

    def _norm_backward(
        self, g: Tensor, width: int, rows: int, has_gain: bool = True, past_branch: Tensor | None = None
    ) -> Tensor:
        """past_branch: the gradient that went past the branch, to which this one is added."""
        if self._cuda:
            dx = self._fused_norm_backward(g, self._floats(self._n * width), width if has_gain else 0)
            return self._sum(past_branch, dx, self._n * width)
        if has_gain:
            g = self._gain_backward(g, width)
        return self._scaling_backward(g, self._n * width, rows, past_branch)

    def _scaling_backward(self, g: Tensor, elements: int, rows: int, past_branch: Tensor | None) -> Tensor:
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

    def _gain_backward(self, g: Tensor, width: int) -> Tensor:
        (normalised,) = self._tape.pop()
        for_gain, through = self._floats(self._n * width), self._floats(self._n * width)
        self._arrive(self._floats(width, "gradient"))
        self._drop(for_gain, g, normalised)
        return through

    def _power_backward(self, g: Tensor, base: Tensor, elements: int, narrow: bool = False) -> Tensor:
        """g · p · base^(p-1), a tensor for each factor."""
        new = self._operand if narrow else self._floats
        power, scaled, product = new(elements), new(elements), new(elements)
        self._drop(power, scaled, g, base)
        return product

    def _fused_norm_backward(self, g: Tensor, dx: Tensor, gain_width: int) -> Tensor:
        if gain_width:
            self._arrive(self._floats(gain_width, "gradient"))
        self._drop(g, *self._tape.pop())
        return dx

    def _sum(self, first: Tensor | None, second: Tensor, elements: int, part: Part = "temporary") -> Tensor:
        """Of gradients from two uses. Autograd adds in place, but not while `LiveTensors` looks on."""
        if first is None:
            return second
        if self._cuda:
            self._drop(second)
            return first
        total = self._floats(elements, part)
        self._drop(first, second)
        return total

    def _feed_forward_backward(self, g: Tensor) -> Tensor:
        g = self._linear_backward(g, self._f, self._d)
        g = self._gate_backward(g) if self._gated else self._squared_relu_backward(g)
        return self._linear_of_stream_backward(g, self._d, self._up_width)

    def _squared_relu_backward(self, g: Tensor) -> Tensor:
        active, same = self._tape.pop()
        g = self._power_backward(g, active, self._n * self._f, narrow=True)
        dx = self._operand(self._n * self._f)
        self._drop(g, same)
        return dx

    def _gate_backward(self, g: Tensor) -> Tensor:
        up, active = self._tape.pop()
        width = self._n * self._f
        for_value, for_active = self._operand(width), self._operand(width)
        self._drop(g, active)
        for_gate = self._operand(width)
        self._drop(for_active, up)
        joined = self._operand(2 * width)
        self._drop(for_gate, for_value)
        return joined

    def _embedding_backward(self, g: Tensor) -> None:
        table = self._floats(self._V * self._d, "gradient")
        self._drop(g)
        table = self._sum(self._head_gradient, table, self._V * self._d, "gradient")
        self._arrive(table)
        self._head_gradient = None
