from collections.abc import Callable

import pytest

from scalemark.report.ticks import (
    Axis,
    amount_axis,
    bytes_axis,
    flops_axis,
    label_expression,
    loss_axis,
    seconds_axis,
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


def test_a_label_is_looked_up_by_its_value() -> None:
    expression = label_expression(Axis(1, 20, (1.0, 10.0), ("1 ms", "10 ms")))
    assert expression == "['1 ms','10 ms'][indexof([1.0,10.0], datum.value)]"
