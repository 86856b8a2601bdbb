"""Each form against derivatives by differences, exact parameters given back, and the optimum by a search of its own."""

import numpy as np
import pytest
from scipy.optimize import minimize_scalar

from scalemark.errors import FitError, InputError
from scalemark.fit.forms import FORMS, Data, Form, check_rows, find_form, form_of
from scalemark.fit.loss_fit import fit_form, fit_law
from scalemark.fit.rows import Rows
from scalemark.fit.solver import Array

TRUTHS = {
    "chinchilla": np.array([0.9, 60.0, 400.0, 0.45, 0.42]),
    "tied": np.array([0.9, 60.0, 400.0, 0.45]),
    "overlap": np.array([0.8, 19.0, 240.0, 0.38, 0.46, 1.5]),
    "kaplan": np.array([4.0, 9.0, 0.12, 0.15]),
    "saturating": np.array([0.8, 900.0, 0.25]),
}
WITH_N_AND_D = [name for name in FORMS if name != "saturating"]
SIZES, TOKENS = 12_000.0 * 2.0 ** np.arange(7), 5e5 * 2.0 ** np.arange(5)


def grid(form: str, noise: float = 0.0, seed: int = 0) -> Rows:
    params, tokens = (column.ravel() for column in np.meshgrid(SIZES, TOKENS, indexing="ij"))
    scatter = np.exp(noise * np.random.default_rng(seed).standard_normal(len(params)))
    trunks = np.repeat(np.arange(len(SIZES)), len(TOKENS))
    loss = FORMS[form].predict(TRUTHS[form], params, tokens) * scatter
    return Rows(params, tokens, loss, np.full(len(params), 0.5), trunks)


