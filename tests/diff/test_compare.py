"""What diff says of two suites whose difference is known."""

from functools import cache

import pytest
from factories import make_suite

from scalemark.diff import compare
from scalemark.schema import Comparison, Diff, Operators, Suite, TrainingConfig, Workload

BASE = make_suite("base")
KEY = BASE.cells[0].workload.key


@cache
def suite_of_seed(seed: int) -> Suite:
    return make_suite(f"seed {seed}", seed=seed)


def with_cell(suite: Suite, **changes: object) -> Suite:
    """The suite with its first cell changed."""
    first, *others = suite.cells
    return suite.model_copy(update={"cells": (first.model_copy(update=changes), *others)})


def with_accounting(suite: Suite, **changes: object) -> Suite:
    accounting = suite.cells[0].accounting
    assert accounting is not None
    return with_cell(suite, accounting=accounting.model_copy(update=changes))


def with_run(suite: Suite, **changes: object) -> Suite:
    first, *others = suite.training_runs
    return suite.model_copy(update={"training_runs": (first.model_copy(update=changes), *others)})


def on_machine(suite: Suite, id: str, **facts: str | None) -> Suite:
    machine = suite.machine.model_copy(update={"id": id, "identity": {**suite.machine.identity, **facts}})
    return suite.model_copy(update={"machine": machine})


def unmeasured(status: str, reason: str | None = None) -> dict[str, object]:
    return {"status": status, "reason": reason, "time_s": None, "memory": None, "blocks": ()}


def the(diff: Diff, metric: str, subject: str = KEY) -> Comparison:
    (found,) = [c for c in diff.comparisons if c.metric == metric and c.subject == subject]
    return found


def the_loss(diff: Diff) -> Comparison:
    return next(c for c in diff.comparisons if c.metric == "validation_loss")


def verdicts(diff: Diff) -> set[str]:
    return {comparison.verdict for comparison in diff.comparisons}


def test_a_suite_is_the_same_as_itself() -> None:
    diff = compare(BASE, BASE)
    assert diff.verdict == "same"
    assert verdicts(diff) == {"same"}
    assert not diff.advisory
    assert {c.subject for c in diff.comparisons if c.metric == "time_s"} == {c.workload.key for c in BASE.cells}


def test_half_again_as_slow_is_a_regression_and_the_reverse_an_improvement() -> None:
    slow = make_suite("slow", slowdown=1.5, seed=1)
    diff = compare(BASE, slow)
    assert diff.verdict == "regressed"
    ratio = the(diff, "time_s").ratio
    assert ratio is not None
    assert ratio.low < 1.5 < ratio.high
    assert {c.verdict for c in diff.comparisons if c.metric == "time_s"} == {"regressed"}
    assert {c.verdict for c in compare(slow, BASE).comparisons if c.metric == "time_s"} == {"improved"}


def test_unchanged_code_measured_again_is_the_same_in_every_cell() -> None:
    """A/A over whole suites: rounds with 1 % noise, 28 pairs of 33 cells; no false alarm is tolerated."""
    suites = [suite_of_seed(seed).model_copy(update={"training_runs": ()}) for seed in range(8)]
    diffs = [compare(a, b) for index, a in enumerate(suites) for b in suites[:index]]
    assert [diff.verdict for diff in diffs] == ["same"] * 28


@pytest.mark.parametrize(
    "counter",
    ["params_total", "parameter_bytes", "gradient_bytes", "optimizer_state_bytes", "activation_bytes"],
)
def test_one_more_of_a_counter_regresses_on_any_machine(counter: str) -> None:
    value = getattr(BASE.cells[0].accounting, counter)
    for new in (BASE, on_machine(BASE, "elsewhere")):
        more, less = with_accounting(new, **{counter: value + 1}), with_accounting(new, **{counter: value - 1})
        assert the(compare(BASE, more), counter).verdict == "regressed"
        assert compare(BASE, more).verdict == "regressed"
        assert the(compare(BASE, less), counter).verdict == "improved"


@pytest.mark.parametrize("field", ["matmul", "attention_full", "attention_causal", "recompute_forward_passes"])
def test_more_flops_of_any_kind_regress(field: str) -> None:
    accounting = BASE.cells[0].accounting
    assert accounting is not None
    flops = accounting.flops.model_copy(update={field: getattr(accounting.flops, field) + 1})
    assert the(compare(BASE, with_accounting(BASE, flops=flops)), f"flops_{field}").verdict == "regressed"


