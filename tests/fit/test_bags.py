"""Some of many rows stand for all of them: the same law, and intervals as wide as all rows make them."""

import numpy as np
import pytest

from scalemark.fit.bags import MANY_ROWS, bags, few_groups, sample
from scalemark.fit.forms import CHINCHILLA, FORMS
from scalemark.fit.identify import identify
from scalemark.fit.loss_fit import LossFit, fit_form
from scalemark.fit.loss_holdout import MOST_PREDICTED, predict_hidden
from scalemark.fit.rows import Rows

TRUTH = np.array([1.2, 60.0, 400.0, 0.45, 0.45])


def grid(n: int, seed: int, noise: float = 0.01) -> Rows:
    """Trunks of five branches that share half of their luck, as rows."""
    rng, trunks = np.random.default_rng(seed), n // 5
    params = np.repeat(48 * (16.0 * (2 + np.arange(trunks) % 24)) ** 2, 5)
    tokens = np.tile(262_144.0 * np.array([1, 2, 4, 8, 16]), trunks)
    luck = np.repeat(rng.standard_normal(trunks), 5) + rng.standard_normal(5 * trunks)
    loss = CHINCHILLA.predict(TRUTH, params, tokens) * np.exp(noise * luck / np.sqrt(2))
    return Rows.independent(params, tokens, loss, np.repeat(np.arange(trunks), 5))


def fit(rows: Rows, seed: int = 0, replicates: int = 60) -> LossFit:
    return fit_form(CHINCHILLA, rows, seed, replicates)


def test_a_bag_has_whole_groups_and_draws_as_many_rows_as_there_are() -> None:
    groups = np.repeat(np.arange(1000), 5)
    found = list(bags(groups, 5000, 50, np.random.default_rng(0)))
    assert sum(len(bag.weights) for bag in found) == 50
    for bag in found:
        assert len(bag.rows) < 1500
        assert set(np.bincount(groups[bag.rows], minlength=1000)) == {0, 5}
        assert (bag.weights.sum(axis=1) == 5000).all()


@pytest.mark.parametrize("n", [10, MANY_ROWS])
def test_of_few_rows_all_are_taken(n: int) -> None:
    assert (sample(n) == np.arange(n)).all()
    assert (few_groups(np.zeros(n, dtype=np.intp), n) == np.arange(n)).all()


def test_of_many_rows_some_are_taken_each_once() -> None:
    assert len(set(sample(50_000))) == len(sample(50_000)) < MANY_ROWS
    groups = np.repeat(np.arange(10_000), 5)
    chosen = few_groups(groups, 50_000)
    assert len(chosen) <= MANY_ROWS
    assert set(np.bincount(groups[chosen])) == {0, 5}


def test_the_law_of_many_rows_is_that_of_all_of_them() -> None:
    """No sample of 500 rows would come so close."""
    found = fit(grid(20_000, seed=1), replicates=20)
    assert found.status == "converged"
    assert found.values == pytest.approx(TRUTH, rel=0.06)
    assert found.values[3:] == pytest.approx(TRUTH[3:], abs=0.012)


def test_intervals_are_as_wide_as_laws_of_such_rows_differ() -> None:
    """Thirty grids: the standard deviation of their laws is known to ± 13 %. A form of few parameters, for speed."""
    form, truth = FORMS["saturating"], np.array([1.2, 300.0, 0.2])
    fits = []
    for seed in range(30):
        rows = grid(4000, seed)
        luck = rows.loss / CHINCHILLA.predict(TRUTH, rows.params, rows.tokens)
        loss = form.predict(truth, rows.params, rows.tokens) * luck
        fits.append(fit_form(form, Rows.independent(rows.params, rows.tokens, loss, rows.trunks), seed, 30))
    truly = np.std([found.values for found in fits], axis=0, ddof=1)
    said = np.mean([found.draws.std(axis=0) for found in fits], axis=0)
    assert np.all((said / truly > 0.65) & (said / truly < 1.5))


def test_bags_say_what_a_bootstrap_over_all_rows_says() -> None:
    """At the border, where both can be had."""
    rows = grid(MANY_ROWS + 500, seed=3)
    trunks = rows.n_trunks
    rng = np.random.default_rng(0)
    weights = rng.multinomial(trunks, np.full(trunks, 1 / trunks), size=150)[:, rows.trunks].astype(float)
    over_all = fit_form(CHINCHILLA, rows, weights=weights).draws.std(axis=0)
    assert fit(rows, replicates=150).draws.std(axis=0) == pytest.approx(over_all, rel=0.35)


def test_more_rows_tell_more() -> None:
    rows = grid(10_000, seed=4)
    found = fit(rows)
    some = rows.only(sample(10_000))
    all_told, some_told = identify(found, rows)["E"], identify(fit(some), some)["E"]
    assert all_told.low < 1.2 < all_told.high
    ratio = (some_told.high - some_told.low) / (all_told.high - all_told.low)
    assert ratio == pytest.approx(np.sqrt(10_000 / len(some)), rel=0.5)


def test_of_many_hidden_rows_some_are_predicted_from_smallest_to_largest() -> None:
    rows = grid(6000, seed=5)
    hidden = predict_hidden(rows, form=CHINCHILLA)
    assert len(hidden.errors) == MOST_PREDICTED
    assert hidden.reach == pytest.approx(rows.compute_flops.max() / hidden.above_flops)
    assert hidden.covered / len(hidden.errors) == pytest.approx(0.9, abs=0.05)
    measured = [rows.loss[row] for row in hidden.rows]
    assert measured == list(hidden.measured)
