"""A process with an exactly known entropy rate: what a fitted irreducible loss can be held against.

A Markov chain of order 2 over a small alphabet. After a and b comes one of a fixed list of successors, each place of
the list with the same chance. Some places depend on b alone, some on a alone, the rest on both; what stands in them
follows Zipf's law. So there is always something left to learn that is a little rarer: a small model, or a short run,
learns what is frequent, and its loss falls about as a power law towards the entropy rate
h = Σ π(a, b) H(· | a, b), in nats per token.

Two things keep the best possible loss above h. The first prediction of a window has one symbol of context: in windows
of 128 tokens that is (H(x₁ | x₀) − h) / 128, 0.2 % of h. And every document begins anew, with two symbols that nothing
foretells, together 1.2 nats above 2 h: no matter for 65,536 tokens, but a corpus below 4 M tokens has shorter ones.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from math import ceil

import numpy as np
from scipy.special import entr

from scalemark.errors import InputError
from scalemark.train.corpus.documents import Document, Source, document

DEFAULT_TOKENS = 16_000_000
# With these, models of two layers and width 32 came to 0.31 nats above h after 0.26 M tokens and to 0.10 after 4.2 M,
# about as D^-0.4. Without the places of a alone, all widths stood still where only b is known.
ALPHABET, PLACES, PLACES_OF_LAST, PLACES_OF_FIRST, SEED = 32, 16, 6, 6, 0
DOCUMENT_TOKENS, FEWEST_DOCUMENTS = 65_536, 64
# Drawn side by side: enough that numpy's cost per call is small, few enough for some tens of megabytes.
CHAINS = 256
CONVERGED = 1e-12

_MULTIPLES = {"": 1, "k": 10**3, "M": 10**6, "G": 10**9, "B": 10**9}


def synthetic_source(amount: str = "") -> Source:
    """So many tokens in all, 16 M if not told; raises InputError where `amount` is no such number."""
    n_tokens = _count(amount) if amount else DEFAULT_TOKENS
    return Source(
        "synthetic",
        stamp=str(n_tokens),
        documents=lambda: synthetic_documents(default_chain(), n_tokens),
        symbols=ALPHABET,
        entropy_rate=lambda: default_chain().entropy_rate(),
    )


def _count(amount: str) -> int:
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([kMGB]?)", amount)
    count = round(float(match[1]) * _MULTIPLES[match[2]]) if match else 0
    if count < 2 * FEWEST_DOCUMENTS:
        raise InputError(f"cannot use {amount!r} as a number of tokens: write it like synthetic:16M")
    return count


@dataclass(frozen=True, eq=False)
class MarkovChain:
    """After a and b, each place of `successors[a, b]` has the same chance; uint8, (alphabet, alphabet, places).

    places: a power of two up to 256, as random bytes are cut down to it.
    """

    successors: np.ndarray

    def probabilities(self) -> np.ndarray:
        """P(c | a, b), (alphabet, alphabet, alphabet)."""
        alphabet, _, places = self.successors.shape
        contexts = np.arange(alphabet**2).reshape(alphabet, alphabet, 1)
        counts = np.bincount((contexts * alphabet + self.successors).ravel(), minlength=alphabet**3)
        shares: np.ndarray = counts.reshape(alphabet, alphabet, alphabet) / places
        return shares

    def stationary(self) -> np.ndarray:
        """How often b follows a, π(a, b), by power iteration."""
        follows = self.probabilities()
        pairs = np.full(follows.shape[:2], 1 / follows[0].size)
        change = np.inf
        while change > CONVERGED:
            moved = np.einsum("ab,abc->bc", pairs, follows)
            change, pairs = np.abs(moved - pairs).sum(), moved
        return pairs

    def entropy_rate(self) -> float:
        """Nats per symbol that no model can go below."""
        return float((self.stationary() * entr(self.probabilities()).sum(-1)).sum())

    def draw(self, indices: range, length: int) -> np.ndarray:
        """Stretches of the process, uint8 (len(indices), length), each as its index seeds it; length is at least 2."""
        alphabet, _, places = self.successors.shape
        starts, draws = _random(indices, length)
        draws &= places - 1
        pairs = np.searchsorted(np.cumsum(self.stationary()), starts).clip(max=alphabet**2 - 1)
        symbols = np.empty((length, len(indices)), dtype=np.uint8)
        symbols[:2] = np.divmod(pairs, alphabet)
        follows, next_list, this_list = self.successors.ravel(), self._next_lists(), pairs * places
        for step in range(2, length):
            place = this_list + draws[step]
            symbols[step] = follows[place]
            this_list = next_list[place]
        return np.ascontiguousarray(symbols.T)

    def _next_lists(self) -> np.ndarray:
        """For every place, lists end to end: where the list begins that is drawn from after it."""
        alphabet, _, places = self.successors.shape
        last = np.arange(alphabet).reshape(1, alphabet, 1)
        starts: np.ndarray = (last * alphabet + self.successors).ravel() * places
        return starts


def _random(indices: range, length: int) -> tuple[np.ndarray, np.ndarray]:
    """For every index a number from 0 to 1 and, in a column, `length` bytes, the same with any version of numpy."""
    words = np.stack([np.random.PCG64([SEED, index]).random_raw(1 + ceil(length / 8)) for index in indices])
    octets = words[:, 1:].astype("<u8", copy=False).view(np.uint8)[:, :length]
    return _uniform(words[:, 0]), np.ascontiguousarray(octets.T)


def _uniform(words: np.ndarray) -> np.ndarray:
    """Numbers from 0 to 1, of the upper 53 bits of each."""
    return (words >> np.uint64(11)) * 2.0**-53


@cache
def default_chain() -> MarkovChain:
    """The process of `synthetic`."""
    zipf = np.cumsum(1 / np.arange(1, ALPHABET + 1))
    words = np.random.PCG64(SEED).random_raw(ALPHABET * ALPHABET * PLACES)
    symbols = np.searchsorted(zipf / zipf[-1], _uniform(words), side="right").astype(np.uint8)
    of_last, of_first, of_both = np.split(
        symbols.reshape(ALPHABET, ALPHABET, PLACES), [PLACES_OF_LAST, PLACES_OF_LAST + PLACES_OF_FIRST], axis=-1
    )
    parts = of_last[:1], of_first[:, :1], of_both
    return MarkovChain(
        np.concatenate([np.broadcast_to(part, (ALPHABET, ALPHABET, part.shape[-1])) for part in parts], -1)
    )


def synthetic_documents(chain: MarkovChain, n_tokens: int) -> Iterator[Document]:
    """Stretches of the process, independent of one another. Beyond 4.2 M tokens, a corpus begins with any shorter."""
    length = min(DOCUMENT_TOKENS, n_tokens // FEWEST_DOCUMENTS)
    count = ceil(n_tokens / length)
    for first in range(0, count, CHAINS):
        indices = range(first, min(first + CHAINS, count))
        for index, symbols in zip(indices, chain.draw(indices, length), strict=True):
            yield document(f"document {index}", symbols[: n_tokens - index * length].tobytes())
