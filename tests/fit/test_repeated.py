"""What repeated text is worth: the form against its limits and the paper, the fit against known constants."""

from collections.abc import Iterable

import factories
import numpy as np
import pytest

from scalemark.errors import FitError
from scalemark.fit import repeated
from scalemark.fit.forms import CHINCHILLA
from scalemark.fit.repeated import (
    compare_with_plain,
    effective_params,
    effective_tokens,
    fit_repeated_law,
    optimal_params,
    predict_repeated,
    predict_repeated_loss,
    worse_with_size,
)
from scalemark.fit.rows import Rows
from scalemark.schema import Law, ModelConfig, TrainingRun

PLAIN = np.array(list(factories.TRUE_LOSS_LAW.values()))
TRUTH = np.append(PLAIN, [12.0, 4.0])
LIKE_NEW = np.append(PLAIN, [1e9, 1e9])
TEXT = 3_600_000
WIDTHS = (16, 32, 64, 96, 128)
PARTS = (100_000, 400_000)


def make_run(
    width: int, tokens: int, unique: int = TEXT, values: np.ndarray = TRUTH, error: float = 0.0
) -> TrainingRun:
    """A run whose loss is exactly the law's, times exp(error)."""
    run = factories.make_training_run(ModelConfig(n_layer=2, d_model=width, n_head=width // 16), tokens)
    exact = predict_repeated_loss(values, *map(np.array, (run.accounting.params_non_embedding, tokens, unique)))
    part = None if unique == TEXT else unique
    return run.model_copy(
        update={
            "config": run.config.model_copy(update={"unique_tokens": part}),
            "epochs": tokens / unique,
            "validation_loss": float(exact * np.exp(error)),
        }
    )


def make_runs(
    values: np.ndarray = TRUTH, noise: float = 0.0, widths: Iterable[int] = WIDTHS, parts: Iterable[int] = PARTS
) -> list[TrainingRun]:
    """A grid on all text, and two widths on parts of it for up to sixteen epochs. noise: of trunks, half for runs."""
    rng = np.random.default_rng(1)
    trunks = [(width, TEXT, (250_000, 1_000_000, 2_000_000, 3_600_000)) for width in widths]
    trunks += [(width, part, tuple(part * n for n in (1, 2, 4, 16))) for width in (32, 128) for part in parts]
    runs = []
    for width, unique, counts in trunks:
        luck = noise * rng.standard_normal()
        runs += [make_run(width, n, unique, values, luck + noise / 2 * rng.standard_normal()) for n in counts]
    return runs


@pytest.fixture(scope="module")
def law() -> Law:
    return fit_repeated_law(make_runs(noise=0.002))


def parameters_of(law: Law) -> dict[str, float]:
    return {parameter.name: parameter.estimate.value for parameter in law.parameters}


# --- the form ---


def test_a_batch_past_the_end_of_the_text_is_no_repeat() -> None:
    run = make_run(128, 100_100, 100_000)
    assert not repeated.Rows.of([run]).repeats.any()
    assert run.validation_loss == pytest.approx(CHINCHILLA.predict(PLAIN, 393_216, 100_100), rel=1e-4)


@pytest.mark.parametrize("tokens", [1e4, 9e5, 1e6])
@pytest.mark.parametrize("params", [1e3, 1e7])
def test_text_that_does_not_repeat_follows_the_plain_law(params: float, tokens: float) -> None:
    assert predict_repeated_loss(TRUTH, *map(np.array, (params, tokens, 1e6))) == CHINCHILLA.predict(
        PLAIN, params, tokens
    )


def test_a_little_repetition_is_near_the_plain_law_for_models_up_to_the_optimum() -> None:
    size = float(optimal_params(TRUTH, 1e6))
    near = predict_repeated_loss(TRUTH, *map(np.array, (size, 1.02e6, 1e6)))
    assert near == pytest.approx(CHINCHILLA.predict(PLAIN, size, 1.02e6), rel=1e-4)


def test_with_large_constants_repeats_count_like_new() -> None:
    at = np.array([1e4, 1e7]), np.array([6.4e7, 6.4e7]), np.array([1e6, 1e6])
    np.testing.assert_allclose(predict_repeated_loss(LIKE_NEW, *at), CHINCHILLA.predict(PLAIN, at[0], at[1]), rtol=1e-6)


def test_with_small_constants_repeats_count_for_nothing() -> None:
    values, size = np.append(PLAIN, [1e-6, 1e-6]), float(optimal_params(PLAIN, 1e6))
    once = CHINCHILLA.predict(PLAIN, size, 1e6)
    assert predict_repeated_loss(values, *map(np.array, (100 * size, 1e8, 1e6))) == pytest.approx(once, rel=1e-5)


@pytest.mark.parametrize("repeats", [0.5, 3.0, 20.0])
def test_a_further_token_is_worth_what_the_constant_says(repeats: float) -> None:
    """Its worth by differences, against exp(−R/R*)."""
    tokens, step = 1e6 * (1 + repeats), 10.0
    worth = np.diff(effective_tokens(np.array([tokens - step, tokens + step]), np.array(1e6), np.array(12.0))) / (
        2 * step
    )
    assert worth[0] == pytest.approx(np.exp(-repeats / 12), rel=1e-4)


def test_parameters_up_to_the_optimum_count_in_full_and_the_rest_saturate() -> None:
    counted = effective_params(np.array([1e4, 1e6, 1e12]), np.array(1e6), np.array(4.0))
    np.testing.assert_allclose(counted, [1e4, 1e6, 5e6])


def test_no_other_size_with_the_same_compute_is_better_than_the_optimum() -> None:
    size = float(optimal_params(TRUTH, 2e6))
    best = CHINCHILLA.predict(PLAIN, size, 2e6)
    assert all(CHINCHILLA.predict(PLAIN, size * f, 2e6 / f) > best for f in (0.9, 0.999, 1.001, 1.1))


def test_the_published_constants_give_the_published_ratio_of_size_to_tokens() -> None:
    """Muennighoff et al. fit A = 521, B = 1488, E = 1.87, alpha = beta = 0.353: then U_N = 0.051·U."""
    assert optimal_params(np.array([1.87, 521, 1488, 0.353, 0.353]), 1e9) / 1e9 == pytest.approx(0.051, rel=0.01)


def test_the_jacobian_is_the_slope_of_the_residuals() -> None:
    rows = Rows.of(make_runs(noise=0.01))
    problem = repeated._Repeats.of(rows.only(rows.repeats))
    theta, step = np.append(PLAIN, [1.5, 0.5])[None], 1e-6
    for column in (5, 6):
        moved = step * np.eye(7)[column]
        slope = (problem.residuals(theta + moved) - problem.residuals(theta - moved)) / (2 * step)
        np.testing.assert_allclose(problem.linearise(theta)[1][:, column], slope, rtol=1e-5, atol=1e-10)
    assert not problem.linearise(theta)[1][:, :5].any()


# --- the fit ---


def test_exact_losses_give_back_all_seven_parameters() -> None:
    found = fit_repeated_law(make_runs())
    np.testing.assert_allclose(found.coefficients, TRUTH, rtol=1e-4)
    assert found.status == "ok"


@pytest.mark.parametrize(("name", "truth"), [("R_D*", 12), ("R_N*", 4)])
def test_intervals_hold_the_constants(law: Law, name: str, truth: float) -> None:
    estimate = next(parameter.estimate for parameter in law.parameters if parameter.name == name)
    assert estimate.low - 0.05 * truth <= truth <= estimate.high + 0.05 * truth
    assert 0.005 < estimate.relative_half_width < 0.5


def test_the_law_says_what_it_was_fitted_to(law: Law) -> None:
    assert set(law.domain) == {"params_non_embedding", "tokens", "compute_flops", "unique_tokens", "epochs"}
    assert law.domain["epochs"].high == 16
    assert law.domain["unique_tokens"].low == pytest.approx(PARTS[0])
    assert "36 training runs, branches of 9 trunks" in law.subject
    assert any("from the 24 runs that repeat nothing, R_D* and R_N* from the 12 that do" in note for note in law.notes)
    assert any("cannot say that a larger model" in note for note in law.notes)


def test_a_prediction_holds_the_truth_and_follows_the_coefficients(law: Law) -> None:
    predicted = predict_repeated(law, 1e5, 1.2e6, 2e5)
    at = [np.array(value) for value in (1e5, 1.2e6, 2e5)]
    assert predicted.value == pytest.approx(float(predict_repeated_loss(np.array(law.coefficients), *at)))
    assert predicted.low <= float(predict_repeated_loss(TRUTH, *at)) <= predicted.high


def test_the_same_seed_gives_the_same_law(law: Law) -> None:
    assert fit_repeated_law(make_runs(noise=0.002)) == law
    assert fit_repeated_law(make_runs(noise=0.002), seed=1).draws != law.draws


def test_repeats_that_count_like_new_leave_the_constant_untold() -> None:
    found = fit_repeated_law(make_runs(LIKE_NEW, noise=0.002))
    assert found.status == "not_identified"
    assert not next(parameter for parameter in found.parameters if parameter.name == "R_D*").identified
    assert any("up to 15 repeats, text seen again may count like new: R_D* is" in note for note in found.notes)


def test_repeats_worth_nothing_are_said_to_be() -> None:
    found = fit_repeated_law(make_runs(np.append(PLAIN, [1e-4, 4.0]), noise=0.002))
    assert any("text seen again may be worth nothing: R_D* is" in note for note in found.notes)


def test_without_models_past_the_optimum_their_discount_is_untold() -> None:
    small = [run for run in make_runs(noise=0.002) if run.config.unique_tokens is None]
    small += [make_run(16, n * part, part) for part in (800_000, 1_200_000) for n in (1, 2, 4, 8)]
    found = fit_repeated_law(small)
    assert any("no run that repeats is larger than is compute-optimal" in note for note in found.notes)
    assert parameters_of(found)["R_D*"] == pytest.approx(12, rel=0.3)


@pytest.mark.parametrize(
    ("runs", "message"),
    [
        ([], "0 training runs saw text more than once"),
        ([run for run in make_runs() if run.config.unique_tokens is None], "train on a part of the text"),
        (
            [run for run in make_runs() if run.epochs > 1 or run.config.tokens == 250_000],
            "5 training runs saw no text twice",
        ),
        (factories.make_suite().training_runs, "0 training runs saw text more than once"),
    ],
    ids=["none", "no repeats", "few without repeats", "epochs unknown"],
)
def test_too_few_runs_are_refused_with_advice(runs: list[TrainingRun], message: str) -> None:
    with pytest.raises(FitError, match=message):
        fit_repeated_law(runs)


# --- against the plain law ---


def test_where_repeats_are_discounted_the_plain_laws_miss_them() -> None:
    compared = compare_with_plain(make_runs(noise=0.002))
    errors = compared.mean_errors
    assert errors["discounted"] < 0.01
    assert errors["discounted"] < errors["fitted_to_all"] < errors["all_new"]
    assert compared.n_trunks == 4
    assert len(compared.discounted) == len(compared.epochs) == 12


def test_where_repeats_count_like_new_the_plain_law_is_as_good() -> None:
    errors = compare_with_plain(make_runs(LIKE_NEW)).mean_errors
    assert max(errors.values()) < 5e-4


def test_a_trunk_is_predicted_without_itself() -> None:
    """Against a law that was fitted to the other trunks alone."""
    runs = make_runs(noise=0.002)
    left_out = [run for run in runs if run.config.model.d_model == 128 and run.config.unique_tokens == PARTS[1]]
    without = np.array(fit_repeated_law([run for run in runs if run not in left_out]).coefficients)
    compared = compare_with_plain(runs)
    for run in left_out[1:]:
        at = run.accounting.params_non_embedding, run.config.tokens, PARTS[1]
        expected = np.log(predict_repeated_loss(without, *map(np.array, at)) / run.validation_loss)
        places = zip(compared.params, compared.tokens, compared.epochs, strict=True)
        index = list(places).index((*at[:2], run.epochs))
        assert compared.discounted[index] == pytest.approx(float(expected), abs=2e-4)


def test_a_single_trunk_with_repeats_cannot_be_left_out() -> None:
    runs = make_runs(noise=0.002, parts=())
    runs += [make_run(128, n * 100_000, 100_000) for n in (1, 2, 4, 8, 16)]
    with pytest.raises(FitError, match="too few trunks repeat text"):
        compare_with_plain(runs)


# --- what the law cannot say ---


def test_this_law_never_says_that_a_larger_model_is_worse() -> None:
    sizes = np.geomspace(1e3, 1e9, 40)
    assert np.all(np.diff(predict_repeated_loss(TRUTH, sizes, np.array(3e6), np.array(1e5))) < 1e-12)


def test_models_that_do_worse_than_a_smaller_one_on_the_same_text_are_listed() -> None:
    group = [make_run(width, 800_000, 100_000) for width in WIDTHS]
    worse = group[3].model_copy(update={"validation_loss": group[1].validation_loss * 1.02, "train_loss": 1.0})
    found = worse_with_size([*group[:3], worse, group[4]])
    best = group[2]
    assert [(one.params, one.smaller_params) for one in found] == [
        (worse.accounting.params_non_embedding, best.accounting.params_non_embedding)
    ]
    assert found[0].excess == pytest.approx(worse.validation_loss / best.validation_loss - 1)
    assert (found[0].unique_tokens, found[0].tokens, found[0].epochs) == (100_000, 800_000, 8)
    assert found[0].gap == pytest.approx(worse.validation_loss - 1.0)


def test_runs_on_other_text_or_for_longer_are_not_compared() -> None:
    good = make_run(16, 800_000, 100_000).model_copy(update={"validation_loss": 1.0})
    others = [make_run(128, 800_000, 200_000), make_run(128, 400_000, 100_000), make_run(128, 800_000)]
    assert worse_with_size([good, *others]) == ()
