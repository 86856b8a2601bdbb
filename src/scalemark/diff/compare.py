"""Compare a suite with a base, cell by cell: exact counters, peak memory and operators, then time; then seeded losses.

    what is compared                    on this machine          on another machine
    parameters, FLOPs, bytes by shape   exact                    exact
    allocated peak memory               exact, but for 1 MiB     exact on the same torch build and device, likewise
                                        of a CUDA device
    operators and their bytes           exact                    exact on the same torch build
    time, energy (`diff.measured`)      by reruns or intervals   incomparable, the ratio is given as advice
    seeded validation loss              exact but for rounding   incomparable
    laws (`diff.laws`)                  as predictions           incomparable

Not compared: resident memory, which the allocator's mood moves, and training time, which carries no interval.
"""

from collections.abc import Iterable, Iterator, Mapping
from math import isfinite

from scalemark.diff.machines import Machines
from scalemark.diff.measured import ALL_CELLS, compare_measured, n_repeats
from scalemark.diff.presence import judge_presence
from scalemark.diff.verdict import judge_counter, judge_loss, worst
from scalemark.schema import (
    Accounting,
    Cell,
    Comparison,
    Diff,
    LawDiff,
    Machine,
    Operators,
    Suite,
    TrainingRun,
    VerdictName,
)

PEAK_MEMORY, LOSS = "peak_allocated_bytes", "validation_loss"
_MOST_OPERATORS_NAMED = 5
# torch's caching allocator hands out a cached block whole where no more than this would be left of it
# (c10/cuda/CUDACachingAllocator.cpp, `should_split` and kSmallSize), so that what ran before moves the peak.
_PEAK_TOLERANCE_BYTES = {"cuda": 2**20}


def compare(base: Suite, new: Suite, margin: float | None = None, laws: Iterable[LawDiff] = ()) -> Diff:
    """What `new` says against `base`. The verdict is the worst of the parts, as `verdict.worst` orders them.

    margin: no smaller change of a time or an energy is called one, 0.05 reads '5 %'. laws: as `diff.laws` judged them;
    one that is undecided says nothing that its cells do not.
    """
    machines = Machines(base.machine, new.machine)
    comparisons = (*_compare_cells(base, new, machines, margin), *_compare_runs(base, new, machines))
    laws = tuple(laws)
    decided = [law.verdict for law in laws if law.verdict in ("regressed", "improved")]
    return Diff(
        base_id=base.id,
        new_id=new.id,
        verdict=worst([*(comparison.verdict for comparison in comparisons), *decided]),
        advisory=machines.differ,
        comparisons=comparisons,
        laws=laws,
        differing_fields=machines.differing_fields,
        n_repeats=n_repeats(base.cells),
    )


def compare_exact(before: Cell, after: Cell, machine: Machine) -> Iterator[Comparison]:
    """What the same code gives on every run: counters, peak memory and operators of one cell, on one machine."""
    machines = Machines(machine, machine)
    yield from _compare_counters(before, after)
    yield from _compare_memory(before, after, machines)
    yield from _compare_operators(before, after, machines)


# --- cells ------------------------------------------------------------------------------------------------------------


def _compare_cells(base: Suite, new: Suite, machines: Machines, margin: float | None) -> Iterator[Comparison]:
    base_cells = {cell.workload.key: cell for cell in base.cells}
    new_cells = {cell.workload.key: cell for cell in new.cells}
    keys = _asked_for(base_cells, new_cells, new)
    measured = compare_measured(keys, base_cells, new_cells, machines, margin)
    for key in keys:
        before, after = base_cells.get(key), new_cells.get(key)
        if before and after:
            yield from _compare_counters(before, after)
            yield from _compare_memory(before, after, machines)
            yield from _compare_operators(before, after, machines)
        yield from measured[key]
    yield from measured.get(ALL_CELLS, [])


def _asked_for(base: Mapping[str, object], new: Mapping[str, object], suite: Suite) -> list[str]:
    """Keys to compare: all, but for those that a run narrowed down (`-k`, one file) did not ask for."""
    return list(new if suite.settings.selection else {**base, **new})


def _compare_counters(before: Cell, after: Cell) -> Iterator[Comparison]:
    base_counters, new_counters = _counters(before.accounting), _counters(after.accounting)
    for metric in base_counters | new_counters:
        base, new = base_counters.get(metric), new_counters.get(metric)
        yield Comparison(
            subject=before.workload.key, metric=metric, base=base, new=new, verdict=_judge_known(base, new)
        )


def _judge_known(base: float | None, new: float | None) -> VerdictName:
    """Of an exact number that may be known on one side only."""
    if base is None:
        return "new"
    return "missing" if new is None else judge_counter(base, new)


