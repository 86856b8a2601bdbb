"""Learning rates: how they change over a run, with the width of the model, and with what a parameter does."""

from typing import Any

from scalemark.model.transformer import Transformer
from scalemark.schema import TrainingConfig

# A shorter warm-up gives losses that scatter more from seed to seed (docs/notes.md).
WARMUP_STEPS = 400
# Of the steps; 0.3 gave the same loss (docs/notes.md). With a branch at every doubling, a trunk costs so
# 0.8 + 0.2 · 2 = 1.2 times its longest run, where separate runs cost 2.
DECAY_SHARE = 0.2
# docs/training.md has the sweep: for widths 16 to 128 the best rate stays within a factor of 2 of this rule.
BASE_LEARNING_RATE, BASE_WIDTH = 6e-3, 64
TABLE_SCALE = 10.0


def learning_rate_for_width(d_model: int) -> float:
    """Peak learning rate of AdamW for a model of this width."""
    return float(BASE_LEARNING_RATE * (BASE_WIDTH / d_model) ** 0.5)


def parameter_groups(model: Transformer) -> list[dict[str, Any]]:
    """The model's parameters for an optimizer, in groups; `scale` of a group multiplies its learning rate.

    Entries of a token table are of size 1, those of matrices of 1/√width, and a token's row gets a gradient only where
    the token is seen, so the table takes larger steps. A table that is also the head is a matrix like the others.
    """
    table = [] if model.config.tied_head else [model.table.weight]
    rest = [parameter for parameter in model.parameters() if all(parameter is not one for one in table)]
    groups = [{"params": table, "scale": TABLE_SCALE}, {"params": rest, "scale": 1.0}]
    return [group for group in groups if group["params"]]


def warmup_stable_decay(step: int, config: TrainingConfig) -> float:
    """Learning rate at `step` (from 0): linear up, flat, linear down to 0 (Hu et al. 2024).

    Up to `config.decay_from` it does not depend on how many tokens the run has.
    """
    assert config.learning_rate is not None
    up = (step + 1) / config.warmup_steps if config.warmup_steps else 1.0
    down = (config.n_steps - step) / (config.n_steps - config.decay_from)
    return config.learning_rate * max(0.0, min(1.0, up, down))
