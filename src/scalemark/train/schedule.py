"""Learning rates: how they change over a run, and with the width of the model."""

WARMUP_SHARE = 0.05
DECAY_SHARE = 0.3
# A starting point, not an optimum found here: no sweep over learning rates and widths has been run yet. What was tried
# once, with one seed each, is in docs/notes.md; some higher rates did better.
BASE_LEARNING_RATE, BASE_WIDTH = 8e-3, 64


def learning_rate_for_width(d_model: int) -> float:
    """Peak learning rate of AdamW for a model of this width."""
    return float(BASE_LEARNING_RATE * (BASE_WIDTH / d_model) ** 0.5)


def warmup_stable_decay(step: int, n_steps: int) -> float:
    """Share of the peak learning rate at `step` (from 0): linear up, flat, linear down to 0 (Hu et al. 2024)."""
    warmup = max(1, round(WARMUP_SHARE * n_steps))
    decay = max(1, round(DECAY_SHARE * n_steps))
    return max(0.0, min(1.0, (step + 1) / warmup, (n_steps - step) / decay))
