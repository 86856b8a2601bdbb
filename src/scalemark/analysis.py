"""From a suite to everything a report says: laws, curves, price tags, verdicts. No torch.

The joint between fit, diff and report: the one place that picks which cells a law is fitted to and how far it is drawn.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence

from scalemark.errors import FitError
from scalemark.fit.cost_law import (
    Limits,
    counted_of,
    fit_energy_law,
    fit_memory_law,
    fit_time_law,
    predict,
    term_times,
    timed_cells,
)
from scalemark.fit.isoloss import isoloss
from scalemark.fit.loss_law import fit_loss_law, frontier_curve
from scalemark.fit.prediction import extrapolation
from scalemark.fit.repeated import fit_repeated_law, repeated_text
from scalemark.fit.residuals import residuals
from scalemark.fit.scaling import scaling_of
from scalemark.model.accounting import account
from scalemark.model.ladder import BATCH, DIAGONAL, SEQ_LEN, diagonal_shape
from scalemark.model.memory import predict_memory
from scalemark.record.glance import SuiteGlance
from scalemark.record.quiet import noise_of
from scalemark.record.what_if import what_ifs
from scalemark.schema import (
    Accounting,
    Analysis,
    Cell,
    CurvePoint,
    Diff,
    Estimate,
    Law,
    LawKind,
    ModelConfig,
    PriceTag,
    Residual,
    Suite,
    TermTime,
    TimeSplit,
    TrainingPlan,
    TrainingRun,
    Workload,
)

# Hoffmann et al. 2022: about 20 training tokens per parameter (table 3, rounded).
TOKENS_PER_PARAMETER = 20
COST_KINDS: tuple[LawKind, ...] = ("step_time", "memory", "energy")
PRICED_DEPTHS = (12, 16, 24, 32)
FARTHEST_PRICE = 100.0
CURVE_DEPTHS = (*range(1, 13), 14, 16, 18, 20, 24, 27, 32, 40, 48, 64)
FARTHEST_COST_CURVE = 30.0
# A law with open parameters may foretell all the same: of the hidden runs, so many inside their 90 % intervals.
FORETOLD = 2 / 3
PLANNED_HOURS = (1 / 6, 1.0, 8.0, 24.0)


def analyse(
    suite: Suite, baseline: Suite | None = None, no_diff_reason: str = "no baseline was given to compare with"
) -> Analysis:
    """Everything that follows from a suite, whole or not. What cannot be fitted is named with its reason."""
    cells, seed, limits = law_cells(suite), suite.settings.seed, ceilings_as_limits(suite)
    fits: dict[LawKind, Callable[[], Law]] = {
        "step_time": lambda: fit_time_law(cells, seed, limits),
        "memory": lambda: fit_memory_law(cells, seed),
        "energy": lambda: fit_energy_law(cells, seed, limits),
        "loss": lambda: fit_loss_law(suite.training_runs, seed),
    }
    if any(run.config.unique_tokens for run in suite.training_runs):
        fits["repeated_loss"] = lambda: fit_repeated_law(suite.training_runs, seed)
    laws, missing = _fit_all(fits)
    prices = _price_tags(laws, suite)
    plans, missing_plans = _plans(suite, laws)
    return Analysis(
        suite=suite,
        laws=tuple(laws.values()),
        missing_laws=missing,
        curves=_curves(laws, suite),
        term_curves=_term_curves(laws.get("step_time")),
        prices=prices,
        splits=_splits(laws.get("step_time"), cells, prices),
        isoloss=isoloss(laws["loss"]) if "loss" in laws and is_usable(laws["loss"]) else None,
        plans=plans,
        missing_plans=missing_plans,
        residuals=_residuals(laws, cells, suite.training_runs),
        noise=noise_of(suite.cells),
        what_ifs=what_ifs(suite.cells),
        repeated=repeated_text(suite.training_runs),
        scaling=scaling_of(suite),
        diff=_diff(suite, baseline),
        no_diff_reason=None if baseline else no_diff_reason,
    )


def law_cells(suite: Suite) -> list[Cell]:
    """The cells that cost laws are fitted to: whole float32 AdamW steps of transformers on the suite's device."""
    return [
        cell
        for cell in suite.cells
        if cell.status == "ok" and cell.workload.is_plain_step and cell.workload.device == suite.settings.device
    ]


