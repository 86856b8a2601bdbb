"""Each choice against the closed form of what it should give, and against a full search of its own."""

import csv
import os
from pathlib import Path

import numpy as np
import pytest

from scalemark.errors import FitError
from scalemark.fit.forms import CHINCHILLA, FORMS
from scalemark.fit.loss_fit import fit_form
from scalemark.fit.rows import Rows
from scalemark.fit.sensitivity import Choice, Sensitivity, sensitivity

REFERENCE_ROOT = Path(os.environ.get("SCALEMARK_REFERENCE_DATA", Path(__file__).parents[3] / "shared" / "data"))
TRUTH = np.array([0.9, 60.0, 400.0, 0.45, 0.42])
PARAMS, TOKENS = (
    column.ravel() for column in np.meshgrid(12e3 * 2.0 ** np.arange(7), 5e5 * 2.0 ** np.arange(5), indexing="ij")
)
LOSS = CHINCHILLA.predict(TRUTH, PARAMS, TOKENS)
EXACT = Rows.independent(PARAMS, TOKENS, LOSS)
COMPUTE = 1e13


def only(found: Sensitivity, name: str) -> Choice:
    return next(choice for choice in found.choices if choice.name == name)


@pytest.fixture(scope="module")
def published() -> Rows:
    """Hoffmann et al. 2022, figure 4."""
    path = REFERENCE_ROOT / "chinchilla_svg.csv"
    if not path.exists():
        pytest.skip(f"no {path.name}: name its folder with SCALEMARK_REFERENCE_DATA")
    with path.open(newline="") as lines:
        rows = [[float(row[name]) for name in ("params", "tokens", "loss")] for row in csv.DictReader(lines)]
    return Rows.independent(*np.array(rows).T)


def test_where_losses_are_exact_only_a_wrong_form_moves_the_optimum() -> None:
    found = sensitivity(EXACT, compute_flops=COMPUTE)
    optimum, a = float(CHINCHILLA.optimal_params(TRUTH, COMPUTE)), 0.42 / 0.87
    assert (found.base.params, found.base.allocation) == pytest.approx((optimum, a), rel=1e-3)
    for choice in (*found.of("delta"), *found.of("outliers"), only(found, "overlap")):
        assert (choice.params, choice.allocation) == pytest.approx((optimum, a), rel=2e-2)
    assert only(found, "tied").allocation == pytest.approx(0.5, abs=1e-6)
    assert found.allocation_range == pytest.approx((a, 0.5), abs=5e-3)


def test_parameters_counted_twofold_pay_for_half_the_tokens() -> None:
    """N' = 2N costs C = 6·2N·D: the size that is best at C is that of the rows at C/2."""
    found = sensitivity(EXACT, compute_flops=COMPUTE, other_params={"twofold": 2 * PARAMS})
    twofold = only(found, "twofold")
    assert twofold.params == pytest.approx(float(CHINCHILLA.optimal_params(TRUTH, COMPUTE / 2)), rel=1e-3)
    assert twofold.allocation == pytest.approx(found.base.allocation, abs=1e-4)


def test_embeddings_counted_as_parameters_change_the_exponent() -> None:
    """Pearce & Song 2024: without embeddings the optimal size seems to grow faster with compute."""
    found = sensitivity(EXACT, compute_flops=1e12, other_params={"with embeddings": PARAMS + 60e3})
    assert only(found, "with embeddings").allocation != pytest.approx(found.base.allocation, abs=0.02)


def test_counted_flops_lead_to_the_optimum_under_their_own_power_law() -> None:
    """With C = k·N^u·D^v the exponent is beta/(alpha·v + beta·u), from Lagrange's conditions."""
    flops = 9 * PARAMS**1.1 * TOKENS**0.95
    counted = only(sensitivity(EXACT, compute_flops=COMPUTE, flops=flops), "FLOPs as counted")
    assert counted.allocation == pytest.approx(0.42 / (0.45 * 0.95 + 0.42 * 1.1), abs=1e-4)


def test_few_starts_find_what_the_full_search_finds(published: Rows) -> None:
    found = sensitivity(published, drop_highest=5)
    expected = fit_form(CHINCHILLA, published.without_highest(5), replicates=1)
    assert found.base.allocation == pytest.approx(float(CHINCHILLA.allocation(expected.values)), abs=1e-4)
    overlap = fit_form(FORMS["overlap"], published.without_highest(5), replicates=1).values
    assert only(found, "overlap").allocation == pytest.approx(float(FORMS["overlap"].allocation(overlap)), abs=1e-4)
    squares = fit_form(CHINCHILLA, published.without_highest(5), replicates=1, delta=np.inf).values
    assert only(found, "squares").allocation == pytest.approx(float(CHINCHILLA.allocation(squares)), abs=1e-4)


def test_five_rows_move_the_published_exponent(published: Rows) -> None:
    """beta is 0.367 without the five highest losses and 0.453 with them."""
    found = sensitivity(published, drop_highest=5)
    assert found.base.allocation == pytest.approx(0.5139, abs=1e-4)
    assert only(found, "0 highest left out").allocation == pytest.approx(0.4530 / (0.4530 + 0.3493), abs=1e-3)
    assert only(found, "10 highest left out").allocation < found.base.allocation
    low, high = found.params_range
    assert low < found.base.params < high


def test_of_each_trunk_the_longest_run_alone_is_tried_where_trunks_branch() -> None:
    lengths = TOKENS * np.repeat([1, 9, 0.3, 20, 0.5, 6, 2], 5)
    trunks = np.repeat(np.arange(7), 5)
    loss = CHINCHILLA.predict(TRUTH, PARAMS, lengths) * np.where(lengths < lengths.reshape(7, 5).max(1)[trunks], 1.3, 1)
    found = sensitivity(Rows.independent(PARAMS, lengths, loss, trunks), compute_flops=COMPUTE)
    longest = only(found, "longest run of each trunk")
    assert longest.params == pytest.approx(float(CHINCHILLA.optimal_params(TRUTH, COMPUTE)), rel=0.05)
    alone = sensitivity(EXACT, compute_flops=COMPUTE)
    assert "longest run of each trunk" not in [choice.name for choice in alone.choices]


def test_what_cannot_be_tried_is_named_with_its_reason() -> None:
    found = sensitivity(Rows.independent(PARAMS, TOKENS, LOSS, np.repeat(np.arange(7), 5)))
    assert found.skipped[0].startswith("longest run of each trunk: all training runs have the same token count")


def test_a_form_of_compute_alone_is_refused() -> None:
    with pytest.raises(FitError, match="no optimal size"):
        sensitivity(EXACT, FORMS["saturating"])
