"""Counters read from a tree that the test makes."""

from pathlib import Path

import pytest

from scalemark.measure.watch import Look, Usage, Watch, usage

TICKS_PER_S = 100
STAT = "cpu  100 0 50 900 5 0 1 {steal} 0 0\ncpu0 50 0 25 450 2 0 0 7 0 0\n"
PRESSURE = "some avg10=0.00 avg60=0.00 avg300=0.00 total={total}\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=9\n"
CPU_STAT = "usage_usec 1\nnr_periods 9\nnr_throttled {count}\nthrottled_usec 1234\n"


def write(root: Path, name: str, text: str) -> None:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr("os.sysconf", lambda name: TICKS_PER_S)
    set_counters(tmp_path, steal=40, total=1_000_000, count=3)
    return tmp_path


def set_counters(root: Path, steal: int, total: int, count: int, heat: int | None = None) -> None:
    write(root, "proc/stat", STAT.format(steal=steal))
    write(root, "proc/pressure/cpu", PRESSURE.format(total=total))
    write(root, "sys/fs/cgroup/cpu.stat", CPU_STAT.format(count=count))
    if heat is not None:
        write(root, "sys/devices/system/cpu/cpu0/thermal_throttle/core_throttle_count", f"{heat}\n")


def test_what_the_counters_gained_between_two_looks_is_in_seconds_and_events(root):
    with Watch(root) as watch:
        before = watch.look()
        set_counters(root, steal=55, total=1_250_000, count=5)
        assert watch.look().since(before) == Look(steal_s=pytest.approx(0.15), pressure_s=0.25, throttled=2)


def test_heat_and_quota_both_count_as_throttling(root):
    set_counters(root, steal=0, total=0, count=1, heat=4)
    with Watch(root) as watch:
        assert watch.look().throttled == 5


def test_what_the_system_does_not_tell_is_unknown_and_not_zero(tmp_path):
    with Watch(tmp_path) as watch:
        assert watch.look() == Look(None, None, None)
        assert watch.look().since(watch.look()) == Look(None, None, None)


def test_a_counter_that_stepped_back_gained_nothing(root):
    with Watch(root) as watch:
        before = watch.look()
        set_counters(root, steal=10, total=1_000_000, count=3)
        assert watch.look().since(before).steal_s == 0


def test_a_file_that_says_something_else_is_unknown(root):
    write(root, "proc/stat", "nothing to see\n")
    with Watch(root) as watch:
        assert watch.look().steal_s is None


def test_work_uses_processor_time_and_sleep_does_not():
    import time

    before = usage()
    time.sleep(0.05)
    asleep = usage().since(before).cpu_s
    before, end = usage(), time.process_time() + 0.05
    while time.process_time() < end:
        pass
    assert usage().since(before).cpu_s >= 0.04 > asleep


def test_usage_since_an_earlier_one_is_the_difference():
    assert Usage(3.0, 10).since(Usage(1.0, 4)) == Usage(2.0, 6)
