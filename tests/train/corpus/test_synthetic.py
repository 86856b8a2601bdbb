"""The process has the entropy rate that it says, and its symbols are the same each time and everywhere."""

import math
from pathlib import Path

import numpy as np
import pytest
from scipy.special import entr

from scalemark.errors import InputError
from scalemark.train.corpus import open_corpus, open_tokens
from scalemark.train.corpus.synthetic import MarkovChain, default_chain, synthetic_documents, synthetic_source

SEQ_LEN = 128


def small_chain() -> MarkovChain:
    """Three symbols, lists of four, made up."""
    return MarkovChain(np.random.default_rng(5).integers(0, 3, (3, 3, 4)).astype(np.uint8))


def solved_stationary(chain: MarkovChain) -> np.ndarray:
    """π of the pairs as the left eigenvector of their transition matrix for the eigenvalue 1."""
    n = len(chain.successors)
    matrix = np.zeros((n * n, n * n))
    for a in range(n):
        for b in range(n):
            for c in chain.successors[a, b]:
                matrix[a * n + b, b * n + c] += 1 / chain.successors.shape[-1]
    values, vectors = np.linalg.eig(matrix.T)
    stationary = np.real(vectors[:, np.argmin(abs(values - 1))])
    return (stationary / stationary.sum()).reshape(n, n)


def test_the_entropy_rate_is_what_linear_algebra_gives() -> None:
    chain = small_chain()
    stationary = solved_stationary(chain)
    rate = 0.0
    for (a, b), share in np.ndenumerate(stationary):
        counts = [list(chain.successors[a, b]).count(c) for c in range(3)]
        rate -= share * sum(count / 4 * math.log(count / 4) for count in counts if count)
    assert chain.stationary() == pytest.approx(stationary, abs=1e-11)
    assert chain.entropy_rate() == pytest.approx(rate, abs=1e-10)
    assert 0.5 < rate < math.log(3)


def test_a_uniform_process_has_the_logarithm_of_its_alphabet() -> None:
    chain = MarkovChain(np.broadcast_to(np.arange(4, dtype=np.uint8), (4, 4, 4)))
    assert chain.entropy_rate() == pytest.approx(math.log(4), rel=1e-12)


def test_what_is_drawn_is_as_surprising_as_the_entropy_rate_says() -> None:
    chain = default_chain()
    symbols = chain.draw(range(256), 2048).astype(int)
    surprise = -np.log(chain.probabilities()[symbols[:, :-2], symbols[:, 1:-1], symbols[:, 2:]]).mean(axis=1)
    standard_error = surprise.std(ddof=1) / math.sqrt(len(surprise))
    assert standard_error < 0.001
    assert abs(surprise.mean() - chain.entropy_rate()) < 3 * standard_error


def test_documents_begin_as_the_process_goes_on() -> None:
    chain = small_chain()
    first, second = chain.draw(range(4096), 2).T
    shares = np.bincount(first * 3 + second, minlength=9).reshape(3, 3) / 4096
    expected = chain.stationary()
    assert np.all(abs(shares - expected) <= 4 * np.sqrt(expected * (1 - expected) / 4096))


def test_each_further_symbol_of_context_helps() -> None:
    """So there is something to learn one after the other; 0 is the first symbol of a pair, 1 the second."""
    chain = default_chain()
    pairs = chain.stationary()
    of_none = entr(pairs.sum(axis=0)).sum()
    of_one = entr(pairs).sum() - entr(pairs.sum(axis=1)).sum()
    assert of_none - of_one > 0.2
    assert of_one - chain.entropy_rate() > 0.4


def test_the_first_prediction_of_a_window_adds_less_than_a_hundredth() -> None:
    chain = default_chain()
    pairs = chain.stationary()
    of_one = entr(pairs).sum() - entr(pairs.sum(axis=1)).sum()
    assert 0 < (of_one - chain.entropy_rate()) / SEQ_LEN < 0.002 * chain.entropy_rate()


def test_a_document_is_the_same_whichever_are_drawn_with_it() -> None:
    chain = small_chain()
    together = chain.draw(range(5), 100)
    assert chain.draw(range(3, 4), 100)[0].tolist() == together[3].tolist()
    assert len({row.tobytes() for row in together}) == 5


@pytest.mark.parametrize("n_tokens", [128, 12_345, 64 * 65_536 + 1])
def test_there_are_as_many_tokens_as_asked_for_in_at_least_64_documents(n_tokens: int) -> None:
    sizes = [each.size_bytes for each in synthetic_documents(small_chain(), n_tokens)]
    assert sum(sizes) == n_tokens
    assert len(sizes) >= 64 and max(sizes) <= 65_536


def test_its_facts_say_what_is_known_of_it(tmp_path: Path) -> None:
    corpus = open_corpus("synthetic:100k", tmp_path)
    facts = corpus.facts
    assert (facts.vocab_size, facts.tokenizer, facts.bytes_per_token) == (32, "none", None)
    assert facts.entropy_rate == default_chain().entropy_rate()
    assert facts.train_tokens + facts.validation_tokens == 100_000
    assert set(open_tokens(corpus.train_path)) == set(range(32))


def test_its_tokens_are_these_on_every_machine(tmp_path: Path) -> None:
    assert open_corpus("synthetic:20k", tmp_path).identity == "synthetic@dbc8dbcb274b"


@pytest.mark.parametrize("amount", ["many", "-5", "1e6", "16m", "127", "0"])
def test_what_is_no_number_of_tokens_is_refused(amount: str) -> None:
    with pytest.raises(InputError, match="synthetic:16M"):
        synthetic_source(amount)


def test_text_has_a_tokenizer_and_symbols_have_none(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="leave out the tokenizer"):
        open_corpus("synthetic:20k", tmp_path, tokenizer="bpe:300")
