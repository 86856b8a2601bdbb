"""The hidden quarter: what is hidden, from what it is predicted, and that a law which bends beyond is caught."""

import factories
import numpy as np
import pytest

from scalemark.errors import FitError
from scalemark.fit.loss_holdout import hold_out_largest, predict_hidden
from scalemark.fit.loss_law import fit_loss_law
from scalemark.fit.rows import Rows

RUNS = factories.make_suite().training_runs
SIZES, COUNTS = np.geomspace(6e3, 4e5, 6), np.geomspace(2.5e5, 4e6, 5)


def make_rows(noise: float = 0.0, beyond: float = 1.0) -> Rows:
    """Six trunks of five branches; losses of the seven largest runs are multiplied by `beyond`."""
    params, tokens, trunks = np.repeat(SIZES, 5), np.tile(COUNTS, 6), np.repeat(np.arange(6), 5)
    loss = factories.true_loss(params, tokens) * np.exp(noise * np.random.default_rng(0).standard_normal(30))
    loss[np.argsort(params * tokens)[-7:]] *= beyond
    return Rows(params, tokens, loss, np.full(30, 0.5), trunks)


def test_the_largest_quarter_by_compute_is_hidden_in_order() -> None:
    rows = make_rows()
    hidden = predict_hidden(rows)
    compute = 6 * np.array(hidden.params) * np.array(hidden.tokens)
    np.testing.assert_allclose(compute, np.sort(rows.compute_flops)[-7:])
    assert hidden.n_kept == 23
    assert hidden.above_flops == pytest.approx(np.sort(rows.compute_flops)[-8])
    assert hidden.reach == pytest.approx(compute[-1] / hidden.above_flops)


def test_a_law_that_holds_predicts_what_was_hidden() -> None:
    assert predict_hidden(make_rows()).mean_error < 1e-6
    noisy = predict_hidden(make_rows(noise=0.002))
    assert noisy.mean_error < 0.015
    assert noisy.covered >= 5


def test_a_law_that_bends_beyond_the_kept_runs_is_caught() -> None:
    hidden = predict_hidden(make_rows(noise=0.002, beyond=1.05))
    assert hidden.mean_error == pytest.approx(0.05, abs=0.015)
    assert all(error < 0 for error in hidden.errors)
    assert hidden.covered == 0


def test_every_hidden_run_can_be_four_times_beyond_all_that_were_kept() -> None:
    rows, hidden = make_rows(noise=0.002), predict_hidden(make_rows(noise=0.002), apart=4)
    smallest_hidden = 6 * hidden.params[0] * hidden.tokens[0]
    assert hidden.apart >= 4
    assert hidden.n_kept == np.sum(rows.compute_flops <= smallest_hidden / 4) < 23
    assert len(hidden.errors) == 7
    assert hidden.reach > predict_hidden(rows).reach


def test_sizes_that_no_kept_run_has_are_named() -> None:
    rows = make_rows(noise=0.002)
    assert predict_hidden(rows).mean_error_of_unseen_sizes is None
    hidden = predict_hidden(rows.only((rows.params < SIZES[-1]) | (rows.tokens >= COUNTS[-2])))
    unseen = [size == pytest.approx(SIZES[-1]) for size in hidden.params]
    assert list(hidden.unseen_size) == unseen
    assert any(unseen) and not all(unseen)
    expected = np.mean([abs(error) for error, is_new in zip(hidden.errors, unseen, strict=True) if is_new])
    assert hidden.mean_error_of_unseen_sizes == pytest.approx(expected)


def test_mean_and_median_are_of_absolute_errors() -> None:
    hidden = predict_hidden(make_rows(noise=0.002))
    assert hidden.mean_error == pytest.approx(np.mean(np.abs(hidden.errors)))
    assert hidden.median_error == pytest.approx(np.median(np.abs(hidden.errors)))


def test_the_loss_law_carries_what_was_hidden_from_it() -> None:
    holdout, hidden = fit_loss_law(RUNS).holdout, hold_out_largest(RUNS)
    assert holdout == hidden.as_holdout()
    assert holdout.variable == "compute_flops"
    assert len(holdout.errors) == len(RUNS) // 4
    assert holdout.reach > 1


def test_runs_on_a_part_of_the_text_are_not_among_them() -> None:
    part = RUNS[-1].model_copy(update={"config": RUNS[-1].config.model_copy(update={"unique_tokens": 100_000})})
    assert hold_out_largest((*RUNS, part)) == hold_out_largest(RUNS)


def test_with_too_few_runs_to_hide_any_the_law_says_so_by_none() -> None:
    few = (RUNS[0], RUNS[2], RUNS[5], RUNS[7], RUNS[8], RUNS[13])
    assert fit_loss_law(few).holdout is None
    with pytest.raises(FitError, match="6 training runs leave 5 to predict 1 larger ones from"):
        hold_out_largest(few)
    with pytest.raises(FitError, match="0 training runs leave 0"):
        hold_out_largest(())
