"""Training steps of our transformer beside those of code that people know, interleaved in one process.

    python tests/acceptance/throughput.py                                  6 layers of width 320, both tables
    python tests/acceptance/throughput.py --threads 1 --layers 2 --width 64 --heads 4 --vocab 256 --seq-len 128

It shows whether the step that is measured and trained here is a fair one: a slow step would make every cost look high.
The goal is at least the throughput of nanoGPT-style code, and 1.15 times that of Hugging Face's Llama.

ours          relu2 (hidden width 4·d), and swiglu (8/3·d), the architecture of Llama with normalised queries and keys
nanoGPT       GPT-2 in the style of nanoGPT, written here from the known architecture and with its training defaults:
              learned positions, LayerNorm and linear layers without bias, GELU, fused qkv, no dropout, tied head
HF Llama      LlamaForCausalLM with the hidden width of our swiglu: the same matrices as ours
HF GPT-2      GPT2LMHeadModel without dropout

All have the same layers, width, heads and vocabulary, the same random tokens, float32, gradients clipped at norm 1 and
AdamW with the same settings: as torch builds it by default in the first table, `fused=True` in the second. A round is
one whole training step of each model, in random order; the first rounds are discarded. A ratio is the median over
rounds of (their step / our step of the same round), with a 90 % interval from a bootstrap of runs of √n rounds. FLOPs
are those that torch counts in one step with plain attention, all pairs; the head counts, though its table may be tied.
"""

import argparse
import random
import sys
import time
from collections.abc import Callable, Sequence
from math import sqrt
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812  (the name that readers of torch code expect)
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from scalemark.model.transformer import Transformer, next_token_loss
from scalemark.process import default_affinity, default_threads, keep_to
from scalemark.schema import Estimate, ModelConfig
from scalemark.stats import percentile_interval

LEARNING_RATE, BETAS, WEIGHT_DECAY = 1e-3, (0.9, 0.95), 0.0
GRADIENT_NORM_LIMIT = 1.0
GOALS = {"nanoGPT": 1.0, "HF Llama": 1.15}
REPLICATES = 2000

Loss = Callable[[Tensor, Tensor], Tensor]


class Shape(NamedTuple):
    """What all models have in common, and the batch."""

    layers: int
    width: int
    heads: int
    vocab: int
    batch: int
    seq_len: int

    def ours(self, activation: str) -> ModelConfig:
        return ModelConfig(
            n_layer=self.layers, d_model=self.width, n_head=self.heads, vocab_size=self.vocab, activation=activation
        )


class Contender(NamedTuple):
    """A model as it is trained. loss: (inputs, targets) -> mean loss; targets are the inputs one place on."""

    name: str
    model: nn.Module
    loss: Loss
    optimizer: torch.optim.Optimizer

    def step(self, inputs: Tensor, targets: Tensor) -> None:
        self.optimizer.zero_grad(set_to_none=True)
        self.loss(inputs, targets).backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), GRADIENT_NORM_LIMIT)
        self.optimizer.step()


# GPT-2 in the style of nanoGPT


