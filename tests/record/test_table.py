"""A table is read as it is meant, or the row that stands in the way is named."""

from pathlib import Path

import pytest

from scalemark.errors import InputError, StoreError
from scalemark.record.table import parse_columns, read_table, sha256_of

NEEDED = ("params", "tokens", "loss")
GOOD = "N,D,loss,note\n1e6,2e7,3.1,a\n2e6,4e7,2.9,b\n4e6,8e7,2.7,c\n"
NAMES = {"params": "N", "tokens": "D"}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "runs.csv"
    path.write_text(GOOD)
    return path


def test_named_columns_are_read_as_numbers_and_others_left_alone(file: Path) -> None:
    table = read_table(file, NEEDED, ("trunk",), NAMES)
    assert list(table.columns) == ["params", "tokens", "loss"]
    assert table["tokens"].tolist() == [2e7, 4e7, 8e7]


def test_an_optional_column_is_read_where_it_is(tmp_path: Path) -> None:
    path = tmp_path / "runs.csv"
    path.write_text("params,tokens,loss,trunk\n1,2,3,1\n1,3,2,1\n")
    assert read_table(path, NEEDED, ("trunk", "unique_tokens"))["trunk"].tolist() == [1, 1]


@pytest.mark.parametrize(
    ("row", "complaint"),
    [
        ("-4e6,8e7,2.7,d", "params must be a positive number, and row 4 is not one"),
        ("4e6,,2.7,d", "tokens must be a positive number, and row 4 is not one"),
        ("4e6,8e7,nan,d", "loss must be a positive number"),
        ("4e6,8e7,inf,d", "loss must be a positive number"),
        ("4e6,8e7,low,d", "'low'"),
        ("0,8e7,2.7,d", "params must be"),
        ("4e6,8e7,2.7,d", "row 4 repeats an earlier row"),
    ],
)
def test_a_bad_row_is_named(file: Path, row: str, complaint: str) -> None:
    file.write_text(GOOD + row + "\n")
    with pytest.raises(InputError, match=complaint):
        read_table(file, NEEDED, (), NAMES)


def test_of_many_bad_rows_the_first_are_named_and_the_rest_counted(file: Path) -> None:
    file.write_text(GOOD + "x,1,1,d\n" * 7)
    with pytest.raises(InputError, match="rows 4, 5, 6, 7, 8 and 2 others are not"):
        read_table(file, NEEDED, (), NAMES)


def test_a_missing_column_is_told_with_those_there_are(file: Path) -> None:
    with pytest.raises(InputError, match=r"no column 'params'.*--columns params=NAME.*N, D, loss, note"):
        read_table(file, NEEDED)


def test_a_name_for_a_column_that_is_not_asked_for_is_refused(file: Path) -> None:
    with pytest.raises(InputError, match="'sizes' to name: choose from params, tokens, loss"):
        read_table(file, NEEDED, (), {"sizes": "N"})


@pytest.mark.parametrize(("content", "error"), [("", StoreError), ("params,tokens,loss\n", InputError)])
def test_a_file_without_rows_is_refused(file: Path, content: str, error: type[Exception]) -> None:
    file.write_text(content)
    with pytest.raises(error, match=r"runs\.csv"):
        read_table(file, NEEDED)


def test_bytes_that_are_no_text_and_files_that_are_not_there_are_refused(file: Path) -> None:
    with pytest.raises(StoreError, match="cannot read"):
        read_table(file.with_name("other.csv"), NEEDED)
    file.write_bytes(b"\xff\xfe\x00\x01" * 20)
    with pytest.raises(StoreError, match="no CSV table"):
        read_table(file, NEEDED)


def test_columns_are_read_from_an_option() -> None:
    assert parse_columns("params=N, tokens=D") == NAMES
    assert parse_columns(None) == {}
    with pytest.raises(InputError, match="write it as params=N"):
        parse_columns("params")


def test_the_hash_is_of_the_bytes(file: Path) -> None:
    before = sha256_of(file)
    file.write_text(GOOD.replace("3.1", "3.2"))
    assert len(before) == 64 and sha256_of(file) != before
