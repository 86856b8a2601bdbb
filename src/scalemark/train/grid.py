"""What can be trained: the grids of sizes × tokens that a run chooses from.

plain     one text, as large as it is: what the loss law is fitted to
repeated  small parts of the text, seen again and again: what repetition costs
"""

from collections.abc import Iterable

from scalemark.errors import InputError
from scalemark.schema import ModelConfig, TrainingConfig
from scalemark.train.schedule import DECAY_SHARE, WARMUP_STEPS, learning_rate_for_width

WIDTHS = (16, 32, 48, 64, 80, 96, 128)
# Up to 1.2 epochs of the default text; a longer text has more in it.
TOKENS = tuple(2**power for power in range(19, 23))
MORE_TOKENS = tuple(2**power for power in range(19, 28))
MOST_EPOCHS = 1.25
# Models of two layers learn to copy earlier text at moments that chance decides, and their losses scatter three times
# as much from seed to seed as those of four (docs/notes.md).
N_LAYER, D_HEAD = 4, 16
BATCH, SEQ_LEN = 4, 128
# So little that models learn it by heart; some runs on all of the text tell what its first showing is worth.
UNIQUE_TOKENS = (2**15, 2**17)
REPEATED_EPOCHS = (4, 16, 64)
REPEATED_WIDTHS = (16, 32, 64, 96)


def grid_shape(width: int) -> ModelConfig:
    """The model of this width: four layers, heads of 16."""
    return ModelConfig(n_layer=N_LAYER, d_model=width, n_head=width // D_HEAD)


def training_grid(
    widths: Iterable[int] = WIDTHS, tokens: Iterable[int] = TOKENS, seeds: Iterable[int] = (0,)
) -> tuple[TrainingConfig, ...]:
    """One configuration for each seed, width and token count, the text not yet named."""
    counts = tuple(tokens)
    sizes = tuple(widths)
    return tuple(_config(width, count, seed) for seed in seeds for width in sizes for count in counts)


def repeated_grid(
    widths: Iterable[int] = REPEATED_WIDTHS,
    unique_tokens: Iterable[int] = UNIQUE_TOKENS,
    epochs: Iterable[int] = REPEATED_EPOCHS,
    seed: int = 0,
) -> tuple[TrainingConfig, ...]:
    """One configuration for each part of the text, width and number of epochs."""
    sizes, times = tuple(widths), tuple(epochs)
    return tuple(
        _config(width, unique * count, seed, unique) for unique in unique_tokens for width in sizes for count in times
    )


def fits_text(config: TrainingConfig, train_tokens: int) -> bool:
    """Whether a text of so many tokens is long enough for a run that is not meant to repeat it."""
    return config.unique_tokens is not None or config.tokens <= MOST_EPOCHS * train_tokens


def find_grid(name: str, seed: int) -> tuple[TrainingConfig, ...]:
    """The grid of this name; raises InputError with the names that exist."""
    grids = {
        "plain": lambda: training_grid(tokens=MORE_TOKENS, seeds=[seed]),
        "repeated": lambda: (*repeated_grid(seed=seed), *training_grid(REPEATED_WIDTHS, TOKENS[:2], [seed])),
    }
    if name not in grids:
        raise InputError(f"there is no grid {name!r}: choose from {', '.join(grids)}")
    return grids[name]()


def _config(width: int, tokens: int, seed: int, unique_tokens: int | None = None) -> TrainingConfig:
    return TrainingConfig(
        model=grid_shape(width),
        tokens=tokens,
        batch=BATCH,
        seq_len=SEQ_LEN,
        learning_rate=learning_rate_for_width(width),
        warmup_steps=WARMUP_STEPS,
        decay_share=DECAY_SHARE,
        optimizer="adamw",
        seed=seed,
        unique_tokens=unique_tokens,
    )