def near(form: Form, data: Data) -> Array:
    """Parameters of the solver that are no optimum, shape (3, parameters)."""
    low, high = form.problem(data).bounds
    starts = form.starts(data)[:: max(1, len(form.starts(data)) // 3)][:3]
    return np.clip(starts * 1.07 + 0.03, low + 1e-3, high - 1e-3)


@pytest.mark.parametrize("name", list(FORMS))
def test_exact_losses_give_back_every_parameter(name: str) -> None:
    fit = fit_form(FORMS[name], grid(name), replicates=1)
    np.testing.assert_allclose(fit.values, TRUTHS[name], rtol=1e-5)
    assert fit.status == "converged" and not any(fit.at_bound)


@pytest.mark.parametrize("name", list(FORMS))
def test_the_derivatives_are_those_of_the_residuals(name: str) -> None:
    data = Data.of(grid(name, noise=0.01))
    problem, theta, step = FORMS[name].problem(data), near(FORMS[name], data), 1e-6
    jacobian = problem.linearise(theta)[1]
    for index in range(theta.shape[1]):
        nudge = step * (np.arange(theta.shape[1]) == index)
        slope = (problem.linearise(theta + nudge)[0] - problem.linearise(theta - nudge)[0]) / (2 * step)
        np.testing.assert_allclose(jacobian[:, index], slope, atol=1e-7)


@pytest.mark.parametrize("name", list(FORMS))
def test_the_curvature_is_the_slope_of_the_derivatives(name: str) -> None:
    data = Data.of(grid(name, noise=0.01))
    problem, theta, step = FORMS[name].problem(data), near(FORMS[name], data), 1e-5
    rows_slope = np.random.default_rng(0).standard_normal((len(theta), len(data.x)))
    found = problem.curvature(theta, problem.linearise(theta)[1], rows_slope)
    for index in range(theta.shape[1]):
        nudge = step * (np.arange(theta.shape[1]) == index)
        there, back = (problem.linearise(theta + sign * nudge)[1] for sign in (1, -1))
        expected = ((there - back) * rows_slope[:, None]).sum(axis=2) / (2 * step)
        np.testing.assert_allclose(found[:, index], expected, rtol=1e-3, atol=1e-4)


def test_with_p_of_one_the_overlap_is_chinchilla() -> None:
    rows = grid("chinchilla")
    ours = FORMS["overlap"].predict(np.append(TRUTHS["chinchilla"], 1.0), rows.params, rows.tokens)
    np.testing.assert_allclose(ours, rows.loss, rtol=1e-12)


def test_with_a_large_p_only_the_larger_term_is_left() -> None:
    values = np.array([0.9, 60.0, 400.0, 0.45, 0.45, 200.0])
    larger = max(60.0 / 5e4**0.45, 400.0 / 2e6**0.45)
    assert FORMS["overlap"].predict(values, 5e4, 2e6) == pytest.approx(0.9 + larger, rel=1e-2)


def test_kaplan_is_their_equation() -> None:
    """Kaplan et al. 2020, equation 1.5, with the constants of their table 2."""
    alpha_n, alpha_d, n_c, d_c = 0.076, 0.103, 6.4e13, 1.8e13
    params, tokens = 1e8, 3e9
    expected = ((n_c / params) ** (alpha_n / alpha_d) + d_c / tokens) ** alpha_d
    values = np.array([n_c**alpha_n, d_c**alpha_d, alpha_n, alpha_d])
    assert FORMS["kaplan"].predict(values, params, tokens) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("name", WITH_N_AND_D)
def test_the_optimal_size_has_the_lowest_loss_at_its_compute(name: str) -> None:
    form, values, compute = FORMS[name], TRUTHS[name], 1e13

    def loss_at(log_n: float) -> float:
        return float(form.predict(values, np.exp(log_n), compute / 6 / np.exp(log_n)))

    best = minimize_scalar(loss_at, bounds=(np.log(1e3), np.log(1e9)), method="bounded", options={"xatol": 1e-10})
    assert np.log(form.optimal_params(values, compute)) == pytest.approx(best.x, abs=1e-4)
    grown = form.optimal_params(values, 100 * compute) / form.optimal_params(values, compute)
    assert np.log(grown) / np.log(100) == pytest.approx(float(form.allocation(values)))


@pytest.mark.parametrize("seed", range(4))
def test_the_overlap_is_taken_where_the_runs_ask_for_it(seed: int) -> None:
    fit = fit_law(grid("overlap", noise=0.003, seed=seed), replicates=2)
    assert fit.form.name == "overlap" and 1.2 < fit.values[5] < 2.2


@pytest.mark.parametrize("noise", [0.0, 0.003])
def test_a_plainer_law_is_kept_where_there_is_no_overlap(noise: float) -> None:
    kept = [fit_law(grid("chinchilla", noise, seed), replicates=2).form.name != "overlap" for seed in range(4)]
    assert sum(kept) >= (4 if noise == 0 else 3)


def test_few_runs_are_never_asked_for_a_sixth_parameter() -> None:
    rows = grid("overlap")
    few = rows.only(np.arange(len(rows)) % 6 == 0)
    assert len(few) < FORMS["overlap"].fewest_rows
    assert fit_law(few, replicates=2).form.name != "overlap"


def test_the_overlap_foretells_larger_models_that_the_plain_law_misses() -> None:
    rows = grid("overlap", noise=0.002)
    large = rows.compute_flops > np.quantile(rows.compute_flops, 0.7)
    kept, hidden = rows.only(~large), rows.only(large)
    fit = fit_law(kept, replicates=2)
    assert fit.form.name == "overlap"
    assert np.abs(fit.predict(hidden.params, hidden.tokens) / hidden.loss - 1).mean() < 0.01


def test_a_form_is_found_by_its_name_and_by_what_a_law_says_of_it() -> None:
    for name, form in FORMS.items():
        assert find_form(name) is form
        assert form_of(TRUTHS[name].tolist(), form.formula) is form
    with pytest.raises(InputError, match="'cubic': choose from chinchilla"):
        find_form("cubic")


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"params": [1e6] * 6}, "same model size"),
        ({"tokens": [1e8] * 6}, "same token count"),
        ({"loss": [2.0, 2.1, 2.2, 2.3, 2.4, -1.0]}, "positive"),
    ],
)
def test_rows_that_tell_no_law_are_refused(change: dict[str, list[float]], complaint: str) -> None:
    columns = {"params": [1e6, 2e6, 4e6] * 2, "tokens": [1e8, 2e8] * 3, "loss": [3.0, 2.9, 2.8, 2.7, 2.6, 2.5]}
    with pytest.raises(FitError, match=complaint):
        check_rows(Rows.independent(**{**columns, **change}))


def test_too_few_rows_are_refused_with_what_to_do() -> None:
    with pytest.raises(FitError, match="there are 4: train more sizes"):
        check_rows(Rows.independent([1e6, 2e6, 3e6, 4e6], [1e8, 2e8, 3e8, 4e8], [3.0, 2.9, 2.8, 2.7]))
