"""The README's numbers are those of the committed suite, and its commands are those that exist."""

import re
from pathlib import Path

from scalemark.analysis import analyse
from scalemark.record.baseline import list_baselines
from scalemark.record.store import load_suite
from scalemark.report.excerpt import fill

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_its_numbers_are_generated_from_the_committed_suite() -> None:
    machine, *_ = re.findall(r"results/([\w.-]+)/report\.md", README)  # the first is the one that it shows
    newest = [b for b in list_baselines(ROOT / "results") if b.suite.machine.id == machine][-1]
    assert fill(README, analyse(load_suite(newest.path))) == README, (
        f"run: scalemark report {newest.path.relative_to(ROOT)} --readme README.md"
    )


def test_every_file_that_it_shows_or_links_is_there() -> None:
    links = re.findall(r"\]\(([^)#:]+)\)", README)
    assert len(links) > 4
    assert not [link for link in links if not (ROOT / link).exists()]


def test_it_is_short_enough_to_be_read() -> None:
    assert len(README.splitlines()) < 150
