"""Suites whose step times follow a known law, so that who is faster, where and why has a true answer."""

from collections.abc import Callable
from functools import cache

import factories
import numpy as np
from scipy.optimize import brentq

from scalemark.fit.cost_law import fit_time_law
from scalemark.model.ladder import BATCH, SEQ_LEN
from scalemark.schema import (
    Accounting,
    Ceilings,
    Cell,
    Contender,
    Energy,
    Suite,
    SuiteComparison,
)
from scalemark.stats import median_over_blocks
from scalemark.versus.compare import compare_contenders
from scalemark.versus.fitted import law_cells, limits_of, with_laws

StepTime = Callable[[Accounting], float]
JOULES_PER_STEP = 2.0
LAUNCH_S, LAYER_S, RATE_FLOPS_PER_S = 0.03, 0.005, 1e13


def board_step_s(counted: Accounting) -> float:
    """A device with a fast rate behind a slow host: it wins from a size on."""
    return LAUNCH_S + LAYER_S * counted.n_layer + counted.flops.model_flops("step") / RATE_FLOPS_PER_S


def crossover_params() -> float:
    """Where a board becomes faster than the machine of `factories`, from formulas of the depth alone."""
    depth = brentq(lambda depth: _machine_s(depth) - _board_s(depth), 1, 9)
    return 12 * depth * (64 * depth) ** 2 + (2 * depth + 1) * 64 * depth


def _flops(depth: float) -> float:
    """Of a step: 6 per weight and token, the head among them, and attention over all pairs."""
    width, tokens = 64 * depth, BATCH * SEQ_LEN
    weights = 12 * depth * width**2 + 256 * width
    return 3 * (2 * weights * tokens + 4 * BATCH * SEQ_LEN**2 * width * depth)


def _machine_s(depth: float) -> float:
    return _flops(depth) / factories.TRUE_FLOPS_PER_S + factories.TRUE_SECONDS_PER_LAYER * depth


def _board_s(depth: float) -> float:
    return LAUNCH_S + LAYER_S * depth + _flops(depth) / RATE_FLOPS_PER_S


def retimed(suite: Suite, step_s: StepTime, noise: float = 0.01, seed: int = 1) -> Suite:
    """The suite with whole steps that take `step_s`, each round with independent noise."""
    rng = np.random.default_rng(seed)

    def cell(one: Cell) -> Cell:
        if one.workload.phase != "step" or one.accounting is None:
            return one
        rounds = step_s(one.accounting) * np.exp(noise * rng.standard_normal((len(one.blocks), 8)))
        blocks = tuple(
            block.model_copy(update={"rounds_s": tuple(row)}) for block, row in zip(one.blocks, rounds, strict=True)
        )
        return one.model_copy(update={"blocks": blocks, "time_s": median_over_blocks(rounds)})

    return suite.model_copy(update={"cells": tuple(map(cell, suite.cells))})


def on_cuda(suite: Suite, joules: float | None = None) -> Suite:
    """The suite as of a GPU; with a counter of energy, where `joules` are given."""
    energy = (
        Energy(status="ok", joules_per_round=factories.estimate(joules), source="nvml", domain="gpu 0")
        if joules
        else None
    )

    def cell(one: Cell) -> Cell:
        workload = one.workload.model_copy(update={"device": "cuda"})
        return one.model_copy(update={"workload": workload, **({"energy": energy} if energy else {})})

    identity = {**suite.machine.identity, "gpu": "Test GPU", "gpu_memory_bytes": 80 * 2**30}
    machine = suite.machine.model_copy(update={"id": "gpu-under-test", "identity": identity})
    ceilings = Ceilings(gemm_flops_per_s={"cuda/float32": factories.estimate(2e13)})
    return suite.model_copy(
        update={
            "machine": machine,
            "ceilings": ceilings,
            "settings": suite.settings.model_copy(update={"device": "cuda"}),
            "cells": tuple(map(cell, suite.cells)),
        }
    )


@cache
def machine_suite(seed: int = 0) -> Suite:
    return factories.make_suite(f"machine-{seed}", seed=seed)


@cache
def board_suite(seed: int = 0) -> Suite:
    """On a CPU, so that its law may be a plain sum."""
    suite = factories.make_suite(f"board-{seed}", seed=seed, machine_id="board-under-test")
    timed = retimed(suite, board_step_s, seed=seed + 1)
    return timed.model_copy(update={"ceilings": Ceilings()})


@cache
def gpu_suite() -> Suite:
    timed = retimed(factories.make_suite("gpu", seed=3), board_step_s)
    return on_cuda(timed, JOULES_PER_STEP)


@cache
def laptop() -> Contender:
    """Neither price nor energy."""
    return _fitted(Contender(name="laptop", suite=machine_suite()))


@cache
def gpu() -> Contender:
    """With price and energy."""
    return _fitted(Contender(name="gpu", suite=gpu_suite(), usd_per_hour=3.0))


def _fitted(contender: Contender) -> Contender:
    (fitted,) = with_laws([contender])
    return fitted


def with_time_law(suite: Suite, name: str | None = None) -> Contender:
    """With that law alone."""
    contender = Contender(name=name or suite.id, suite=suite)
    law = fit_time_law(law_cells(contender), suite.settings.seed, limits_of(contender))
    return contender.model_copy(update={"laws": (law,)})


def slower(suite: Suite, factor: float) -> Suite:
    """A machine on which every cell takes `factor` times as long."""

    def cell(one: Cell) -> Cell:
        return one.model_copy(update={"time_s": one.time_s and one.time_s.scaled(factor)})

    return suite.model_copy(update={"id": f"{suite.id} × {factor:g}", "cells": tuple(map(cell, suite.cells))})


@cache
def comparison() -> SuiteComparison:
    """A machine without prices or energy beside a GPU with both."""
    return compare_contenders((laptop(), gpu()))
