"""The batched solver against derivatives by differences, known parameters, published data and the other solver."""

import csv
import os
from pathlib import Path

import numpy as np
import pytest
from scipy.optimize import least_squares

from scalemark.errors import FitError
from scalemark.fit.forms import CHINCHILLA
from scalemark.fit.loss_fit import fit_chinchilla, fit_form
from scalemark.fit.rows import Rows, resample
from scalemark.fit.solver import HUBER_DELTA

REFERENCE_ROOT = Path(os.environ.get("SCALEMARK_REFERENCE_DATA", Path(__file__).parents[3] / "shared" / "data"))
KNOWN_MINIMUM = 1.018274026e-3
PARAMS, TOKENS = (grid.ravel() for grid in np.meshgrid(np.geomspace(1e6, 1e9, 4), np.geomspace(1e8, 1e11, 4)))


def noisy_loss(noise: float, seed: int = 0) -> np.ndarray:
    truth = CHINCHILLA.predict(np.array([1.69, 406.4, 410.7, 0.34, 0.28]), PARAMS, TOKENS)
    return truth * np.exp(noise * np.random.default_rng(seed).standard_normal(len(truth)))


@pytest.fixture(scope="module")
def published() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """N, D and loss of Hoffmann et al. 2022, figure 4, without the five highest losses."""
    path = REFERENCE_ROOT / "chinchilla_svg.csv"
    if not path.exists():
        pytest.skip(f"no {path.name}: name its folder with SCALEMARK_REFERENCE_DATA")
    with path.open(newline="") as lines:
        rows = [[float(row[name]) for name in ("params", "tokens", "loss")] for row in csv.DictReader(lines)]
    params, tokens, loss = np.array(sorted(rows, key=lambda row: row[2])[:-5]).T
    return params, tokens, loss


@pytest.mark.parametrize("exponents", [(0.34, 0.28), (0.465, 0.155)])
def test_exact_losses_give_back_their_parameters(exponents: tuple[float, float]) -> None:
    truth = np.array([1.69, 406.4, 410.7, *exponents])
    fit = fit_chinchilla(PARAMS, TOKENS, CHINCHILLA.predict(truth, PARAMS, TOKENS), replicates=2)
    np.testing.assert_allclose(fit.values, truth, rtol=1e-6)


def test_the_published_data_reach_the_known_minimum(published: tuple[np.ndarray, np.ndarray, np.ndarray]) -> None:
    fit = fit_chinchilla(*published, replicates=1)
    assert fit.objective <= KNOWN_MINIMUM * (1 + 1e-6)
    np.testing.assert_allclose(fit.values, [1.81722, 477.83, 2143.4, 0.34731, 0.36717], rtol=1e-4)


def test_two_independent_solvers_agree() -> None:
    loss = noisy_loss(0.005)
    ours = fit_chinchilla(PARAMS, TOKENS, loss, replicates=1)
    found = least_squares(
        lambda x: np.log(np.exp(x[0]) + np.exp(x[1]) * PARAMS ** -x[3] + np.exp(x[2]) * TOKENS ** -x[4]) - np.log(loss),
        [0.0, 4.0, 6.0, 0.4, 0.4],
        loss="huber",
        f_scale=HUBER_DELTA,
        x_scale="jac",
        xtol=1e-14,
        ftol=1e-14,
        gtol=1e-14,
        max_nfev=2000,
    )
    assert ours.objective <= found.cost * (1 + 1e-6)
    np.testing.assert_allclose(ours.values[3:], found.x[3:], rtol=1e-3)


def test_every_fit_and_every_replicate_ends_where_the_objective_is_flat() -> None:
    fit = fit_form(CHINCHILLA, Rows.independent(PARAMS, TOKENS, noisy_loss(0.005)), replicates=200)
    assert (fit.status, fit.unconverged) == ("converged", 0)
    assert fit.steepness <= 1e-6


def test_nearly_every_start_reaches_the_same_minimum(published: tuple[np.ndarray, np.ndarray, np.ndarray]) -> None:
    assert fit_chinchilla(*published, replicates=1).reached > 0.9


def test_a_parameter_at_the_edge_of_its_range_is_said_to_be() -> None:
    """Losses that do not depend on N: its term is driven to nothing."""
    loss = 1.5 + 400 * TOKENS**-0.3
    fit = fit_chinchilla(PARAMS, TOKENS, loss, replicates=1)
    assert fit.at_bound[1] or fit.values[1] * PARAMS.min() ** -fit.values[3] < 1e-3


