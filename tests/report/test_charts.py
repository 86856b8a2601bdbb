import xml.etree.ElementTree as ElementTree

import pytest

from scalemark.report.charts import FIGURE_NAMES, Figure, figures, memory_figure, to_svg, to_vega_lite
from scalemark.schema import Analysis


def drawn(analysis: Analysis) -> dict[str, Figure]:
    return {figure.name: figure for figure in figures(analysis)}


@pytest.fixture(scope="module")
def svgs(analysis: Analysis) -> dict[str, str]:
    return {figure.name: to_svg(figure) for figure in figures(analysis)}


def test_every_chart_is_drawn_where_there_is_everything(analysis: Analysis) -> None:
    assert tuple(drawn(analysis)) == FIGURE_NAMES


def test_a_chart_with_nothing_to_draw_is_left_out(analysis: Analysis, bare_analysis: Analysis) -> None:
    untrained = analysis.model_copy(update={"suite": analysis.suite.model_copy(update={"training_runs": ()})})
    assert set(drawn(untrained)) == {"step-time", "memory"}
    assert figures(bare_analysis) == ()


def test_a_chart_without_a_law_shows_what_was_measured(analysis: Analysis) -> None:
    unfitted = drawn(analysis.model_copy(update={"curves": {}}))
    assert tuple(unfitted) == FIGURE_NAMES
    assert "law" not in unfitted["step-time"].caption


def test_the_same_analysis_gives_the_same_svg(analysis: Analysis, svgs: dict[str, str]) -> None:
    assert to_svg(figures(analysis)[0]) == svgs["step-time"]


@pytest.mark.parametrize("name", FIGURE_NAMES)
def test_an_svg_is_well_formed_and_fits_a_page(svgs: dict[str, str], name: str) -> None:
    root = ElementTree.fromstring(svgs[name])
    assert 650 <= float(root.attrib["width"]) <= 760


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


def test_both_outputs_draw_the_same_marks(analysis: Analysis) -> None:
    figure = drawn(analysis)["loss"]
    page, source = to_vega_lite(figure), figure.chart.to_dict()
    assert [page[part] for part in ("layer", "height")] == [source[part] for part in ("layer", "height")]
    assert page["width"] == "container"


def test_a_users_own_model_is_drawn_where_its_numbers_are_known(task_analysis: Analysis) -> None:
    assert set(drawn(task_analysis)) == {"step-time", "training-loss"}
    assert ">make_task(width=64)<" in to_svg(drawn(task_analysis)["training-loss"])
