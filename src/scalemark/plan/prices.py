"""What a training run costs here, from what was timed: steps, the loop around them, set-up and validation.

    time of a run = (steps + extra steps) · loop · time law(shape, at the batch that it is trained with)

loop: what a step of real training takes over a timed one. It clips gradients and fetches text, and it meets the
machine's slow moments, which timed steps have taken out. Where training runs had the machine and all its threads for
themselves, they tell it; else it is what the blocks took over the corrected times, times what clipping takes.
extra steps: set-up and validation of the suite's own runs, as a number of their steps.

Without timed steps, the time law is fitted to the training runs themselves: it prices training as the grid did it.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from scalemark.errors import FitError
from scalemark.fit.cost_law import (
    Limits,
    distance,
    fit_energy_law,
    fit_memory_law,
    fit_time_law,
    predict,
    predict_draws,
    predict_values,
)
from scalemark.fit.prediction import predict_with_scatter
from scalemark.model.memory import predict_memory
from scalemark.plan.shapes import Recipe
from scalemark.schema import (
    Accounting,
    Cell,
    Estimate,
    Holdout,
    Law,
    ModelConfig,
    PredictedMemory,
    Settings,
    TrainingRun,
    Workload,
)

Array = NDArray[np.float64]

# A step of the training loop over the same step alone, in turns in one process: 0.99 to 1.07 at five widths
# (docs/planning.md), and the standard deviation of its logarithm. For suites whose own runs cannot tell.
LOOP_RATIO, LOOP_LOG_SD = 1.04, 0.03
# Walks through steps of so many layers tell those of deeper models of the same width.
_SHALLOW = (4, 8)
_NO_LIMITS = Limits()
TIMED_ADVICE = "run `pytest bench/` for timed steps"


@dataclass(frozen=True)
class Prices:
    """Costs of training runs in the law's unit. Draws have shape (replicates,); see the top of the module.

    threads, shared: how the runs that it prices are trained: on so many threads, beside others or alone. source: which
    measurements say so.
    """

    law: Law
    loop: float
    loop_draws: Array
    extra_steps: float
    extra_draws: Array
    threads: int
    shared: bool
    source: str

    def steps(self, counted: Sequence[Accounting]) -> Array:
        """Cost of one training step of each, shape (n,)."""
        return self.loop * predict_values(self.law, counted)

    def steps_draws(self, counted: Sequence[Accounting]) -> Array:
        """The same in each replicate, shape (replicates, n)."""
        return self.loop_draws[:, None] * predict_draws(self.law, counted)[: len(self.loop_draws)]

    def of_run(self, accounting: Accounting, n_steps: float) -> Estimate:
        """What a whole run of so many steps costs, with the interval of a new one."""
        value = (n_steps + self.extra_steps) * self.steps([accounting])[0]
        draws = (n_steps + self.extra_draws) * self.steps_draws([accounting])[:, 0]
        scatter = scatter_of(self.law, distance(self.law, accounting))
        return predict_with_scatter(float(np.log(value)), np.log(draws), scatter)


def scatter_of(law: Law, distance: float) -> float:
    """How far a new measurement lies from a law, as a standard deviation of logs.

    Beyond the fitted range, no less than what the law missed on the largest measurements when they were hidden.
    """
    missed = _holdout_scatter(law.holdout) if law.holdout and distance > 1 else 0.0
    return max(law.residual_sd, missed)


def _holdout_scatter(holdout: Holdout) -> float:
    return float(np.sqrt(np.mean(np.log1p(holdout.errors) ** 2))) if holdout.errors else 0.0


# --- time -------------------------------------------------------------------------------------------------------------


def price_time(
    cells: Sequence[Cell],
    runs: Sequence[TrainingRun],
    settings: Settings,
    replicates: int,
    limits: Limits = _NO_LIMITS,
    law: Law | None = None,
) -> Prices:
    """Seconds, from timed steps, or from training runs where too few steps were timed.

    limits: ceilings of the suite, for the time law. law: of these steps, where it is fitted already. Raises FitError
    where neither tells a law.
    """
    try:
        law = law or fit_time_law(cells, settings.seed, limits)
    except FitError as error:
        return _from_runs(runs, settings, replicates, str(error))
    rng = np.random.default_rng(settings.seed)
    alone = [run for run in runs if _is_timed(run) and _has_machine(run, settings)]
    loop, draws = _loop_of_runs(law, alone, replicates, rng) if alone else _loop_of_blocks(cells, replicates, rng)
    source = "steps timed alone on all threads" + (", and the pace of training runs that were trained so" * bool(alone))
    count = min(replicates, len(law.draws))
    return Prices(law, loop, draws[:count], *_extra(runs, count, rng), settings.threads, False, source)


def _from_runs(runs: Sequence[TrainingRun], settings: Settings, replicates: int, why_not_timed: str) -> Prices:
    """The law of the training runs' own steps, under the conditions that most of them had."""
    timed = [run for run in runs if _is_timed(run)]
    if not timed:
        raise FitError(f"nothing here tells what training costs ({why_not_timed}): {TIMED_ADVICE}")
    conditions, _ = Counter(map(_conditions, timed)).most_common(1)[0]
    same = [run for run in timed if _conditions(run) == conditions]
    threads, shared, _ = conditions
    try:
        law = fit_time_law([_as_cell(run) for run in same], settings.seed)
    except FitError as error:
        raise FitError(f"neither timed steps nor training runs tell what training costs ({error})") from error
    count = min(replicates, len(law.draws))
    extra = _extra(runs, count, np.random.default_rng(settings.seed))
    source = f"{len(same)} training runs of this suite, as it has no timed steps"
    return Prices(law, 1.0, np.ones(count), *extra, threads or settings.threads, shared, source)


