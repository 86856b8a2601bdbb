import gzip
import json
import re
import sys
from base64 import b64decode
from html.parser import HTMLParser
from pathlib import Path

import pytest
from factories import make_cell, make_training_run

from scalemark.errors import ScalemarkError
from scalemark.model.ladder import DIAGONAL
from scalemark.record.store import load_suite
from scalemark.report.html import html_page, write_html
from scalemark.report.sections import FIGURE_NAMES
from scalemark.schema import Analysis, LossPoint, MeasurementWarning, ModelConfig, TrainingRun

ROOT = Path(__file__).parents[2]
LARGEST_BYTES = 2_000_000
HOSTILE = "<script>alert(1)</script>"


class Page(HTMLParser):
    """Tags that are open, links to elsewhere, and the text of every script."""

    VOID = frozenset({"meta", "link", "br", "img"})

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.references: list[str] = []
        self.scripts: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.references += [value or "" for name, value in attrs if name in ("src", "href", "srcset")]
        if tag == "script":
            self.scripts.append("")
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] == "script":
            self.scripts[-1] += data


def renamed(analysis: Analysis, machine_id: str) -> Analysis:
    suite = analysis.suite
    warning = MeasurementWarning(subject=machine_id, message=machine_id)
    machine = suite.machine.model_copy(update={"id": machine_id, "identity": {"cpu": machine_id}})
    return analysis.model_copy(
        update={"suite": suite.model_copy(update={"machine": machine, "warnings": (warning,), "commit": machine_id})}
    )


@pytest.fixture(scope="module")
def page_text(full_analysis: Analysis) -> str:
    return html_page(full_analysis)


def test_the_page_is_one_file_that_asks_for_nothing(page_text: str) -> None:
    page = Page(page_text)
    assert page.open == []
    assert page.references and all(reference.startswith("#") for reference in page.references)


def test_every_link_leads_somewhere(page_text: str) -> None:
    anchors = set(re.findall(r' id="([^"]+)"', page_text))
    assert {reference.removeprefix("#") for reference in Page(page_text).references} <= anchors


def test_no_anchor_is_given_twice(page_text: str) -> None:
    anchors = re.findall(r' id="([^"]+)"', page_text.partition("<script")[0])
    assert len(anchors) == len(set(anchors)) > 10


def test_the_page_forbids_itself_the_network(page_text: str) -> None:
    policy = re.search(r'Content-Security-Policy" content="([^"]+)"', page_text)
    assert policy is not None
    assert "default-src 'none'" in policy.group(1)
    assert "http" not in policy.group(1)


def test_the_page_is_small_enough_to_send(full_analysis: Analysis, tmp_path: Path) -> None:
    path = write_html(full_analysis, tmp_path / "new" / "report.html")
    assert path.stat().st_size <= LARGEST_BYTES


@pytest.mark.parametrize("path", sorted((ROOT / "results" / "baselines").glob("*/*.json")), ids=lambda path: path.stem)
def test_the_page_of_a_committed_suite_is_small_enough_to_send(path: Path) -> None:
    assert len(html_page(Analysis(suite=load_suite(path))).encode()) <= LARGEST_BYTES


def test_the_page_of_a_large_campaign_is_small_enough_to_send(full_analysis: Analysis) -> None:
    """300 cells and 500 training runs with curves of 200 points."""
    cells = [make_cell(rung, seed=seed) for seed in range(300 // len(DIAGONAL) + 1) for rung in DIAGONAL]
    runs = [long_run(index) for index in range(500)]
    suite = full_analysis.suite.model_copy(update={"cells": tuple(cells[:300]), "training_runs": tuple(runs)})
    assert len(html_page(full_analysis.model_copy(update={"suite": suite})).encode()) <= LARGEST_BYTES


def long_run(index: int) -> TrainingRun:
    width, tokens = 16 * (1 + index % 25), 250_000 * (1 + index // 25)
    run = make_training_run(ModelConfig(n_layer=2, d_model=width, n_head=1), tokens)
    curve = tuple(
        LossPoint(step=step, tokens=step * 1024, train_loss=3.0 + 3 / step)
        for step in range(1, tokens // 1024, max(1, tokens // 204_800))
    )
    return run.model_copy(update={"curve": curve})


def test_the_page_carries_every_chart(page_text: str) -> None:
    packed = b64decode(Page(page_text).scripts[0], validate=True)
    carried = json.loads(gzip.decompress(packed))
    assert set(carried["specifications"]) == set(FIGURE_NAMES)
    assert "vegaEmbed" in carried["library"]


def test_a_name_that_looks_like_a_script_is_shown_and_not_run(analysis: Analysis, page_text: str) -> None:
    text = html_page(renamed(analysis, HOSTILE))
    page = Page(text)
    assert page.open == []
    assert len(page.scripts) == len(Page(page_text).scripts)
    assert HOSTILE not in text
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in text


def test_a_page_without_charts_carries_no_library(bare_analysis: Analysis) -> None:
    text = html_page(bare_analysis)
    assert len(text) < 30_000
    assert "Nothing was measured" in text


def test_the_same_analysis_writes_the_same_page(full_analysis: Analysis, page_text: str) -> None:
    assert html_page(full_analysis) == page_text


def test_a_missing_template_library_names_the_command(analysis: Analysis, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "jinja2", None)
    with pytest.raises(ScalemarkError, match="pip install altair vl-convert-python jinja2"):
        html_page(analysis)
