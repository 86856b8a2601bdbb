"""Every shape on every contender that has it: time, speed-up, memory, energy and price, measured or predicted."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from math import exp

from scipy.stats import t

from scalemark.analysis import CURVE_DEPTHS, FARTHEST_PRICE, PRICED_DEPTHS, TOKENS_PER_PARAMETER
from scalemark.diff.noise import RunToRun, repeated_logs, run_to_run
from scalemark.diff.speedup import Median, ratio_of_medians
from scalemark.diff.verdict import ratio_of
from scalemark.fit.cost_law import distance, predict
from scalemark.model.accounting import account
from scalemark.model.ladder import BATCH, SEQ_LEN, diagonal_shape
from scalemark.schema import (
    Accounting,
    Cell,
    Contender,
    ContenderStep,
    CurvePoint,
    Estimate,
    LawKind,
    ModelConfig,
    ShapeCompared,
)
from scalemark.versus.fitted import counted_for, step_cells

_SECONDS_PER_HOUR = 3600.0


@dataclass(frozen=True)
class Shape:
    """What is the same work on every contender. model: None for a user's own task, which its key names."""

    name: str
    model: ModelConfig | None
    task_key: str | None
    batch: int | None
    seq_len: int | None

    @classmethod
    def of(cls, cell: Cell) -> "Shape":
        work = cell.workload
        task_key = work.task.key if work.task else None
        return cls(work.rung, work.model, task_key, work.batch, work.seq_len)


Measured = Mapping[Shape, Cell]


def measured_shapes(contender: Contender) -> dict[Shape, Cell]:
    """The contender's steps by shape, those without a time or a count left out."""
    return {Shape.of(cell): cell for cell in step_cells(contender) if cell.typical_s and cell.accounting}


def compare_shapes(contenders: Sequence[Contender]) -> tuple[ShapeCompared, ...]:
    """Every shape that was measured, and those that are priced, where two contenders or more have or predict it.

    By size, the smallest first.
    """
    measured = {one.name: measured_shapes(one) for one in contenders}
    noises = {one.name: _run_to_run(measured[one.name].values()) for one in contenders}
    found = []
    for shape, tokens in _wanted(measured.values()).items():
        each = [(one, _step(one, shape, measured[one.name].get(shape), noises[one.name])) for one in contenders]
        known = {one.name: step for one, step in each if step}
        if len(known) > 1:
            steps = _with_speedups(contenders, known)
            found.append(_compared(shape, _accounting(shape, measured.values()), tokens, steps))
    return tuple(sorted(found, key=lambda one: (one.params_non_embedding, one.items, one.name)))


def _wanted(measured: Iterable[Measured]) -> dict[Shape, float | None]:
    """Shapes with the tokens that a whole training is priced for: of the largest rung that all have, and beyond."""
    each = list(measured)
    wanted: dict[Shape, float | None] = dict.fromkeys(shape for one in each for shape in one)
    for shape in [*_in_all(each)[-1:], *_diagonal(PRICED_DEPTHS)]:
        assert shape.model
        wanted[shape] = float(TOKENS_PER_PARAMETER * account(shape.model, BATCH, SEQ_LEN).params_total)
    return wanted


def _diagonal(depths: Iterable[int]) -> Iterator[Shape]:
    for model in map(diagonal_shape, depths):
        yield Shape(model.name, model, None, BATCH, SEQ_LEN)


# The models that the laws' curves go through.
_LINE = frozenset(_diagonal(CURVE_DEPTHS))


def largest_common(contenders: Sequence[Contender]) -> ModelConfig:
    """The largest growing model that all have timed at the ladder's batch; that of two layers where there is none."""
    common = _in_all([measured_shapes(one) for one in contenders if one.law("step_time")])
    model = common[-1].model if common else diagonal_shape(2)
    assert model, "a growing model is one of ours"
    return model


def _in_all(measured: Sequence[Measured]) -> list[Shape]:
    """Growing models that each has timed, the largest last."""
    return [shape for shape in _diagonal(CURVE_DEPTHS) if measured and all(shape in one for one in measured)]


def usd_curves(contenders: Sequence[Contender]) -> dict[str, tuple[CurvePoint, ...]]:
    """US dollars per million tokens along the growing model, of those that have a price and a law of time."""
    per_second = {one.name: one.usd_per_hour / _SECONDS_PER_HOUR for one in contenders if one.usd_per_hour}
    millions = BATCH * SEQ_LEN / 1e6
    return {
        one.name: tuple(
            point.model_copy(update={"y": point.y.scaled(per_second[one.name] / millions)})
            for point in one.curves["step_time"]
        )
        for one in contenders
        if one.name in per_second and "step_time" in one.curves
    }


