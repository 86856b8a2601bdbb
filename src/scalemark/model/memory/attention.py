"""Attention as a walk: by one fused operator, or by math, an operator at a time.

Fused, nothing grows with the square of the length. By math, scores and probabilities of all pairs do; heads of several
sequences, which lie token by token, are copied for each product to make one batch of matrices of them.
"""

from scalemark.model.memory.layers import FLOAT32_BYTES, Layers
from scalemark.model.memory.ledger import Tensor


class LayersWithAttention(Layers):
    """Attention with its norm and rotary positions, forward and backward; and the block that it makes whole."""

    def _block(self, x: Tensor) -> Tensor:
        middle = self._residual(x, self._attention)
        out = self._residual(middle, self._feed_forward)
        self._drop(middle, x)
        return out

    def _attention(self, x: Tensor) -> Tensor:
        qkv = self._linear_of_stream(x, self._d, 3 * self._d)
        query_key = self._rotate(self._query_key_norm(qkv))
        attended = self._attended_by_math(qkv) if self._by_math else self._attended(qkv, query_key)
        joined = self._copy_of(attended, self._by_math and self._heads > 1 and self._seq_len > 1)
        out = self._linear(joined, self._d, self._d)
        self._drop(qkv, query_key, attended, joined)
        return out

    def _attended(self, qkv: Tensor, query_key: Tensor) -> Tensor:
        """One operator, whose result lies as the next product takes it."""
        attended, log_sum_exp = self._operand(self._n * self._d), self._floats(self._n * self._heads)
        self._keep(query_key, qkv, attended, log_sum_exp)
        self._drop(log_sum_exp)
        return attended

    def _attended_by_math(self, qkv: Tensor) -> Tensor:
        """An operator at a time, in float32: scores of all pairs, the mask added, softmax, the mean of the values."""
        width, pairs = self._n * self._d, self._n * self._heads * self._seq_len
        wide = [self._floats(width) for _ in "qkv"] if self._mixed else []
        query, mask, key = self._floats(width), self._causal_mask(), self._floats(width)
        operands = [self._copy_of(one, self._heads_apart) for one in (query, key)]
        scores = self._floats(pairs)
        self._keep(*operands)
        self._drop(*operands, key)
        probabilities = self._softmax(scores, pairs)
        narrow = [self._operand(pairs)] if self._mixed else []
        value = self._copy_of(wide[2] if wide else qkv, self._values_apart, width)
        mean = self._floats(width)
        self._keep(probabilities, value)
        self._drop(value)
        attended = self._as_operand(mean, width)
        self._drop(mean, probabilities, query, mask, *narrow, *wide)
        return attended

    @property
    def _heads_apart(self) -> bool:
        """Whether heads of several sequences, which lie token by token, must be copied to make one batch of them."""
        return self._n > self._seq_len > 1 and self._heads > 1

    @property
    def _values_apart(self) -> bool:
        """Values in float32 are still a part of `qkv`, so that they must be copied for a single token too."""
        return self._heads_apart or (not self._mixed and self._n > self._seq_len and self._heads > 1)

    def _copy_of(self, x: Tensor, is_copied: bool, elements: int | None = None) -> Tensor:
        """A copy in the dtype of attention, or one more holder."""
        if is_copied:
            return self._ledger.new(x.bytes if elements is None else elements * FLOAT32_BYTES)
        x.holders += 1
        return x

    def _causal_mask(self) -> Tensor:
        """0 or −∞ for each pair, from a triangle of booleans."""
        pairs = self._seq_len**2
        square = self._ledger.new(pairs)
        triangle = self._ledger.new(pairs)
        self._drop(square)
        zero, infinity = self._floats(1), self._floats(1)
        mask = self._floats(pairs)
        self._drop(triangle, zero, infinity)
        return mask

    def _softmax(self, scores: Tensor, pairs: int) -> Tensor:
        """Takes the scores over. The mask is added in place, but not while `LiveTensors` looks on."""
        if not self._cuda:
            masked = self._floats(pairs)
            self._drop(scores)
            scores = masked
        probabilities = self._floats(pairs)
        self._keep(probabilities)
        self._drop(scores)
        return probabilities

    def _query_key_norm(self, qkv: Tensor) -> Tensor:
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

    def _rotate(self, x: Tensor) -> Tensor:
        """x: n × 2·d. Takes it over, since nothing else names it. Under autocast each layer casts cos and sin anew."""
        width, angles = 2 * self._n * self._d, self._seq_len * self._d_head
        casts = [self._operand(angles), self._operand(angles)] if self._mixed else []
        by_cos, rolled, by_sin = self._operand(width), self._operand(width), self._operand(width)
        self._drop(rolled)
        out = self._operand(width)
        self._keep(*casts)
        self._drop(by_cos, by_sin, x, *casts)
        return out

    def _attention_backward(self, g: Tensor) -> Tensor:
        width = self._n * self._d
        g = self._linear_backward(g, self._d, self._d)
        by_backend = self._attended_by_math_backward if self._by_math else self._attended_backward
        for_query, for_key, for_value = by_backend(g)
        g = self._operand(2 * width)
        self._drop(for_query, for_key)
        g = self._query_key_norm_backward(self._rotate_backward(g))
        joined = self._operand(3 * width)
        self._drop(g, for_value)
        return self._linear_of_stream_backward(joined, self._d, 3 * self._d)

    def _attended_backward(self, g: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        width = self._n * self._d
        for_query, for_key, for_value = self._operand(width), self._operand(width), self._operand(width)
        self._drop(g, *self._tape.pop())
        return for_query, for_key, for_value

    def _attended_by_math_backward(self, g: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        width, pairs = self._n * self._d, self._n * self._heads * self._seq_len
        g = self._widened(g, width)
        apart = self._copy_of(g, self._heads_apart)
        self._drop(g)
        for_value, for_probabilities = self._floats(width), self._floats(pairs)
        self._drop(apart, *self._tape.pop())
        for_scores = self._floats(pairs)
        self._drop(for_probabilities, *self._tape.pop())
        for_key, for_query = self._floats(width), self._floats(width)
        self._drop(for_scores, *self._tape.pop())
        for_key, for_query = self._scaled(for_key, width), self._scaled(for_query, width)
        for_value, for_key, for_query = (self._narrowed(one, width) for one in (for_value, for_key, for_query))
        return for_query, for_key, for_value

    def _scaled(self, g: Tensor, elements: int) -> Tensor:
        out = self._floats(elements)
        self._drop(g)
        return out

    def _rotate_backward(self, g: Tensor) -> Tensor:
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

    def _query_key_norm_backward(self, g: Tensor) -> Tensor:
        width, rows = 2 * self._d, 2 * self._n * self._heads
        if self._cuda:
            return self._fused_norm_backward(g, self._operand(self._n * width), 0)
        g = self._norm_backward(self._widened(g, self._n * width), width, rows, has_gain=False)
        return self._narrowed(g, self._n * width)
