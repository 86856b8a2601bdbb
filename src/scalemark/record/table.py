"""Measurements that others made, from a CSV file: the columns asked for as numbers, or why a row cannot be used."""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from scalemark.errors import InputError, StoreError

if TYPE_CHECKING:
    import pandas as pd

MOST_ROWS_NAMED = 5


def read_table(
    path: Path,
    needed: Sequence[str],
    optional: Sequence[str] = (),
    columns: Mapping[str, str] | None = None,
    unique: bool = True,
) -> "pd.DataFrame":
    """The columns `needed`, and those of `optional` that are there, under these names; every value positive and finite.

    columns: the file's own name for a column, where it differs. unique: refuse a row that repeats another. Raises
    StoreError for a file that cannot be read, InputError for a missing column, and for bad or repeated rows, by their
    number: the first below the heading is 1.
    """
    names = dict(columns or {})
    _check_names(names, (*needed, *optional))
    table = _read(path)
    missing = [names.get(name, name) for name in (*needed, *names) if names.get(name, name) not in table.columns]
    if missing:
        there = ", ".join(map(str, table.columns))
        raise InputError(
            f"{path} has no column {missing[0]!r}: name it with --columns, as in --columns {needed[0]}=NAME; "
            f"its columns are {there}"
        )
    wanted = [name for name in (*needed, *optional) if names.get(name, name) in table.columns]
    chosen = table[[names.get(name, name) for name in wanted]].set_axis(wanted, axis=1)
    return check_table(chosen, str(path), unique)


def check_table(table: "pd.DataFrame", what: str, unique: bool = True) -> "pd.DataFrame":
    """The table as floats; raises InputError for rows that hold anything but positive numbers, or are repeated."""
    import numpy as np
    import pandas as pd

    if table.empty:
        raise InputError(f"{what} has no rows: give at least one measurement in a row")
    numbers: pd.DataFrame = table.apply(pd.to_numeric, errors="coerce").astype(float)
    for name in numbers.columns:
        values = numbers[name].to_numpy()
        bad = ~(np.isfinite(values) & (values > 0))
        if bad.any():
            found = ", ".join(repr(value) for value in table[name][bad].head(2).tolist())
            raise InputError(
                f"{what}: {name} must be a positive number, and {_rows(np.flatnonzero(bad))} ({found}): "
                "mend or remove them"
            )
    repeated = numbers.duplicated().to_numpy()
    if unique and repeated.any():
        raise InputError(
            f"{what}: {_rows(np.flatnonzero(repeated), 'repeats', 'repeat')} an earlier row, and a measurement that "
            "counts twice makes intervals too narrow: remove them"
        )
    return numbers


def sha256_of(path: Path) -> str:
    """Of the file's bytes; raises StoreError where it cannot be read."""
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise StoreError(f"cannot read {path} ({error.strerror}): check the path") from error


def parse_columns(text: str | None) -> dict[str, str]:
    """{'params': 'N'} from 'params=N'; raises InputError."""
    pairs = [part.partition("=") for part in (text or "").split(",") if part.strip()]
    for name, sign, column in pairs:
        if not (name.strip() and sign and column.strip()):
            raise InputError(f"cannot read --columns {text!r}: write it as params=N,tokens=D,loss=L")
    return {name.strip(): column.strip() for name, _, column in pairs}


def _check_names(columns: Mapping[str, str], known: Sequence[str]) -> None:
    for name in columns:
        if name not in known:
            raise InputError(f"there is no column {name!r} to name: choose from {', '.join(known)}")


def _read(path: Path) -> "pd.DataFrame":
    import pandas as pd

    try:
        return pd.read_csv(path)
    except OSError as error:
        raise StoreError(f"cannot read {path} ({error.strerror or error}): check the path") from error
    except (ValueError, UnicodeError) as error:  # what pandas raises for text that is no table
        raise StoreError(f"{path} is no CSV table ({error}): give a file with a heading and a row per line") from error


def _rows(indices: Iterable[int], one: str = "is not one", many: str = "are not") -> str:
    """'row 3 is not one', 'rows 3, 7 and 12 others are not'."""
    numbers = [int(index) + 1 for index in indices]
    if len(numbers) == 1:
        return f"row {numbers[0]} {one}"
    named = ", ".join(map(str, numbers[:MOST_ROWS_NAMED]))
    others = len(numbers) - MOST_ROWS_NAMED
    return f"rows {named}{f' and {others} others' if others > 0 else ''} {many}"
