"""Charts of a comparison: one colour and one symbol for each contender; bands, dashes and crossings."""

import xml.etree.ElementTree as ElementTree
from typing import Any

import pytest
from contending import comparison, laptop

from scalemark.report.charts import Figure, to_svg
from scalemark.report.charts.palette import MODEL_COLOURS
from scalemark.report.versus.charts import comparison_figures, speedup_figure, step_time_figure
from scalemark.report.versus.sections import FIGURE_NAMES
from scalemark.schema import SuiteComparison


@pytest.fixture(scope="module")
def figures() -> dict[str, Figure]:
    return {figure.name: figure for figure in comparison_figures(comparison())}


def scales(figure: Figure, channel: str) -> list[dict[str, Any]]:
    layers = figure.chart.to_dict()["layer"]
    return [one["encoding"][channel]["scale"] for one in layers if channel in one["encoding"]]


def test_every_chart_is_drawn_where_there_is_everything(figures: dict[str, Figure]) -> None:
    assert tuple(figures) == FIGURE_NAMES


def test_a_contender_has_one_colour_and_one_symbol_in_every_chart(figures: dict[str, Figure]) -> None:
    for figure in figures.values():
        for scale in scales(figure, "color"):
            assert (scale["domain"], scale["range"]) == (["laptop", "gpu"], list(MODEL_COLOURS[:2]))
        for scale in scales(figure, "shape"):
            assert (scale["domain"], scale["range"]) == (["laptop", "gpu"], ["circle", "square"])


def test_of_many_contenders_no_two_share_colour_and_symbol() -> None:
    many = tuple(laptop().model_copy(update={"name": f"machine {index}"}) for index in range(20))
    figure = step_time_figure(SuiteComparison(contenders=many))
    assert figure is not None
    (colour, *_), symbols = scales(figure, "color"), scales(figure, "shape")
    assert symbols == []  # no points, lines alone
    points = speedup_figure(comparison().model_copy(update={"contenders": (*comparison().contenders, *many)}))
    assert points is not None
    pairs = zip(scales(points, "color")[0]["range"], scales(points, "shape")[0]["range"], strict=True)
    assert len(set(pairs)) == 22
    assert len(colour["range"]) == 20


def test_the_same_comparison_gives_the_same_svg(figures: dict[str, Figure]) -> None:
    again = {figure.name: figure for figure in comparison_figures(comparison())}
    assert all(to_svg(figures[name]) == to_svg(again[name]) for name in FIGURE_NAMES)


@pytest.mark.parametrize("name", FIGURE_NAMES)
def test_an_svg_is_well_formed_and_names_who_is_who(figures: dict[str, Figure], name: str) -> None:
    svg = to_svg(figures[name])
    ElementTree.fromstring(svg)
    assert ">laptop<" in svg and ">gpu<" in svg


def test_laws_are_dashed_beyond_what_was_fitted(figures: dict[str, Figure]) -> None:
    assert 'stroke-dasharray="7,5"' in to_svg(figures["step-time"])
    assert "dashed beyond the fitted range" in figures["step-time"].caption


def test_the_speedup_chart_shows_where_one_overtakes_the_other(figures: dict[str, Figure]) -> None:
    assert "gpu wins above" in figures["speed-up"].caption
    assert ">as fast as laptop<" in to_svg(figures["speed-up"])
    priced = comparison().model_copy(update={"price_crossovers": comparison().crossovers})
    cheaper = {figure.name: figure for figure in comparison_figures(priced)}["price"]
    assert "Grey: gpu is cheaper above" in cheaper.caption
    uncrossed = speedup_figure(comparison().model_copy(update={"crossovers": ()}))
    assert uncrossed is not None and "Grey" not in uncrossed.caption


def test_a_chart_with_nothing_to_draw_is_left_out() -> None:
    bare = [one.model_copy(update={"curves": {}, "laws": ()}) for one in comparison().contenders]
    assert comparison_figures(SuiteComparison(contenders=tuple(bare))) == ()
    unpriced = comparison().model_copy(update={"usd": {}, "shapes": ()})
    assert "price" not in {figure.name for figure in comparison_figures(unpriced)}
