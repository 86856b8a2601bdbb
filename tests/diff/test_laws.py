"""Laws as predictions: bands that hold together, verdicts that are rarely wrong, explanations that name what moved."""

import numpy as np
import pytest
from factories import estimate

from scalemark.diff.laws import Place, TwoFits, judge_laws
from scalemark.schema import Estimate, Law, LawKind, Parameter, Range

SIZES = np.array([1e5, 1e6, 1e7])
PLACES = (Place("small", "rung", 1e5), Place("middle", "pivot", 1e6), Place("large", "rung", 1e7))
FAR = Place("far", "target", 1e9, 100.0)


def law(rate: float = 1.0, form: str = "sum", kind: LawKind = "step_time", half_width: float = 0.02) -> Law:
    parameter = Parameter(
        name="compute_flops_per_s", estimate=estimate(rate, half_width), unit="FLOP/s", meaning="matrix products"
    )
    return Law(
        kind=kind,
        form=form,
        unit="s",
        subject="step",
        parameters=(parameter,),
        domain={"params_non_embedding": Range(low=1e5, high=1e7)},
        n=9,
        residuals=(),
    )


def fits(
    ratio: np.ndarray | float = 1.0,
    sd: float = 0.02,
    margin: float = 0.05,
    shared_sd: float = 0.0,
    seed: int = 0,
    places: tuple[Place, ...] = PLACES,
    laws: tuple[Law, Law] = (law(), law()),
) -> TwoFits:
    """Predictions and draws with a spread of `sd` each, and a point estimate that missed the truth by such a draw."""
    rng = np.random.default_rng(seed)
    size = np.array([place.size for place in places])

    def side(truth: np.ndarray | float) -> tuple[np.ndarray, np.ndarray]:
        value = size * truth * np.exp(sd * rng.standard_normal(len(places)))
        return value, value * np.exp(sd * rng.standard_normal((300, len(places))))

    base, base_draws = side(1.0)
    new, new_draws = side(ratio)
    return TwoFits(*laws, places, base, new, base_draws, new_draws, margin, shared_sd)


def test_equal_laws_are_the_same_and_a_slower_one_is_found_at_every_size() -> None:
    (same,), (slower,) = judge_laws([fits(sd=0.005)]), judge_laws([fits(1.2, sd=0.005)])
    assert same.verdict == "same"
    assert slower.verdict == "regressed"
    assert all(point.ratio.low > 1.15 and point.ratio.high < 1.25 for point in slower.points)
    assert judge_laws([fits(0.8, sd=0.005)])[0].verdict == "improved"


def test_bands_hold_at_all_places_together() -> None:
    """300 pairs of equal laws: the whole band covers no change in 90 % of them, give or take three standard errors."""
    found = [judge_laws([fits(sd=0.05, seed=seed)])[0] for seed in range(300)]
    held = [all(point.ratio.low <= 1 <= point.ratio.high for point in one.points) for one in found]
    assert 0.85 <= np.mean(held) <= 0.95


def test_equal_laws_are_rarely_called_worse_however_many_they_are() -> None:
    """Four laws at once, no margin to help, 150 times: at 1 % at most 6 would come with a probability of 0.1 %."""
    found = [judge_laws([fits(sd=0.1, margin=0.0, seed=4 * seed + i) for i in range(4)]) for seed in range(150)]
    assert sum(any(one.verdict == "regressed" for one in four) for four in found) <= 5


def test_the_scatter_of_whole_runs_widens_the_band() -> None:
    (narrow,), (wide,) = judge_laws([fits(1.1, sd=0.005)]), judge_laws([fits(1.1, sd=0.005, shared_sd=0.05)])
    assert narrow.verdict == "regressed"
    assert wide.verdict == "inconclusive"


def test_replicates_of_one_seed_are_not_paired() -> None:
    """Both fits drew the same rows: taken in pairs, their draws would cancel and the band would be nothing."""
    one = fits(sd=0.05)
    twins = TwoFits(
        one.base_law, one.new_law, one.places, one.base, one.base, one.base_draws, one.base_draws, one.margin
    )
    (found,) = judge_laws([twins])
    assert found.points[0].ratio.high > 1.05


def test_what_is_exact_on_both_sides_is_compared_exactly() -> None:
    exact = TwoFits(law(kind="memory"), law(kind="memory"), PLACES, SIZES, SIZES * 1.02, SIZES[None], SIZES[None], 0.01)
    assert judge_laws([exact])[0].verdict == "regressed"


def test_a_far_target_that_nobody_can_tell_does_not_make_a_law_undecided() -> None:
    near = fits(sd=0.005, places=PLACES)
    far = [np.append(values, 1e9) for values in (near.base, near.new)]
    rng = np.random.default_rng(0)
    draws = [
        np.column_stack([one, 1e9 * np.exp(rng.standard_normal(300))]) for one in (near.base_draws, near.new_draws)
    ]
    found = judge_laws([TwoFits(law(), law(), (*PLACES, FAR), far[0], far[1], draws[0], draws[1], 0.05)])[0]
    assert found.verdict == "same"
    assert found.points[-1].ratio.high > 1.5


def test_another_machine_is_told_and_not_judged() -> None:
    (found,) = judge_laws([fits(1.5, sd=0.005)], why_not="another machine: cpu differ")
    assert (found.verdict, found.reason) == ("incomparable", "another machine: cpu differ")
    assert found.points[0].ratio.value > 1.4


def test_what_moved_is_named_with_its_sign_and_meaning() -> None:
    (found,) = judge_laws([fits(1.1, sd=0.002, laws=(law(1.0), law(0.92)))])
    assert any(
        text.startswith("compute_flops_per_s −8.0 % (") and "matrix products" in text for text in found.explanation
    )


@pytest.mark.parametrize(
    "after",
    [law(0.99), law(0.92, half_width=0.3)],
    ids=["within its interval", "not told well enough"],
)
def test_a_coefficient_that_may_not_have_moved_is_not_named(after: Law) -> None:
    (found,) = judge_laws([fits(1.1, sd=0.002, laws=(law(1.0), after))])
    assert not any("compute" in text for text in found.explanation)


def test_coefficients_of_two_forms_are_not_compared() -> None:
    (found,) = judge_laws([fits(1.1, sd=0.002, laws=(law(1.0), law(0.5, form="roofline")))])
    assert any("another form fits best: sum, then roofline" in text for text in found.explanation)


def test_a_slowdown_that_grows_with_size_is_said() -> None:
    (found,) = judge_laws([fits(np.array([1.0, 1.1, 1.2]), sd=0.002)])
    assert found.explanation[0].startswith("worse with size: ") and found.explanation[0].endswith("at large")
    (level,) = judge_laws([fits(1.1, sd=0.01)])
    assert not any("with size" in text for text in level.explanation)


def test_p_is_small_where_laws_differ_and_not_where_they_agree() -> None:
    worse, same = (judge_laws([fits(ratio, sd=0.01)])[0].p_worse for ratio in (1.2, 1.0))
    assert worse is not None and same is not None
    assert worse < 0.001 < 0.5 < same


def test_a_band_is_an_interval_of_a_ratio() -> None:
    (found,) = judge_laws([fits()])
    assert all(isinstance(point.ratio, Estimate) and point.ratio.low < point.ratio.value for point in found.points)
