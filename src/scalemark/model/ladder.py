"""The ladder: growing shapes from one dial (depth), and a few off it so that a cost law can tell its terms apart.

On the diagonal width = 64·depth with heads of 64, so non-embedding parameters grow as about 49,152·depth³: 0.05 M at
depth 1, 36 M at depth 9, and for machines that have the time, 85 M (GPT-2 small's shape) to 680 M. Off it: wide and
shallow, narrow and deep, a large vocabulary, SwiGLU with a tied head.
"""

from scalemark.errors import UnknownRungError
from scalemark.schema import ModelConfig

WIDTH_PER_DEPTH = 64
D_HEAD = 64
LARGEST_DEPTH = 9

BATCH = 2
SEQ_LEN = 256
# How many different batches the rounds of a rung go through.
N_BATCHES = 4


def diagonal_shape(depth: int, vocab_size: int = 256) -> ModelConfig:
    """The rung at this depth."""
    width = WIDTH_PER_DEPTH * depth
    return ModelConfig(n_layer=depth, d_model=width, n_head=width // D_HEAD, vocab_size=vocab_size)


def shape(depth: int, width: int, **changes: object) -> ModelConfig:
    """A shape off the diagonal; `changes` are further fields of ModelConfig."""
    fields = {"n_layer": depth, "d_model": width, "n_head": width // D_HEAD, **changes}
    return ModelConfig.model_validate(fields)


DIAGONAL = tuple(diagonal_shape(depth) for depth in range(1, LARGEST_DEPTH + 1))
LARGE_DIAGONAL = tuple(diagonal_shape(depth) for depth in (12, 16, 24))
OFF_DIAGONAL = (
    shape(2, 512),
    shape(12, 128),
    shape(4, 256, vocab_size=4096),
    shape(4, 256, activation="swiglu", tied_head=True),
)
RUNGS = {rung.name: rung for rung in (*DIAGONAL, *LARGE_DIAGONAL, *OFF_DIAGONAL)}


def find_rung(name: str) -> ModelConfig:
    """The rung of this name; raises UnknownRungError with the names that exist."""
    if name not in RUNGS:
        raise UnknownRungError(f"there is no rung {name!r}: choose from {', '.join(RUNGS)}")
    return RUNGS[name]
