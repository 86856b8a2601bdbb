import math
from itertools import pairwise

import pytest

from scalemark.measure.orders import LOSS_SEEDS, LOSS_STEPS, ROUNDS_AT_LEAST, ROUNDS_AT_MOST, WARMUP_S, Scouted
from scalemark.measure.selection import (
    CELL_START_S,
    COMPILE_S,
    FEW_BLOCKS,
    FEWEST_FOR_LAWS,
    MORE_BLOCKS,
    OPTIONS_SHARE,
    SHORT_CELL_S,
    PlannedCell,
    allot,
    in_block,
    loss_pass_s,
    needed_bytes,
    plan_campaign,
)
from scalemark.model.ladder import BATCH, DIAGONAL, LARGE_DIAGONAL, SEQ_LEN
from scalemark.model.memory import predict_memory
from scalemark.model.options import step_options
from scalemark.schema import TaskRef, Workload

LADDER = [Workload(phase="step", model=rung, batch=BATCH, seq_len=SEQ_LEN, optimizer="adamw") for rung in DIAGONAL]


def scouted(
    available_bytes: int = 2**36, s_per_flop: float = 1e-11, energy_reason: str | None = "none here"
) -> Scouted:
    return Scouted(
        device="cpu",
        available_bytes=available_bytes,
        per_layer_s=0.003,
        s_per_flop=s_per_flop,
        energy_reason=energy_reason,
        worker_start_s=2.0,
        facts={},
    )


def rounds(*seconds: float) -> list[PlannedCell]:
    return [PlannedCell(workload, None, second) for workload, second in zip(LADDER, seconds, strict=False)]


def test_every_cell_is_either_chosen_or_ruled_out_with_a_reason():
    for budget_s in (30, 60, 120, 600):
        plan = plan_campaign(LADDER, scouted(), budget_s)
        named = {cell.workload for cell in plan.cells} | {cell.workload for cell in plan.ruled_out}
        assert named == set(LADDER)
        assert all(cell.status and cell.reason for cell in plan.ruled_out)


def test_a_larger_budget_only_adds_cells_and_keeps_the_promise():
    plans = [plan_campaign(LADDER, scouted(), budget_s) for budget_s in (30, 45, 60, 90, 200)]
    chosen = [{cell.workload for cell in plan.cells} for plan in plans]
    assert all(small <= large for small, large in pairwise(chosen))
    assert chosen[0] < chosen[-1]
    assert all(plan.expected_s <= plan.budget_s * 1.001 for plan in plans)


def test_the_largest_rungs_are_the_first_to_go():
    plan = plan_campaign(LADDER, scouted(), 45)
    smallest_out = min(cell.accounting.params_total for cell in plan.ruled_out)
    assert all(cell.accounting.params_total < smallest_out for cell in plan.cells)


def test_what_a_baseline_has_comes_before_what_is_cheaper():
    without = plan_campaign(LADDER, scouted(), 45)
    first_out = min(without.ruled_out, key=lambda cell: cell.accounting.params_total).workload
    wanted = plan_campaign(LADDER, scouted(), 45, wanted={first_out.key})
    assert first_out in [cell.workload for cell in wanted.cells]
    assert plan_campaign(LADDER, scouted(), 45, wanted={"of another bench"}) == without


def test_a_baseline_keeps_its_cells_where_the_machine_looks_a_little_slower_than_then() -> None:
    keys = {cell.workload.key for cell in plan_campaign(LADDER, scouted(), 60).cells}
    slower = plan_campaign(LADDER, scouted(s_per_flop=1.1e-11), 60, keys)
    assert {cell.workload.key for cell in slower.cells} == keys


def test_a_run_without_the_time_for_a_baselines_cells_takes_those_that_laws_need() -> None:
    sgd = [cell.model_copy(update={"optimizer": "sgd"}) for cell in LADDER]
    keys = {cell.workload.key for cell in plan_campaign([*LADDER, *sgd], scouted(), 600).cells}
    short = plan_campaign([*LADDER, *sgd], scouted(), 60, keys)
    assert short == plan_campaign([*LADDER, *sgd], scouted(), 60)


def test_what_cannot_fit_the_memory_is_never_run():
    plan = plan_campaign(LADDER, scouted(available_bytes=600 * 2**20), 10_000)
    statuses = {cell.workload.rung: cell.status for cell in plan.ruled_out}
    assert statuses["d9w576"] == "predicted_oom"
    assert "d1w64" not in statuses


