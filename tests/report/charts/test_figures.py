import json
import os
import pickle
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

from scalemark.report.charts import FIGURE_NAMES, Figure, figures, memory_figure, to_svg, to_vega_lite
from scalemark.report.charts.split import split_figure
from scalemark.report.series.steps import foretold_rows
from scalemark.schema import Analysis, Estimate, LossPoint, TaskRef, TrainingConfig, TrainingRun


def drawn(analysis: Analysis) -> dict[str, Figure]:
    return {figure.name: figure for figure in figures(analysis)}


@pytest.fixture(scope="module")
def svgs(full_analysis: Analysis) -> dict[str, str]:
    return {figure.name: to_svg(figure) for figure in figures(full_analysis)}


def test_every_chart_is_drawn_where_there_is_everything(full_analysis: Analysis) -> None:
    assert tuple(drawn(full_analysis)) == FIGURE_NAMES


def test_a_chart_with_nothing_to_draw_is_left_out(analysis: Analysis, bare_analysis: Analysis) -> None:
    untrained = analysis.model_copy(update={"suite": analysis.suite.model_copy(update={"training_runs": ()})})
    assert set(drawn(untrained)) == {"step-time", "memory", "mfu"}
    assert figures(bare_analysis) == ()


def test_a_whisker_that_is_too_long_ends_before_the_words_of_its_row(full_analysis: Analysis) -> None:
    splits = [split.model_copy(update={"measured_s": _tripled(split.measured_s)}) for split in full_analysis.splits]
    figure = split_figure(full_analysis.model_copy(update={"splits": tuple(splits)}))
    assert figure
    rows = [row for rows in to_vega_lite(figure)["datasets"].values() for row in rows]
    (words_at,) = {row["at"] for row in rows if "at" in row}
    ends = [row["high"] for row in rows if "high" in row and "at" not in row]
    assert ends and max(ends) < words_at


def _tripled(measured: Estimate | None) -> Estimate | None:
    return measured and measured.model_copy(update={"high": 3 * measured.value})


def test_a_chart_without_a_law_shows_what_was_measured(analysis: Analysis) -> None:
    unfitted = drawn(analysis.model_copy(update={"curves": {}}))
    assert set(unfitted) == {"step-time", "memory", "loss", "mfu", "training-loss"}
    assert "law" not in unfitted["step-time"].caption


PROGRAM = """
import pickle, sys
from scalemark.report.charts import figures, to_svg
for figure in figures(pickle.load(open(sys.argv[1], "rb"))):
    print(figure.name, to_svg(figure))
"""


def test_the_same_suite_gives_the_same_bytes_in_another_process(full_analysis: Analysis, tmp_path: Path) -> None:
    """Whatever the order of hashes, and whatever was drawn before in the process."""
    (tmp_path / "analysis").write_bytes(pickle.dumps(full_analysis))
    command = [sys.executable, "-c", PROGRAM, str(tmp_path / "analysis")]
    processes = [
        subprocess.Popen(command, stdout=subprocess.PIPE, env={**os.environ, "PYTHONHASHSEED": seed})
        for seed in ("1", "2")
    ]
    first, second = (process.communicate(timeout=120)[0] for process in processes)
    assert first.count(b"<svg") == len(FIGURE_NAMES)
    assert first == second


@pytest.mark.parametrize("name", FIGURE_NAMES)
def test_an_svg_is_well_formed_and_fits_a_page(svgs: dict[str, str], name: str) -> None:
    root = ElementTree.fromstring(svgs[name])
    assert 650 <= float(root.attrib["width"]) <= 830


def test_axes_carry_words_units_and_round_labels(svgs: dict[str, str]) -> None:
    words = ("non-embedding parameters", "1 M", "10 M", "100 ms", "1 s")
    assert all(f">{text}<" in svgs["step-time"] for text in words)


