"""The law with an overlap is found where there is one, and the plain law is kept where there is none."""

import numpy as np
import pytest
from scipy.optimize import minimize_scalar

from scalemark.fit.chinchilla import Array, Rows, predict_chinchilla, prepare
from scalemark.fit.joint import FEWEST_ROWS, NAMES, _Joint, fit_joint, fit_law, predict_joint
from scalemark.fit.loss_law import FORMS, _law, frontier

TRUTH = np.array([0.8, 19.0, 240.0, 0.38, 0.46, 1.5])
PLAIN = np.array([0.9, 60.0, 400.0, 0.45, 0.45])
SIZES, TOKENS = 12_000.0 * 2.0 ** np.arange(7), 5e5 * 2.0 ** np.arange(5)


def grid(values: Array, noise: float = 0.0, seed: int = 0) -> Rows:
    params, tokens = (column.ravel() for column in np.meshgrid(SIZES, TOKENS, indexing="ij"))
    scatter = np.exp(noise * np.random.default_rng(seed).standard_normal(len(params)))
    trunks = np.repeat(np.arange(len(SIZES)), len(TOKENS))
    return Rows(params, tokens, predict_joint(values, params, tokens) * scatter, np.full(len(params), 0.5), trunks)


def test_exact_losses_give_back_all_six_parameters() -> None:
    fit = fit_joint(grid(TRUTH), replicates=2)
    assert fit.values == pytest.approx(TRUTH, rel=1e-4)
    assert not any(fit.at_bound)


def test_with_p_of_one_it_is_the_plain_law() -> None:
    rows = grid(PLAIN)
    ours = predict_joint(np.append(PLAIN, 1.0), rows.params, rows.tokens)
    assert ours == pytest.approx(predict_chinchilla(PLAIN, rows.params, rows.tokens), rel=1e-12)


def test_with_a_large_p_only_the_larger_term_is_left() -> None:
    values = np.append(PLAIN, 200.0)
    larger = max(60.0 / 5e4**0.45, 400.0 / 2e6**0.45)
    assert predict_joint(values, 5e4, 2e6) == pytest.approx(0.9 + larger, rel=1e-2)


def test_the_derivatives_are_those_of_the_residuals() -> None:
    rows = grid(TRUTH)
    problem = _Joint(prepare(rows.params, rows.tokens, rows.loss))
    theta, step = np.array([[-0.1, -1.2, -1.1, 0.4, 0.5, 0.6]]), 1e-6
    for index in range(len(NAMES)):
        nudge = step * (np.arange(len(NAMES)) == index)
        slope = (problem.residuals(theta + nudge) - problem.residuals(theta - nudge)) / (2 * step)
        assert problem.jacobian(theta)[..., index] == pytest.approx(slope, abs=1e-8)


@pytest.mark.parametrize("seed", range(4))
def test_the_overlap_is_taken_where_the_runs_ask_for_it(seed: int) -> None:
    rows = grid(TRUTH, noise=0.003, seed=seed)
    fit = fit_law(rows)
    assert len(fit.values) == 6 and 1.2 < fit.values[5] < 2.2


@pytest.mark.parametrize("noise", [0.0, 0.003])
def test_the_plain_law_is_kept_where_there_is_no_overlap(noise: float) -> None:
    kept = [len(fit_law(grid(PLAIN, noise, seed)).values) == 5 for seed in range(4)]
    assert sum(kept) >= (4 if noise == 0 else 3)


def test_few_runs_are_never_asked_for_a_sixth_parameter() -> None:
    rows = grid(TRUTH)
    few = rows.only(np.arange(len(rows)) % 6 == 0)
    assert len(few) < FEWEST_ROWS
    assert len(fit_law(few).values) == 5


def test_the_overlap_foretells_larger_models_that_the_plain_law_misses() -> None:
    rows = grid(TRUTH, noise=0.002)
    large = rows.compute_flops > np.quantile(rows.compute_flops, 0.7)
    kept, hidden = rows.only(~large), rows.only(large)
    joint = fit_law(kept)
    assert len(joint.values) == 6
    missed = np.abs(predict_joint(joint.values, hidden.params, hidden.tokens) / hidden.loss - 1)
    assert missed.mean() < 0.01


def test_the_frontier_is_the_size_with_the_lowest_loss_at_its_compute() -> None:
    rows = grid(TRUTH)
    law = _law(fit_joint(rows, replicates=3), rows, None)
    assert law.form == FORMS[6] and law.parameters[5].name == "p"
    params, tokens, loss = frontier(law, 1e13)

    def loss_at(log_n: float) -> float:
        n = np.exp(log_n)
        return float(predict_joint(np.array(law.coefficients), n, 1e13 / 6 / n))

    best = minimize_scalar(loss_at, bounds=(np.log(1e4), np.log(1e8)), method="bounded", options={"xatol": 1e-10})
    assert np.log(params) == pytest.approx(best.x, abs=1e-4)
    assert 6 * params * tokens == pytest.approx(1e13)
    assert loss.value == pytest.approx(best.fun)
