"""Published step times, read from a table: what its columns allow a law to be made of, and what they do not.

    params  width  depth  seq_len  batch (sequences per step, all devices)  devices  seconds (per step)

A column that is missing is derived where that is exact, or its terms are left out, and either is said.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd

from scalemark.errors import FitError, InputError
from scalemark.fit.cost.solver import Array
from scalemark.fit.cost.terms import Form, Term

Target = Literal["seconds", "tokens_per_s"]
COLUMNS = ("params", "width", "depth", "seq_len", "batch", "devices")
_MOST_NAMED = 5
# Two quantities that differ by less than this in no row, but for a factor, are one.
_PROPORTIONAL = 1e-6


@dataclass(frozen=True)
class TableRow:
    """One step. A quantity that its table does not tell is 1, and `Columns` says which are told."""

    params: float
    width: float = 1.0
    depth: float = 1.0
    seq_len: float = 1.0
    batch: float = 1.0
    devices: float = 1.0

    @property
    def items(self) -> float:
        """Tokens per device; sequences, or steps, where the table does not tell more."""
        return self.batch * self.seq_len / self.devices


@dataclass(frozen=True)
class Columns:
    """Distinct rows of a table. numbers: of the table's rows that they stand for first, from 1. told: its columns."""

    rows: tuple[TableRow, ...]
    seconds: Array
    numbers: tuple[int, ...]
    told: frozenset[str]
    notes: tuple[str, ...]


def read_columns(frame: pd.DataFrame, target: Target = "seconds") -> Columns:
    """Rows that differ; raises InputError with the numbers of rows that cannot be used.

    target: the column with what was measured; from tokens per second, of all devices, the seconds follow.
    """
    needed = ("params", target, *(("batch", "seq_len") if target == "tokens_per_s" else ()))
    absent = [name for name in needed if name not in frame]
    if absent:
        raise InputError(f"no column {', '.join(absent)}: name it, as in --columns {absent[0]}=NAME")
    told = [name for name in COLUMNS if name in frame]
    numbers = pd.DataFrame({name: _numbers(frame, name) for name in (*told, target)})
    distinct = ~numbers.duplicated().to_numpy()
    kept = numbers[distinct]
    rows = _rows(kept, told)
    measured = kept[target].to_numpy(dtype=float)
    tokens = np.array([row.batch * row.seq_len for row in rows])
    return Columns(
        rows=rows,
        seconds=measured if target == "seconds" else tokens / measured,
        numbers=tuple(int(index) + 1 for index in np.flatnonzero(distinct)),
        told=frozenset(told),
        notes=_notes(frozenset(told), int((~distinct).sum())),
    )


def rows_of(frame: pd.DataFrame, told: frozenset[str]) -> tuple[TableRow, ...]:
    """Shapes to predict, with the columns that the law was fitted with."""
    absent = [name for name in COLUMNS if name in told and name not in frame]
    if absent:
        raise InputError(f"the law was fitted with {', '.join(absent)}: give a column for each to predict with")
    names = [name for name in COLUMNS if name in told]
    return _rows(pd.DataFrame({name: _numbers(frame, name) for name in names}), names)


def _rows(numbers: pd.DataFrame, names: Sequence[str]) -> tuple[TableRow, ...]:
    table = numbers[list(names)].to_numpy(dtype=float)
    return tuple(TableRow(**dict(zip(names, map(float, values), strict=True))) for values in table)


def _numbers(frame: pd.DataFrame, name: str) -> "pd.Series[float]":
    """The column as positive numbers; raises InputError with the rows that are not."""
    column = pd.to_numeric(frame[name], errors="coerce").astype(float).reset_index(drop=True)
    is_bad = ~(np.isfinite(column.to_numpy()) & (column.to_numpy() > 0))
    if is_bad.any():
        bad = [str(index + 1) for index in np.flatnonzero(is_bad)]
        more = f" and {len(bad) - _MOST_NAMED} more" if len(bad) > _MOST_NAMED else ""
        raise InputError(
            f"column {name!r} has no positive number in row {', '.join(bad[:_MOST_NAMED])}{more}"
            " (the first row is 1): correct them or leave them out"
        )
    return column