def _accounting(shape: Shape, measured: Iterable[Measured]) -> Accounting:
    """As a suite counted it; of a shape that none has, as its formula does."""
    counted = next((one[shape].accounting for one in measured if shape in one), None)
    if counted is None:
        assert shape.model and shape.batch and shape.seq_len, "a user's own task is measured or not there"
        return account(shape.model, shape.batch, shape.seq_len)
    return counted


def _compared(
    shape: Shape, counted: Accounting, training_tokens: float | None, steps: Sequence[ContenderStep]
) -> ShapeCompared:
    return ShapeCompared(
        name=shape.name,
        batch=shape.batch,
        seq_len=shape.seq_len,
        params_total=counted.params_total,
        params_non_embedding=counted.params_non_embedding,
        items=counted.items,
        on_line=shape in _LINE,
        training_tokens=training_tokens,
        steps=tuple(steps),
    )


def _with_speedups(contenders: Sequence[Contender], found: Mapping[str, "_Found"]) -> list[ContenderStep]:
    """Each step with its speed-up over the first contender's, whose median is independent of the others'."""
    first = found.get(contenders[0].name)
    return [
        one.step.model_copy(update={"speedup": _speedup(first, one)}) if first and one is not first else one.step
        for one in found.values()
    ]


def _speedup(first: "_Found", other: "_Found") -> Estimate:
    """Of medians as such; where one is predicted, by the ends of both intervals, which need not be symmetric."""
    if first.median and other.median:
        return ratio_of_medians(first.median, other.median)
    return ratio_of(first.step.seconds, other.step.seconds)


# --- one contender ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Found:
    """A contender's step; with its median, where it was measured."""

    step: ContenderStep
    median: Median | None = None


def _step(contender: Contender, shape: Shape, cell: Cell | None, noise: Mapping[str, RunToRun]) -> _Found | None:
    found = _measured(contender, cell, noise) if cell else _predicted(contender, shape)
    if found is None or contender.usd_per_hour is None:
        return found
    usd = found.step.seconds.scaled(contender.usd_per_hour / _SECONDS_PER_HOUR)
    return replace(found, step=found.step.model_copy(update={"usd": usd}))


def _measured(contender: Contender, cell: Cell, noise: Mapping[str, RunToRun]) -> _Found:
    assert cell.typical_s
    median = over_runs(Median.of_blocks(cell.typical_s, len(cell.blocks)), noise.get(cell.workload.key))
    allocated = cell.memory.allocated_bytes if cell.memory else None
    step = ContenderStep(
        contender=contender.name,
        measured=True,
        seconds=median.estimate,
        memory_bytes=Estimate(value=allocated, low=allocated, high=allocated) if allocated else None,
        fits_memory=True,
        joules=cell.energy.joules_per_round if cell.energy and not cell.energy.fake else None,
    )
    return _Found(step, median)


def over_runs(median: Median, noise: RunToRun | None) -> Median:
    """With an interval for what other runs of the same code would give, where reruns tell it and that is wider.

    The blocks of one run do not see what moves a whole run.
    """
    if noise is None:
        return median
    estimate = median.estimate
    reach = exp(float(t.ppf((1 + estimate.level) / 2, noise.freedom)) * noise.sd)
    if reach**2 <= estimate.high / estimate.low:
        return median
    wide = estimate.model_copy(update={"low": estimate.value / reach, "high": estimate.value * reach})
    return Median(wide, noise.freedom)


def _run_to_run(cells: Iterable[Cell]) -> dict[str, RunToRun]:
    each = list(cells)
    corrected = [cell for cell in each if cell.corrected_s]
    raw = [cell for cell in each if not cell.corrected_s]
    return {**run_to_run(repeated_logs(raw, "time_s")), **run_to_run(repeated_logs(corrected, "corrected_s"))}


def _predicted(contender: Contender, shape: Shape) -> _Found | None:
    """By the contender's laws; None where it has no law of time, or that does not reach so far."""
    law = contender.law("step_time")
    if law is None or shape.model is None or not shape.batch or not shape.seq_len:
        return None
    far = distance(law, counted_for(contender, "step_time", shape.model, shape.batch, shape.seq_len))
    seconds = _ask(contender, "step_time", shape)
    if far > FARTHEST_PRICE or seconds is None:
        return None
    memory_bytes, limit_bytes = _ask(contender, "memory", shape), contender.suite.memory_limit_bytes
    step = ContenderStep(
        contender=contender.name,
        measured=False,
        extrapolation=far,
        seconds=seconds,
        memory_bytes=memory_bytes,
        fits_memory=memory_bytes.high < limit_bytes if memory_bytes and limit_bytes else None,
        joules=_ask(contender, "energy", shape),
    )
    return _Found(step)


def _ask(contender: Contender, kind: LawKind, shape: Shape) -> Estimate | None:
    law = contender.law(kind)
    if law is None:
        return None
    assert shape.model and shape.batch and shape.seq_len
    return predict(law, counted_for(contender, kind, shape.model, shape.batch, shape.seq_len))
