"""A comparison in its three forms: the same numbers, no line too wide, nothing of a name acted upon."""

from pathlib import Path

import pytest
from contending import comparison

from scalemark.report.versus.documents import comparison_summary, write_comparison
from scalemark.report.versus.headline import headline
from scalemark.report.versus.sections import FIGURE_NAMES
from scalemark.schema import SuiteComparison

HOSTILE = "<script>alert(1)</script>|*x*"


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("report")
    return write_comparison(comparison(), folder / "new" / "page.html", folder / "new" / "text.md")


def renamed() -> SuiteComparison:
    """The first contender under a name that tries to be markup."""
    text = comparison().model_dump_json().replace('"laptop"', f'"{HOSTILE}"')
    return SuiteComparison.model_validate_json(text)


@pytest.mark.parametrize("width", [80, 100, 140])
def test_the_terminal_begins_with_the_answer_and_no_line_is_too_wide(width: int) -> None:
    lines = comparison_summary(comparison(), {}, width)
    assert " ".join(lines[:4]).startswith(headline(comparison())[:70])
    too_wide = [line for line in lines if len(line) > width]
    assert not too_wide or width < 100


def test_the_same_numbers_are_in_all_three(written: dict[str, Path]) -> None:
    terminal = "\n".join(comparison_summary(comparison(), {}, 400))
    shape = next(shape for shape in comparison().shapes if shape.name == "d9w576")
    assert shape.steps[1].speedup is not None
    told = f"{shape.steps[1].speedup.value:.2g}× ("
    assert told in terminal
    assert told in written["report"].read_text(encoding="utf-8")
    assert told in written["html"].read_text(encoding="utf-8").replace("\u00a0", " ")


def test_markdown_has_its_charts_beside_it(written: dict[str, Path]) -> None:
    folder, text = written["report"].parent, written["report"].read_text(encoding="utf-8")
    for name in FIGURE_NAMES:
        assert (folder / f"text-{name}.svg").exists()
        assert f"(text-{name}.svg)" in text


def test_the_page_is_one_file_that_says_where_its_numbers_come_from(written: dict[str, Path]) -> None:
    page = written["html"].read_text(encoding="utf-8")
    assert "suite machine-0" in page and "suite gpu" in page
    assert len(page.encode()) < 2_000_000


def test_a_name_is_shown_and_never_acted_upon(tmp_path: Path) -> None:
    paths = write_comparison(renamed(), tmp_path / "page.html", tmp_path / "text.md")
    page, text = (paths[name].read_text(encoding="utf-8") for name in ("html", "report"))
    assert "<script>alert(1)" not in page and "&lt;script&gt;alert(1)" in page
    assert "<script>" not in text and "|*x*" not in text