def ceilings_as_limits(suite: Suite | SuiteGlance) -> Limits:
    """What no term of a law of float32 steps may exceed: the best of what the suite's own kernels reached."""
    device = suite.settings.device
    gemm = suite.ceilings.gemm_flops_per_s.get(f"{device}/float32")
    triad = suite.ceilings.triad_bytes_per_s.get(device)
    return Limits(gemm.value if gemm else None, triad.value if triad else None)


def _fit_all(fits: dict[LawKind, Callable[[], Law]]) -> tuple[dict[LawKind, Law], dict[LawKind, str]]:
    laws: dict[LawKind, Law] = {}
    missing: dict[LawKind, str] = {}
    for kind, fit in fits.items():
        try:
            laws[kind] = fit()
        except FitError as error:
            missing[kind] = str(error)
    return laws, missing


def _diff(suite: Suite, baseline: Suite | None) -> Diff | None:
    from scalemark.comparing import compare_suites

    return compare_suites(baseline, suite) if baseline else None


def _curves(laws: dict[LawKind, Law], suite: Suite) -> dict[LawKind, tuple[CurvePoint, ...]]:
    curves: dict[LawKind, tuple[CurvePoint, ...]] = {}
    for kind, law in laws.items():
        if kind != "repeated_loss":  # it has no one curve: loss depends on size, tokens and text at once
            curves[kind] = _loss_curve(law) if kind == "loss" else _cost_curve(law, suite)
    return curves


def _cost_curve(law: Law, suite: Suite) -> tuple[CurvePoint, ...]:
    """Along the diagonal at the ladder's batch, from the smallest rung fitted to well beyond the largest."""
    return tuple(
        CurvePoint(
            x=float(accounting.params_non_embedding),
            y=_predict_cost(law, model, accounting, suite),
            extrapolation=_size_distance(law, accounting),
        )
        for model, accounting in _diagonal(law)
    )


def _diagonal(law: Law) -> list[tuple[ModelConfig, Accounting]]:
    """The shapes that a cost curve is drawn through."""
    models = [diagonal_shape(depth) for depth in CURVE_DEPTHS]
    counted = [(model, account(model, BATCH, SEQ_LEN)) for model in models]
    return [(model, one) for model, one in counted if _size_distance(law, one) <= FARTHEST_COST_CURVE]


def _size_distance(law: Law, accounting: Accounting) -> float:
    return extrapolation(law, "params_non_embedding", accounting.params_non_embedding)


def _term_curves(law: Law | None) -> dict[str, tuple[CurvePoint, ...]]:
    """Each term of the step time law where the law itself is drawn."""
    if law is None:
        return {}
    counted = [accounting for _, accounting in _diagonal(law)]
    curves: dict[str, list[CurvePoint]] = {}
    for accounting, terms in zip(counted, term_times(law, counted), strict=True):
        x, distance = float(accounting.params_non_embedding), _size_distance(law, accounting)
        for term in terms:
            curves.setdefault(term.name, []).append(CurvePoint(x=x, y=term.seconds, extrapolation=distance))
    return {name: tuple(points) for name, points in curves.items()}


def _splits(law: Law | None, cells: Sequence[Cell], prices: Sequence[PriceTag]) -> tuple[TimeSplit, ...]:
    """Where the time goes of every step measured at the commonest batch, and of what is priced beyond, by size."""
    if law is None:
        return ()
    timed = _commonest_batch(timed_cells(cells))
    known = {cell.workload.model for cell in timed}
    steps = [(cell.workload, counted_of(cell), cell.typical_s) for cell in timed]
    steps += [_priced_step(tag.model, timed[0].workload) for tag in prices if tag.model not in known]
    terms = term_times(law, [counted for _, counted, _ in steps])
    found = [_split(law, *step, times) for step, times in zip(steps, terms, strict=True)]
    return tuple(sorted(found, key=lambda split: (split.params_non_embedding, split.model.name)))


def _priced_step(model: ModelConfig, like: Workload) -> tuple[Workload, Accounting, None]:
    """The model's step at the batch of another, which nobody timed."""
    assert like.batch and like.seq_len
    return like.model_copy(update={"model": model}), account(model, like.batch, like.seq_len), None


