"""The grid of training runs: sizes × tokens, from the cheapest run up to what the time allows.

Sorted by cost and cut where the budget ends, the grid is a triangle below a line of equal compute: the shape from
which a loss law is read (Hoffmann et al. 2022, section 3).
"""

from collections.abc import Callable, Iterable

from scalemark.schema import Accounting, ModelConfig, TrainingConfig
from scalemark.train.schedule import learning_rate_for_width

WIDTHS = (16, 32, 48, 64, 96, 128)
TOKENS = (262_144, 524_288, 1_048_576, 2_097_152, 4_194_304)
N_LAYER, D_HEAD = 2, 16
BATCH, SEQ_LEN = 4, 128
# A rule of thumb to leave out the shortest runs of wide models, whose losses still fall steeply. It did not make the
# loss law identified (docs/notes.md).
TOKENS_PER_WIDTH = 5_000
# Validation, set-up and the data's way to the model, over the steps alone.
OVERHEAD_S = 1.0


def grid_shape(width: int) -> ModelConfig:
    """The model of this width: two layers, heads of 16, as small models need more than one head."""
    return ModelConfig(n_layer=N_LAYER, d_model=width, n_head=width // D_HEAD)


def training_grid(widths: Iterable[int] = WIDTHS, tokens: Iterable[int] | None = None) -> tuple[TrainingConfig, ...]:
    """One configuration for each width and token count, the text not yet named.

    tokens: the same counts for every width; if None, those of `TOKENS` that are enough for it.
    """
    counts = TOKENS if tokens is None else tuple(tokens)
    return tuple(
        TrainingConfig(
            model=grid_shape(width),
            tokens=count,
            batch=BATCH,
            seq_len=SEQ_LEN,
            learning_rate=learning_rate_for_width(width),
            optimizer="adamw",
        )
        for width in widths
        for count in counts
        if tokens is not None or count >= TOKENS_PER_WIDTH * width
    )


def expected_run_s(
    config: TrainingConfig, accounting: Accounting | None, step_s: Callable[[Accounting], float]
) -> float:
    """Seconds of a whole run, from what one step of its shape is expected to take."""
    if accounting is None:
        return OVERHEAD_S
    return config.n_steps * step_s(accounting) + OVERHEAD_S
