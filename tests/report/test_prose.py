from pathlib import Path

from scalemark.report.html import html_page
from scalemark.report.markdown import escape, write_markdown
from scalemark.report.prose import pieces
from scalemark.schema import Analysis

REASON = "no baseline of this machine: keep one with `scalemark baseline save`"


def test_a_command_between_backticks_is_told_apart() -> None:
    assert pieces("run `pytest bench/`, or `scalemark train`") == [
        ("run ", False),
        ("pytest bench/", True),
        (", or ", False),
        ("scalemark train", True),
    ]


def test_what_could_act_is_no_command() -> None:
    for hostile in ("a ` b", "`<b>`", "`a|b`", "`a\nb`", "``"):
        assert pieces(hostile) == [(hostile, False)]
    assert escape("`<b>`") == r"\`&lt;b&gt;\`"


def test_both_reports_show_commands_as_code(analysis: Analysis, tmp_path: Path) -> None:
    untold = analysis.model_copy(update={"diff": None, "no_diff_reason": REASON})
    assert "keep one with `scalemark baseline save`" in write_markdown(untold, tmp_path).read_text(encoding="utf-8")
    page = html_page(untold)
    assert "keep one with <code>scalemark baseline save</code>" in page
    assert "`scalemark" not in page.partition("<script")[0]
