"""Efficiency, exposed communication and forecasts of suites whose truth is known."""

from functools import cache

import factories
import networks
import numpy as np
import pytest
from networks import Link, Network

from scalemark.fit.communication import fit_all
from scalemark.fit.scaling import calls_of, communication_s, scaling_of
from scalemark.model.accounting import account
from scalemark.model.ladder import diagonal_shape
from scalemark.schema import Block, Cell, Memory, RankMemory, RankTimes, Scaling, Suite, Workload
from scalemark.stats import median_over_blocks

SIZES = [2**power for power in range(12, 28, 3)]
NETWORK = Network(Link(1e-4, 1e9), Link(1e-3, 1e8))
MODEL = diagonal_shape(4)
COMPUTE_S = 0.2
# Of all communication, what a backward pass does not hide.
EXPOSED = 0.5


def workload(parallelism: str, world_size: int, batch: int) -> Workload:
    fields = {"phase": "step", "model": MODEL, "batch": batch, "seq_len": 256, "optimizer": "adamw"}
    return Workload.model_validate({**fields, "parallelism": parallelism, "world_size": world_size})


def true_communication_s(work: Workload, network: Network = NETWORK) -> float:
    calls = calls_of(work, account(MODEL, work.batch or 1, 256))
    return sum(network.seconds(name, work.world_size, size) for name, sizes in calls.items() for size in sizes)


def cell(parallelism: str, world_size: int, batch: int, noise: float = 0.01, seed: int = 0) -> Cell:
    """A step of COMPUTE_S for two sequences of a rank, the last rank slower by a tenth, and a part of what is sent."""
    work = workload(parallelism, world_size, batch)
    rng = np.random.default_rng([seed, world_size, batch, len(parallelism)])
    compute_s = COMPUTE_S * batch / world_size / 2
    exposed_s = EXPOSED * true_communication_s(work) if world_size > 1 else 0.0
    blocks = tuple(_block(index, world_size, compute_s, exposed_s, noise, rng) for index in range(3))
    return Cell(
        workload=work,
        status="ok",
        accounting=account(MODEL, batch, 256),
        blocks=blocks,
        time_s=median_over_blocks([block.rounds_s for block in blocks]),
        memory=Memory(
            method="made up",
            ranks=RankMemory(state_bytes=(50,) * world_size, predicted_state_bytes=(50,), replicated_state_bytes=100),
        ),
    )


def _block(index: int, ranks: int, compute_s: float, exposed_s: float, noise: float, rng: np.random.Generator) -> Block:
    slowness = np.ones(ranks)
    if ranks > 1:
        slowness[-1] = 1.1
    compute = compute_s * slowness[:, None] * np.exp(noise * rng.standard_normal((ranks, 8)))
    together_s = np.max(compute_s * slowness) * np.exp(noise * rng.standard_normal(8)) + exposed_s
    steps = np.tile(together_s, (ranks, 1))  # whoever is done first waits for the others
    times = RankTimes(
        backend="gloo",
        threads=1,
        steps_s=tuple(map(tuple, steps)),
        compute_s=tuple(map(tuple, compute)) if ranks > 1 else ((),),
    )
    return Block(index=index, warmup_s=(), rounds_s=tuple(steps.max(axis=0)), setup_s=0.1, ranks=times)


def suite(world_sizes=(2,), noise: float = 0.01, seed: int = 0) -> Suite:
    cells = [cell("ddp", 1, batch, noise, seed) for batch in (2, *(2 * size for size in world_sizes))]
    cells += [cell(name, size, 2 * size, noise, seed) for size in world_sizes for name in ("ddp", "fsdp")]
    quiet = Network(NETWORK.inside, NETWORK.between, noise=noise)
    return factories.make_suite().model_copy(
        update={"cells": tuple(cells), "collectives": tuple(networks.measured(quiet, world_sizes, SIZES, seed))}
    )


@cache
def found(world_sizes=(2,), noise: float = 0.01, seed: int = 0) -> Scaling:
    scaling = scaling_of(suite(world_sizes, noise, seed))
    assert scaling is not None
    return scaling


def row(scaling: Scaling, parallelism: str, world_size: int):
    rows = scaling.rows
    return next(one for one in rows if (one.workload.parallelism, one.workload.world_size) == (parallelism, world_size))


def test_a_suite_of_one_device_has_no_scaling():
    assert scaling_of(factories.make_suite()) is None