def test_a_counter_known_on_one_side_only_is_not_called_a_change() -> None:
    unknown = with_accounting(BASE, activation_bytes=None)
    assert the(compare(unknown, BASE), "activation_bytes").verdict == "new"
    assert the(compare(BASE, unknown), "activation_bytes").verdict == "missing"
    assert not [c for c in compare(unknown, unknown).comparisons if c.metric == "activation_bytes" and c.subject == KEY]


def more_memory(suite: Suite, **changes: object) -> Suite:
    memory = suite.cells[0].memory
    assert memory is not None
    assert memory.allocated_bytes is not None
    return with_cell(suite, memory=memory.model_copy(update={"allocated_bytes": memory.allocated_bytes + 1, **changes}))


def test_one_byte_more_at_the_peak_regresses_here_and_on_the_same_torch_build() -> None:
    assert the(compare(BASE, more_memory(BASE)), "peak_allocated_bytes").verdict == "regressed"
    elsewhere = on_machine(more_memory(BASE), "elsewhere", cpu="Another CPU")
    assert the(compare(BASE, elsewhere), "peak_allocated_bytes").verdict == "regressed"


def test_a_gpus_peak_may_move_by_what_its_allocator_leaves_unsplit() -> None:
    workload = Workload.model_validate(BASE.cells[0].workload.model_dump() | {"device": "cuda"})
    base = with_cell(BASE, workload=workload)
    memory = BASE.cells[0].memory
    assert memory and memory.allocated_bytes
    for more, verdict in ((1536, "same"), (2**20, "same"), (2**20 + 1, "regressed"), (-(2**20) - 1, "improved")):
        new = more_memory(base, allocated_bytes=memory.allocated_bytes + more)
        assert the(compare(base, new), "peak_allocated_bytes", subject=workload.key).verdict == verdict


def test_the_memory_of_a_cell_without_time_is_not_said_to_be_missing() -> None:
    skipped = with_cell(BASE, status="skipped", reason="takes too long", memory=None, time_s=None, blocks=())
    told = [one for one in compare(BASE, skipped).comparisons if one.subject == BASE.cells[0].workload.key]
    assert {one.metric: one.verdict for one in told}["time_s"] == "inconclusive"
    assert "peak_allocated_bytes" not in {one.metric for one in told}


@pytest.mark.parametrize("fact", ["torch", "cuda", "blas", "torch_cpu_capability", "threads"])
def test_peaks_of_two_torch_builds_are_not_compared(fact: str) -> None:
    other_build = on_machine(more_memory(BASE), "elsewhere", **{fact: "another"})
    found = the(compare(BASE, other_build), "peak_allocated_bytes")
    assert found.verdict == "incomparable"
    assert found.reason is not None
    assert fact in found.reason


def test_peaks_that_were_observed_in_two_ways_are_not_compared() -> None:
    assert the(compare(BASE, more_memory(BASE, method="seen")), "peak_allocated_bytes").verdict == "incomparable"


def test_the_gpu_decides_on_peaks_of_gpu_cells_only() -> None:
    other_gpu = on_machine(more_memory(BASE), "elsewhere", gpu="Another GPU")
    assert the(compare(BASE, other_gpu), "peak_allocated_bytes").verdict == "regressed"
    workload = Workload.model_validate(BASE.cells[0].workload.model_dump() | {"device": "cuda"})
    found = the(
        compare(with_cell(BASE, workload=workload), with_cell(other_gpu, workload=workload)),
        "peak_allocated_bytes",
        subject=workload.key,
    )
    assert found.verdict == "incomparable"


OPERATORS = Operators(calls={"aten.mm": 12, "aten.add": 30}, bytes_read=1000, bytes_written=500)
OPERATOR_METRICS = ("operators_total", "operator_bytes_read", "operator_bytes_written")


def with_operators(suite: Suite, calls: dict[str, int] = OPERATORS.calls, **changes: int) -> Suite:
    return with_cell(suite, operators=OPERATORS.model_copy(update={"calls": calls, **changes}))


COUNTED = with_operators(BASE)


def test_one_more_operator_regresses_and_is_named() -> None:
    more = with_operators(BASE, {"aten.mm": 13, "aten.add": 30})
    found = the(compare(COUNTED, more), "operators_total")
    assert (found.base, found.new, found.verdict, found.reason) == (42, 43, "regressed", "aten.mm 12 -> 13")
    assert the(compare(more, COUNTED), "operators_total").verdict == "improved"
    assert compare(COUNTED, more).verdict == "regressed"