def test_an_extrapolation_is_dashed_and_a_fit_is_not(analysis: Analysis, svgs: dict[str, str]) -> None:
    assert 'stroke-dasharray="7,5"' in svgs["step-time"]
    fitted = tuple(point for point in analysis.curves["step_time"] if point.extrapolation <= 1)
    inside = analysis.model_copy(update={"curves": {"step_time": fitted}})
    assert 'stroke-dasharray="7,5"' not in to_svg(drawn(inside)["step-time"])


def test_the_memory_of_the_machine_is_a_rule_only_where_it_is_known(analysis: Analysis) -> None:
    known, unknown = memory_figure(analysis), memory_figure(_forgetful(analysis))
    assert known is not None
    assert unknown is not None
    assert "memory of this machine: 16.0 GiB" in to_svg(known)
    assert "memory of this machine" not in to_svg(unknown)


def _forgetful(analysis: Analysis) -> Analysis:
    machine = analysis.suite.machine.model_copy(update={"identity": {"memory_bytes": None}})
    return analysis.model_copy(update={"suite": analysis.suite.model_copy(update={"machine": machine})})


def test_a_name_that_looks_like_markup_is_shown_and_not_made(full_analysis: Analysis) -> None:
    """Names of models come from a suite: the text of a chart holds them, and no element of its own."""
    task = TaskRef(path="bench_mine.py", function="<script>alert(1)</script>")
    run = TrainingRun(
        config=TrainingConfig(task=task, tokens=100),
        status="ok",
        curve=tuple(LossPoint(step=step, tokens=step, train_loss=1.0 / step) for step in (1, 2)),
        validation_loss=0.5,
    )
    suite = full_analysis.suite.model_copy(update={"training_runs": (run,)})
    svg = to_svg(drawn(full_analysis.model_copy(update={"suite": suite}))["training-loss"])
    tags = {element.tag.rpartition("}")[2] for element in ElementTree.fromstring(svg).iter()}
    assert "script" not in tags
    assert "<script>alert(1)</script>" in "".join(ElementTree.fromstring(svg).itertext())


def test_a_large_grid_leaves_charts_small(full_analysis: Analysis) -> None:
    """Thousands of runs: the charts show some of them, say so, and stay a part of a page of 2 MB."""
    run = full_analysis.suite.training_runs[0]
    many = tuple(
        run.model_copy(update={"config": run.config.model_copy(update={"seed": seed, "tokens": 1_000_000 + seed})})
        for seed in range(3000)
    )
    figures_drawn = drawn(
        full_analysis.model_copy(update={"suite": full_analysis.suite.model_copy(update={"training_runs": many})})
    )
    assert "60 of 3,000 runs are shown" in figures_drawn["training-loss"].caption
    assert sum(len(json.dumps(to_vega_lite(figure))) for figure in figures_drawn.values()) < 1_200_000


def test_what_was_foretold_while_hidden_is_marked_beside_what_was_measured(full_analysis: Analysis) -> None:
    told = foretold_rows(full_analysis)
    assert len(told) == 1
    one = full_analysis.residuals["step_time"][-1]
    assert one.foretold is not None
    assert (told[0]["y"], told[0]["low"]) == (one.foretold.value, one.foretold.low)
    assert "while they were hidden" in drawn(full_analysis)["step-time"].caption
    without = full_analysis.model_copy(update={"residuals": {}})
    assert "hidden" not in drawn(without)["step-time"].caption


def test_both_outputs_draw_the_same_marks(analysis: Analysis) -> None:
    figure = drawn(analysis)["loss"]
    page, source = to_vega_lite(figure), figure.chart.to_dict()
    assert [page[part] for part in ("layer", "height")] == [source[part] for part in ("layer", "height")]
    assert page["width"] == "container"


def test_a_users_own_model_is_drawn_where_its_numbers_are_known(task_analysis: Analysis) -> None:
    assert set(drawn(task_analysis)) == {"step-time", "training-loss"}
    assert ">make_task(width=64)<" in to_svg(drawn(task_analysis)["training-loss"])


def test_every_chart_is_what_vega_lite_allows(full_analysis: Analysis) -> None:
    """Reports are written without this check, which takes longer than writing them."""
    for figure in figures(full_analysis):
        assert figure.chart.to_dict(validate=True)["$schema"]