class LayerNorm(nn.Module):
    """LayerNorm with a gain and no bias."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        return F.layer_norm(x, self.weight.shape, self.weight)


class GPT2Block(nn.Module):
    """Attention, then a GELU layer of four times the width, each on its normalised input."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.attention_norm, self.feed_forward_norm = LayerNorm(width), LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.out = nn.Linear(width, width, bias=False)
        self.feed_forward = nn.Sequential(
            nn.Linear(width, 4 * width, bias=False), nn.GELU(), nn.Linear(4 * width, width, bias=False)
        )

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attention(self.attention_norm(x))
        return x + self.feed_forward(self.feed_forward_norm(x))

    def attention(self, x: Tensor) -> Tensor:
        batch, seq_len, width = x.shape
        parts = self.qkv(x).split(width, dim=2)
        q, k, v = (part.view(batch, seq_len, self.heads, width // self.heads).transpose(1, 2) for part in parts)
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        return self.out(y.transpose(1, 2).contiguous().view(batch, seq_len, width))


class GPT2(nn.Module):
    """tokens (batch, T) -> logits (batch, T, vocab)."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.table = nn.Embedding(shape.vocab, shape.width)
        self.positions = nn.Embedding(shape.seq_len, shape.width)
        self.blocks = nn.Sequential(*(GPT2Block(shape.width, shape.heads) for _ in range(shape.layers)))
        self.norm = LayerNorm(shape.width)
        self.head = nn.Linear(shape.width, shape.vocab, bias=False)
        self.apply(self._initialise)
        self.head.weight = self.table.weight

    def forward(self, tokens: Tensor) -> Tensor:
        places = torch.arange(tokens.shape[1], device=tokens.device)
        return self.head(self.norm(self.blocks(self.table(tokens) + self.positions(places))))

    @staticmethod
    def _initialise(module: nn.Module) -> None:
        if isinstance(module, nn.Linear | nn.Embedding):
            nn.init.normal_(module.weight, std=0.02)


# The contenders


def contenders(shape: Shape, fused: bool) -> list[Contender]:
    """Ours first: the others are compared with it."""
    built = [our_model(shape, "relu2"), our_model(shape, "swiglu"), nanogpt(shape), hf_llama(shape), hf_gpt2(shape)]
    return [Contender(name, model.train(), loss, adamw(model, fused)) for name, model, loss in built]


def adamw(model: nn.Module, fused: bool) -> torch.optim.Optimizer:
    """fused False: what torch builds by default on CPU, one parameter after the other."""
    settings = {"fused": True} if fused else {}
    return torch.optim.AdamW(
        model.parameters(), lr=LEARNING_RATE, betas=BETAS, weight_decay=WEIGHT_DECAY, **settings
    )  # fmt: skip


def our_model(shape: Shape, activation: str) -> tuple[str, nn.Module, Loss]:
    model = Transformer(shape.ours(activation), shape.seq_len)
    return f"ours, {activation}", model, lambda inputs, targets: next_token_loss(model(inputs), targets)


def nanogpt(shape: Shape) -> tuple[str, nn.Module, Loss]:
    model = GPT2(shape)

    def loss(inputs: Tensor, targets: Tensor) -> Tensor:
        logits = model(inputs)
        return F.cross_entropy(logits.view(-1, logits.size(-1)), targets.view(-1))

    return "nanoGPT", model, loss


def hf_llama(shape: Shape) -> tuple[str, nn.Module, Loss]:
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=shape.vocab,
        hidden_size=shape.width,
        intermediate_size=shape.ours("swiglu").d_ff,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        max_position_embeddings=shape.seq_len,
        use_cache=False,
        attn_implementation="sdpa",
    )
    return _hugging_face("HF Llama", LlamaForCausalLM(config))


def hf_gpt2(shape: Shape) -> tuple[str, nn.Module, Loss]:
    from transformers import GPT2Config, GPT2LMHeadModel

    config = GPT2Config(
        vocab_size=shape.vocab,
        n_embd=shape.width,
        n_layer=shape.layers,
        n_head=shape.heads,
        n_positions=shape.seq_len,
        resid_pdrop=0.0,
        embd_pdrop=0.0,
        attn_pdrop=0.0,
        bos_token_id=0,
        eos_token_id=0,
        use_cache=False,
        attn_implementation="sdpa",
    )
    return _hugging_face("HF GPT-2", GPT2LMHeadModel(config))


def _hugging_face(name: str, model: nn.Module) -> tuple[str, nn.Module, Loss]:
    """The model shifts its labels itself, so the inputs are the labels and the last place has no target."""
    assert model.config._attn_implementation == "sdpa"
    return name, model, lambda inputs, _targets: model(input_ids=inputs, labels=inputs).loss


# Measuring


def measure(models: Sequence[Contender], shape: Shape, rounds: int, warmup: int, seed: int) -> np.ndarray:
    """Seconds of each model's step, shape (rounds, models)."""
    order, generator = random.Random(seed), torch.Generator().manual_seed(seed)
    seconds = np.empty((warmup + rounds, len(models)))
    for row in seconds:
        tokens = torch.randint(shape.vocab, (shape.batch, shape.seq_len + 1), generator=generator)
        inputs, targets = tokens[:, :-1].contiguous(), tokens[:, 1:].contiguous()
        for place in order.sample(range(len(models)), len(models)):
            start = time.perf_counter()
            models[place].step(inputs, targets)
            row[place] = time.perf_counter() - start
    return seconds[warmup:]


def ratio(theirs_s: np.ndarray, ours_s: np.ndarray) -> Estimate:
    """Median over rounds of their time over ours, with a bootstrap interval over runs of √n rounds."""
    ratios = theirs_s / ours_s
    n, length = len(ratios), max(1, int(sqrt(len(ratios))))
    starts = np.random.default_rng(0).integers(n, size=(REPLICATES, -(-n // length)))
    indices = ((starts[:, :, None] + np.arange(length)) % n).reshape(REPLICATES, -1)[:, :n]
    return percentile_interval(np.median(ratios[indices], axis=1), float(np.median(ratios)))


def step_flops(contender: Contender, shape: Shape) -> int:
    """What torch counts in one forward and backward pass; with fused attention it would count none of it."""
    tokens = torch.zeros(shape.batch, shape.seq_len, dtype=torch.int64)
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        contender.loss(tokens, tokens).backward()
    return counter.get_total_flops()


# Telling


def table(models: Sequence[Contender], shape: Shape, seconds: np.ndarray, base: int) -> list[str]:
    """A line for each model; ratios are to the model at `base`."""
    lines = [f"{'model':14} {'parameters':>12} {'GFLOPs/step':>12} {'median ms':>10}   step / {models[base].name}'s"]
    for place, model in enumerate(models):
        parameters = sum(parameter.numel() for parameter in model.model.parameters())
        flops, median_ms = step_flops(model, shape) / 1e9, np.median(seconds[:, place]) * 1e3
        compared = "" if place == base else f"   {_text(ratio(seconds[:, place], seconds[:, base]))}"
        lines.append(f"{model.name:14} {parameters:12,} {flops:12.2f} {median_ms:10.1f}{compared}")
    return lines


def verdicts(models: Sequence[Contender], seconds: np.ndarray, base: int) -> list[str]:
    """Whether each goal is met; where the interval holds it, these rounds do not tell."""
    names = [model.name for model in models]
    found = {name: ratio(seconds[:, names.index(name)], seconds[:, base]) for name in GOALS}
    return [f"{names[base]} against {name}, at least {goal}: {_verdict(found[name], goal)}"
            for name, goal in GOALS.items()]  # fmt: skip


def _verdict(found: Estimate, goal: float) -> str:
    if found.low >= goal:
        return "met"
    return "missed" if found.high < goal else "these rounds do not tell"


def _text(found: Estimate) -> str:
    return f"{found.value:.3f} [{found.low:.3f}, {found.high:.3f}]"


def versions() -> str:
    try:
        import transformers
    except ImportError:
        sys.exit("skipped: transformers is not installed (pip install 'scalemark[hf]')")
    transformers.logging.set_verbosity_error()
    return f"torch {torch.__version__}, transformers {transformers.__version__}"


def main(shape: Shape, rounds: int, warmup: int, seed: int) -> None:
    print(f"{versions()}, {torch.get_num_threads()} thread(s), {rounds} rounds, {shape}")
    for fused in (False, True):
        torch.manual_seed(seed)
        models = contenders(shape, fused)
        seconds = measure(models, shape, rounds, warmup, seed)
        print("", "AdamW, fused=True" if fused else "AdamW as torch builds it by default", sep="\n")
        for base in (0, 1):
            print(*table(models, shape, seconds, base), *verdicts(models, seconds, base), sep="\n", flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--layers", type=int, default=6)
    parser.add_argument("--width", type=int, default=320)
    parser.add_argument("--heads", type=int, default=5)
    parser.add_argument("--vocab", type=int, default=4096)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--seq-len", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--warmup", type=int, default=4)
    parser.add_argument("--threads", type=int, default=default_threads())
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    keep_to(default_affinity())
    torch.set_num_threads(given.threads)
    of = Shape(given.layers, given.width, given.heads, given.vocab, given.batch, given.seq_len)
    main(of, given.rounds, given.warmup, given.seed)
