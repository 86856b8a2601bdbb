"""The loss law from training runs: known parameters, predictions that hold, and what is refused."""

import factories
import numpy as np
import pytest

from scalemark.errors import FitError
from scalemark.fit.loss_law import fit_loss_law, frontier, predict_loss
from scalemark.schema import Law, ModelConfig, TrainingRun

WIDTHS, TOKENS = (16, 32, 48, 64, 80, 96, 128), (250_000, 500_000, 1_000_000, 2_000_000)
RUNS = tuple(
    factories.make_training_run(ModelConfig(n_layer=2, d_model=width, n_head=width // 16), tokens)
    for width in WIDTHS
    for tokens in TOKENS
)


@pytest.fixture(scope="module")
def law() -> Law:
    return fit_loss_law(RUNS)


def with_status(run: TrainingRun, **changes: object) -> TrainingRun:
    return run.model_copy(update=changes)


@pytest.mark.parametrize("name", ["E", "A", "B", "alpha", "beta"])
def test_the_interval_of_each_parameter_holds_the_truth(law: Law, name: str) -> None:
    estimate = next(parameter.estimate for parameter in law.parameters if parameter.name == name)
    slack = 0.05 * factories.TRUE_LOSS_LAW[name]
    assert estimate.low - slack <= factories.TRUE_LOSS_LAW[name] <= estimate.high + slack


def test_new_runs_fall_inside_the_prediction_interval(law: Law) -> None:
    """A 90 % interval over 400 new runs at sizes between those trained: 85 % at least, as 28 runs made the law."""
    rng = np.random.default_rng(0)
    inside = []
    for _ in range(40):
        params, tokens = np.exp(rng.uniform(np.log([8e3, 3e5]), np.log([2e5, 2e6])))
        interval = predict_loss(law, params, tokens)
        runs = factories.true_loss(params, tokens) * np.exp(0.003 * rng.standard_normal(10))
        inside += [interval.low <= loss <= interval.high for loss in runs]
    assert np.mean(inside) >= 0.85


def test_ten_times_the_compute_is_predicted_within_two_percent(law: Law) -> None:
    params, tokens, loss = frontier(law, 10 * law.domain["compute_flops"].high)
    assert loss.value == pytest.approx(factories.true_loss(params, tokens), rel=0.02)


def test_a_prediction_is_less_certain_far_away(law: Law) -> None:
    near, far = predict_loss(law, 5e4, 1e6), predict_loss(law, 5e8, 1e10)
    assert far.relative_half_width > 1.5 * near.relative_half_width


def test_the_frontier_spends_its_compute_and_no_other_split_is_better(law: Law) -> None:
    params, tokens, loss = frontier(law, 1e15)
    assert 6 * params * tokens == pytest.approx(1e15)
    for factor in (0.8, 0.98, 1.02, 1.25):
        assert predict_loss(law, params * factor, tokens / factor).value > loss.value


def test_runs_that_did_not_finish_are_left_out(law: Law) -> None:
    broken = (with_status(RUNS[0], status="diverged"), with_status(RUNS[1], validation_loss=None))
    assert fit_loss_law((*RUNS, *broken)).coefficients == law.coefficients


@pytest.mark.parametrize("runs", [(), RUNS[:4], [RUNS[0]] * 8], ids=["none", "too few", "one size"])
def test_too_few_runs_are_refused_with_advice(runs: tuple[TrainingRun, ...]) -> None:
    with pytest.raises(FitError, match="train"):
        fit_loss_law(runs)


def on_part_of_the_text(run: TrainingRun, unique_tokens: int) -> TrainingRun:
    config = run.config.model_copy(update={"unique_tokens": unique_tokens})
    return with_status(run, config=config, epochs=run.config.tokens / unique_tokens)


def with_seed(run: TrainingRun, seed: int) -> TrainingRun:
    return with_status(run, config=run.config.model_copy(update={"seed": seed}))


def test_runs_on_a_part_of_the_text_are_left_to_the_other_law(law: Law) -> None:
    parts = [on_part_of_the_text(run, 100_000) for run in RUNS[:4]]
    assert fit_loss_law((*RUNS, *parts)) == law


def test_runs_that_saw_text_twice_stay_and_are_counted() -> None:
    runs = [with_status(run, epochs=run.config.tokens / 1_500_000) for run in RUNS]
    law = fit_loss_law(runs)
    assert law.n == len(RUNS)
    assert any("7 of the runs saw text more than once, up to 1.3 times" in note for note in law.notes)


def test_a_law_names_its_trunks(law: Law) -> None:
    assert "28 training runs, branches of 7 trunks" in law.subject
    assert any(note.startswith("the intervals draw whole trunks") for note in law.notes)
    assert not any("too narrow" in note for note in law.notes)


def test_with_four_trunks_the_law_warns_of_its_intervals() -> None:
    assert any("of 4 trunks such intervals are too narrow" in note for note in fit_loss_law(RUNS[:16]).notes)


def test_runs_of_their_own_are_drawn_one_by_one() -> None:
    law = fit_loss_law([with_seed(run, index) for index, run in enumerate(RUNS)])
    assert "trunks" not in law.subject
    assert not any("trunks" in note for note in law.notes)


def test_with_three_trunks_runs_are_drawn_and_the_law_says_so() -> None:
    law = fit_loss_law(RUNS[:12])
    assert any("with 3 trunks, too few to draw among" in note for note in law.notes)


def test_trunks_that_differ_widen_the_interval_of_alpha() -> None:
    """The same 1 % goes to whole trunks, or to runs: what is shared cannot average out."""
    errors = 0.01 * np.random.default_rng(0).standard_normal(len(RUNS))

    def width(shared: bool) -> float:
        loss = [run.validation_loss * np.exp(errors[i // 4 if shared else i]) for i, run in enumerate(RUNS)]
        law = fit_loss_law([with_status(run, validation_loss=value) for run, value in zip(RUNS, loss, strict=True)])
        return next(p.estimate.relative_half_width for p in law.parameters if p.name == "alpha")

    assert width(shared=True) > width(shared=False)
