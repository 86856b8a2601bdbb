"""A contender with its laws: which of its steps take part, and what is fitted to them."""

from collections.abc import Callable, Mapping, Sequence
from itertools import groupby

from scalemark.analysis import CURVE_DEPTHS, FARTHEST_COST_CURVE
from scalemark.comparing import at_shared_references
from scalemark.errors import FitError
from scalemark.fit.cost.terms import Counted
from scalemark.fit.cost_law import Limits, distance, fit_energy_law, fit_memory_law, fit_time_law, predict
from scalemark.fit.loss_law import fit_loss_law
from scalemark.model.accounting import account
from scalemark.model.ladder import BATCH, SEQ_LEN, diagonal_shape
from scalemark.model.memory import predict_memory
from scalemark.schema import Cell, Contender, CurvePoint, Law, LawKind, ModelConfig, Workload

_CURVES: tuple[LawKind, ...] = ("step_time", "memory")


def with_laws(contenders: Sequence[Contender]) -> tuple[Contender, ...]:
    """Each with the laws of its own steps; what cannot be fitted has its reason."""
    return tuple(map(_fitted, _at_one_moment(contenders)))


def step_cells(contender: Contender) -> list[Cell]:
    """Its timed training steps, of transformers and of a user's own tasks."""
    return [cell for cell in contender.suite.cells if cell.status == "ok" and _takes_part(contender, cell.workload)]


def _takes_part(contender: Contender, workload: Workload) -> bool:
    same_device = workload.device == contender.suite.settings.device
    options = ("compiled",) if contender.compiled else ()
    runs_so = workload.dtype == contender.dtype and workload.options == options
    is_optimized_so = workload.task is not None or workload.optimizer == contender.optimizer
    return workload.phase == "step" and same_device and runs_so and is_optimized_so


def law_cells(contender: Contender) -> list[Cell]:
    """Those that cost laws are fitted to: a user's tasks have no shape."""
    return [cell for cell in step_cells(contender) if cell.workload.model]


def limits_of(contender: Contender) -> Limits:
    """What the contender's own kernels reached in its dtype: no term of its law is faster."""
    device, ceilings = contender.suite.settings.device, contender.suite.ceilings
    gemm = ceilings.gemm_flops_per_s.get(f"{device}/{contender.dtype}")
    triad = ceilings.triad_bytes_per_s.get(device)
    return Limits(gemm.value if gemm else None, triad.value if triad else None)


def counted_for(contender: Contender, kind: LawKind, model: ModelConfig, batch: int, seq_len: int) -> Counted:
    """What a law of this kind is asked with, for a shape that need not have been measured."""
    if kind != "memory":
        return account(model, batch, seq_len, contender.dtype, contender.optimizer)
    workload = Workload(
        phase="step",
        model=model,
        batch=batch,
        seq_len=seq_len,
        dtype=contender.dtype,
        device=contender.suite.settings.device,
        optimizer=contender.optimizer,
        compiled=contender.compiled,
    )
    predicted = predict_memory(workload)
    assert predicted is not None, "the shape of a model has a predicted memory"
    return predicted


def _at_one_moment(contenders: Sequence[Contender]) -> list[Contender]:
    """Suites of one machine with their corrected times at the same moment of its reference kernels.

    On two machines the kernels themselves differ, and each stays at the moment that is typical of it.
    """
    moved = {one.name: one for one in contenders}
    ordered = sorted(contenders, key=lambda one: one.suite.machine.id)
    for _, group in groupby(ordered, key=lambda one: one.suite.machine.id):
        first, *others = group
        for other in others:
            if other.suite.id != first.suite.id:
                base, suite = at_shared_references(first.suite, other.suite)
                moved[first.name] = first.model_copy(update={"suite": base})
                moved[other.name] = other.model_copy(update={"suite": suite})
    return [moved[one.name] for one in contenders]


def _fitted(contender: Contender) -> Contender:
    cells, seed, limits = law_cells(contender), contender.suite.settings.seed, limits_of(contender)
    fits: Mapping[LawKind, Callable[[], Law]] = {
        "step_time": lambda: fit_time_law(cells, seed, limits),
        "memory": lambda: fit_memory_law(cells, seed),
        "energy": lambda: fit_energy_law(cells, seed, limits),
        "loss": lambda: fit_loss_law(contender.suite.training_runs, seed, with_holdout=False),
    }
    laws: dict[LawKind, Law] = {}
    missing: dict[LawKind, str] = {}
    for kind, fit in fits.items():
        try:
            laws[kind] = fit()
        except FitError as error:
            missing[kind] = str(error)
    curves = {kind: _curve(contender, laws[kind]) for kind in _CURVES if kind in laws}
    return contender.model_copy(update={"laws": tuple(laws.values()), "missing_laws": missing, "curves": curves})


def _curve(contender: Contender, law: Law) -> tuple[CurvePoint, ...]:
    """Along the diagonal at the ladder's batch, as far as a report draws it."""
    points = []
    for depth in CURVE_DEPTHS:
        model = diagonal_shape(depth)
        counted = counted_for(contender, law.kind, model, BATCH, SEQ_LEN)
        params = account(model, BATCH, SEQ_LEN).params_non_embedding
        far = distance(law, counted)
        if far <= FARTHEST_COST_CURVE:
            points.append(CurvePoint(x=float(params), y=predict(law, counted), extrapolation=far))
    return tuple(points)
