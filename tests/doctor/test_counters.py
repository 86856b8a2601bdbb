"""What can be observed is what was seen to move."""

from itertools import count
from pathlib import Path

from scalemark.doctor.counters import check_cpu_energy, check_resident_peak, check_timer


def test_an_energy_counter_that_stands_still_is_missing(tmp_path: Path) -> None:
    zone = tmp_path / "intel-rapl:0"
    zone.mkdir()
    for file, text in {"name": "package-0", "energy_uj": "0", "max_energy_range_uj": "1000000"}.items():
        (zone / file).write_text(text)
    check = check_cpu_energy(tmp_path)
    assert check.status == "missing"
    assert "did not advance" in check.detail
    assert check.advice


def test_no_energy_counter_says_where_it_was_looked_for_and_what_to_do(tmp_path: Path) -> None:
    check = check_cpu_energy(tmp_path)
    assert check.status == "missing"
    assert str(tmp_path) in check.detail
    assert check.advice


def test_a_resident_peak_is_reset_by_writing_5(tmp_path: Path) -> None:
    clear_refs = tmp_path / "clear_refs"
    clear_refs.write_text("")
    assert check_resident_peak(clear_refs).status == "ok"
    assert clear_refs.read_text() == "5"


def test_a_resident_peak_that_cannot_be_reset_is_a_limit(tmp_path: Path) -> None:
    assert check_resident_peak(tmp_path / "absent" / "clear_refs").status == "limited"


def test_a_timer_is_told_by_its_smallest_step_and_what_a_reading_takes() -> None:
    ticks = count(step=25)
    check = check_timer(lambda: next(ticks))
    assert check.status == "ok"
    assert check.detail == "steps of 25 ns seen, a reading takes 25 ns"


def test_a_coarse_timer_is_a_limit() -> None:
    readings = count()
    check = check_timer(lambda: next(readings) // 500 * 15_000_000)
    assert check.status == "limited"
    assert "15000 µs" in check.detail


def test_the_timer_of_this_machine_is_finer_than_a_microsecond() -> None:
    assert check_timer().status == "ok"
