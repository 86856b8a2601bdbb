import re
import sys
from pathlib import Path

import pytest

from scalemark.errors import ScalemarkError
from scalemark.report.charts import FIGURE_NAMES
from scalemark.report.markdown import escape, markdown_table, write_markdown
from scalemark.report.sections import FIRST_SCREEN
from scalemark.report.tables import Column, Table
from scalemark.schema import Analysis


def test_a_table_is_a_pipe_table_with_numbers_to_the_right() -> None:
    table = Table("t", (Column("model"), Column("time", "number")), (("d1", "1 ms"),))
    assert markdown_table(table) == "| model | time |\n| --- | ---: |\n| d1 | 1 ms |"


def test_nothing_in_a_cell_ends_the_cell_or_becomes_markup() -> None:
    assert escape("a|b\n<script>*x*") == r"a\|b &lt;script&gt;\*x\*"


@pytest.fixture(scope="module")
def full_path(full_analysis: Analysis, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_markdown(full_analysis, tmp_path_factory.mktemp("full") / "new", name="machine")


@pytest.fixture(scope="module")
def text(analysis: Analysis, tmp_path_factory: pytest.TempPathFactory) -> str:
    return write_markdown(analysis, tmp_path_factory.mktemp("part")).read_text(encoding="utf-8")


def test_every_chart_that_is_shown_lies_beside_the_text(full_path: Path) -> None:
    assert full_path.parts[-2:] == ("new", "machine.md")
    shown = re.findall(r"\]\((.+?\.svg)\)", full_path.read_text(encoding="utf-8"))
    assert shown == [f"machine-{name}.svg" for name in FIGURE_NAMES]
    assert all((full_path.parent / name).read_text(encoding="utf-8").startswith("<svg") for name in shown)


def test_the_first_screen_is_the_answer_and_four_charts(full_path: Path) -> None:
    first = full_path.read_text(encoding="utf-8").partition("\n## ")[0]
    assert re.findall(r"machine-([\w-]+)\.svg", first) == list(FIRST_SCREEN)
    assert "**Here a 85.0 M model trains" in first


def test_a_chart_that_is_missing_has_its_reason_under_its_heading(text: str) -> None:
    cost = text.partition("## Cost of a training step")[2].partition("\n## ")[0]
    assert "No chart of roofline: no step had its operators counted" in cost


def test_a_table_is_not_named_twice_where_it_is_its_section(text: str) -> None:
    lines = text.splitlines()
    headings = [line.lstrip("# ") for line in lines if line.startswith("#")]
    assert len(set(headings)) == len(headings)
    assert lines.count("### Step time law") == 1


def test_a_hostile_model_name_is_harmless_in_every_table(full_analysis: Analysis, tmp_path: Path) -> None:
    hostile = "<img src=x onerror=alert(1)>|`"
    residuals = {"loss": tuple(one.model_copy(update={"subject": hostile}) for one in full_analysis.residuals["loss"])}
    assert full_analysis.noise
    noise = full_analysis.noise.model_copy(update={"widest": hostile})
    reasons = {"1 h": hostile}
    changes = {"residuals": residuals, "noise": noise, "missing_plans": reasons}
    text = write_markdown(full_analysis.model_copy(update=changes), tmp_path).read_text(encoding="utf-8")
    assert "<img" not in text
    assert text.count(r"&lt;img src=x onerror=alert(1)&gt;\|\`") >= 3


def test_the_same_analysis_writes_the_same_files(analysis: Analysis, tmp_path: Path) -> None:
    first, second = (write_markdown(analysis, tmp_path / name).parent for name in ("a", "b"))
    assert {p.name: p.read_bytes() for p in first.iterdir()} == {p.name: p.read_bytes() for p in second.iterdir()}


def test_charts_that_no_longer_apply_are_removed_and_other_files_stay(
    analysis: Analysis, bare_analysis: Analysis, tmp_path: Path
) -> None:
    write_markdown(analysis, tmp_path)
    (tmp_path / "mine.svg").write_text("<svg/>")
    write_markdown(bare_analysis, tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"report.md", "mine.svg"}


def test_a_missing_chart_library_names_the_command(
    analysis: Analysis, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "altair", None)
    for name in [name for name in sys.modules if name.startswith("scalemark.report.charts")]:
        monkeypatch.delitem(sys.modules, name)
    with pytest.raises(ScalemarkError, match="pip install altair vl-convert-python jinja2"):
        write_markdown(analysis, tmp_path)
