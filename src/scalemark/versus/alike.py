"""What may be compared, and what differs where it may not: faked suites, conventions, harness, text, losses."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from scalemark.schema import Accounting, Cell, Contender, LossCompared, NotCompared, Suite, TrainingRun
from scalemark.versus.shapes import Shape, measured_shapes

_COUNTED: Mapping[str, Callable[[Accounting], float]] = {
    "params_total": lambda counted: counted.params_total,
    "items": lambda counted: counted.items,
    "flops.matmul": lambda counted: counted.flops.matmul,
    "flops.attention_full": lambda counted: counted.flops.attention_full,
}
# How many threads a library may use goes with the machine, and is no property of the harness.
_OF_THE_MACHINE = "_NUM_THREADS"
_UNKNOWN = "unknown"


def only_comparable(contenders: Sequence[Contender]) -> tuple[tuple[Contender, ...], list[NotCompared]]:
    """The contenders without what may not be compared, and what that was, with its reason.

    Set aside: all of a faked suite beside real ones; a shape that is counted otherwise than the first that has it.
    """
    real, set_aside = _without_fakes(contenders)
    kept = []
    first: dict[Shape, Accounting] = {}
    for one in real:
        odd = {
            shape: fields for shape, cell in measured_shapes(one).items() if (fields := _odd_fields(shape, cell, first))
        }
        set_aside += [_odd(one.name, shape, fields) for shape, fields in odd.items()]
        cells = [cell for cell in one.suite.cells if Shape.of(cell) not in odd]
        kept.append(_with(one, cells=tuple(cells)) if odd else one)
    return tuple(kept), set_aside


def _without_fakes(contenders: Sequence[Contender]) -> tuple[Sequence[Contender], list[NotCompared]]:
    """Among themselves, faked suites may be compared: then all is fake, and each says so."""
    if all(one.suite.fake for one in contenders):
        return contenders, []
    emptied = [_with(one, cells=(), training_runs=()) if one.suite.fake else one for one in contenders]
    return emptied, [_fake(one.name) for one in contenders if one.suite.fake]


def _with(contender: Contender, **fields: object) -> Contender:
    return contender.model_copy(update={"suite": contender.suite.model_copy(update=fields)})


def _fake(name: str) -> NotCompared:
    return NotCompared(
        what=f"everything of {name}",
        fields=("fake: true",),
        reason="it was made with a faked source and is no measurement: measure for real",
    )


def _odd_fields(shape: Shape, cell: Cell, first: dict[Shape, Accounting]) -> tuple[str, ...]:
    """What is counted otherwise than by the first that has this shape; nothing where this is the first."""
    assert cell.accounting
    before = first.setdefault(shape, cell.accounting)
    pairs = [(name, read(before), read(cell.accounting)) for name, read in _COUNTED.items()]
    return tuple(f"{name}: {one:,.0f}, {other:,.0f}" for name, one, other in pairs if one != other)


def _odd(name: str, shape: Shape, fields: tuple[str, ...]) -> NotCompared:
    reason = "the shape is counted in another convention or its model is another: measure both with one version"
    return NotCompared(what=f"{shape.name} of {name}", fields=fields, reason=reason)


# --- harness ----------------------------------------------------------------------------------------------------------


def unequal_terms(contenders: Sequence[Contender]) -> Iterator[NotCompared]:
    """What was compared all the same, though the harness was not the same for all."""
    fields = [field for name, read in _HARNESS.items() if (field := _differing(name, contenders, read))]
    if fields:
        yield NotCompared(
            what="times, on equal terms",
            fields=tuple(fields),
            reason="they are compared all the same; measure with one version and the same settings to be sure",
        )
    for one in contenders:
        if one.suite.cells and not measured_shapes(one):
            yield NotCompared(
                what=f"times of {one.name}",
                fields=(f"steps: {one.dtype}, {one.optimizer}, {'compiled' if one.compiled else 'eager'}",),
                reason="the suite has no timed training steps that run so: measure some, or name others of it",
            )
    unfinished = [one.name for one in contenders if not one.suite.complete]
    if unfinished:
        yield NotCompared(
            what=f"what {', '.join(unfinished)} did not reach",
            fields=("complete: false",),
            reason="the run was interrupted: run it again for the rest",
        )


def _environment(suite: Suite) -> str:
    kept = {name: value for name, value in suite.settings.environment.items() if not name.endswith(_OF_THE_MACHINE)}
    return " ".join(f"{name}={value}" for name, value in sorted(kept.items())) or "nothing set"


_HARNESS: Mapping[str, Callable[[Contender], object]] = {
    "scalemark_version": lambda one: one.suite.scalemark_version,
    "environment": lambda one: _environment(one.suite),
    "slow moments taken out": lambda one: "yes" if any(cell.corrected_s for cell in one.suite.cells) else "no",
}


def _differing(name: str, contenders: Sequence[Contender], read: Callable[[Contender], object]) -> str | None:
    values = [read(one) for one in contenders]
    return f"{name}: {', '.join(map(str, values))}" if len(set(values)) > 1 else None


# --- losses -----------------------------------------------------------------------------------------------------------


def compare_losses(contenders: Sequence[Contender]) -> tuple[tuple[LossCompared, ...], list[NotCompared]]:
    """Validation losses of configurations that are equal but for where they ran, and why there are none."""
    trained = {one.name: _trained(one.suite) for one in contenders}
    if len({one.suite.id for one in contenders}) < 2 or sum(map(bool, trained.values())) < 2:
        return (), []
    texts = _differing("corpus", [one for one in contenders if trained[one.name]], _corpus)
    if texts:
        reason = "losses on different text say nothing of the machines: train on one corpus"
        return (), [NotCompared(what="losses", fields=(texts,), reason=reason)]
    found = _in_common(contenders, trained)
    if found:
        return found, []
    reason = "no training configuration is in two of the suites: give both the same grid, and time for it"
    return (), [NotCompared(what="losses", reason=reason)]


def _in_common(
    contenders: Sequence[Contender], trained: Mapping[str, Mapping[str, TrainingRun]]
) -> tuple[LossCompared, ...]:
    found = []
    for key in dict.fromkeys(key for runs in trained.values() for key in runs):
        runs = [trained[one.name].get(key) for one in contenders]
        if sum(run is not None for run in runs) > 1:
            found.append(_loss(runs))
    return tuple(sorted(found, key=lambda one: (one.params_non_embedding, one.tokens)))


def _loss(runs: Sequence[TrainingRun | None]) -> LossCompared:
    run = next(run for run in runs if run)
    config = run.config
    name = config.model.name if config.model else config.task.name if config.task else _UNKNOWN
    return LossCompared(
        model=name,
        params_non_embedding=run.accounting.params_non_embedding if run.accounting else 0,
        tokens=config.tokens,
        losses=tuple(run.validation_loss if run else None for run in runs),
    )


def _corpus(contender: Contender) -> str:
    """Of what was trained, as it is in each run's configuration too."""
    return contender.suite.corpus.identity if contender.suite.corpus else _UNKNOWN


def _trained(suite: Suite) -> dict[str, TrainingRun]:
    """Finished runs by everything that decides their loss but for the device."""
    done = [run for run in suite.training_runs if run.status == "ok" and run.validation_loss]
    return {_but_for_the_device(run): run for run in done}


def _but_for_the_device(run: TrainingRun) -> str:
    same: dict[str, Any] = {"device": "cpu"}
    return run.config.model_copy(update=same).key