def _counters(accounting: Accounting | None) -> dict[str, float]:
    """What is exact, by its name in the record; without what is not known."""
    if accounting is None:
        return {}
    known = {
        "params_total": accounting.params_total,
        **{f"flops_{name}": value for name, value in accounting.flops.model_dump().items()},
        "parameter_bytes": accounting.parameter_bytes,
        "gradient_bytes": accounting.gradient_bytes,
        "optimizer_state_bytes": accounting.optimizer_state_bytes,
        "activation_bytes": accounting.activation_bytes,
    }
    return {name: value for name, value in known.items() if value is not None}


def _compare_memory(before: Cell, after: Cell, machines: Machines) -> Iterator[Comparison]:
    base = before.memory.allocated_bytes if before.memory else None
    new = after.memory.allocated_bytes if after.memory else None
    if (base is None and new is None) or after.status == "skipped":
        return
    verdict, reason = (
        _judge_peak(base, new, before.workload.device),
        _why_memory_differs_in_kind(before, after, machines),
    )
    if base is not None and new is not None and reason:
        verdict = "incomparable"
    elif new is None:
        reason = after.memory.reason if after.memory else after.reason
    yield Comparison(
        subject=before.workload.key, metric=PEAK_MEMORY, base=base, new=new, verdict=verdict, reason=reason
    )


def _judge_peak(base: float | None, new: float | None, device: str) -> VerdictName:
    within = base is not None and new is not None and abs(new - base) <= _PEAK_TOLERANCE_BYTES.get(device, 0)
    return "same" if within else _judge_known(base, new)


def _why_memory_differs_in_kind(before: Cell, after: Cell, machines: Machines) -> str | None:
    if before.memory and after.memory and before.memory.method != after.memory.method:
        return f"observed in two ways: {before.memory.method}, then {after.memory.method}"
    return machines.reason_against_memory(before.workload.device)


def _compare_operators(before: Cell, after: Cell, machines: Machines) -> Iterator[Comparison]:
    """Where both sides counted them; a suite of the first format has none, which says nothing of the code."""
    if before.operators is None or after.operators is None:
        return
    why_not = machines.reason_against_operators(before.workload.device)
    changes = _changed_calls(before.operators.calls, after.operators.calls)
    base_counters, new_counters = _operator_counters(before.operators), _operator_counters(after.operators)
    for metric, base in base_counters.items():
        new = new_counters[metric]
        yield Comparison(
            subject=before.workload.key,
            metric=metric,
            base=base,
            new=new,
            verdict="incomparable" if why_not else judge_counter(base, new),
            reason=why_not or (changes if base != new else None),
        )


def _operator_counters(operators: Operators) -> dict[str, float]:
    return {
        "operators_total": operators.total,
        "operator_bytes_read": operators.bytes_read,
        "operator_bytes_written": operators.bytes_written,
    }


def _changed_calls(base: Mapping[str, int], new: Mapping[str, int]) -> str | None:
    """'aten.mm 12 -> 13', those that changed most first; None where every operator runs as often as before."""
    names = [name for name in base.keys() | new.keys() if base.get(name, 0) != new.get(name, 0)]
    names.sort(key=lambda name: (-abs(new.get(name, 0) - base.get(name, 0)), name))
    parts = [f"{name} {base.get(name, 0)} -> {new.get(name, 0)}" for name in names[:_MOST_OPERATORS_NAMED]]
    more = len(names) - _MOST_OPERATORS_NAMED
    return ", ".join([*parts, *([f"{more} more"] if more > 0 else [])]) or None


# --- training runs ----------------------------------------------------------------------------------------------------


def _compare_runs(base: Suite, new: Suite, machines: Machines) -> Iterator[Comparison]:
    base_runs = {run.config.key: run for run in base.training_runs}
    new_runs = {run.config.key: run for run in new.training_runs}
    for key in _asked_for(base_runs, new_runs, new):
        before, after = base_runs.get(key), new_runs.get(key)
        named = before or after
        if named is None or not (_was_tried(before) or _was_tried(after)):
            continue
        yield _compare_loss(f"{named.config} ({key})", before, after, machines)


def _was_tried(run: TrainingRun | None) -> bool:
    """A grid is wider than any budget: what neither side began is no difference."""
    return run is not None and run.status != "skipped"


def _compare_loss(
    subject: str, before: TrainingRun | None, after: TrainingRun | None, machines: Machines
) -> Comparison:
    base, new = _loss(before), _loss(after)
    if base is None or new is None:
        verdict, reason = judge_presence(before, after, machines)
    elif machines.differ:
        verdict, reason = "incomparable", machines.reason
    else:
        verdict, reason = judge_loss(base, new), None
    return Comparison(subject=subject, metric=LOSS, base=base, new=new, verdict=verdict, reason=reason)


def _loss(run: TrainingRun | None) -> float | None:
    loss = run.validation_loss if run and run.status == "ok" else None
    return loss if loss is not None and isfinite(loss) else None