def test_exposed_communication_is_the_step_less_its_compute_and_its_interval_holds_the_truth():
    for parallelism in ("ddp", "fsdp"):
        one = row(found(noise=0.005), parallelism, 2)
        truth = EXPOSED * true_communication_s(one.workload)
        assert one.exposed_s.low <= truth <= one.exposed_s.high
        assert one.exposed_s.value == pytest.approx(truth, abs=0.006)


def test_all_communication_of_a_step_is_told_by_the_messages_alone():
    one = row(found(), "fsdp", 2)
    assert one.communication_s.value == pytest.approx(true_communication_s(one.workload), rel=0.05)


def test_weak_and_strong_efficiency_compare_with_one_rank_of_the_same_batch_and_of_the_whole():
    one = row(found(noise=0.001), "ddp", 2)
    step_s = 1.1 * COMPUTE_S + EXPOSED * true_communication_s(one.workload)
    assert one.weak.value == pytest.approx(COMPUTE_S / step_s, rel=0.01)
    assert one.strong.value == pytest.approx(2 * COMPUTE_S / step_s / 2, rel=0.01)


def test_skew_is_of_ranks_that_wait_for_nobody():
    assert row(found(noise=0.001), "ddp", 2).skew.value == pytest.approx(0.1, abs=0.01)


def test_a_rank_holds_what_was_measured_beside_what_a_replica_would():
    one = row(found(), "fsdp", 2)
    assert (one.state_bytes, one.replicated_state_bytes) == (50, 100)


def test_no_interval_of_an_efficiency_is_narrow_because_blocks_are_few():
    two_blocks = suite(noise=0.05)
    cells = [one.model_copy(update={"blocks": one.blocks[:2]}) for one in two_blocks.cells]
    scaling = scaling_of(two_blocks.model_copy(update={"cells": tuple(cells)}))
    assert row(scaling, "ddp", 2).weak.relative_half_width > 0.01


def test_the_largest_world_size_is_hidden_and_foretold_from_the_ones_below():
    scaling = found(world_sizes=(2, 4, 8), noise=0.005)
    hidden = [one for one in scaling.forecasts if one.measured_s]
    assert {(one.workload.parallelism, one.workload.world_size) for one in hidden} == {("ddp", 8), ("fsdp", 8)}
    for one in hidden:
        assert one.step_s.value == pytest.approx(one.measured_s.value, rel=0.05)
        assert one.step_s.low <= one.measured_s.high and one.measured_s.low <= one.step_s.high


def test_the_next_world_size_is_foretold_with_an_interval_that_holds_it():
    inside = 0
    for seed in range(4):
        for one in found(world_sizes=(2, 4), noise=0.02, seed=seed).forecasts:
            if one.measured_s is None and one.workload.world_size == 8:
                truth = 1.1 * COMPUTE_S + EXPOSED * true_communication_s(one.workload)
                inside += one.step_s.low <= truth <= one.step_s.high
                assert one.weak.value == pytest.approx(COMPUTE_S / truth, rel=0.1)
    assert inside >= 6, "of 8, at 90 %"


def test_one_node_and_one_world_size_are_said_to_be_that():
    notes = " ".join(found().notes)
    assert "one node" in notes and "latency" in notes
    assert "latency" not in " ".join(found(world_sizes=(2, 4)).notes)


def test_a_step_sends_its_gradients_once_and_gathers_its_parameters_twice():
    accounting = account(MODEL, 4, 256)
    (buckets,) = calls_of(workload("ddp", 2, 4), accounting).values()
    assert sum(buckets) == pytest.approx(accounting.gradient_bytes)
    calls = calls_of(workload("fsdp", 2, 4), accounting)
    assert sum(calls["reduce_scatter"]) == pytest.approx(accounting.gradient_bytes)
    in_blocks = 4 * accounting.params_non_embedding
    assert sum(calls["all_gather"]) == pytest.approx(accounting.parameter_bytes + in_blocks)


def test_without_a_law_for_every_collective_nothing_is_told():
    laws = fit_all([one for one in networks.measured(NETWORK, [2], SIZES) if one.operation != "reduce_scatter"])
    accounting = account(MODEL, 4, 256)
    assert communication_s(workload("fsdp", 2, 4), accounting, laws, 1) is None
    assert communication_s(workload("ddp", 2, 4), accounting, laws, 1) is not None
