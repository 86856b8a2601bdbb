"""Token files, and windows of them: stretches of tokens in which each predicts the next."""

from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor


def open_tokens(path: Path, dtype: Literal["uint8", "uint16", "uint32"] = "uint8") -> np.ndarray:
    """The token file, memory-mapped, one entry per token."""
    tokens: np.ndarray = np.memmap(path, dtype=dtype, mode="r")
    return tokens


def windows(tokens: np.ndarray, starts: np.ndarray, seq_len: int) -> tuple[Tensor, Tensor]:
    """(inputs, targets), each int64 (len(starts), seq_len); targets are the inputs' next tokens."""
    rows = torch.from_numpy(tokens[starts[:, None] + np.arange(seq_len + 1)].astype(np.int64))
    return rows[:, :-1].contiguous(), rows[:, 1:].contiguous()


def epoch_order(n_tokens: int, seq_len: int, seed: int | list[int]) -> np.ndarray:
    """Starts of all disjoint windows of a text, shuffled: one epoch that shows each token once."""
    starts = np.arange(0, n_tokens - seq_len, seq_len)
    np.random.default_rng(seed).shuffle(starts)
    return starts


def spread_windows(tokens: np.ndarray, count: int, seq_len: int) -> tuple[Tensor, Tensor]:
    """Up to `count` disjoint windows spread evenly over a text: the same validation windows for every run."""
    starts = np.arange(0, len(tokens) - seq_len, seq_len)
    chosen = np.linspace(0, len(starts) - 1, min(count, len(starts))).round().astype(np.int64)
    return windows(tokens, starts[chosen], seq_len)
