"""A loss law as a map over model size and tokens: lines of equal loss, and the line of the lowest loss for its compute.

A contour is found by bisection on the tokens of each size, since every form of the law falls with tokens. It ends where
more tokens than the map holds would be needed: what a model of that size never learns.
"""

import numpy as np

from scalemark.fit.forms import form_of
from scalemark.fit.loss_law import FARTHEST_CURVE, frontier, loss_extrapolation, predict_values
from scalemark.fit.solver import Array
from scalemark.schema import Contour, IsoLoss, Law, LossPlace, Range

N_CONTOURS = 8
PLACES = 61
_OPTIMAL_PLACES = 33
_HALVINGS = 50
# Losses are read to this many decimals, so that a contour's label is its loss.
_DECIMALS = 2


def isoloss(law: Law) -> IsoLoss:
    """The map from the smallest run to ten times the largest, in size and in tokens."""
    params, tokens = (_reach(law.domain[name]) for name in ("params_non_embedding", "tokens"))
    sizes = np.geomspace(params.low, params.high, PLACES)
    contours = (_contour(law, loss, sizes, tokens) for loss in _levels(law, params, tokens))
    return IsoLoss(
        contours=tuple(contour for contour in contours if len(contour.places) > 1),
        optimal=_optimal(law, params, tokens),
    )


def _reach(span: Range) -> Range:
    return Range(low=span.low, high=span.high * FARTHEST_CURVE)


def _levels(law: Law, params: Range, tokens: Range) -> list[float]:
    """Losses between the worst and the best corner, nearer to one another where the loss falls slowly."""
    corners = predict_values(law, np.array([params.low, params.high]), np.array([tokens.low, tokens.high]))
    best, worst = float(corners[1]), float(corners[0])
    steps = np.linspace(0, 1, N_CONTOURS + 2)[1:-1]
    return sorted({round(best * (worst / best) ** float(step), _DECIMALS) for step in steps})


def _contour(law: Law, loss: float, sizes: Array, tokens: Range) -> Contour:
    low, high = np.full_like(sizes, np.log(tokens.low)), np.full_like(sizes, np.log(tokens.high))
    crosses = (predict_values(law, sizes, np.exp(low)) >= loss) & (predict_values(law, sizes, np.exp(high)) <= loss)
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        above = predict_values(law, sizes, np.exp(middle)) > loss
        low, high = np.where(above, middle, low), np.where(above, high, middle)
    found = zip(sizes[crosses], np.exp(high)[crosses], strict=True)
    return Contour(loss=loss, places=tuple(_place(law, float(size), float(count)) for size, count in found))


def _optimal(law: Law, params: Range, tokens: Range) -> tuple[LossPlace, ...]:
    """Compute-optimal sizes as far as they lie on the map; none where the form knows compute alone."""
    values = np.array(law.coefficients)
    if np.isnan(form_of(law.coefficients, law.form).allocation(values)):
        return ()
    compute = np.geomspace(6 * params.low * tokens.low, 6 * params.high * tokens.high, _OPTIMAL_PLACES)
    places = [frontier(law, float(flops))[:2] for flops in compute]
    return tuple(
        _place(law, size, count)
        for size, count in places
        if params.low <= size <= params.high and tokens.low <= count <= tokens.high
    )


def _place(law: Law, params: float, tokens: float) -> LossPlace:
    return LossPlace(params=params, tokens=tokens, extrapolation=loss_extrapolation(law, params, tokens))
