"""Which windows of a text a run sees, and in which order."""

import numpy as np

from scalemark.errors import InputError
from scalemark.model.task import Batch
from scalemark.schema import TrainingConfig
from scalemark.train.corpus import windows


class TextBatches:
    """Batches of one shuffled epoch after another, each in a new order; no token twice within an epoch.

    The order follows from the configuration's seed alone: models of all sizes see the same text in the same order.
    With `unique_tokens` the windows are so many of the text's, spread evenly over it.
    """

    def __init__(self, tokens: np.ndarray, config: TrainingConfig) -> None:
        assert config.batch
        self._tokens, self._config, self._batch = tokens, config, config.batch
        self._starts = _window_starts(len(tokens), config)
        self.steps_per_epoch = len(self._starts) // config.batch
        if self.steps_per_epoch == 0:
            raise InputError(
                f"{len(self._starts)} windows of {config.seq_len} tokens are fewer than a batch of {config.batch}: "
                "use a longer text, more unique tokens or a smaller batch"
            )
        self._epoch, self._order = -1, self._starts

    def __call__(self, step: int) -> Batch:
        """The batch of this step (from 0)."""
        return self._batch_of(self._starts_of(step))

    def seen(self, n_steps: int, count: int) -> Batch:
        """Up to `count` windows, spread evenly over those that the first `n_steps` of the first epoch showed."""
        shown = self._order_of(0)[: min(n_steps, self.steps_per_epoch) * self._batch]
        return self._batch_of(shown[_spread(len(shown), count)])

    def epochs(self, n_steps: int) -> float:
        """How often each window was shown, on average, where that is once or more; below 1 the share shown at all."""
        return n_steps / self.steps_per_epoch

    def _starts_of(self, step: int) -> np.ndarray:
        epoch, place = divmod(step, self.steps_per_epoch)
        if epoch != self._epoch:
            self._epoch, self._order = epoch, self._order_of(epoch)
        return self._order[place * self._batch : (place + 1) * self._batch]

    def _order_of(self, epoch: int) -> np.ndarray:
        order: np.ndarray = np.random.default_rng([self._config.seed, epoch]).permutation(self._starts)
        return order

    def _batch_of(self, starts: np.ndarray) -> Batch:
        inputs, targets = windows(self._tokens, starts, self._config.seq_len)
        return inputs.to(self._config.device), targets.to(self._config.device)


def _window_starts(n_tokens: int, config: TrainingConfig) -> np.ndarray:
    """Starts of the disjoint windows that a run may see, in the order of the text."""
    starts = np.arange(0, n_tokens - config.seq_len, config.seq_len)
    if config.unique_tokens is None:
        return starts
    wanted = config.unique_tokens // config.seq_len
    if wanted > len(starts):
        raise InputError(
            f"{config.unique_tokens} unique tokens are more than the text has ({n_tokens}): "
            "ask for fewer, or use a longer text"
        )
    chosen: np.ndarray = starts[_spread(len(starts), wanted)]
    return chosen


def _spread(n: int, count: int) -> np.ndarray:
    """Up to `count` indices below n, evenly spread."""
    spread: np.ndarray = np.linspace(0, n - 1, min(count, n)).round().astype(np.int64)
    return spread