def test_a_cell_that_will_not_fit_says_what_it_needs_what_is_free_and_what_to_do():
    plan = plan_campaign(LADDER[-1:], scouted(available_bytes=2**30), 10_000)
    (cell,) = plan.ruled_out
    assert cell.predicted_memory is not None
    need, tensors = (size / 2**30 for size in (needed_bytes(cell.predicted_memory), cell.predicted_memory.peak_bytes))
    assert f"{need:.1f} GiB ({tensors:.1f} GiB of tensors), 1.0 GiB are free" in (cell.reason or "")
    assert "smaller batch" in (cell.reason or "")


def test_a_cell_with_just_enough_room_is_run_and_brings_its_prediction():
    memory = predict_memory(LADDER[3])
    enough = math.ceil(needed_bytes(memory))
    (cell,) = plan_campaign(LADDER[3:4], scouted(available_bytes=enough), 10_000).cells
    assert cell.predicted_memory == memory
    assert not plan_campaign(LADDER[3:4], scouted(available_bytes=enough - 1), 10_000).cells


def test_nothing_is_assumed_of_the_memory_of_a_users_own_task():
    task = Workload(phase="step", task=TaskRef(path="bench_mine.py", function="mine"))
    (cell,) = plan_campaign([task], scouted(available_bytes=0), 10_000).cells
    assert cell.predicted_memory is None


def test_room_is_kept_for_the_energy_pass_where_there_is_a_counter():
    without, with_counter = (
        plan_campaign(LADDER, scouted(energy_reason=reason), 60) for reason in ("no counter", None)
    )
    assert len(with_counter.cells) < len(without.cells)
    assert with_counter.expected_s <= 60 * 1.001


def test_what_a_short_cell_cannot_use_goes_to_a_long_one():
    cells = rounds(0.001, 1.0)
    overhead_s = sum(cell.start_s for cell in cells)
    short_s, long_s = allot(cells, lambda cell: cell.round_s, overhead_s + 20)
    assert short_s == pytest.approx(ROUNDS_AT_MOST * 0.001)
    assert long_s == pytest.approx(20 - short_s)


def test_a_block_without_time_still_gives_the_fewest_rounds():
    assert allot(rounds(0.5, 2.0), lambda cell: cell.round_s, 0.0) == (ROUNDS_AT_LEAST * 0.5, ROUNDS_AT_LEAST * 2.0)


def test_a_short_cell_is_timed_for_longer_than_its_two_fewest_rounds():
    (short,) = allot(rounds(0.001), lambda cell: cell.round_s, 0.0)
    assert short == pytest.approx(min(SHORT_CELL_S, ROUNDS_AT_MOST * 0.001))
    (long,) = allot(rounds(3.0), lambda cell: cell.round_s, 0.0)
    assert long == pytest.approx(ROUNDS_AT_LEAST * 3.0)


def test_a_scarce_budget_goes_to_what_a_law_needs_first():
    others = [workload.model_copy(update={"phase": "forward", "optimizer": None}) for workload in LADDER]
    plan = plan_campaign([*others, *LADDER], scouted(), 50)
    phases = [cell.workload.phase for cell in plan.cells]
    assert phases.count("step") > phases.count("forward")


def test_a_compiled_cell_is_planned_with_the_time_that_compiling_takes():
    compiled = LADDER[0].model_copy(update={"compiled": True})
    plan = plan_campaign([*LADDER, compiled], scouted(), 10_000)
    seconds = {cell.workload.compiled: cell.least_s for cell in plan.cells if cell.workload.model == compiled.model}
    n_workers = FEW_BLOCKS + 1  # each block's, and the memory pass's: none finds what another one compiled
    eager_blocks_s = (MORE_BLOCKS - FEW_BLOCKS) * (CELL_START_S + WARMUP_S + SHORT_CELL_S)
    assert seconds[True] - seconds[False] == pytest.approx(n_workers * COMPILE_S - eager_blocks_s, rel=0.02)
    assert compiled not in {cell.workload for cell in plan_campaign([*LADDER, compiled], scouted(), 60).cells}


def test_where_all_steps_cost_alike_the_few_that_fit_span_the_ladder():
    launch_bound = scouted().model_copy(update={"per_layer_s": 1e-5, "s_per_flop": 1e-15})
    alike = LADDER[:7]
    plan = plan_campaign(alike, launch_bound, 28)
    chosen = [cell.workload for cell in plan.cells]
    assert 3 <= len(chosen) < len(alike)
    assert {alike[0], alike[-1]} <= set(chosen)


