"""Compare a suite with a base, cell by cell: exact counters, peak memory and operators, then time; then seeded losses.

    what is compared                    on this machine          on another machine
    parameters, FLOPs, bytes by shape   exact                    exact
    allocated peak memory               exact                    exact on the same torch build and device
    operators and their bytes           exact                    exact on the same torch build
    time                                interval and margin      incomparable, the ratio is given as advice
    seeded validation loss              exact but for rounding   incomparable

Not compared: resident memory, which the allocator's mood moves, and energy and training time, which carry no interval.
"""

from collections.abc import Iterator, Mapping
from math import isfinite

from scalemark.diff.verdict import judge_counter, judge_loss, judge_ratio, ratio_of, worst
from scalemark.schema import (
    Accounting,
    Cell,
    Comparison,
    Diff,
    Machine,
    Operators,
    Suite,
    TrainingRun,
    VerdictName,
)

TIME, PEAK_MEMORY, LOSS = "time_s", "peak_allocated_bytes", "validation_loss"
# Only these facts of a machine decide what torch allocates: its build, its kernels, and a buffer for every thread.
_TORCH_BUILD = ("torch", "cuda", "blas", "onednn", "torch_cpu_capability", "float32_matmul_precision", "threads")
# What decides which operators a model comes apart into: not the kernels inside them, nor how many threads share one.
_OPERATOR_SET = ("architecture", "torch", "cuda", "onednn")
_MOST_OPERATORS_NAMED = 5
_LIMITED_BY_MACHINE = ("oom", "predicted_oom", "timeout")


def compare(base: Suite, new: Suite) -> Diff:
    """What `new` says against `base`. The verdict is the worst of the parts, as `verdict.worst` orders them."""
    machines = _Machines(base.machine, new.machine)
    comparisons = (*_compare_cells(base, new, machines), *_compare_runs(base, new, machines))
    return Diff(
        base_id=base.id,
        new_id=new.id,
        verdict=worst(comparison.verdict for comparison in comparisons),
        advisory=machines.differ,
        comparisons=comparisons,
        differing_fields=machines.differing_fields,
    )


def compare_exact(before: Cell, after: Cell, machine: Machine) -> Iterator[Comparison]:
    """What the same code gives on every run: counters, peak memory and operators of one cell, on one machine."""
    machines = _Machines(machine, machine)
    yield from _compare_counters(before, after)
    yield from _compare_memory(before, after, machines)
    yield from _compare_operators(before, after, machines)


class _Machines:
    """What two machines have in common, as far as it decides what may be compared."""

    def __init__(self, base: Machine, new: Machine) -> None:
        names = sorted(base.identity.keys() | new.identity.keys())
        self.differ = base.id != new.id
        differing = tuple(name for name in names if base.identity.get(name) != new.identity.get(name))
        self.differing_fields = (differing or ("id",)) if self.differ else ()

    @property
    def reason(self) -> str:
        return f"another machine: {', '.join(self.differing_fields)} differ"

    def reason_against_memory(self, device: str) -> str | None:
        """Why allocated bytes cannot be compared, or None where they can."""
        return self._reason_against(_TORCH_BUILD, device)

    def reason_against_operators(self, device: str) -> str | None:
        """Why operators cannot be compared, or None where they can."""
        return self._reason_against(_OPERATOR_SET, device)

    def _reason_against(self, facts: tuple[str, ...], device: str) -> str | None:
        decisive = (*facts, "gpu") if device == "cuda" else facts
        differing = [name for name in self.differing_fields if name in decisive]
        return f"another torch build or device: {', '.join(differing)} differ" if differing else None


# --- cells ------------------------------------------------------------------------------------------------------------


def _compare_cells(base: Suite, new: Suite, machines: _Machines) -> Iterator[Comparison]:
    base_cells = {cell.workload.key: cell for cell in base.cells}
    new_cells = {cell.workload.key: cell for cell in new.cells}
    for key in _asked_for(base_cells, new_cells, new):
        before, after = base_cells.get(key), new_cells.get(key)
        if before and after:
            yield from _compare_counters(before, after)
            yield from _compare_memory(before, after, machines)
            yield from _compare_operators(before, after, machines)
        if not _both_skipped(before, after):
            yield from _compare_time(key, before, after, machines)


