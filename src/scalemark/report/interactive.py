"""Make a chart's Vega-Lite one to explore: zoom, a legend that filters, the values under the pointer.

    Vega-Lite as the SVG has it ─> interactive ─> Vega-Lite for the page

What is drawn stays as it is. A still picture has no use for any of this, so none of it is in a chart's definition.
A chart of several plots is left alone.
"""

from collections.abc import Iterable, Sequence
from typing import Any

from scalemark.report.ticks import unit_sizes

Specification = dict[str, Any]
Layer = dict[str, Any]

ZOOM, SHOWN = "zoom", "shown"
_LEGEND_CHANNELS = ("color", "fill", "stroke", "shape", "strokeDash", "size", "opacity")
_PATHS = ("line", "trail")
# Bars have a height of their own; whatever zooms fills what its neighbour in the same row leaves.
_AS_HIGH_AS_ITS_BOX = {"height": "container", "autosize": {"type": "fit", "contains": "padding"}}
# Square pixels around a point of a line in which the pointer finds it: a disc of 16 pixels across.
_HOVER_SIZE = 200
# A plain wheel or a finger scrolls the page, wherever it happens to be.
_WHEEL = "wheel![event.ctrlKey || event.metaKey || event.shiftKey]"
_DRAG = "[pointerdown[event.pointerType !== 'touch'], window:pointerup] > window:pointermove!"


def interactive(specification: Specification) -> Specification:
    """The same chart with selections in it; `usermeta` tells the page what it can offer.

    usermeta.zoom: the signals that hold what each axis shows, none where an axis counts no quantity.
    usermeta.log: whether a logarithmic axis is there to be made linear.
    """
    if "layer" not in specification:
        return {**specification, "usermeta": {"zoom": {}, "log": False}}
    # Altair moves data that all layers share above them.
    layers = [{"data": specification.get("data"), **layer} for layer in specification["layer"]]
    layers = _with_legend_filters(layers, specification.get("datasets", {}))
    layers = [part for layer in layers for part in _with_hover(layer)]
    layers, signals = _with_zoom(layers)
    changed = {"layer": layers, "usermeta": {"zoom": signals, "log": any(map(_is_log, layers))}}
    kept = {name: value for name, value in specification.items() if name != "data"}
    return {**kept, **changed, **(_AS_HIGH_AS_ITS_BOX if signals else {})}


def _is_log(layer: Layer) -> bool:
    return any(_scale(layer, channel).get("type") == "log" for channel in ("x", "y"))


def _with_clip(layer: Layer) -> Layer:
    """Whatever a zoom moves out of the plot is hidden; words only as a whole, as they may reach over its edge."""
    mark = layer.get("mark")
    if not isinstance(mark, dict):
        return layer
    hidden = {"opacity": {"expr": _is_in_sight(layer)}, "clip": False} if mark["type"] == "text" else {"clip": True}
    return {**layer, "mark": {**mark, **hidden}}


def _is_in_sight(layer: Layer) -> str:
    """Vega expression: 1 where the place of a mark is in the plot, 0 elsewhere."""
    placed = {channel: layer.get("encoding", {}).get(channel, {}).get("field") for channel in ("x", "y")}
    claims = [
        f"datum['{field}'] >= domain('{channel}')[0] && datum['{field}'] <= domain('{channel}')[1]"
        for channel, field in placed.items()
        if field
    ]
    return f"{' && '.join(claims) or 'true'} ? 1 : 0"


def _with_ticks(layer: Layer) -> Layer:
    """Ticks that the page finds for whatever part of an axis is shown: those chosen, or finer ones in its units."""
    encoding = dict(layer.get("encoding", {}))
    for channel in ("x", "y"):
        axis, scale = _axis(layer, channel), _scale(layer, channel)
        if isinstance(axis.get("values"), list) and "labelExpr" in axis:
            shown, kind = f"domain('{channel}')", scale.get("type", "linear")
            expression = f"ticksBetween({shown}, '{kind}', {axis['values']!r}, {unit_sizes(axis['labelExpr'])!r})"
            encoding[channel] = {**encoding[channel], "axis": {**axis, "values": {"expr": expression}}}
    return {**layer, "encoding": encoding}


