"""The decoder-only transformer that is measured and trained.

    tokens ─> table ─> norm ─> n_layer × [ x + attention(norm(x));  x + feed_forward(norm(x)) ] ─> norm ─> head

RMSNorm (Zhang & Sennrich 2019), rotary positions (Su et al. 2021), normalised queries and keys (Henry et al. 2020),
ReLU² (So et al. 2021) or SwiGLU (Shazeer 2020), no biases, output projections zero at the start so that each block
begins as the identity. The first norm has no gain: it only sets the scale of the residual stream.

Checkpointed (Chen et al. 2016), each block keeps its input alone and is run again in the backward pass.
"""

import torch
import torch.nn.functional as F  # noqa: N812  (the name that readers of torch code expect)
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from scalemark.schema import ModelConfig

ROTARY_BASE = 10_000.0
EMBEDDING_STD = 1.0
# Largest logit of attention. Normalised queries and keys have a norm of √d_head, so that dividing by √d_head as usual
# leaves logits of at most √d_head: 4 for heads of 16, too few to attend to one token among hundreds.
ATTENTION_SHARPNESS = 10.0


class Attention(nn.Module):
    """Causal self-attention over (batch, seq_len, d_model)."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.n_head, self.d_head = config.n_head, config.d_head
        self.qkv = nn.Linear(config.d_model, 3 * config.d_model, bias=False)
        self.out = nn.Linear(config.d_model, config.d_model, bias=False)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        """x and the result: (batch, T, d_model); cos and sin as `rotary_angles` gives them."""
        batch, seq_len, d_model = x.shape
        qkv = self.qkv(x).view(batch, seq_len, 3 * self.n_head, self.d_head)
        # Queries and keys are normalised and rotated as one tensor: half as many operators as one after the other.
        qk, v = qkv.split((2 * self.n_head, self.n_head), dim=2)
        qk = rotate(F.rms_norm(qk, (self.d_head,)), cos, sin)
        q, k = qk.transpose(1, 2).chunk(2, dim=1)
        scale = ATTENTION_SHARPNESS / self.d_head
        y = F.scaled_dot_product_attention(q, k, v.transpose(1, 2), is_causal=True, scale=scale)
        out: Tensor = self.out(y.transpose(1, 2).reshape(batch, seq_len, d_model))
        return out


class FeedForward(nn.Module):
    """ReLU² or SwiGLU over (…, d_model)."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.gated = config.activation == "swiglu"
        self.up = nn.Linear(config.d_model, config.d_ff * (2 if self.gated else 1), bias=False)
        self.down = nn.Linear(config.d_ff, config.d_model, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """x and the result: (…, d_model)."""
        hidden = self.up(x)
        if self.gated:
            gate, value = hidden.chunk(2, dim=-1)
            hidden = F.silu(gate) * value
        else:
            hidden = F.relu(hidden).square()
        down: Tensor = self.down(hidden)
        return down


class Block(nn.Module):
    """Attention, then feed-forward, each on its normalised input and added to the residual stream."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.attention_norm = nn.RMSNorm(config.d_model)
        self.attention = Attention(config)
        self.feed_forward_norm = nn.RMSNorm(config.d_model)
        self.feed_forward = FeedForward(config)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        x = x + self.attention(self.attention_norm(x), cos, sin)
        return x + self.feed_forward(self.feed_forward_norm(x))  # type: ignore[no-any-return]


class Transformer(nn.Module):
    """tokens (batch, T), int64 below vocab_size -> logits (batch, T, vocab_size), for T up to `seq_len`.

    checkpointed: trade the memory of activations for a second forward pass.
    """

    cos: Tensor
    sin: Tensor

    def __init__(self, config: ModelConfig, seq_len: int, checkpointed: bool = False) -> None:
        super().__init__()
        self.config, self.checkpointed = config, checkpointed
        self.table = nn.Embedding(config.vocab_size, config.d_model)
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.n_layer))
        self.norm = nn.RMSNorm(config.d_model)
        self.head = nn.Linear(config.d_model, config.vocab_size, bias=False)
        if config.tied_head:
            self.head.weight = self.table.weight
        cos, sin = rotary_angles(seq_len, config.d_head)
        self.register_buffer("cos", cos, persistent=False)
        self.register_buffer("sin", sin, persistent=False)
        self.initialise()

    def forward(self, tokens: Tensor) -> Tensor:
        """Logits before any softmax, in the dtype of the head."""
        seq_len = tokens.shape[1]
        cos, sin = self.cos[:seq_len], self.sin[:seq_len]
        x = F.rms_norm(self.table(tokens), (self.config.d_model,))
        for block in self.blocks:
            x = self._run(block, x, cos, sin)
        logits: Tensor = self.head(self.norm(x))
        return logits

    def _run(self, block: nn.Module, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        """The block's output. It draws no random numbers, so none have to be kept for the second time."""
        if self.checkpointed and torch.is_grad_enabled():
            return checkpoint(block, x, cos, sin, use_reentrant=False, preserve_rng_state=False)  # type: ignore[no-any-return]
        return block(x, cos, sin)  # type: ignore[no-any-return]

    @torch.no_grad()
    def initialise(self) -> None:
        """Matrices at 1/√fan_in; zeros where a block writes to the residual stream; a head that starts near uniform."""
        for module in self.modules():
            if isinstance(module, nn.Linear):
                module.weight.normal_(std=module.in_features**-0.5)
        for block in self.blocks:
            block.attention.out.weight.zero_()  # type: ignore[union-attr, operator]
            block.feed_forward.down.weight.zero_()  # type: ignore[union-attr, operator]
        if self.config.tied_head:
            self.table.weight.normal_(std=self.config.d_model**-0.5)
        else:
            self.table.weight.normal_(std=EMBEDDING_STD)
            self.head.weight.zero_()


def rotary_angles(seq_len: int, d_head: int) -> tuple[Tensor, Tensor]:
    """cos and signed sin of every position's angles, each (seq_len, 1, d_head), to multiply (…, heads, d_head)."""
    frequencies = ROTARY_BASE ** (-torch.arange(0, d_head, 2, dtype=torch.float32) / d_head)
    angles = torch.outer(torch.arange(seq_len, dtype=torch.float32), frequencies)
    cos = torch.cat((angles.cos(), angles.cos()), dim=-1)
    sin = torch.cat((-angles.sin(), angles.sin()), dim=-1)
    return cos[:, None, :], sin[:, None, :]


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotary positions: each pair (i, i + d_head/2) of x (…, T, heads, d_head) turned by its position's angle."""
    cos, sin = cos.to(x.dtype), sin.to(x.dtype)
    return x * cos + x.roll(x.shape[-1] // 2, dims=-1) * sin


def next_token_loss(logits: Tensor, targets: Tensor) -> Tensor:
    """Mean cross-entropy in nats per token; logits (batch, T, vocab_size), targets (batch, T)."""
    return F.cross_entropy(logits.flatten(0, 1).float(), targets.flatten())