def _asked_for(base: Mapping[str, object], new: Mapping[str, object], suite: Suite) -> list[str]:
    """Keys to compare: all, but for those that a run narrowed down (`-k`, one file) did not ask for."""
    return list(new if suite.settings.selection else {**base, **new})


def _both_skipped(before: Cell | TrainingRun | None, after: Cell | TrainingRun | None) -> bool:
    return before is not None and after is not None and before.status == after.status == "skipped"


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


def _compare_memory(before: Cell, after: Cell, machines: _Machines) -> Iterator[Comparison]:
    base = before.memory.allocated_bytes if before.memory else None
    new = after.memory.allocated_bytes if after.memory else None
    if base is None and new is None:
        return
    verdict, reason = _judge_known(base, new), _why_memory_differs_in_kind(before, after, machines)
    if base is not None and new is not None and reason:
        verdict = "incomparable"
    elif new is None:
        reason = after.memory.reason if after.memory else after.reason
    yield Comparison(
        subject=before.workload.key, metric=PEAK_MEMORY, base=base, new=new, verdict=verdict, reason=reason
    )


def _why_memory_differs_in_kind(before: Cell, after: Cell, machines: _Machines) -> str | None:
    if before.memory and after.memory and before.memory.method != after.memory.method:
        return f"observed in two ways: {before.memory.method}, then {after.memory.method}"
    return machines.reason_against_memory(before.workload.device)


def _compare_operators(before: Cell, after: Cell, machines: _Machines) -> Iterator[Comparison]:
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


def _compare_time(key: str, before: Cell | None, after: Cell | None, machines: _Machines) -> Iterator[Comparison]:
    base = before.time_s if before and before.status == "ok" else None
    new = after.time_s if after and after.status == "ok" else None
    ratio = ratio_of(new, base) if base and new else None
    if ratio:
        verdict: VerdictName = "incomparable" if machines.differ else judge_ratio(ratio)
        reason = machines.reason if machines.differ else None
    else:
        verdict, reason = _judge_presence(before, after, machines)
    yield Comparison(
        subject=key,
        metric=TIME,
        base=base.value if base else None,
        new=new.value if new else None,
        ratio=ratio,
        verdict=verdict,
        reason=reason,
    )


def _judge_presence(
    before: Cell | TrainingRun | None, after: Cell | TrainingRun | None, machines: _Machines
) -> tuple[VerdictName, str | None]:
    """Where at most one side has a result. A cell that did not fit another machine says nothing of the code."""
    if before is None or before.status == "skipped":
        return ("new", None) if after and after.status == "ok" else ("incomparable", _status(after))
    if after is None:
        return "missing", "not part of the new run"
    if after.status == "skipped":
        return "missing", _status(after)
    if before.status == after.status == "ok":
        return "missing", "not measured on both sides"
    if machines.differ and {before.status, after.status} & set(_LIMITED_BY_MACHINE):
        return "incomparable", f"{_status(after)}; {machines.reason}"
    if after.status == "ok":
        return "improved", f"base was {_status(before)}"
    return ("regressed" if before.status == "ok" else "same"), _status(after)


def _status(measured: Cell | TrainingRun | None) -> str | None:
    """'oom: needs 12 GiB'."""
    return ": ".join(filter(None, [measured.status, measured.reason])) if measured else None


# --- training runs ----------------------------------------------------------------------------------------------------


def _compare_runs(base: Suite, new: Suite, machines: _Machines) -> Iterator[Comparison]:
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
    subject: str, before: TrainingRun | None, after: TrainingRun | None, machines: _Machines
) -> Comparison:
    base, new = _loss(before), _loss(after)
    if base is None or new is None:
        verdict, reason = _judge_presence(before, after, machines)
    elif machines.differ:
        verdict, reason = "incomparable", machines.reason
    else:
        verdict, reason = judge_loss(base, new), None
    return Comparison(subject=subject, metric=LOSS, base=base, new=new, verdict=verdict, reason=reason)


def _loss(run: TrainingRun | None) -> float | None:
    loss = run.validation_loss if run and run.status == "ok" else None
    return loss if loss is not None and isfinite(loss) else None