def _split(
    law: Law, step: Workload, counted: Accounting, measured_s: Estimate | None, terms: tuple[TermTime, ...]
) -> TimeSplit:
    assert step.model and step.batch and step.seq_len
    return TimeSplit(
        model=step.model,
        batch=step.batch,
        seq_len=step.seq_len,
        params_non_embedding=counted.params_non_embedding,
        measured_s=measured_s,
        terms=terms,
        extrapolation=_size_distance(law, counted),
    )


def _commonest_batch(cells: Sequence[Cell]) -> list[Cell]:
    counts = Counter((cell.workload.batch, cell.workload.seq_len) for cell in cells)
    return [cell for cell in cells if (cell.workload.batch, cell.workload.seq_len) == counts.most_common(1)[0][0]]


def _predict_cost(law: Law, model: ModelConfig, accounting: Accounting, suite: Suite) -> Estimate:
    """A step of the ladder's batch; of memory, the law knows what allocators add to the tensors of the shape."""
    if law.kind != "memory":
        return predict(law, accounting)
    workload = Workload(
        phase="step", model=model, batch=BATCH, seq_len=SEQ_LEN, device=suite.settings.device, optimizer="adamw"
    )
    predicted = predict_memory(workload)
    assert predicted is not None, "the shape of a model has a predicted memory"
    return predict(law, predicted)


def _loss_curve(law: Law) -> tuple[CurvePoint, ...]:
    """The frontier, where the law can be used; its band says how uncertain it is."""
    return frontier_curve(law) if is_usable(law) else ()


def is_usable(law: Law) -> bool:
    """Whether the law is told, or foretold what was hidden from it all the same."""
    foretold = law.holdout is not None and law.holdout.covered >= FORETOLD * len(law.holdout.errors)
    return law.status == "ok" or foretold


def _residuals(
    laws: Mapping[LawKind, Law], cells: Sequence[Cell], runs: Sequence[TrainingRun]
) -> dict[LawKind, tuple[Residual, ...]]:
    whole_text = [run for run in runs if run.config.unique_tokens is None]
    return {kind: residuals(law, cells, whole_text) for kind, law in laws.items() if kind != "repeated_loss"}


def _plans(suite: Suite, laws: Mapping[LawKind, Law]) -> tuple[tuple[TrainingPlan, ...], dict[str, str]]:
    """What to train for each budget of hours, or why that is not known."""
    from scalemark.planning import plan_hours  # it imports this module

    return plan_hours(suite, PLANNED_HOURS, laws)


def _price_tags(laws: dict[LawKind, Law], suite: Suite) -> tuple[PriceTag, ...]:
    """The largest rung measured, and models well beyond it, each trained on 20 tokens per parameter."""
    time_law = laws.get("step_time")
    if time_law is None:
        return ()
    tags = [_price(shape, laws, suite) for shape in _priced_shapes(law_cells(suite))]
    return tuple(tag for tag in tags if tag.extrapolation <= FARTHEST_PRICE)


def _priced_shapes(cells: Sequence[Cell]) -> list[ModelConfig]:
    measured = {cell.workload.model for cell in cells}
    on_diagonal = [rung for rung in DIAGONAL if rung in measured]
    larger = [diagonal_shape(depth) for depth in PRICED_DEPTHS]
    return [*on_diagonal[-1:], *(shape for shape in larger if shape not in on_diagonal)]


def _price(model: ModelConfig, laws: dict[LawKind, Law], suite: Suite) -> PriceTag:
    accounting = account(model, BATCH, SEQ_LEN)
    training_tokens = float(TOKENS_PER_PARAMETER * accounting.params_total)
    costs = {kind: _predict_cost(laws[kind], model, accounting, suite) for kind in COST_KINDS if kind in laws}
    step_s, step_j, memory_bytes = costs["step_time"], costs.get("energy"), costs.get("memory")
    limit_bytes = suite.memory_limit_bytes
    return PriceTag(
        model=model,
        params_total=accounting.params_total,
        params_non_embedding=accounting.params_non_embedding,
        training_tokens=training_tokens,
        step_s=step_s,
        tokens_per_s=step_s.inverted(accounting.items),
        training_s=step_s.scaled(training_tokens / accounting.items),
        training_j=step_j.scaled(training_tokens / accounting.items) if step_j else None,
        memory_bytes=memory_bytes,
        fits_memory=memory_bytes.high < limit_bytes if memory_bytes and limit_bytes else None,
        extrapolation=extrapolation(laws["step_time"], "params_non_embedding", accounting.params_non_embedding),
    )
