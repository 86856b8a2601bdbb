"""What the system says of itself is read as it means it, and cheaply."""

import os
import time
from pathlib import Path

import pytest
from fake_system import system_files, write_tree

from scalemark.system import cpu_numbers, cpu_quota_cores, cpu_ranges, machine_state, memory_limit_bytes, throttled_s

CPU = "sys/devices/system/cpu"


@pytest.mark.parametrize(("text", "numbers"), [("0-2,8", (0, 1, 2, 8)), ("3", (3,)), ("", ()), (None, ())])
def test_sets_of_cpus_are_read(text: str | None, numbers: tuple[int, ...]) -> None:
    assert cpu_numbers(text) == numbers


@pytest.mark.parametrize("text", ["0-2,8", "3", "", "0,2,4-7"])
def test_sets_of_cpus_are_written_as_the_kernel_does(text: str) -> None:
    assert cpu_ranges(cpu_numbers(text)) == text


def test_the_state_is_read_from_the_files(tmp_path: Path) -> None:
    assert machine_state(write_tree(tmp_path, system_files())) == {
        "load_average_1min": 0.1,
        "cpu_pressure_10s_percent": 1.5,
        "memory_pressure_10s_percent": 0.25,
        "io_pressure_10s_percent": 0.5,
        "memory_available_bytes": 8000 * 1024,
        "clock_mhz": 2150,
        "clock_min_mhz": 2000,
        "clock_max_mhz": 2300,
        "clock_governor": "performance",
        "clock_boost": "on",
        "temperature_celsius": 61.0,
        "steal_s": 250 / os.sysconf("SC_CLK_TCK"),
        "throttled_s": 2.5,
        "thermal_throttles": 12,
        "uptime_s": 658.46,
    }


def test_an_empty_tree_leaves_all_but_the_load_unknown(tmp_path: Path) -> None:
    state = machine_state(tmp_path)
    state.pop("load_average_1min")
    assert set(state.values()) == {None}


def test_a_virtual_machine_tells_its_clock_in_cpuinfo(tmp_path: Path) -> None:
    files = {path: text for path, text in system_files().items() if "cpufreq" not in path}
    state = machine_state(write_tree(tmp_path, files))
    assert (state["clock_mhz"], state["clock_governor"]) == (2150, None)


@pytest.mark.parametrize(
    ("path", "text", "boost"),
    [
        (f"{CPU}/intel_pstate/no_turbo", "1", "off"),
        (f"{CPU}/cpufreq/boost", "0", "off"),
        (f"{CPU}/cpufreq/boost", "1", "on"),
    ],
)
def test_boost_is_told_in_two_ways(tmp_path: Path, path: str, text: str, boost: str) -> None:
    assert machine_state(write_tree(tmp_path, {path: text}))["clock_boost"] == boost


def test_the_temperature_of_a_disk_is_not_the_processors(tmp_path: Path) -> None:
    zones = {"sys/class/hwmon/hwmon0/name": "nvme", "sys/class/hwmon/hwmon0/temp1_input": "90000"}
    assert machine_state(write_tree(tmp_path, zones))["temperature_celsius"] is None
    zone = "sys/class/thermal/thermal_zone0"
    write_tree(tmp_path, {f"{zone}/type": "cpu-thermal", f"{zone}/temp": "55500"})
    assert machine_state(tmp_path)["temperature_celsius"] == 55.5


def test_the_state_of_this_machine_is_had_in_five_milliseconds() -> None:
    seconds = []
    for _ in range(20):
        start_s = time.perf_counter()
        machine_state()
        seconds.append(time.perf_counter() - start_s)
    assert min(seconds) < 5e-3


def test_the_state_of_many_cpus_takes_no_longer(tmp_path: Path) -> None:
    files = system_files() | {f"{CPU}/online": "0-255"}
    for index in range(256):
        files[f"{CPU}/cpu{index}/cpufreq/scaling_cur_freq"] = "2000000"
    root = write_tree(tmp_path, files)
    seconds = []
    for _ in range(20):
        start_s = time.perf_counter()
        machine_state(root)
        seconds.append(time.perf_counter() - start_s)
    assert min(seconds) < 5e-3


@pytest.mark.parametrize(
    ("files", "quota"),
    [
        ({"sys/fs/cgroup/cpu.max": "200000 100000"}, 2.0),
        ({"sys/fs/cgroup/cpu.max": "max 100000"}, None),
        (
            {
                "proc/self/cgroup": "0::/a/b",
                "sys/fs/cgroup/a/cpu.max": "50000 100000",
                "sys/fs/cgroup/a/b/cpu.max": "300000 100000",
            },
            0.5,
        ),
        (
            {
                "proc/self/cgroup": "4:cpu,cpuacct:/a\n0::/",
                "sys/fs/cgroup/cpu/a/cpu.cfs_quota_us": "150000",
                "sys/fs/cgroup/cpu/a/cpu.cfs_period_us": "100000",
            },
            1.5,
        ),
        ({"sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1", "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000"}, None),
        # a container that sees its host's path, below a mount that starts at its own group
        ({"proc/self/cgroup": "0::/docker/1f", "sys/fs/cgroup/cpu.max": "100000 100000"}, 1.0),
        ({}, None),
    ],
)
def test_the_strictest_quota_counts_in_both_versions(tmp_path: Path, files: dict, quota: float | None) -> None:
    assert cpu_quota_cores(write_tree(tmp_path, files)) == quota


def test_a_memory_limit_that_no_machine_reaches_is_none(tmp_path: Path) -> None:
    path = "sys/fs/cgroup/memory/memory.limit_in_bytes"
    assert memory_limit_bytes(write_tree(tmp_path, {path: "9223372036854771712"})) is None
    assert memory_limit_bytes(write_tree(tmp_path, {path: "1073741824"})) == 2**30


def test_throttling_is_counted_in_seconds_in_both_versions(tmp_path: Path) -> None:
    assert throttled_s(write_tree(tmp_path / "1", {"sys/fs/cgroup/cpu/cpu.stat": "throttled_time 1500000000"})) == 1.5
    assert throttled_s(write_tree(tmp_path / "2", {"sys/fs/cgroup/cpu.stat": "throttled_usec 1500000"})) == 1.5
    assert throttled_s(tmp_path) is None
