import re
import sys
from pathlib import Path

import pytest

from scalemark.errors import ScalemarkError
from scalemark.report.charts import FIGURE_NAMES
from scalemark.report.markdown import escape, markdown_table, write_markdown
from scalemark.report.tables import Column, Table
from scalemark.schema import Analysis


def test_a_table_is_a_pipe_table_with_numbers_to_the_right() -> None:
    table = Table("t", (Column("model"), Column("time", "number")), (("d1", "1 ms"),))
    assert markdown_table(table) == "| model | time |\n| --- | ---: |\n| d1 | 1 ms |"


def test_nothing_in_a_cell_ends_the_cell_or_becomes_markup() -> None:
    assert escape("a|b\n<script>*x*") == r"a\|b &lt;script&gt;\*x\*"


def test_every_chart_that_is_shown_lies_beside_the_text(analysis: Analysis, tmp_path: Path) -> None:
    path = write_markdown(analysis, tmp_path / "new", name="machine")
    assert path == tmp_path / "new" / "machine.md"
    shown = re.findall(r"\]\((.+?\.svg)\)", path.read_text(encoding="utf-8"))
    assert shown == [f"machine-{name}.svg" for name in FIGURE_NAMES]
    assert all((path.parent / name).read_text(encoding="utf-8").startswith("<svg") for name in shown)


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
