"""The map of a loss law: every place has the loss that it says, and the optimal line is the best for its compute."""

from itertools import pairwise

import factories
import pytest

from scalemark.fit.forms import CHINCHILLA, FORMS
from scalemark.fit.isoloss import isoloss
from scalemark.fit.loss_law import FARTHEST_CURVE
from scalemark.schema import IsoLoss, Law, Range

SPAN = {"params_non_embedding": (1e4, 1e6), "tokens": (2.5e5, 2e6), "compute_flops": (6 * 2.5e9, 6 * 2e12)}


def make_law(formula: str = CHINCHILLA.formula, coefficients: tuple[float, ...] | None = None) -> Law:
    truth = tuple(factories.TRUE_LOSS_LAW[name] for name in CHINCHILLA.parameters)
    return Law(
        kind="loss",
        form=formula,
        unit="nats/token",
        subject="made up",
        parameters=(),
        domain={name: Range(low=low, high=high) for name, (low, high) in SPAN.items()},
        n=16,
        residuals=(),
        coefficients=coefficients or truth,
        draws=(coefficients or truth,) * 2,
    )


@pytest.fixture(scope="module")
def drawn() -> IsoLoss:
    return isoloss(make_law())


def test_every_place_of_a_contour_has_its_loss(drawn: IsoLoss) -> None:
    places = [(contour.loss, place) for contour in drawn.contours for place in contour.places]
    assert len(drawn.contours) > 4
    assert [factories.true_loss(place.params, place.tokens) for _, place in places] == pytest.approx(
        [loss for loss, _ in places], rel=1e-6
    )


def test_more_parameters_need_fewer_tokens_for_one_loss(drawn: IsoLoss) -> None:
    for contour in drawn.contours:
        assert all(one.params < other.params and one.tokens > other.tokens for one, other in pairwise(contour.places))


def test_the_optimal_line_is_the_lowest_loss_for_its_compute(drawn: IsoLoss) -> None:
    """Against neighbours of the same compute, a hundredth larger and smaller."""
    assert len(drawn.optimal) > 10
    for place in drawn.optimal:
        there = factories.true_loss(place.params, place.tokens)
        for factor in (0.99, 1.01):
            assert factories.true_loss(place.params * factor, place.tokens / factor) > there


def test_the_map_ends_at_ten_times_the_largest_run_and_says_how_far_each_place_lies(drawn: IsoLoss) -> None:
    places = [place for contour in drawn.contours for place in contour.places]
    assert max(place.params for place in places) == pytest.approx(1e6 * FARTHEST_CURVE)
    for place in places:
        beyond = max(place.params / 1e6, place.tokens / 2e6, 6 * place.params * place.tokens / (6 * 2e12), 1.0)
        assert place.extrapolation == pytest.approx(max(beyond, 6 * 2.5e9 / (6 * place.params * place.tokens)))


def test_a_law_that_knows_compute_alone_has_contours_and_no_best_size() -> None:
    saturating = FORMS["saturating"]
    drawn = isoloss(make_law(saturating.formula, (1.2, 400.0, 0.25)))
    assert drawn.contours
    assert drawn.optimal == ()