def _is_timed(run: TrainingRun) -> bool:
    told = run.status == "ok" and run.config.model and run.accounting and run.seconds
    return bool(told) and run.has_own_node


def _conditions(run: TrainingRun) -> tuple[int | None, bool, str | None]:
    """How a run was trained: on how many threads, beside others or not, and on a node of which processor."""
    return run.threads, run.shared, run.place.cpu if run.place else None


def _has_machine(run: TrainingRun, settings: Settings) -> bool:
    """Whether a run was trained here, alone, on all threads (a GPU is not waited for by more than one)."""
    return (
        run.place is None and not run.shared and (settings.device == "cuda" or run.threads in (None, settings.threads))
    )


def _step_s(run: TrainingRun) -> float:
    assert run.seconds
    return run.seconds / run.config.n_steps


def _as_cell(run: TrainingRun) -> Cell:
    """A run's mean step, as if it had been timed. Its scatter shows between runs, so it has no interval of its own."""
    config, step_s = run.config, _step_s(run)
    workload = Workload(
        phase="step",
        model=config.model,
        batch=config.batch,
        seq_len=config.seq_len,
        dtype=config.dtype,
        device=config.device,
        optimizer=config.optimizer,
    )
    time_s = Estimate(value=step_s, low=step_s, high=step_s)
    return Cell(workload=workload, status="ok", accounting=run.accounting, time_s=time_s)


def _loop_of_runs(
    law: Law, runs: Sequence[TrainingRun], replicates: int, rng: np.random.Generator
) -> tuple[float, Array]:
    """Median over runs of their step over the law's; a replicate draws one run, as the next is one more."""
    counted = [run.accounting for run in runs if run.accounting]
    ratios = np.array([_step_s(run) for run in runs]) / predict_values(law, counted)
    return float(np.median(ratios)), np.asarray(rng.choice(ratios, size=replicates))


def _loop_of_blocks(cells: Sequence[Cell], replicates: int, rng: np.random.Generator) -> tuple[float, Array]:
    """What rounds took on average over the corrected time, times what the loop adds.

    A long run meets the machine's moments in the share that the blocks met them, hence the mean. It is one process, and
    the next one of the same code may be faster or slower all through: a replicate draws one cell in one block.
    """
    slowness = _slowness(cells)
    loop = LOOP_RATIO * np.exp(LOOP_LOG_SD * rng.standard_normal(replicates))
    return float(np.mean(slowness)) * LOOP_RATIO, np.asarray(rng.choice(slowness, size=replicates) * loop)