def _notes(told: frozenset[str], n_repeated: int) -> tuple[str, ...]:
    missing = {
        "devices": "no column devices: all rows are taken to have run on the same ones, and rates are of all together",
        "batch": "no column batch: all rows are taken to have the same",
        "seq_len": "no column seq_len: attention is left out, and all sequences are taken to be of one length",
        "width": "no column width: attention and element-wise work are left out",
        "depth": "no column depth: attention, element-wise work and layers are left out",
    }
    notes = [note for name, note in missing.items() if name not in told]
    return (*notes, f"{n_repeated} rows repeat others and count once") if n_repeated else tuple(notes)


# --- terms ------------------------------------------------------------------------------------------------------------


def table_form(columns: Columns) -> tuple[Form, tuple[str, ...]]:
    """The sum of every term that the columns tell apart, and a note for each that they do not.

    Nothing is chosen by how well it fits: a term that is not needed comes out as 0.
    """
    terms: list[Term] = []
    notes: list[str] = []
    for needs, term in _terms(columns.told):
        if needs <= columns.told:
            twin = next((other for other in terms if _is_proportional(term, other, columns.rows)), None)
            if twin is None:
                terms.append(term)
            else:
                notes.append(f"in these rows {term.meaning} cannot be told from {twin.meaning}, and is counted there")
    if len(columns.rows) <= len(terms):
        raise FitError(
            f"{len(columns.rows)} different rows cannot tell {len(terms)} terms: measure at least {len(terms) + 1}"
        )
    return Form("sum of terms", "seconds = " + " + ".join(term.meaning for term in terms), tuple(terms)), tuple(notes)


def _is_proportional(term: Term, other: Term, rows: tuple[TableRow, ...]) -> bool:
    ratios = np.array([term.of(row) / other.of(row) for row in rows])
    return bool(np.ptp(ratios) <= _PROPORTIONAL * ratios.max())


def flops_of(row: TableRow) -> float:
    """6·N·tokens and attention over all pairs, 12·layers·width·seq_len·tokens (PaLM, appendix B), per device."""
    return 6 * row.params * row.items + _attention_flops(row)


def _attention_flops(row: TableRow) -> float:
    return 12 * row.depth * row.width * row.seq_len * row.items


def _terms(told: frozenset[str]) -> tuple[tuple[frozenset[str], Term], ...]:
    """Columns that a term needs, and the term; those that come first stay where two cannot be told apart."""
    item = "token" if {"batch", "seq_len"} <= told else "sequence" if "batch" in told else "step"
    return (
        (frozenset({"params"}), _compute(item)),
        (frozenset({"width", "depth"}), _elements(item)),
        (frozenset(), Term("overhead_s", "s", "fixed overhead", lambda _: 1.0)),
        (frozenset({"depth"}), Term("per_layer_s", "s", "layers", lambda row: row.depth)),
        (frozenset({"width", "depth", "seq_len"}), _attention()),
        (
            frozenset(),
            Term(f"per_{item}_s", f"s/{item}", f"{item}s whatever the width (head and loss)", lambda row: row.items),
        ),
        (
            frozenset({"params"}),
            Term(
                "state_s_per_param",
                "s/parameter",
                "parameters updated and exchanged",
                lambda row: row.params,
                "state_params_per_s",
                "parameters/s",
            ),
        ),
    )


def _compute(item: str) -> Term:
    if item != "token":
        name = f"compute_s_per_param_{item}"
        return Term(name, f"s/parameter/{item}", "matrix products", lambda row: row.params * row.items)
    return Term(
        "compute_s_per_flop",
        "s/FLOP",
        "matrix products",
        lambda row: 6 * row.params * row.items,
        "compute_flops_per_s",
        "FLOP/s",
        "flops",
    )


def _attention() -> Term:
    return Term(
        "attention_s_per_flop",
        "s/FLOP",
        "attention",
        _attention_flops,
        "attention_flops_per_s",
        "FLOP/s",
    )


def _elements(item: str) -> Term:
    return Term(
        "element_s",
        f"s/{item}/layer/width",
        "element-wise work",
        lambda row: row.items * row.width * row.depth,
        "elements_per_s",
        "elements/s",
    )
