"""What a training run costs: from timed steps, from runs alone on the machine, from runs of a grid, and in memory."""

import factories
import numpy as np
import pytest

from scalemark.errors import FitError
from scalemark.model.accounting import account
from scalemark.model.ladder import DIAGONAL, OFF_DIAGONAL
from scalemark.model.memory import predict_memory
from scalemark.plan.prices import LOOP_RATIO, MemoryPrice, price_energy, price_time
from scalemark.plan.shapes import Recipe
from scalemark.schema import Block, Cell, Energy, Memory, ModelConfig, RunPlace, Settings, TrainingRun

CELLS = tuple(factories.make_cell(rung) for rung in (*DIAGONAL, *OFF_DIAGONAL))
SETTINGS = Settings(budget_s=480, device="cpu", seed=0, n_blocks=3, threads=2)
SHAPE = ModelConfig(n_layer=4, d_model=128, n_head=8)
COUNTED = account(SHAPE, 8, 128)
TRUE_STEP_S = factories.true_step_s(SHAPE, 8, 128)


def runs(slowdown: float, threads: int, shared: bool, extra_steps: float = 50.0) -> list[TrainingRun]:
    """Runs whose steps take `slowdown` times the true step, and whose set-up and validation take 50 of them."""
    made = []
    for width in (16, 32, 48, 64, 96):
        model = ModelConfig(n_layer=4, d_model=width, n_head=width // 16)
        for tokens in (500_000, 1_000_000):
            run = factories.make_training_run(model, tokens)
            step_s = slowdown * factories.true_step_s(model, 8, 128)
            seconds = step_s * run.config.n_steps
            changes = {"seconds": seconds, "total_seconds": seconds + extra_steps * step_s}
            made.append(run.model_copy(update={**changes, "threads": threads, "shared": shared}))
    return made


def test_a_run_costs_its_steps_and_its_set_up_and_validation_at_its_own_batch() -> None:
    prices = price_time(CELLS, runs(1.0, threads=2, shared=False), SETTINGS, 100)
    estimate = prices.of_run(COUNTED, 1000)
    assert estimate.value == pytest.approx(1050 * TRUE_STEP_S, rel=0.03)
    assert estimate.low < 1050 * TRUE_STEP_S < estimate.high


def test_runs_alone_on_all_threads_tell_what_the_loop_adds() -> None:
    """A loop that takes 30 % more than timed steps must not be priced as a timed step."""
    prices = price_time(CELLS, runs(1.3, threads=2, shared=False), SETTINGS, 100)
    assert prices.steps([COUNTED])[0] == pytest.approx(1.3 * TRUE_STEP_S, rel=0.03)
    assert (prices.threads, prices.shared) == (2, False)


@pytest.mark.parametrize(("threads", "shared"), [(1, False), (2, True)])
def test_runs_on_fewer_threads_or_beside_others_do_not_tell_it(threads: int, shared: bool) -> None:
    prices = price_time(CELLS, runs(3.0, threads=threads, shared=shared), SETTINGS, 100)
    assert prices.steps([COUNTED])[0] == pytest.approx(LOOP_RATIO * TRUE_STEP_S, rel=0.03)


def test_slow_moments_that_the_corrected_time_leaves_out_come_back() -> None:
    """Every block's rounds took 20 % longer than the corrected time: so will training."""
    slow = [slowed(cell, 1.2) for cell in CELLS]
    prices = price_time(slow, runs(3.0, threads=1, shared=True), SETTINGS, 100)
    assert prices.steps([COUNTED])[0] == pytest.approx(1.2 * LOOP_RATIO * TRUE_STEP_S, rel=0.03)


def test_a_run_of_minutes_meets_slow_moments_in_the_share_that_the_blocks_met_them() -> None:
    """One block of three took twice as long: four thirds on the whole, though the typical block knows nothing of it."""
    slow = [slowed(cell, 1.0, 1.0, 2.0) for cell in CELLS]
    prices = price_time(slow, runs(3.0, threads=1, shared=True), SETTINGS, 100)
    assert prices.steps([COUNTED])[0] == pytest.approx(4 / 3 * LOOP_RATIO * TRUE_STEP_S, rel=0.03)


def test_a_process_that_is_slow_all_through_is_in_the_interval_though_no_block_is_slow_as_a_whole() -> None:
    """In each block another third of the cells took half as long again: the next run may be like one of those."""
    lucky = [
        slowed(cell, *(1.5 if (index + turn) % 3 == 0 else 1.0 for turn in range(3)))
        for index, cell in enumerate(CELLS)
    ]
    estimate = price_time(lucky, runs(3.0, threads=1, shared=True), SETTINGS, 300).of_run(COUNTED, 1000)
    even = price_time(CELLS, runs(3.0, threads=1, shared=True), SETTINGS, 300).of_run(COUNTED, 1000)
    assert estimate.high / estimate.value > 1.25 > even.high / even.value


def slowed(cell: Cell, *times: float) -> Cell:
    """Its rounds stretched, block by block; the corrected time stays."""
    blocks = [
        Block(index=index, warmup_s=(), rounds_s=tuple(factor * one for one in cell.blocks[0].rounds_s), setup_s=0.0)
        for index, factor in enumerate(times)
    ]
    return cell.model_copy(update={"blocks": tuple(blocks), "corrected_s": cell.time_s})


def test_without_timed_steps_the_grid_prices_training_as_it_did_it() -> None:
    prices = price_time([], runs(3.0, threads=1, shared=True), SETTINGS, 100)
    assert prices.steps([COUNTED])[0] == pytest.approx(3.0 * TRUE_STEP_S, rel=0.05)
    assert (prices.threads, prices.shared) == (1, True)
    assert "no timed steps" in prices.source


def placed(runs: list[TrainingRun], cpu: str, exclusive: bool | None) -> list[TrainingRun]:
    """The same, trained by Ray on nodes of this processor."""
    place = RunPlace(executor="ray", node="n7", cpu=cpu, exclusive=exclusive)
    return [run.model_copy(update={"place": place}) for run in runs]


@pytest.mark.parametrize("exclusive", [False, None])
def test_runs_on_a_node_that_others_may_share_price_nothing(exclusive: bool | None) -> None:
    elsewhere = placed(runs(30.0, threads=2, shared=False), "EPYC", exclusive)
    with pytest.raises(FitError, match="nothing here tells what training costs"):
        price_time([], elsewhere, SETTINGS, 100)
    model = factories.TRAINED_SHAPES[0]
    counted = account(model, 8, 128)
    with_them, without = (price_time(CELLS, some, SETTINGS, 100).of_run(counted, 1000) for some in (elsewhere, []))
    assert with_them == without


def test_runs_on_nodes_of_their_own_price_training_there_each_processor_apart() -> None:
    """Most were on the faster one; the machine whose steps were timed is a third."""
    fast = placed(runs(1.0, threads=1, shared=False), "fast", exclusive=True)
    slow = placed(runs(5.0, threads=1, shared=False)[:-1], "slow", exclusive=True)
    prices = price_time([], [*slow, *fast], SETTINGS, 100)
    alone = price_time([], fast, SETTINGS, 100)
    counted = account(factories.TRAINED_SHAPES[0], 8, 128)
    assert prices.steps([counted]) == alone.steps([counted])
    assert (prices.threads, prices.shared) == (1, False)
    of_this_machine = price_time(
        CELLS, placed(runs(9.0, threads=2, shared=False), "slow", exclusive=True), SETTINGS, 100
    )
    assert of_this_machine.loop < 2


def test_with_neither_there_is_no_price_and_a_word_on_how_to_get_one() -> None:
    with pytest.raises(FitError, match="pytest bench/"):
        price_time([], [], SETTINGS, 100)


def test_energy_is_priced_where_it_was_counted_and_refused_with_the_reason_where_not() -> None:
    time = price_time(CELLS, runs(1.0, threads=2, shared=False), SETTINGS, 100)
    with pytest.raises(FitError, match="no energy counter"):
        price_energy(CELLS, time)
    energy = price_energy([drawing(cell, 50.0) for cell in CELLS], time)
    assert energy.of_run(COUNTED, 1000).value == pytest.approx(50 * 1050 * TRUE_STEP_S, rel=0.05)


def drawing(cell: Cell, watts: float) -> Cell:
    assert cell.time_s
    joules = cell.time_s.scaled(watts)
    return cell.model_copy(update={"energy": Energy(status="ok", joules_per_round=joules, method="made up")})


# --- memory -----------------------------------------------------------------------------------------------------------

RECIPE = Recipe(8, 128, 256, "float32", "adamw", "cpu", 100, 0.2)


def peak_bytes(model: ModelConfig) -> int:
    predicted = predict_memory(RECIPE.step(model))
    assert predicted
    return predicted.peak_bytes


def test_without_measurements_the_walk_over_the_shape_is_the_price() -> None:
    assert MemoryPrice.of([], RECIPE).peak_bytes(SHAPE).value == peak_bytes(SHAPE)


def test_what_was_measured_beyond_the_walk_is_added() -> None:
    price = MemoryPrice.of([holding(cell, 64e6) for cell in CELLS], RECIPE)
    assert price.peak_bytes(SHAPE).value == pytest.approx(peak_bytes(SHAPE) + 64e6, rel=0.01)


def holding(cell: Cell, beyond_bytes: float) -> Cell:
    predicted = predict_memory(cell.workload)
    assert predicted
    memory = Memory(allocated_bytes=round(predicted.peak_bytes + beyond_bytes), method="made up")
    return cell.model_copy(update={"predicted_memory": predicted, "memory": memory})


@pytest.mark.parametrize("depth", [4, 6, 12, 24])
def test_a_model_fits_just_where_its_own_walk_does(depth: int) -> None:
    model = ModelConfig(n_layer=depth, d_model=64, n_head=4)
    price = MemoryPrice(RECIPE, None)
    assert list(price.fits([model], peak_bytes(model) + 1)) == [True]
    assert list(price.fits([model], peak_bytes(model) - 1)) == [False]


def test_every_model_fits_where_no_limit_is_known() -> None:
    assert np.all(MemoryPrice(RECIPE, None).fits([SHAPE, SHAPE], None))