def _slowness(cells: Sequence[Cell]) -> Array:
    """(blocks of all cells,): the mean round of a block over its cell's typical time; 1 where none is known."""
    found = [
        float(np.mean(block.rounds_s)) / cell.typical_s.value
        for cell in cells
        for block in cell.blocks
        if cell.typical_s and block.rounds_s
    ]
    return np.array(found) if found else np.ones(1)


def _extra(runs: Sequence[TrainingRun], replicates: int, rng: np.random.Generator) -> tuple[float, Array]:
    """Set-up and validation of the runs, in their own steps: the median, and one run for each replicate."""
    extra = [
        max(0.0, run.total_seconds - run.seconds) / _step_s(run)
        for run in runs
        if _is_timed(run) and run.total_seconds and run.seconds
    ]
    if not extra:
        return 0.0, np.zeros(replicates)
    return float(np.median(extra)), np.asarray(rng.choice(extra, size=replicates))


# --- energy -----------------------------------------------------------------------------------------------------------


def price_energy(
    cells: Sequence[Cell], time: Prices, seed: int = 0, limits: Limits = _NO_LIMITS, law: Law | None = None
) -> Prices:
    """Joules of the same runs, from cells whose energy was counted; raises FitError, with the reason, without any.

    law: of these cells, where it is fitted already. What the loop adds to a step's time, and set-up and validation, are
    taken to draw what a step draws.
    """
    return replace(time, law=law or fit_energy_law(cells, seed, limits), source="energy of timed steps")


# --- memory -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class MemoryPrice:
    """Peak bytes of a training step: the walk over its shape, through the memory law of what was measured.

    law: None where nothing was measured; the walk itself is then the price.
    """

    recipe: Recipe
    law: Law | None

    @classmethod
    def of(cls, cells: Sequence[Cell], recipe: Recipe, seed: int = 0, law: Law | None = None) -> "MemoryPrice":
        """Set against the measured cells, where there are enough; `law` where it is fitted already."""
        try:
            return cls(recipe, law or fit_memory_law(cells, seed))
        except FitError:
            return cls(recipe, None)

    def peak_bytes(self, model: ModelConfig) -> Estimate:
        """Peak of live tensors while this model takes a step at its training batch."""
        return self._priced(self._walked(model))

    def fits(self, models: Sequence[ModelConfig], limit_bytes: float | None) -> NDArray[np.bool_]:
        """Which of the models the memory holds; all, where no limit is known."""
        if limit_bytes is None:
            return np.ones(len(models), dtype=bool)
        return np.array([self._is_below(model, limit_bytes) for model in models])

    def _is_below(self, model: ModelConfig, limit_bytes: float) -> bool:
        """To walk through a step takes milliseconds, and there are hundreds of models, most of them clear cases."""
        accounting = self.recipe.account(model)
        states = accounting.parameter_bytes + accounting.gradient_bytes + accounting.optimizer_state_bytes
        return states < limit_bytes and self._priced(self._interpolated(model)).high < limit_bytes

    def _interpolated(self, model: ModelConfig) -> PredictedMemory:
        """Each layer from `_SHALLOW` on adds the same to the peak, so that two shallow walks tell a deep one."""
        low, high = _SHALLOW
        if model.n_layer <= high:
            return self._walked(model)
        shallow, deeper = (self._walked(model.model_copy(update={"n_layer": depth})) for depth in (low, high))
        per_layer = (deeper.peak_bytes - shallow.peak_bytes) / (high - low)
        return deeper.model_copy(update={"peak_bytes": round(deeper.peak_bytes + per_layer * (model.n_layer - high))})

    def _walked(self, model: ModelConfig) -> PredictedMemory:
        return _walk(self.recipe.step(model))

    def _priced(self, predicted: PredictedMemory) -> Estimate:
        if self.law:
            return predict(self.law, predicted)
        return Estimate(value=predicted.peak_bytes, low=predicted.peak_bytes, high=predicted.peak_bytes)


@lru_cache(maxsize=4096)
def _walk(workload: Workload) -> PredictedMemory:
    """Kept, as the two shallow walks of a width serve all depths, and every plan asks again."""
    predicted = predict_memory(workload)
    assert predicted is not None
    return predicted
