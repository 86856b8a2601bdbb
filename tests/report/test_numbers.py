import pytest

from scalemark.report.numbers import (
    change,
    distance,
    number,
    parameter_writer,
    plus_minus,
    quantity,
    rate,
    with_interval,
)
from scalemark.schema import Estimate
from scalemark.units import format_amount, format_count, format_seconds


def test_an_interval_is_written_as_half_its_width_in_percent() -> None:
    assert with_interval(Estimate(value=0.2, low=0.197, high=0.203), format_seconds) == "200 ms ± 1.5 %"


def test_an_interval_too_wide_for_one_percentage_shows_both_ends() -> None:
    assert with_interval(Estimate(value=1.0, low=0.5, high=9.0), format_seconds) == "1.00 s (500 ms to 9.00 s)"


def test_a_lopsided_interval_has_both_ends_though_it_is_not_wide() -> None:
    assert with_interval(Estimate(value=5170, low=1090, high=5560), rate) == "5,170 (1,090 to 5,560)"
    assert with_interval(Estimate(value=100, low=70, high=120), rate) == "100 ± 25 %"


def test_a_narrow_interval_is_not_written_as_none() -> None:
    assert plus_minus(Estimate(value=1.0, low=0.9999, high=1.0001)) == "± <0.1 %"


def test_nothing_measured_is_a_dash() -> None:
    assert with_interval(None, format_seconds) == "–"


def test_inside_the_fitted_range_no_distance_is_claimed() -> None:
    assert distance(1.0) == "within the fitted range"
    assert distance(2.375) == "2.4× beyond the fitted range"


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("time_s", 0.0123, "12.3 ms"),
        ("peak_allocated_bytes", 3 * 2**20, "3.00 MiB"),
        ("items_per_s", 12_345.0, "12,300"),
        ("flops_per_s", 1.5e11, "150 GFLOP/s"),
        ("mfu", 0.125, "12.5 %"),
        ("params_total", 1_234_567, "1,234,567"),
        ("validation_loss", 2.3456, "2.35"),
    ],
)
def test_a_quantity_is_written_by_the_unit_in_its_name(name: str, value: float, text: str) -> None:
    assert quantity(name, value) == text


def test_a_change_always_carries_its_sign() -> None:
    assert [change(0.12), change(-0.031)] == ["+12.0 %", "−3.1 %"]


def test_small_numbers_are_written_as_powers_of_ten() -> None:
    assert number(0.0000123) == "1.23 × 10⁻⁵"


def test_a_parameter_is_written_in_its_own_unit() -> None:
    assert parameter_writer("s")(2e-4) == "200 µs"
    assert parameter_writer("s per furlong")(0.25) == "0.250"


def test_tokens_and_parameters_are_counted_in_billions() -> None:
    assert [format_amount(1.7e9), format_amount(35.8e6), format_amount(None)] == ["1.70 B", "35.8 M", "–"]


def test_a_count_below_a_thousand_is_kept_apart_from_its_unit() -> None:
    assert format_count(366, "FLOP/s") == "366 FLOP/s"


def test_a_rate_is_readable_at_every_size() -> None:
    assert [rate(366.2), rate(12_512), rate(1.25e6)] == ["366", "12,500", "1.25 M"]