def test_operators_that_came_and_went_are_named_those_that_changed_most_first() -> None:
    fused = with_operators(BASE, {"aten.mm": 12, "aten.addmm": 1, "aten.add": 28})
    assert the(compare(COUNTED, fused), "operators_total").reason == "aten.add 30 -> 28, aten.addmm 0 -> 1"


def test_of_many_changed_operators_a_few_are_named_and_the_rest_counted() -> None:
    many = with_operators(BASE, {f"aten.op{i}": 1 for i in range(6)})
    reason = the(compare(COUNTED, many), "operators_total").reason
    assert reason is not None
    assert reason.startswith("aten.add 30 -> 0, aten.mm 12 -> 0, aten.op0 0 -> 1")
    assert reason.endswith(", 3 more")


@pytest.mark.parametrize("field", ["bytes_read", "bytes_written"])
def test_one_byte_more_moved_by_operators_regresses(field: str) -> None:
    more = with_operators(BASE, **{field: getattr(OPERATORS, field) + 1})
    assert the(compare(COUNTED, more), f"operator_{field}").verdict == "regressed"
    assert the(compare(COUNTED, more), "operators_total").verdict == "same"


def test_operators_are_gated_on_another_machine_of_the_same_torch_build() -> None:
    more = on_machine(with_operators(BASE, {"aten.mm": 13}), "elsewhere", cpu="Another CPU", threads="64")
    assert the(compare(COUNTED, more), "operators_total").verdict == "improved"


@pytest.mark.parametrize("fact", ["torch", "cuda", "onednn", "architecture"])
def test_operators_of_two_torch_builds_are_not_compared(fact: str) -> None:
    diff = compare(COUNTED, on_machine(with_operators(BASE, {"aten.mm": 13}), "elsewhere", **{fact: "another"}))
    for metric in OPERATOR_METRICS:
        assert the(diff, metric).verdict == "incomparable"
        assert fact in (the(diff, metric).reason or "")


def test_operators_that_one_side_did_not_count_are_not_compared() -> None:
    for one, other in ((COUNTED, BASE), (BASE, COUNTED), (BASE, BASE)):
        assert not [c for c in compare(one, other).comparisons if c.metric in OPERATOR_METRICS]


def test_time_on_another_machine_is_advice_and_names_what_differs() -> None:
    slow = on_machine(make_suite("slow", slowdown=3.0), "elsewhere", cpu="Another CPU", blas="mkl")
    diff = compare(BASE, slow)
    assert diff.advisory
    assert diff.differing_fields == ("blas", "cpu")
    assert the(diff, "time_s").verdict == "incomparable"
    assert the(diff, "time_s").ratio is not None
    assert diff.verdict == "same"  # the counters, which agree


def test_two_ids_over_equal_facts_still_name_a_difference() -> None:
    assert compare(BASE, on_machine(BASE, "elsewhere")).differing_fields == ("id",)


def test_a_cell_that_was_not_selected_is_missing_and_no_regression() -> None:
    fewer = BASE.model_copy(update={"cells": BASE.cells[1:]})
    diff = compare(BASE, fewer)
    assert the(diff, "time_s").verdict == "missing"
    assert diff.verdict == "missing"


def test_a_cell_that_was_added_is_new() -> None:
    fewer = BASE.model_copy(update={"cells": BASE.cells[1:]})
    diff = compare(fewer, BASE)
    assert the(diff, "time_s").verdict == "new"
    assert diff.verdict == "same"


@pytest.mark.parametrize("status", ["oom", "predicted_oom", "timeout", "failed"])
def test_a_cell_that_no_longer_ends_regresses_with_its_reason(status: str) -> None:
    diff = compare(BASE, with_cell(BASE, **unmeasured(status, "needs 12 GiB")))
    assert the(diff, "time_s").verdict == "regressed"
    assert the(diff, "time_s").reason == f"{status}: needs 12 GiB"
    assert diff.verdict == "regressed"


def test_a_cell_too_large_for_another_machine_says_nothing_of_the_code() -> None:
    elsewhere = on_machine(BASE, "elsewhere")
    assert the(compare(BASE, with_cell(elsewhere, **unmeasured("oom"))), "time_s").verdict == "incomparable"
    assert the(compare(BASE, with_cell(elsewhere, **unmeasured("failed"))), "time_s").verdict == "regressed"


def test_a_skipped_cell_is_undecided_with_its_reason() -> None:
    found = the(compare(BASE, with_cell(BASE, **unmeasured("skipped", "no time left"))), "time_s")
    assert (found.verdict, found.reason) == ("inconclusive", "skipped: no time left")


