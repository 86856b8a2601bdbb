"""Real models trained on real text: the loss law is fitted to what they reach."""

import pytest

import scalemark


@pytest.mark.parametrize("config", scalemark.training_grid(), ids=str)
def bench_train(config, measured):
    measured(config)
