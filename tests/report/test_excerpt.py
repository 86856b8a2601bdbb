import factories
import pytest

from scalemark.analysis import analyse
from scalemark.errors import InputError
from scalemark.model.ladder import DIAGONAL
from scalemark.report.excerpt import BEGIN, COST_COLUMNS, END, fill

ANALYSIS = analyse(factories.make_suite())


def test_only_what_stands_between_the_markers_changes() -> None:
    filled = fill(f"before\n{BEGIN}\nold\n{END}\nafter\n", ANALYSIS)
    assert filled.startswith(f"before\n{BEGIN}\n")
    assert filled.endswith(f"{END}\nafter\n")
    assert "old" not in filled


def test_filling_again_changes_nothing() -> None:
    once = fill(f"{BEGIN}\n{END}", ANALYSIS)
    assert fill(once, ANALYSIS) == once


def test_the_ladder_is_shown_once_and_no_other_shape_or_batch() -> None:
    lines = fill(f"{BEGIN}\n{END}", ANALYSIS).split("Predicted")[0].splitlines()
    assert [line.split("|")[1].strip() for line in lines if line.startswith("| d")] == [r.name for r in DIAGONAL]


def test_every_column_that_it_asks_for_is_there() -> None:
    """A heading that was renamed elsewhere would leave the excerpt without a word."""
    header = next(line for line in fill(f"{BEGIN}\n{END}", ANALYSIS).splitlines() if line.startswith("| model"))
    assert [title.strip() for title in header.strip("|").split("|")] == list(COST_COLUMNS)


def test_a_text_without_markers_is_refused_with_what_to_add() -> None:
    with pytest.raises(InputError, match="generated: begin"):
        fill("no place here", ANALYSIS)
