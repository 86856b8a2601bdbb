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
    Contour,
    CurvePoint,
    Diff,
    Energy,
    Estimate,
    Flops,
    Holdout,
    IsoLoss,
    Law,
    LawKind,
    LossPlace,
    LossPoint,
    MeasurementWarning,
    ModelConfig,
    Noise,
    Operators,
    Parameter,
    PlannedTraining,
    PriceTag,
    Range,
    Residual,
    Suite,
    TaskRef,
    TermTime,
    TimeSplit,
    TrainingConfig,
    TrainingPlan,
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
        suite=factories.make_suite().model_copy(update={"warnings": (warning,)}),
        laws=(make_time_law(),),
        missing_laws={"loss": "fewer than 9 training runs: raise the budget"},
        curves=make_curves(),
        prices=(make_price(9), make_price(12), make_price(16, fits=False)),
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


# --- what follows from a suite with everything in it ------------------------------------------------------------------


def make_split(depth: int, is_measured: bool = True) -> TimeSplit:
    """Layers at their true cost and products at the true rate, each known to a tenth."""
    model = diagonal_shape(depth)
    seconds = {"per_layer_s": factories.TRUE_SECONDS_PER_LAYER * depth}
    seconds["compute_s_per_flop"] = factories.true_step_s(model) - seconds["per_layer_s"]
    whole_s = sum(seconds.values())
    return TimeSplit(
        model=model,
        batch=2,
        seq_len=256,
        params_non_embedding=account(model, 2, 256).params_non_embedding,
        measured_s=factories.estimate(1.02 * whole_s) if is_measured else None,
        terms=tuple(
            TermTime(
                name=name,
                meaning=f"all of {name}",
                seconds=factories.estimate(value, 0.1),
                share=factories.estimate(value / whole_s, 0.1),
            )
            for name, value in seconds.items()
        ),
        extrapolation=_reach(model),
    )


def make_term_curves(depths: tuple[int, ...]) -> dict[str, tuple[CurvePoint, ...]]:
    splits = [make_split(depth) for depth in depths]
    return {
        name: tuple(
            CurvePoint(x=split.params_non_embedding, y=split.terms[place].seconds, extrapolation=split.extrapolation)
            for split in splits
        )
        for place, name in enumerate(("per_layer_s", "compute_s_per_flop"))
    }


def make_isoloss() -> IsoLoss:
    """Two lines that leave the fitted range on their way, and a line through their middle."""
    sizes = (1e4, 1e5, 1e6, 1e7)
    lines = [
        tuple(LossPlace(params=n, tokens=scale / n**0.5, extrapolation=max(1.0, n / 1e6)) for n in sizes)
        for scale in (1e8, 1e9)
    ]
    contours = tuple(Contour(loss=loss, places=places) for loss, places in zip((1.6, 1.4), lines, strict=True))
    return IsoLoss(contours=contours, optimal=tuple(LossPlace(params=n, tokens=20 * n) for n in sizes))


def make_plan(hours: float, loss: float = 1.5, beyond: float = 1.0) -> TrainingPlan:
    def planned(factor: float) -> PlannedTraining:
        seconds = 3600 * hours * factor
        return PlannedTraining(
            model=ModelConfig(n_layer=4, d_model=64, n_head=4),
            batch=8,
            seq_len=128,
            params_total=230_000,
            params_non_embedding=197_000,
            tokens=int(1e6 * hours * factor),
            n_steps=1000,
            loss=factories.estimate(loss * factor**-0.05, 0.05),
            time_s=factories.estimate(seconds, 0.1),
            memory_bytes=factories.estimate(2.0**24),
            regret=Estimate(value=0.0, low=0.0, high=0.01),
            loss_extrapolation=beyond * max(1.0, factor),
            cost_extrapolation=1.0,
        )

    return TrainingPlan(
        suite_id="s",
        machine="a machine",
        device="cpu",
        threads=2,
        shared=False,
        goal="hours",
        amount=hours,
        best=planned(1.0),
        optimal_params=factories.estimate(2e5, 0.3),
        near_optimal=Range(low=1.5e5, high=3e5),
        near_optimal_excess=0.005,
        rule_tokens_per_parameter=20,
        front=(planned(0.1), planned(1.0), planned(10.0)),
    )


def make_residuals(kind: LawKind, subjects: tuple[str, ...], value: float) -> tuple[Residual, ...]:
    """A hundredth off, above and below in turn; the last was foretold three hundredths too low."""
    found = [
        Residual(
            subject=subject,
            x=10.0 ** (place + 5),
            measured=factories.estimate(value * (1 + 0.01 * (-1) ** place)),
            predicted=factories.estimate(value, 0.05),
        )
        for place, subject in enumerate(subjects)
    ]
    foretold = factories.estimate(found[-1].measured.value / 1.03, 0.02)
    return (*found[:-1], found[-1].model_copy(update={"foretold": foretold}))


def make_noise() -> Noise:
    return Noise(
        n_cells=40,
        n_rounds=2000,
        tagged={"stolen": 100, "preempted": 10},
        half_width=Estimate(value=0.02, low=0.005, high=0.31),
        widest="d1w64/optimizer/cpu",
        references_s={"gemm": Estimate(value=1.6e-3, low=1.4e-3, high=2.7e-3)},
        shift=Estimate(value=0.99, low=0.8, high=1.1),
    )


def everything_counted(suite: Suite) -> Suite:
    """Operators and energy in every step."""
    cells = []
    for cell in suite.cells:
        assert cell.accounting and cell.time_s
        moved = int(cell.accounting.flops.model_flops("step") / 20)
        joules = cell.time_s.scaled(100.0)
        changes = {
            "operators": Operators(calls={"aten.mm": 10}, bytes_read=moved // 2, bytes_written=moved // 2),
            "energy": Energy(status="ok", joules_per_round=joules, source="nvml", domain="gpu 0", method="difference"),
        }
        cells.append(cell.model_copy(update=changes))
    return suite.model_copy(update={"cells": tuple(cells)})


@pytest.fixture(scope="session")
def full_analysis(analysis: Analysis) -> Analysis:
    """All that a report can hold: every chart and every table has something to show."""
    suite = everything_counted(analysis.suite).model_copy(update={"collectives": factories.make_collectives()})
    steps = tuple(cell.workload.key for cell in suite.cells[-3:] + suite.cells[:9])
    curves = {
        **analysis.curves,
        "energy": tuple(p.model_copy(update={"y": p.y.scaled(100)}) for p in analysis.curves["step_time"]),
    }
    laws = tuple(analysis.laws[0].model_copy(update={"kind": kind, "residual_sd": 0.01}) for kind in KINDS)
    return analysis.model_copy(
        update={
            "suite": suite,
            "laws": laws,
            "missing_laws": {},
            "curves": curves,
            "term_curves": make_term_curves((*range(1, 10), 12, 16, 20)),
            "splits": (*map(make_split, range(1, 10)), make_split(12, is_measured=False)),
            "isoloss": make_isoloss(),
            "plans": (make_plan(1.0), make_plan(8.0, 1.3, 4.0)),
            "missing_plans": {"24 h": "that lies 600 times beyond what was measured: train larger models"},
            "residuals": {kind: make_residuals(kind, steps, 1.5) for kind in KINDS},
            "noise": make_noise(),
            "scaling": factories.make_scaling(),
        }
    )


KINDS: tuple[LawKind, ...] = ("step_time", "memory", "energy", "loss")
