import xml.etree.ElementTree as ElementTree
from collections.abc import Callable

import pytest
import vl_convert

from scalemark.report.ticks import (
    Axis,
    amount_axis,
    bytes_axis,
    bytes_rate_axis,
    flops_axis,
    label_expression,
    loss_axis,
    ratio_axis,
    seconds_axis,
    unit_sizes,
)

SPANS = [(1.0, 1.0), (1.4, 4.2), (2.0, 30.0), (0.003, 2.1), (0.2, 4e5), (5e4, 3e8), (1e11, 3e15)]


@pytest.mark.parametrize("make", [amount_axis, bytes_axis, flops_axis, loss_axis, seconds_axis])
@pytest.mark.parametrize("span", [span for span in SPANS if span[0] >= 1])
def test_an_axis_has_a_few_ticks_all_inside_it(make: Callable[[list[float]], Axis], span: tuple[float, float]) -> None:
    axis = make(list(span))
    assert 1 <= len(axis.values) <= 7
    assert axis.low < span[0] <= span[1] < axis.high
    assert all(axis.low <= value <= axis.high for value in axis.values)
    assert len(set(axis.labels)) == len(axis.labels) == len(axis.values)


def test_durations_are_marked_in_the_units_people_say() -> None:
    assert seconds_axis([0.003, 2.1]).labels == ("10 ms", "100 ms", "1 s")
    assert seconds_axis([2.0, 8000.0]).labels[-2:] == ("10 min", "1 h")


def test_sizes_are_marked_at_powers_of_two() -> None:
    assert bytes_axis([3e6, 2**34]).labels == ("4 MiB", "16 MiB", "64 MiB", "256 MiB", "1 GiB", "4 GiB", "16 GiB")


def test_amounts_are_marked_at_round_numbers() -> None:
    assert amount_axis([49e3, 36e6]).labels == ("100 k", "1 M", "10 M")
    assert amount_axis([2e5, 2e6]).labels == ("200 k", "500 k", "1 M", "2 M")


def test_less_than_a_decade_of_loss_is_marked_evenly() -> None:
    assert loss_axis([1.45, 4.1]).labels == ("1.5", "2", "2.5", "3", "3.5", "4")


def labels(axis: Axis, values: list[float]) -> list[str]:
    """What the chart library writes at these values of the axis."""
    specification = {
        "data": {"values": [{"value": value} for value in values]},
        "transform": [{"calculate": label_expression(axis), "as": "label"}],
        "mark": "text",
        "encoding": {"text": {"field": "label", "type": "nominal"}},
    }
    root = ElementTree.fromstring(vl_convert.vegalite_to_svg(specification))
    return [element.text or "" for element in root.iter("{http://www.w3.org/2000/svg}text")]


def test_a_label_is_looked_up_by_its_value() -> None:
    assert labels(Axis(1, 20, (1.0, 10.0), ("one", "ten")), [1.0, 10.0]) == ["one", "ten"]


@pytest.mark.parametrize(
    ("make", "written"),
    [
        (amount_axis, {0: "0", 12: "12", 1.2e6: "1.2 M", 2.5e9: "2.5 B"}),
        (bytes_axis, {0: "0", 1536: "1.5 KiB", 3 * 2.0**30: "3 GiB"}),
        (flops_axis, {1e15: "1 PFLOP", 2.5e12: "2.5 TFLOP"}),
        (loss_axis, {1.23: "1.23", 0.2 + 0.1: "0.3"}),
        (bytes_rate_axis, {2.5e9: "2.5 GB/s"}),
        (ratio_axis, {2.5: "2.5×"}),
        (seconds_axis, {0: "0", 2.3e-3: "2.3 ms", 90.0: "1.5 min", 5400.0: "1.5 h", 86400.0 * 1234: "1,234 d"}),
    ],
)
def test_any_other_value_is_written_in_the_axis_own_units(
    make: Callable[[list[float]], Axis], written: dict[float, str]
) -> None:
    assert labels(make([1.0, 1e4]), list(written)) == list(written.values())


def test_the_units_of_an_axis_are_read_back_from_its_labels() -> None:
    assert unit_sizes(label_expression(seconds_axis([1.0, 2.0]))) == [1e-6, 1e-3, 1.0, 60.0, 3600.0, 86400.0]
    assert unit_sizes(label_expression(loss_axis([1.0, 2.0]))) == [1.0]
    assert unit_sizes("datum.label") == [1.0]
