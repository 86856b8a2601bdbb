"""The pace of training is found under the conditions of the grid, and gives back what steps were seen to take."""

from collections.abc import Sequence
from pathlib import Path

import pytest
from factories import make_token_files

from scalemark.errors import DeviceError
from scalemark.model.accounting import account
from scalemark.schema import Accounting, TrainingConfig, TrainingRun
from scalemark.train import pace as pace_module
from scalemark.train.conduct import Workshop, find_pace
from scalemark.train.grid import BATCH, SEQ_LEN, grid_shape
from scalemark.train.jobs import TokenFiles, TrunkJob
from scalemark.train.pace import PACED_WIDTHS, STEPS, Pace, fit_pace, measure_pace

TRUE = Pace(per_layer_s=2e-3, s_per_gflop=0.02, s_per_gb=0.3)
TEMPLATE = TrunkJob(
    orders=(),
    files=TokenFiles(train_path="train.bin", validation_path="validation.bin"),
    device="cuda",
    threads=3,
    budget_s=0.0,
    checkpoints="somewhere",
    shared=True,
)


def accounting(width: int) -> Accounting:
    return account(grid_shape(width), BATCH, SEQ_LEN)


class Workers:
    """Stand in for workers: each run takes what the true pace says, the first of each job three times as long."""

    def __init__(self, fails: bool = False) -> None:
        self.fails = fails
        self.jobs: list[TrunkJob] = []

    def __call__(self, jobs: Sequence[TrunkJob]) -> list[TrainingRun]:
        """In an order in which runs may end: those of one slot first."""
        self.jobs = list(jobs)
        return [self._run(order.config, index) for job in jobs for index, order in enumerate(job.orders)]

    def _run(self, config: TrainingConfig, index: int) -> TrainingRun:
        if self.fails:
            return TrainingRun(config=config, status="failed", reason="there was no text")
        assert config.model
        counted = accounting(config.model.d_model)
        slowness = 3.0 if index == 0 else 1.0
        seconds = slowness * TRUE.step_s(counted) * config.n_steps
        return TrainingRun(config=config, status="ok", accounting=counted, seconds=seconds)


def test_known_coefficients_are_recovered() -> None:
    found = fit_pace([(accounting(width), TRUE.step_s(accounting(width))) for width in (16, 48, 128)])
    assert found.per_layer_s == pytest.approx(TRUE.per_layer_s)
    assert found.s_per_gflop == pytest.approx(TRUE.s_per_gflop)
    assert found.s_per_gb == pytest.approx(TRUE.s_per_gb)


def test_a_step_is_the_sum_of_its_terms() -> None:
    counted = accounting(64)
    assert counted.activation_bytes
    of_layers_s, of_flops_s = 2e-3 * counted.n_layer, 0.02 * counted.flops.model_flops("step") / 1e9
    of_activations_s = 0.3 * counted.activation_bytes / 1e9
    assert min(of_layers_s, of_flops_s, of_activations_s) > 0
    assert TRUE.step_s(counted) == pytest.approx(of_layers_s + of_flops_s + of_activations_s)


@pytest.mark.parametrize("factors", [(1.0, 1.3, 0.8), (0.7, 1.4, 1.0), (1.0, 0.5, 2.0)])
def test_no_term_of_a_noisy_pace_is_negative(factors: tuple[float, ...]) -> None:
    """A negative one would promise that some larger model costs nothing."""
    steps = [
        (accounting(width), factor * TRUE.step_s(accounting(width)))
        for width, factor in zip((16, 48, 128), factors, strict=True)
    ]
    found = fit_pace(steps)
    assert min(found.per_layer_s, found.s_per_gflop, found.s_per_gb) >= 0
    assert found.step_s(accounting(256)) > 0


def test_a_small_models_step_counts_like_a_large_ones() -> None:
    """Relative errors: ten measurements of a large model, a twentieth too slow, do not drown one of a small one."""
    seen = {16: [1.0], 128: [1.05] * 10}
    steps = [(accounting(w), f * TRUE.step_s(accounting(w))) for w, factors in seen.items() for f in factors]
    assert fit_pace(steps).step_s(accounting(16)) == pytest.approx(TRUE.step_s(accounting(16)), rel=0.01)


@pytest.mark.parametrize("slots", [1, 2])
def test_the_first_run_of_every_slot_is_a_warm_up_and_does_not_count(slots: int) -> None:
    """Whatever the order in which runs end: one slot may be through before another has begun."""
    found = measure_pace(Workers(), slots, TEMPLATE)
    assert found.step_s(accounting(32)) == pytest.approx(TRUE.step_s(accounting(32)), rel=1e-6)


@pytest.mark.parametrize("slots", [1, 3])
def test_every_slot_trains_all_shapes_in_one_process_after_a_warm_up(slots: int) -> None:
    workers = Workers()
    measure_pace(workers, slots, TEMPLATE)
    assert len(workers.jobs) == slots
    for job in workers.jobs:
        warm_up, *paced = [order.config for order in job.orders]
        assert [config.model.d_model for config in paced if config.model] == list(PACED_WIDTHS)
        assert all(config.n_steps == STEPS for config in (warm_up, *paced))
        assert warm_up.key not in {config.key for config in paced}


def test_jobs_are_those_of_the_grid_but_keep_nothing() -> None:
    workers = Workers()
    measure_pace(workers, 2, TEMPLATE)
    for job in workers.jobs:
        assert (job.files, job.device, job.threads, job.shared) == (TEMPLATE.files, "cuda", 3, True)
        assert {order.config.device for order in job.orders} == {"cuda"}
        assert job.checkpoints is None and job.budget_s > 0


def test_where_nothing_could_be_timed_the_reason_and_the_log_are_named() -> None:
    with pytest.raises(DeviceError, match=r"\(there was no text\): workers\.log in the run's folder says why"):
        measure_pace(Workers(fails=True), 2, TEMPLATE)


def test_the_pace_of_real_workers_is_a_time_for_every_shape(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pace_module, "STEPS", 8)
    workshop = Workshop("cpu", 2, 1, None, make_token_files(tmp_path), tmp_path / "log", tmp_path / "checkpoints")
    pace = find_pace(workshop)
    assert 1e-5 < pace.step_s(accounting(16)) < 100
    assert pace.step_s(accounting(16)) <= pace.step_s(accounting(128)) < pace.step_s(accounting(512))
    assert not (tmp_path / "checkpoints").exists()
