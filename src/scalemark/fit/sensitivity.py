"""How far choices that no run decides move the compute-optimal size: conventions, swept one at a time.

    delta      where Huber's loss turns from squares to absolute values
    outliers   how many of the highest losses are left out; or of each trunk all runs but its longest
    form       chinchilla, tied, overlap
    params     what is counted as N, where the caller knows it in more than one way
    flops      C = 6·N·D, or FLOPs as they were counted

Much of what divided published laws was of this kind: Kaplan et al. 2020 and Hoffmann et al. 2022 differ mostly by
what they counted (Pearce & Song 2024, arXiv 2406.12907; Porian et al. 2024, arXiv 2406.19146), and five of 245 rows
move Hoffmann's beta by 0.09. The spread stands beside the statistical interval, which knows of none of it.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from scipy.optimize import minimize_scalar

from scalemark.errors import FitError
from scalemark.fit.forms import CHINCHILLA, FORMS, Data, Form, check_rows
from scalemark.fit.rows import Labels, Rows
from scalemark.fit.solver import HUBER_DELTA, Array, solve

Kind = Literal["delta", "outliers", "form", "params", "flops"]
DELTAS = (1e-4, 1e-3, 1e-2, float("inf"))
SWEPT_FORMS = ("chinchilla", "tied", "overlap")
# Times the largest compute of the rows: how far ahead the optimum is compared, unless the caller says.
REACH = 10.0
# Of the rows: as Besiroglu et al. 2024 left out 5 of 245.
_OUTLIER_SHARE = 0.02
_STARTS, _STEPS = 5, 200
_LOG_N_REACH = 8.0


@dataclass(frozen=True)
class Choice:
    """A law under one choice. params: optimal size at the compute asked for, counted as the rows count it.

    allocation: exponent a of N ∝ C^a, in the choice's own way of counting.
    """

    kind: Kind
    name: str
    allocation: float
    params: float


@dataclass(frozen=True)
class Sensitivity:
    """The optimum at `compute_flops` under each choice, all else as in `base`. skipped: what failed, and why."""

    compute_flops: float
    base: Choice
    choices: tuple[Choice, ...]
    skipped: tuple[str, ...]

    @property
    def allocation_range(self) -> tuple[float, float]:
        """Lowest and highest a of all choices, the base among them."""
        return _range(choice.allocation for choice in (self.base, *self.choices))

    @property
    def params_range(self) -> tuple[float, float]:
        """Lowest and highest optimal size."""
        return _range(choice.params for choice in (self.base, *self.choices))

    def of(self, kind: Kind) -> tuple[Choice, ...]:
        """The choices of one kind."""
        return tuple(choice for choice in self.choices if choice.kind == kind)


@dataclass(frozen=True)
class _Setting:
    """What a law is fitted to and how. size_in_rows: from an optimal size in its own count to that of the rows."""

    rows: Rows
    form: Form
    delta: float
    tokens_at: Callable[[float, float], float]
    size_in_rows: Callable[[float], float]


def sensitivity(
    rows: Rows,
    form: Form = CHINCHILLA,
    drop_highest: int = 0,
    delta: float = HUBER_DELTA,
    compute_flops: float | None = None,
    other_params: Mapping[str, Array] | None = None,
    flops: Array | None = None,
) -> Sensitivity:
    """Refit under each choice; the base leaves out `drop_highest` losses of the rows and takes C = 6·N·D.

    other_params: N of every row as otherwise counted, by what that is called. flops: as counted for every row.
    Raises FitError where the base itself cannot be fitted, or where its form has no optimal size.
    """
    if "alpha" not in form.parameters:
        raise FitError(f"the form {form.name} knows compute alone, and has no optimal size: choose another")
    compute = compute_flops or REACH * float(rows.compute_flops.max())
    base = _Setting(rows.without_highest(drop_highest), form, delta, _six_n_d, _same)
    found, skipped = [], []
    for kind, name, setting in _settings(rows, base, drop_highest, other_params or {}, flops):
        try:
            found.append(_choice(kind, name, setting, compute))
        except FitError as error:
            skipped.append(f"{name}: {error}")
    return Sensitivity(compute, _choice("form", form.name, base, compute), tuple(found), tuple(skipped))


# --- what is swept ----------------------------------------------------------------------------------------------------


def _settings(
    rows: Rows, base: _Setting, dropped: int, other_params: Mapping[str, Array], flops: Array | None
) -> Iterator[tuple[Kind, str, _Setting]]:
    """Every departure from the base."""
    for delta in DELTAS:
        if delta != base.delta:
            yield "delta", "squares" if np.isinf(delta) else f"delta {delta:g}", replace(base, delta=delta)
    few = dropped or max(1, round(_OUTLIER_SHARE * len(rows)))
    for count in (0, few, 2 * few):
        if count != dropped:
            yield "outliers", f"{count} highest left out", replace(base, rows=rows.without_highest(count))
    if rows.branches:
        yield "outliers", "longest run of each trunk", replace(base, rows=base.rows.only(_longest(base.rows)))
    for name in SWEPT_FORMS:
        if name != base.form.name:
            yield "form", name, replace(base, form=FORMS[name])
    for name, params in other_params.items():
        other = rows.with_params(np.asarray(params, dtype=float))
        yield "params", name, replace(base, rows=other.without_highest(dropped), size_in_rows=_translated(other, rows))
    if flops is not None:
        yield "flops", "FLOPs as counted", replace(base, tokens_at=_tokens_by_counted(rows, np.asarray(flops)))


def _longest(rows: Rows) -> Labels:
    """Index of the run of each trunk that saw most tokens."""
    order = np.lexsort((-rows.tokens, rows.trunks))
    first = np.unique(rows.trunks[order], return_index=True)[1]
    return np.asarray(np.sort(order[first]), dtype=np.intp)


def _six_n_d(params: float, compute_flops: float) -> float:
    return compute_flops / 6 / params


def _same(params: float) -> float:
    return params


def _tokens_by_counted(rows: Rows, flops: Array) -> Callable[[float, float], float]:
    """Tokens that a compute pays for, under the power law C = k · N^u · D^v that fits the counted FLOPs."""
    columns = np.stack([np.ones(len(rows)), np.log(rows.params), np.log(rows.tokens)], axis=1)
    log_k, by_size, by_tokens = np.linalg.lstsq(columns, np.log(flops), rcond=None)[0]

    def tokens_at(params: float, compute_flops: float) -> float:
        return float(np.exp((np.log(compute_flops) - log_k - by_size * np.log(params)) / by_tokens))

    return tokens_at


def _translated(other: Rows, rows: Rows) -> Callable[[float], float]:
    """From one count of N to that of the rows: between their sizes, and on along the last two."""
    log_other, first = np.unique(np.log(other.params), return_index=True)
    log_rows = np.log(rows.params[first])

    def size_in_rows(params: float) -> float:
        x = float(np.log(params))
        last = int(np.clip(np.searchsorted(log_other, x), 1, len(log_other) - 1))
        slope = (log_rows[last] - log_rows[last - 1]) / (log_other[last] - log_other[last - 1])
        return float(np.exp(log_rows[last] + slope * (x - log_other[last])))

    return size_in_rows


# --- one choice -------------------------------------------------------------------------------------------------------


def _choice(kind: Kind, name: str, setting: _Setting, compute_flops: float) -> Choice:
    values = _values(setting)
    sizes = [_optimal_size(setting, values, compute_flops * factor) for factor in (np.exp(-1), 1.0, np.e)]
    allocation = float(np.log(sizes[2] / sizes[0])) / 2
    return Choice(kind, name, allocation, setting.size_in_rows(sizes[1]))


def _values(setting: _Setting) -> Array:
    """The best of a few starts: nearly every one of the search's reaches the same minimum, where there is one."""
    check_rows(setting.rows, setting.form)
    if len(setting.rows) < setting.form.fewest_rows:
        raise FitError(f"{len(setting.rows)} runs are too few for {setting.form.name}: train more")
    data = Data.of(setting.rows)
    starts = setting.form.starts(data)
    starts = starts[:: max(1, len(starts) // _STARTS)]
    found = solve(starts, setting.form.problem(data), np.ones((1, len(setting.rows))), _STEPS, setting.delta)
    return setting.form.natural(data, found.theta[found.best])


def _optimal_size(setting: _Setting, values: Array, compute_flops: float) -> float:
    """Size of the lowest loss at this compute, found by a search, as counted FLOPs leave no closed form."""

    def loss_at(log_n: float) -> float:
        params = float(np.exp(log_n))
        return float(setting.form.predict(values, params, setting.tokens_at(params, compute_flops)))

    middle = float(np.log(setting.form.optimal_params(values, compute_flops)))
    bounds = middle - _LOG_N_REACH, middle + _LOG_N_REACH
    return float(np.exp(minimize_scalar(loss_at, bounds=bounds, method="bounded", options={"xatol": 1e-8}).x))


def _range(values: Iterator[float]) -> tuple[float, float]:
    found = list(values)
    return min(found), max(found)
