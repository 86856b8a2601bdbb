"""Analyses with made-up laws, so that a report can be tested without fitting anything."""

import factories
import pytest

from scalemark.model.accounting import account
from scalemark.model.ladder import DIAGONAL, diagonal_shape
from scalemark.schema import (
    Accounting,
    Analysis,
    Cell,
    Comparison,
    CurvePoint,
    Diff,
    Estimate,
    Flops,
    Holdout,
    Law,
    LossPoint,
    MeasurementWarning,
    ModelConfig,
    Parameter,
    PriceTag,
    Range,
    TaskRef,
    TrainingConfig,
    TrainingRun,
    Workload,
)

LARGEST_FITTED = account(DIAGONAL[-1], 2, 256).params_non_embedding


def make_price(depth: int, fits: bool | None = True) -> PriceTag:
    model = diagonal_shape(depth)
    accounting = account(model, 2, 256)
    step_s = factories.estimate(factories.true_step_s(model), 0.04)
    tokens = 20.0 * accounting.params_non_embedding
    tokens_per_s = step_s.inverted(accounting.items)
    return PriceTag(
        model=model,
        params_total=accounting.params_total,
        params_non_embedding=accounting.params_non_embedding,
        training_tokens=tokens,
        step_s=step_s,
        tokens_per_s=tokens_per_s,
        training_s=tokens_per_s.inverted(tokens),
        memory_bytes=factories.estimate(accounting.params_total * 24.0, 0.03),
        fits_memory=fits,
        extrapolation=max(1.0, accounting.params_non_embedding / LARGEST_FITTED),
    )


def _reach(model: ModelConfig) -> float:
    return max(1.0, account(model, 2, 256).params_non_embedding / LARGEST_FITTED)


def _widening(value: float, reach: float, half_width: float = 0.02) -> Estimate:
    return factories.estimate(value, min(0.9, half_width * reach**0.7))


def _size_curve(per_model: dict[ModelConfig, float]) -> tuple[CurvePoint, ...]:
    return tuple(
        CurvePoint(
            x=account(model, 2, 256).params_non_embedding,
            y=_widening(value, _reach(model)),
            extrapolation=_reach(model),
        )
        for model, value in per_model.items()
    )


def _memory_bytes(model: ModelConfig) -> float:
    accounting = account(model, 2, 256)
    assert accounting.activation_bytes is not None
    return accounting.params_total * 16.0 + accounting.activation_bytes


def make_curves() -> dict[str, tuple[CurvePoint, ...]]:
    models = [diagonal_shape(depth) for depth in (*range(1, 10), 12, 16, 20)]
    frontier = tuple(
        CurvePoint(x=c, y=factories.estimate(1.2 + 1.3 * (c / 1e11) ** -0.2, 0.02), extrapolation=max(1.0, c / 1.5e12))
        for c in (2e10 * 1.6**step for step in range(15))
    )
    return {
        "step_time": _size_curve({model: factories.true_step_s(model) for model in models}),
        "memory": _size_curve({model: _memory_bytes(model) for model in models}),
        "loss": frontier,
    }


def make_time_law() -> Law:
    parameters = (
        Parameter(
            name="rate", estimate=factories.estimate(1e11, 0.01), unit="FLOP/s", meaning="sustained matrix products"
        ),
        Parameter(
            name="layer_s", estimate=factories.estimate(2e-4, 0.05), unit="s", meaning="overhead of one more layer"
        ),
        Parameter(
            name="bandwidth",
            estimate=Estimate(value=123456789012.0, low=1e9, high=1e15),
            unit="bytes/s",
            meaning="sustained optimizer traffic",
            identified=False,
        ),
    )
    return Law(
        kind="step_time",
        form="t = layer_s·n_layer + FLOPs/rate + bytes/bandwidth",
        unit="s",
        subject="step, float32, adamw, cpu",
        parameters=parameters,
        domain={"params_non_embedding": Range(low=49_000, high=LARGEST_FITTED)},
        n=15,
        residuals=(0.01, -0.02, 0.005),
        holdout=Holdout(variable="params_non_embedding", above=1e7, errors=(-0.031, 0.052), covered=2),
    )


def make_diff() -> Diff:
    regressed = Comparison(
        subject="d4w256/step/b2x256/float32/adamw/cpu",
        metric="time_s",
        base=0.1,
        new=0.112,
        ratio=Estimate(value=1.12, low=1.08, high=1.17),
        verdict="regressed",
    )
    same = [Comparison(subject=f"cell-{i}", metric="params_total", base=5, new=5, verdict="same") for i in range(3)]
    missing = Comparison(subject="d9w576/eval", metric="time_s", verdict="missing", reason="not measured in this run")
    return Diff(
        base_id="20251231-base", new_id="20260101-new", verdict="regressed", comparisons=(regressed, *same, missing)
    )


@pytest.fixture(scope="session")
def analysis() -> Analysis:
    """Everything there is: laws, curves, prices, a diff with a regression, a warning."""
    warning = MeasurementWarning(
        subject="machine", message="another process used 40 % of a core: close it and run again"
    )
    return Analysis(
        suite=factories.make_suite().model_copy(
            update={"warnings": (warning,), "collectives": factories.make_collectives()}
        ),
        laws=(make_time_law(),),
        missing_laws={"loss": "fewer than 9 training runs: raise the budget"},
        curves=make_curves(),
        prices=(make_price(9), make_price(12), make_price(16, fits=False)),
        scaling=factories.make_scaling(),
        diff=make_diff(),
    )


@pytest.fixture(scope="session")
def bare_analysis() -> Analysis:
    """A suite in which nothing was measured."""
    suite = factories.make_suite().model_copy(update={"cells": (), "training_runs": (), "complete": False})
    reasons = {"step_time": "no step was measured", "memory": "no step was measured", "loss": "nothing was trained"}
    return Analysis(suite=suite, missing_laws=reasons, no_diff_reason="there is no baseline for this machine")


@pytest.fixture(scope="session")
def task_analysis() -> Analysis:
    """A user's own model, which has neither a shape nor a batch that scalemark knows."""
    task = TaskRef(path="bench/bench_simple_nn.py", function="make_task", arguments=(("width", 64),))
    counted = Accounting(
        params_total=10_000,
        items=32,
        flops=Flops(matmul=1e6),
        parameter_bytes=40_000,
        gradient_bytes=40_000,
        optimizer_state_bytes=80_000,
        source="counted",
    )
    step_s = factories.estimate(0.001)
    cell = Cell(workload=Workload(phase="step", task=task), status="ok", accounting=counted, time_s=step_s)
    curve = tuple(LossPoint(step=step, tokens=32 * step, train_loss=2.0 / step) for step in (1, 2, 4))
    run = TrainingRun(config=TrainingConfig(task=task, tokens=128), status="ok", curve=curve, validation_loss=0.5)
    suite = factories.make_suite().model_copy(update={"cells": (cell,), "training_runs": (run,)})
    return Analysis(suite=suite)