def _with_legend_filters(layers: Sequence[Layer], datasets: dict[str, list[dict[str, Any]]]) -> list[Layer]:
    """A click on an entry of a legend leaves only its rows, in every layer whose rows tell the legend's field."""
    filtered = list(layers)
    for index, field in enumerate(_legend_fields(layers)):
        name = f"{SHOWN}_{index}"
        host = next(place for place, layer in enumerate(layers) if field in _legend_fields([layer]))
        select = {"type": "point", "fields": [field]}
        filtered[host] = _with_parameter(filtered[host], {"name": name, "select": select, "bind": "legend"})
        filtered = [_filtered(layer, name) if field in _columns(layer, datasets) else layer for layer in filtered]
    return filtered


def _legend_fields(layers: Iterable[Layer]) -> list[str]:
    encodings = [layer.get("encoding", {}).get(channel) for layer in layers for channel in _LEGEND_CHANNELS]
    drawn = [one["field"] for one in encodings if one and "field" in one and one.get("legend", {}) is not None]
    return list(dict.fromkeys(drawn))


def _columns(layer: Layer, datasets: dict[str, list[dict[str, Any]]]) -> set[str]:
    data = layer.get("data") or {}
    rows = data.get("values") or datasets.get(data.get("name", ""), [])
    return set(rows[0]) if rows else set()


def _filtered(layer: Layer, parameter: str) -> Layer:
    return {**layer, "transform": [*layer.get("transform", []), {"filter": {"param": parameter}}]}


def _with_hover(layer: Layer) -> list[Layer]:
    """A line tells the values of its first point wherever it is touched: unseen points on it tell their own instead."""
    encoding = layer.get("encoding", {})
    if _mark_type(layer) not in _PATHS or "tooltip" not in encoding:
        return [layer]
    line = {**layer, "encoding": {name: value for name, value in encoding.items() if name != "tooltip"}}
    mark = {"type": "point", "filled": True, "opacity": 0, "size": _HOVER_SIZE, "clip": True}
    kept = {name: value for name, value in encoding.items() if name in ("x", "y", "tooltip")}
    points = {name: value for name, value in layer.items() if name != "params"}
    return [line, {**points, "mark": mark, "encoding": kept}]


def _with_zoom(layers: Sequence[Layer]) -> tuple[list[Layer], dict[str, str]]:
    """The layers, and the signals of both axes; none where no layer has a quantity on both."""
    host = next((place for place, layer in enumerate(layers) if _is_zoomable(layer)), None)
    if host is None:
        return list(layers), {}
    select = {"type": "interval", "zoom": _WHEEL, "translate": _DRAG}
    zoomed = [_with_clip(_with_ticks(layer)) for layer in layers]
    zoomed[host] = _with_parameter(zoomed[host], {"name": ZOOM, "select": select, "bind": "scales"})
    return zoomed, {channel: f"{ZOOM}_{layers[host]['encoding'][channel]['field']}" for channel in ("x", "y")}


def _is_zoomable(layer: Layer) -> bool:
    both = [layer.get("encoding", {}).get(channel, {}) for channel in ("x", "y")]
    return all("field" in one and one.get("type") == "quantitative" for one in both)


def _with_parameter(layer: Layer, parameter: dict[str, Any]) -> Layer:
    return {**layer, "params": [*layer.get("params", []), parameter]}


def _mark_type(layer: Layer) -> str:
    mark = layer.get("mark", "")
    return str(mark.get("type", "") if isinstance(mark, dict) else mark)


def _axis(layer: Layer, channel: str) -> dict[str, Any]:
    return layer.get("encoding", {}).get(channel, {}).get("axis") or {}


def _scale(layer: Layer, channel: str) -> dict[str, Any]:
    return layer.get("encoding", {}).get(channel, {}).get("scale") or {}
