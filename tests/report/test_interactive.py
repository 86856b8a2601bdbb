from typing import Any

import pytest

from scalemark.report.charts import figures, to_vega_lite
from scalemark.report.interactive import SHOWN, ZOOM, interactive
from scalemark.report.sections import FIGURE_NAMES
from scalemark.schema import Analysis

Layer = dict[str, Any]
BARS = "where-time-goes"
# Models and numbers of ranks are categories.
ZOOMABLE = [name for name in FIGURE_NAMES if name not in (BARS, "scaling")]


@pytest.fixture(scope="module")
def still(full_analysis: Analysis) -> dict[str, Layer]:
    return {figure.name: to_vega_lite(figure) for figure in figures(full_analysis)}


@pytest.fixture(scope="module")
def moving(still: dict[str, Layer]) -> dict[str, Layer]:
    return {name: interactive(specification) for name, specification in still.items()}


def parameters(chart: Layer) -> list[Layer]:
    return [parameter for layer in chart["layer"] for parameter in layer.get("params", [])]


def filters(layer: Layer) -> list[str]:
    return [step["filter"]["param"] for step in layer.get("transform", [])]


def test_the_chart_itself_is_not_touched(full_analysis: Analysis, still: dict[str, Layer]) -> None:
    interactive(still["loss"])
    assert still["loss"] == {figure.name: to_vega_lite(figure) for figure in figures(full_analysis)}["loss"]


@pytest.mark.parametrize("name", ZOOMABLE)
def test_every_chart_of_two_quantities_zooms_on_both_axes_in_one_place(moving: dict[str, Layer], name: str) -> None:
    zooms = [parameter for parameter in parameters(moving[name]) if parameter["name"] == ZOOM]
    assert [(zoom["select"]["type"], zoom["bind"]) for zoom in zooms] == [("interval", "scales")]
    assert set(moving[name]["usermeta"]["zoom"]) == {"x", "y"}
    assert moving[name]["usermeta"]["log"]


def test_bars_keep_their_axes_and_height_and_filter_by_their_legend(
    still: dict[str, Layer], moving: dict[str, Layer]
) -> None:
    assert moving[BARS]["usermeta"] == {"zoom": {}, "log": False}
    assert moving[BARS]["height"] == still[BARS]["height"]
    assert [parameter["bind"] for parameter in parameters(moving[BARS])] == ["legend"]


def test_ticks_are_found_for_what_is_shown_from_those_chosen_and_the_units(
    still: dict[str, Layer], moving: dict[str, Layer]
) -> None:
    chosen = still["memory"]["layer"][0]["encoding"]["y"]["axis"]["values"]
    found = moving["memory"]["layer"][0]["encoding"]["y"]["axis"]["values"]["expr"]
    units = [1.0, 2.0**10, 2.0**20, 2.0**30, 2.0**40]
    assert found == f"ticksBetween(domain('y'), 'log', {chosen}, {units})"


def test_a_legend_filters_every_layer_that_knows_its_field_and_no_other(moving: dict[str, Layer]) -> None:
    shown = [parameter for parameter in parameters(moving["loss"]) if parameter["name"].startswith(SHOWN)]
    assert [(one["select"]["fields"], one["bind"]) for one in shown] == [(["series"], "legend")]
    runs = [layer for layer in moving["loss"]["layer"] if "color" in layer["encoding"]]
    laws = [layer for layer in moving["loss"]["layer"] if "detail" in layer["encoding"]]
    assert runs and all(filters(layer) == [f"{SHOWN}_0"] for layer in runs)
    assert laws and not any(filters(layer) for layer in laws)


def test_intervals_vanish_with_their_points(moving: dict[str, Layer]) -> None:
    bars = [layer for layer in moving["step-time"]["layer"] if layer["mark"]["type"] == "rule"]
    assert filters(bars[0]) == [f"{SHOWN}_0"]


def test_a_chart_without_a_legend_has_no_filter(moving: dict[str, Layer], still: dict[str, Layer]) -> None:
    bare = {**still["loss"], "layer": [layer for layer in still["loss"]["layer"] if "color" not in layer["encoding"]]}
    assert [parameter["name"] for parameter in parameters(interactive(bare))] == [ZOOM]


@pytest.mark.parametrize("name", FIGURE_NAMES)
def test_no_line_tells_the_values_of_its_first_point_everywhere(moving: dict[str, Layer], name: str) -> None:
    lines = [layer for layer in moving[name]["layer"] if layer["mark"]["type"] == "line"]
    assert not any("tooltip" in layer["encoding"] for layer in lines)


def test_a_lines_values_are_told_by_unseen_points_on_it(still: dict[str, Layer], moving: dict[str, Layer]) -> None:
    line = next(layer for layer in still["training-loss"]["layer"] if layer["mark"]["type"] == "line")
    unseen = [layer for layer in moving["training-loss"]["layer"] if layer["mark"].get("opacity") == 0]
    assert [layer["encoding"]["tooltip"] for layer in unseen] == [line["encoding"]["tooltip"]]
    assert [layer["data"] for layer in unseen] == [still["training-loss"]["data"]]
    assert not any("params" in layer for layer in unseen)


def test_nothing_is_drawn_beyond_the_plot_once_it_is_zoomed(moving: dict[str, Layer]) -> None:
    marks = [layer["mark"] for name in ZOOMABLE for layer in moving[name]["layer"]]
    assert all(mark["clip"] for mark in marks if mark["type"] != "text")
    words = [mark for mark in marks if mark["type"] == "text"]
    assert words and all("domain('y')" in mark["opacity"]["expr"] for mark in words)


def test_a_chart_of_categories_keeps_its_axes() -> None:
    bars = {
        "datasets": {"rows": [{"model": "a", "y": 1}]},
        "layer": [
            {
                "mark": {"type": "bar"},
                "data": {"name": "rows"},
                "encoding": {"x": {"field": "model", "type": "nominal"}, "y": {"field": "y", "type": "quantitative"}},
            }
        ],
    }
    chart = interactive(bars)
    assert parameters(chart) == []
    assert chart["usermeta"] == {"zoom": {}, "log": False}


def test_a_chart_of_several_plots_is_left_alone() -> None:
    plots = {"hconcat": [{"mark": "point"}, {"mark": "bar"}]}
    assert interactive(plots) == {**plots, "usermeta": {"zoom": {}, "log": False}}
