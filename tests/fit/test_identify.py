"""Ranges end where the objective has risen by what is tolerable, and those without an end are said to have none."""

import csv
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from scalemark.fit.forms import CHINCHILLA, FORMS, Data
from scalemark.fit.held import Held, quantities
from scalemark.fit.identify import Profile, _Path, identify
from scalemark.fit.loss_fit import fit_form
from scalemark.fit.optimum import Optimum
from scalemark.fit.rows import Rows
from scalemark.fit.solver import Array, solve

REFERENCE_ROOT = Path(os.environ.get("SCALEMARK_REFERENCE_DATA", Path(__file__).parents[3] / "shared" / "data"))
TRUTH = np.array([0.9, 60.0, 400.0, 0.45, 0.42])
SIZES, COUNTS = 12e3 * 2.0 ** np.arange(7), 5e5 * 2.0 ** np.arange(5)


def grid(noise: float, sizes: Array = SIZES, counts: Array = COUNTS, form: str = "chinchilla", seed: int = 0) -> Rows:
    params, tokens = (column.ravel() for column in np.meshgrid(sizes, counts, indexing="ij"))
    scatter = np.exp(noise * np.random.default_rng(seed).standard_normal(len(params)))
    return Rows.independent(params, tokens, FORMS[form].predict(TRUTH, params, tokens) * scatter)


def bare(name: str, low: float, high: float, below: bool = False, above: bool = False) -> Profile:
    return Profile(name, (low + high) / 2, low, high, below, above, 0.9, 1.0, (), ())


@pytest.fixture(scope="module")
def published() -> Rows:
    """Hoffmann et al. 2022, figure 4, without the five highest losses."""
    path = REFERENCE_ROOT / "chinchilla_svg.csv"
    if not path.exists():
        pytest.skip(f"no {path.name}: name its folder with SCALEMARK_REFERENCE_DATA")
    with path.open(newline="") as lines:
        rows = [[float(row[name]) for name in ("params", "tokens", "loss")] for row in csv.DictReader(lines)]
    return Rows.independent(*np.array(rows).T).without_highest(5)


def test_at_both_ends_of_a_range_no_start_reaches_less_than_the_tolerable_rise() -> None:
    """From the starts of the global search, which the profile does not use."""
    rows = grid(0.004)
    fit = fit_form(CHINCHILLA, rows, replicates=1)
    found, data = identify(fit, rows), Data.of(rows)
    optimum = Optimum.of(fit, rows)
    for quantity in quantities(CHINCHILLA, data):
        held, profile = Held(optimum.problem, quantity), found[quantity.name]
        for end in (profile.low, profile.high):
            starts = held.free(CHINCHILLA.starts(data)[::16])
            starts[:, quantity.index] = np.log(end / (1 - end)) if quantity.is_ratio else np.log(end)
            if quantity.name in ("alpha", "beta"):
                starts[:, quantity.index] = end
            reached = solve(starts, held, np.ones((1, len(rows)))).objective
            assert np.nanmin(reached) - optimum.objective == pytest.approx(profile.tolerable, rel=0.1)


def test_ranges_of_published_data_agree_with_their_published_bootstrap(published: Rows) -> None:
    """Besiroglu et al. 2024: 80 % of their bootstrapped a lie from 0.492 to 0.538; standard error of E 0.026."""
    found = identify(fit_form(CHINCHILLA, published, replicates=1), published, level=0.8)
    assert (found["a"].low, found["a"].high) == pytest.approx((0.492, 0.538), abs=0.008)
    assert found["E"].high - found["E"].low == pytest.approx(2 * 1.28 * 0.0257, rel=0.3)
    assert all(profile.identified for profile in found.profiles)
    assert found["a"].verdict.startswith("a lies between 0.4")


def test_exact_losses_leave_no_doubt() -> None:
    rows = grid(0.0)
    found = identify(fit_form(CHINCHILLA, rows, replicates=1), rows)
    for profile, truth in zip(found.profiles, TRUTH, strict=False):
        assert profile.low == pytest.approx(truth, rel=1e-3) and profile.high == pytest.approx(truth, rel=1e-3)


