"""What a spec names."""

from pathlib import Path

from scalemark.errors import InputError
from scalemark.train.corpus.documents import Source
from scalemark.train.corpus.files import path_source, stdlib_source
from scalemark.train.corpus.hub import hub_source
from scalemark.train.corpus.kjv import kjv_source
from scalemark.train.corpus.synthetic import synthetic_source

NAMES = "kjv, stdlib, synthetic, synthetic:TOKENS and hf:NAME"


def find_source(spec: str) -> Source:
    """The source of this spec; raises InputError where it is neither a known name nor a path that exists."""
    kind, _, rest = spec.partition(":")
    if spec == "kjv":
        return kjv_source()
    if spec == "stdlib":
        return stdlib_source()
    if kind == "synthetic":
        return synthetic_source(rest)
    if kind == "hf":
        return hub_source(rest)
    path = Path(spec).expanduser()
    if not spec or not path.exists():
        raise InputError(f"there is no file or folder {spec!r}: give the path of one, or one of {NAMES}")
    return path_source(path)