def test_squares_are_fitted_where_delta_is_infinite() -> None:
    """Against scipy's least squares, which knows nothing of this solver."""
    loss = noisy_loss(0.005)
    ours = fit_form(CHINCHILLA, Rows.independent(PARAMS, TOKENS, loss), replicates=1, delta=np.inf)
    found = least_squares(
        lambda x: np.log(np.exp(x[0]) + np.exp(x[1]) * PARAMS ** -x[3] + np.exp(x[2]) * TOKENS ** -x[4]) - np.log(loss),
        [0.0, 4.0, 6.0, 0.4, 0.4],
        x_scale="jac",
        xtol=1e-14,
        ftol=1e-14,
        gtol=1e-14,
        max_nfev=2000,
    )
    assert ours.objective == pytest.approx(found.cost, rel=1e-8)
    np.testing.assert_allclose(ours.values[3:], found.x[3:], rtol=1e-4)


def test_replicates_repeat_with_the_seed() -> None:
    loss = noisy_loss(0.01)
    first, again, other = (fit_chinchilla(PARAMS, TOKENS, loss, seed, replicates=10).draws for seed in (1, 1, 2))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_more_noise_widens_the_draws() -> None:
    quiet, loud = (fit_chinchilla(PARAMS, TOKENS, noisy_loss(noise), replicates=60).draws for noise in (0.001, 0.01))
    assert loud[:, 3].std() > 3 * quiet[:, 3].std()


def test_a_replicate_draws_all_branches_of_a_trunk_or_none() -> None:
    trunks = np.array([0, 0, 0, 1, 1, 2, 2, 2, 2, 3, 3, 3, 4, 4, 4, 4])
    counts = resample(trunks, PARAMS, TOKENS, 50, np.random.default_rng(0), 5)
    assert counts.shape == (50, 16)
    for trunk in range(5):
        assert np.ptp(counts[:, trunks == trunk], axis=1).max() == 0
    first_branches = counts[:, np.unique(trunks, return_index=True)[1]]
    assert np.all(first_branches.sum(axis=1) == 5)


def test_trunks_of_one_branch_are_drawn_as_rows() -> None:
    alone, named = (
        resample(groups, PARAMS, TOKENS, 20, np.random.default_rng(0), 5) for groups in (None, np.arange(16))
    )
    assert np.array_equal(alone, named)


def test_draws_that_lose_all_but_one_size_are_drawn_again() -> None:
    counts = resample([0] * 8 + [1] * 8, PARAMS, TOKENS, 10, np.random.default_rng(0), 5)
    sizes = [len(np.unique(PARAMS[row > 0])) for row in counts]
    assert min(sizes) >= 2


def test_a_row_that_weighs_nothing_is_as_good_as_absent() -> None:
    loss = noisy_loss(0.005)
    loss[-1] *= 1.2
    weights = np.append(np.ones(15), 0.0)[None]
    weighted = fit_chinchilla(PARAMS, TOKENS, loss, weights=weights).draws[0]
    without = fit_chinchilla(PARAMS[:-1], TOKENS[:-1], loss[:-1], replicates=1).values
    np.testing.assert_allclose(weighted, without, rtol=1e-3)


def test_resampling_trunks_covers_and_resampling_rows_does_not() -> None:
    """Ten grids of seven trunks, five branches each: 0.5 % between trunks, 0.1 % between branches; alpha in 90 %."""
    truth = np.array([1.2, 60.0, 400.0, 0.45, 0.45])
    sizes, counts = np.geomspace(6e3, 6e5, 7), np.geomspace(2.5e5, 4e6, 5)
    params, tokens, trunks = np.repeat(sizes, 5), np.tile(counts, 7), np.repeat(np.arange(7), 5)
    held = []
    for seed in range(10):
        rng = np.random.default_rng(seed)
        error = 0.005 * rng.standard_normal(7)[trunks] + 0.001 * rng.standard_normal(35)
        loss = CHINCHILLA.predict(truth, params, tokens) * np.exp(error)
        weights = [resample(groups, params, tokens, 30, rng, 5) for groups in (None, trunks)]
        alphas = fit_chinchilla(params, tokens, loss, weights=np.concatenate(weights)).draws[:, 3]
        low, high = np.quantile(alphas.reshape(2, 30), [0.05, 0.95], axis=1)
        held.append((low <= truth[3]) & (truth[3] <= high))
    by_rows, by_trunks = np.sum(held, axis=0)
    assert by_trunks >= 9
    assert by_rows <= 7


@pytest.mark.parametrize(
    ("rows", "message"), [(slice(0, 4), "train more sizes"), (slice(0, None, 4), "the same model size")]
)
def test_what_cannot_be_fitted_is_refused_with_advice(rows: slice, message: str) -> None:
    params, tokens, loss = (
        np.tile(column[rows], 2 if rows.start == 0 and rows.step else 1) for column in (PARAMS, TOKENS, noisy_loss(0.0))
    )
    with pytest.raises(FitError, match=message):
        fit_chinchilla(params, tokens, loss)