def test_a_gpu_spends_its_minutes_on_the_smallest_and_on_one_of_hundreds_of_millions_of_parameters() -> None:
    """As an H200 looks: a step waits for the host up to d12w768, and energy takes longer than the rounds."""
    h200 = Scouted(
        device="cuda",
        available_bytes=2**37,
        per_layer_s=0.0013,
        s_per_flop=1 / 40e12,
        s_per_activation_byte=1e-12,
        energy_reason=None,
        worker_start_s=5.5,
        facts={},
    )
    rungs = [LADDER[0].model_copy(update={"model": rung, "device": "cuda"}) for rung in (*DIAGONAL, *LARGE_DIAGONAL)]
    names = [cell.workload.rung for cell in plan_campaign(rungs, h200, 165).cells]
    assert {"d1w64", "d12w768", "d16w1024"} <= set(names)
    assert len(names) >= FEWEST_FOR_LAWS


def test_where_prices_differ_the_cheapest_steps_are_chosen():
    plan = plan_campaign(LADDER, scouted(s_per_flop=1e-10), 60)
    chosen = [cell.workload for cell in plan.cells]
    assert set(chosen) == set(LADDER[: len(chosen)])


OPTIONS = step_options()


def compared_rungs(plan) -> list[str]:
    return list(dict.fromkeys(cell.workload.rung for cell in plan.cells if cell.compared))


def test_options_alone_get_all_the_time_for_the_largest_rung_that_it_holds_then_for_smaller_ones():
    plans = {budget_s: plan_campaign(OPTIONS, scouted(), budget_s) for budget_s in (100, 170, 1000)}
    sizes = {
        budget_s: [int(rung[1:].partition("w")[0]) for rung in compared_rungs(plan)] for budget_s, plan in plans.items()
    }
    assert all(rungs == sorted(rungs, reverse=True) for rungs in sizes.values())
    assert sizes[100][0] < sizes[170][0] < sizes[1000][0]
    assert all(plan.expected_s <= budget_s * 1.001 for budget_s, plan in plans.items())


def test_a_rung_is_compared_with_all_options_that_run_here_or_not_at_all():
    plan = plan_campaign(OPTIONS, scouted(), 170)
    chosen = {cell.workload for cell in plan.cells}
    for work in OPTIONS:
        quick = not work.compiled and work.attention != "efficient"
        assert not quick or (work in chosen) == (work.rung in compared_rungs(plan))


def test_an_attention_that_no_cpu_has_is_skipped_with_the_reason():
    plan = plan_campaign(OPTIONS, scouted(), 170)
    ruled_out = [cell for cell in plan.ruled_out if cell.workload.attention == "efficient"]
    assert {cell.status for cell in ruled_out} == {"skipped"}
    assert all("on CUDA alone" in (cell.reason or "") for cell in ruled_out)
    assert not any(cell.workload.attention == "efficient" for cell in plan.cells)


def test_compiled_options_come_where_time_is_left_and_take_part_in_few_blocks():
    plan = plan_campaign(OPTIONS, scouted(), 1000)
    compiled = [cell for cell in plan.cells if cell.workload.compiled]
    assert compiled and plan.n_blocks == MORE_BLOCKS
    assert not {cell.workload for cell in compiled} & {cell.workload for cell in in_block(plan.cells, FEW_BLOCKS)}
    assert all(cell in in_block(plan.cells, FEW_BLOCKS - 1) for cell in compiled)
    assert not any(cell.workload.compiled for cell in plan_campaign(OPTIONS, scouted(), 100).cells)


@pytest.mark.parametrize("budget_s", [60, 120, 200, 400])
def test_beside_a_ladder_options_take_no_more_than_a_small_share_and_no_rung_from_it(budget_s):
    alone, beside = (plan_campaign(works, scouted(), budget_s) for works in (LADDER, [*LADDER, *OPTIONS]))
    compared_s = sum(cell.least_s for cell in beside.cells if cell.compared)
    assert compared_s <= OPTIONS_SHARE * budget_s
    for_laws = {cell.workload for cell in beside.cells if not cell.compared}
    assert {cell.workload for cell in alone.cells[:FEWEST_FOR_LAWS]} <= for_laws or compared_s == 0
    assert beside.expected_s <= budget_s * 1.001


def test_options_are_the_first_to_go_and_say_how_to_get_them():
    plan = plan_campaign([*LADDER, *OPTIONS], scouted(), 60)
    assert not compared_rungs(plan)
    reasons = [cell.reason or "" for cell in plan.ruled_out if cell.workload in OPTIONS and "CUDA" not in cell.reason]
    assert reasons and all("run bench_options.py alone" in reason for reason in reasons)


def test_what_is_compared_is_planned_with_its_losses():
    plan = plan_campaign(OPTIONS, scouted(), 170)
    for cell in plan.cells:
        assert loss_pass_s(cell) >= LOSS_SEEDS * LOSS_STEPS * cell.round_s
    assert all(loss_pass_s(cell) == 0 for cell in plan_campaign(LADDER, scouted(), 170).cells)
