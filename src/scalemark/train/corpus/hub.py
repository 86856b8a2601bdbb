"""A Hugging Face data set, streamed: every row is a document, its `text`.

Its stamp is its name alone: that the data set was changed meanwhile is not noticed here.
"""

from collections.abc import Iterator
from functools import partial
from typing import Any

from scalemark.errors import InputError, ScalemarkError, StoreError
from scalemark.train.corpus.documents import Document, Source, document
from scalemark.train.corpus.files import text_of, tidy_name
from scalemark.train.extras import needed

DEFAULT_SPLIT = "train"


def hub_source(named: str) -> Source:
    """NAME[:CONFIG][:SPLIT]; an empty CONFIG stands for the data set's default. Raises InputError for another form."""
    name, *rest = named.split(":")
    if not name or len(rest) > 2:
        raise InputError(f"cannot read {named!r} as a data set: write hf:NAME, hf:NAME:CONFIG or hf:NAME:CONFIG:SPLIT")
    config, split = (*rest, "", "")[:2]
    split = split or DEFAULT_SPLIT
    return Source(
        f"hf-{tidy_name(name.rpartition('/')[2])}", f"{name}:{config}:{split}", partial(_documents, name, config, split)
    )


def _documents(name: str, config: str, split: str) -> Iterator[Document]:
    datasets = needed("datasets", "hf")
    for number, row in enumerate(_rows(datasets, name, config, split), start=1):
        origin = f"row {number} of {name}"
        text = text_of(row.get("text"), origin)
        if text:
            yield document(origin, text)


def _rows(datasets: Any, name: str, config: str, split: str) -> Iterator[Any]:
    try:
        yield from datasets.load_dataset(name, config or None, split=split, streaming=True)
    except ScalemarkError:
        raise
    except Exception as error:  # the library and the network below it have dozens of kinds and no common one
        lines = str(error).strip().splitlines() or [type(error).__name__]
        raise StoreError(
            f"cannot load the data set {name!r}, split {split!r} ({lines[0]}): check the name, the configuration, the "
            "split and the network"
        ) from error
