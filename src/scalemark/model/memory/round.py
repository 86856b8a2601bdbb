"""One round of a workload as `measure.phases` runs it: what stays, passes forward and backward, the update."""

from collections.abc import Callable

from scalemark.model.ladder import N_BATCHES
from scalemark.model.memory.attention import LayersWithAttention
from scalemark.model.memory.ledger import Tensor
from scalemark.schema import ModelConfig, PredictedMemory, Workload

_INT64_BYTES = 8


class Round(LayersWithAttention):
    """The workload's phase, whole."""

    def __init__(self, workload: Workload, model: ModelConfig) -> None:
        super().__init__(workload, model)
        self._workload = workload
        self._inputs: list[Tensor] = []
        self._last_loss: Tensor | None = None

    def peak(self) -> PredictedMemory:
        """The highest sum, preparation included."""
        learn = (self._forward, self._backward)
        rounds: dict[str, tuple[Callable[[], None], ...]] = {
            "forward": (self._forward,),
            "backward": learn,
            "optimizer": (self._place_gradients, self._update),
            "step": (self._place_gradients, self._drop_gradients, *learn * self._workload.micro_batches, self._update),
            "eval": (self._forward,),
        }
        self._place_what_stays()
        for walk_through in rounds[self._workload.phase]:
            walk_through()
        return self._ledger.peak()

    # What stays

    def _place_what_stays(self) -> None:
        """Windows (inputs and targets), rotary angles (cos and sin), parameters, optimizer state."""
        batch_tokens = self._n * self._workload.micro_batches
        for _ in range(2):
            self._ledger.new(N_BATCHES * batch_tokens * _INT64_BYTES, "data")
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

    def _place_gradients(self) -> None:
        self._gradients = [self._floats(numel, "gradient") for numel in self._parameters()]

    def _drop_gradients(self) -> None:
        self._drop(*self._gradients)
        self._gradients = []

    # The model

    def _forward(self) -> None:
        x = self._embed()
        for _ in range(self._layers):
            x = self._checkpointed_block(x) if self._checkpointed else self._block(x)
        loss = self._loss(self._logits(x))
        self._leave_autocast()
        self._drop(*filter(None, [self._last_loss]))  # the last micro-batch's had its name until now
        self._last_loss = loss

    def _backward(self) -> None:
        self._arrived = 0
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

    # Checkpointing

    def _checkpointed_block(self, x: Tensor) -> Tensor:
        """Forward, nothing is kept but x."""
        self._ledger.keep(x)
        self._inputs.append(x)
        self._records = False
        out = self._block(x)
        self._records = True
        return out

    def _feed_forward_backward(self, g: Tensor) -> Tensor:
        """The first of its block: the block is run again as soon as something that it would have kept is asked for."""
        if self._checkpointed:
            self._run_again(self._inputs.pop())
        return super()._feed_forward_backward(g)

    def _run_again(self, x: Tensor) -> None:
        """Up to the last product, of which only the operands are kept. x: kept anew on the tape."""
        middle = self._residual(x, self._attention)
        normed = self._norm(middle, self._d, rows=self._n)
        hidden, named = self._hidden(normed)
        self._release(self._keep_operands(hidden, self._f * self._d))
        self._drop(hidden, *named, normed, middle, x)
        self._leave_autocast()

    def _leave_autocast(self) -> None:
        """Where nothing is checkpointed, the tape holds the copies of weights for as long."""
        self._drop(*self._casts)
        self._casts = []

    # The update

    def _update(self) -> None:
        """SGD and the fused AdamW update in place; other kernels make square roots of the second moments first."""
        kernels = self._workload.optimizer_kernels
        if kernels == "foreach":
            self._drop(*[self._floats(numel) for numel in self._parameters()])
        if kernels == "for_loop":
            self._update_one_by_one()

    def _update_one_by_one(self) -> None:
        """A root and its quotient at a time; the last parameter's quotient has its name until the next one is there."""
        before: list[Tensor] = []
        for numel in self._parameters():
            root, quotient = self._floats(numel), self._floats(numel)
            self._drop(root, *before)
            before = [quotient]
        self._drop(*before)