def test_a_cell_that_ends_again_improves_and_one_that_never_did_stays() -> None:
    failing = with_cell(BASE, **unmeasured("oom"))
    assert the(compare(failing, BASE), "time_s").verdict == "improved"
    assert the(compare(failing, failing), "time_s").verdict == "same"
    assert the(compare(with_cell(BASE, **unmeasured("skipped")), BASE), "time_s").verdict == "new"


def test_a_cell_without_a_time_is_not_called_the_same() -> None:
    untimed = with_cell(BASE, time_s=None)
    assert the(compare(BASE, untimed), "time_s").verdict == "missing"


def test_a_loss_that_moved_is_told_here_and_not_elsewhere() -> None:
    loss = BASE.training_runs[0].validation_loss
    assert loss is not None
    assert the_loss(compare(BASE, with_run(BASE, validation_loss=loss * (1 + 1e-12)))).verdict == "same"
    worse = with_run(BASE, validation_loss=loss * (1 + 1e-6))
    assert the_loss(compare(BASE, worse)).verdict == "regressed"
    assert the_loss(compare(worse, BASE)).verdict == "improved"
    assert the_loss(compare(BASE, on_machine(worse, "elsewhere"))).verdict == "incomparable"


def test_a_training_run_that_diverged_regresses_and_one_not_made_is_missing() -> None:
    diverged = with_run(BASE, status="diverged", reason="loss is not finite", validation_loss=None)
    assert the_loss(compare(BASE, diverged)).verdict == "regressed"
    fewer = BASE.model_copy(update={"training_runs": BASE.training_runs[1:]})
    assert "missing" in verdicts(compare(BASE, fewer))
    assert "new" in verdicts(compare(fewer, BASE))


def test_runs_of_one_model_with_two_seeds_are_told_apart() -> None:
    run = BASE.training_runs[0]
    other_seed = TrainingConfig.model_validate(run.config.model_dump() | {"seed": 7})
    two = BASE.model_copy(update={"cells": (), "training_runs": (run, run.model_copy(update={"config": other_seed}))})
    subjects = [comparison.subject for comparison in compare(two, two).comparisons]
    assert len(set(subjects)) == 2


def test_suites_with_nothing_in_common_are_not_called_the_same() -> None:
    left = BASE.model_copy(update={"cells": BASE.cells[:1], "training_runs": ()})
    right = BASE.model_copy(update={"cells": BASE.cells[1:2], "training_runs": ()})
    assert verdicts(compare(left, right)) == {"missing", "new"}
    empty = BASE.model_copy(update={"cells": (), "training_runs": ()})
    assert compare(empty, empty).verdict == "incomparable"


def test_every_cell_is_told_once_in_time() -> None:
    told = [c.subject for c in compare(BASE, suite_of_seed(1)).comparisons if c.metric == "time_s"]
    assert told == [cell.workload.key for cell in BASE.cells]


def test_what_neither_run_had_time_for_is_not_compared() -> None:
    skipped = unmeasured("skipped", "more than the budget has left")
    diff = compare(with_cell(BASE, **skipped), with_cell(make_suite("new"), **skipped))
    assert not [c for c in diff.comparisons if c.subject == KEY and c.metric == "time_s"]


def test_a_cell_that_the_base_never_asked_for_and_the_new_run_had_no_time_for_is_not_compared() -> None:
    without = BASE.model_copy(update={"cells": tuple(c for c in BASE.cells if c.workload.key != KEY)})
    diff = compare(without, with_cell(make_suite("new"), **unmeasured("skipped")))
    assert KEY not in {c.subject for c in diff.comparisons if c.metric == "time_s"}
    out_of_memory = compare(without, with_cell(make_suite("new"), **unmeasured("oom")))
    assert the(out_of_memory, "time_s").verdict == "incomparable"


def test_a_run_that_was_narrowed_down_misses_nothing_that_it_did_not_ask_for() -> None:
    settings = BASE.settings.model_copy(update={"selection": "step"})
    part = BASE.model_copy(update={"cells": BASE.cells[:3], "training_runs": (), "settings": settings})
    assert {c.subject for c in compare(BASE, part).comparisons} == {cell.workload.key for cell in BASE.cells[:3]}
    whole = part.model_copy(update={"settings": BASE.settings})
    assert "missing" in {c.verdict for c in compare(BASE, whole).comparisons}