def test_far_from_the_floor_any_low_floor_fits() -> None:
    rows = grid(0.01, SIZES[:4], COUNTS[:4])
    found = identify(fit_form(CHINCHILLA, rows, replicates=1), rows)["E"]
    assert found.open_below and not found.open_above and not found.identified
    assert found.high > 0.9
    assert found.verdict == f"E is not identified: any value from 0 to {found.high:.3g} fits"


def test_a_term_that_the_runs_do_not_show_may_be_as_small_as_one_likes() -> None:
    rows = grid(0.003)
    without_a = TRUTH * np.where(np.arange(5) == 1, 1e-12, 1.0)
    scatter = rows.loss / CHINCHILLA.predict(TRUTH, rows.params, rows.tokens)
    flat = replace(rows, loss=CHINCHILLA.predict(without_a, rows.params, rows.tokens) * scatter)
    found = identify(fit_form(CHINCHILLA, flat, replicates=1), flat)["A"]
    assert found.open_below and not found.identified


def test_p_may_be_one_where_the_plain_law_holds() -> None:
    rows = grid(0.004)
    found = identify(fit_form(FORMS["overlap"], rows, replicates=1), rows)["p"]
    assert found.low == pytest.approx(1.0) and found.identified
    assert found.verdict.startswith("p lies between 1 and 1.")


def test_an_exponent_that_may_be_anything_leaves_the_allocation_open_as_well() -> None:
    """Without an effect of N, alpha rests at a bound and a seems known to a hundredth; no refit near it is better."""
    params, tokens = (column.ravel() for column in np.meshgrid(SIZES[:5], COUNTS, indexing="ij"))
    scatter = np.exp(0.01 * np.random.default_rng(3).standard_normal(25))
    rows = Rows.independent(params, tokens, (1.2 + 400 * tokens**-0.42) * scatter)
    found = identify(fit_form(CHINCHILLA, rows, replicates=1), rows)
    for alpha in np.geomspace(found["alpha"].low, found["alpha"].high, 5)[1:-1]:
        assert found["a"].low < found["beta"].value / (alpha + found["beta"].value) < found["a"].high


def test_more_noise_widens_every_range() -> None:
    quiet, loud = (
        identify(fit_form(CHINCHILLA, grid(noise), replicates=1), grid(noise)).profiles for noise in (0.001, 0.004)
    )
    for near, far in zip(quiet, loud, strict=True):
        assert far.high - far.low > 2 * (near.high - near.low)


def test_what_trades_off_is_named() -> None:
    rows = grid(0.004)
    weakest = identify(fit_form(CHINCHILLA, rows, replicates=1), rows).weakest
    assert "E" in weakest and len(weakest) >= 2


@pytest.mark.parametrize(
    ("profile", "expected"),
    [
        (bare("E", 1.76, 1.87), "E lies between 1.76 and 1.87"),
        (bare("E", 0.1, 1.2), "E is not identified: any value from 0.1 to 1.2 fits"),
        (bare("E", 1e-5, 1.2, below=True), "E is not identified: any value from 0 to 1.2 fits"),
        (bare("alpha", 0.01, 0.4, below=True), "alpha is not identified: any value below 0.4 fits"),
        (bare("beta", 0.2, 4.0, above=True), "beta is not identified: any value above 0.2 fits"),
        (bare("B", 1.0, 1e9, below=True, above=True), "B is not identified: any value fits"),
        (bare("a", 0.45, 0.55), "a lies between 0.45 and 0.55"),
        (bare("a", 0.3, 0.7), "a is not identified: any value from 0.3 to 0.7 fits"),
    ],
)
def test_verdicts_are_plain(profile: Profile, expected: str) -> None:
    assert profile.verdict == expected


def test_a_parameter_without_any_effect_may_have_any_value() -> None:
    """The derivative by alpha is nought where A's term underflows; nothing divides by it."""
    rows = grid(0.004)
    fit = fit_form(CHINCHILLA, rows, replicates=1)
    optimum = Optimum.of(fit, rows)
    jacobian = np.where(np.arange(5)[:, None] == 3, 0.0, optimum.jacobian)
    alpha = quantities(CHINCHILLA, optimum.data)[3]
    inert = replace(optimum, jacobian=jacobian)
    assert inert.condition == np.inf
    path = _Path(inert, alpha, optimum.tolerable_rise(alpha.gradient(optimum.theta), 0.9))
    path.walk(-1)
    path.walk(1)
    assert np.isfinite(path.coordinates).all() and len(path.coordinates) > 8
