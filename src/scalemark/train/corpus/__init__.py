"""Corpora as token files: what models are trained and validated on.

    spec ─> source ─> documents ─> split ─> tokens ─> <folder>/<name>-<digest>/train.bin, validation.bin, facts.json

    sources.py     what a spec names: kjv.py, files.py (paths, stdlib), synthetic.py, hub.py (hf:)
    documents.py   texts that come in parts; the split: every eighth document is held out
    tokenizer.py   bytes, byte-level BPE, or symbols that are tokens already
    prepared.py    token files on disk, written once and found again
    windows.py     stretches of tokens that predict the next one

No corpus is ever in memory as a whole: it may be larger.
"""

from pathlib import Path

from scalemark.train.corpus.prepared import Corpus, cache_key, find_prepared, prepare
from scalemark.train.corpus.sources import find_source
from scalemark.train.corpus.tokenizer import check_tokenizer
from scalemark.train.corpus.windows import epoch_order, open_tokens, spread_windows, windows

__all__ = ["Corpus", "epoch_order", "open_corpus", "open_tokens", "spread_windows", "windows"]


def open_corpus(spec: str, folder: Path, tokenizer: str = "bytes") -> Corpus:
    """The corpus that `spec` names, its token files in `folder`; they are made the first time.

    spec: 'kjv' (King James text), 'stdlib' (the interpreter's own source), 'synthetic[:TOKENS]' (a process with a known
    entropy rate), 'hf:NAME[:CONFIG][:SPLIT]' (a Hugging Face data set, rows with `text`), or a path: a text file, JSON
    lines or parquet with `text`, or a folder of those. tokenizer: 'bytes', or 'bpe:SIZE', trained on the training
    documents. Raises InputError for what cannot be used, StoreError for what cannot be read or written.
    """
    source = find_source(spec)
    check_tokenizer(tokenizer, source)
    key = cache_key(source, tokenizer)
    return find_prepared(folder, key) or prepare(source, tokenizer, folder, key)
