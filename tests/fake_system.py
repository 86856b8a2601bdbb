"""A made-up Linux machine: the files under /proc and /sys that the code reads, as text by path."""

from pathlib import Path

FLAGS = "fpu sse2 avx2 avx512f avx512_bf16 hypervisor"
PROCESSOR = """processor\t: {index}
vendor_id\t: GenuineIntel
cpu family\t: 6
model\t\t: 85
model name\t: {name}
stepping\t: 7
microcode\t: 0x5003707
cpu MHz\t\t: 2{index}00.000
flags\t\t: {flags}

"""


def cpuinfo(name: str = "Intel(R) Xeon(R) Gold 6248 CPU @ 2.50GHz", flags: str = FLAGS, fields: str = PROCESSOR) -> str:
    return "".join(fields.format(index=index, name=name, flags=flags) for index in range(4))


def cpu_files() -> dict[str, str]:
    """Two cores of two threads each, on one NUMA node; three caches."""
    files = {"online": "0-3", "smt/active": "1", "isolated": "", "intel_pstate/no_turbo": "0"}
    for index in range(4):
        core = index // 2
        files |= {
            f"cpu{index}/topology/physical_package_id": "0",
            f"cpu{index}/topology/core_id": f"{core}",
            f"cpu{index}/topology/thread_siblings_list": f"{2 * core}-{2 * core + 1}",
            f"cpu{index}/cpufreq/scaling_cur_freq": f"2{index}00000",
            f"cpu{index}/cpufreq/scaling_governor": "performance",
            f"cpu{index}/thermal_throttle/core_throttle_count": "3",
        }
    for index, (level, kind, size) in enumerate([(1, "Data", "32K"), (1, "Instruction", "64K"), (3, "Unified", "8M")]):
        cache = f"cpu0/cache/index{index}"
        files |= {f"{cache}/level": f"{level}", f"{cache}/type": kind, f"{cache}/size": size}
    for name, text in {"meltdown": "Not affected", "l1tf": "Mitigation: PTE Inversion", "mds": "Vulnerable"}.items():
        files[f"vulnerabilities/{name}"] = text
    return {f"sys/devices/system/cpu/{path}": text for path, text in files.items()}


def system_files() -> dict[str, str]:
    """The whole machine; change a copy and write it with `write_tree`."""
    return cpu_files() | {
        "proc/cpuinfo": cpuinfo(),
        "proc/meminfo": "MemTotal: 16000000 kB\nMemAvailable: 8000 kB\nSwapTotal: 2048 kB\n",
        "proc/loadavg": "0.10 0.20 0.30 1/100 42",
        "proc/uptime": "658.46 561.80",
        "proc/stat": "cpu  64642 0 9686 56179 562 0 104 250 0 0\ncpu0 18400 0 2420 44314 346 0 9 24 0 0\n",
        "proc/pressure/cpu": "some avg10=1.50 avg60=0.00 avg300=0.00 total=7",
        "proc/pressure/memory": "some avg10=0.25 avg60=0.00 avg300=0.00 total=7",
        "proc/pressure/io": "some avg10=0.50 avg60=0.00 avg300=0.00 total=7",
        "proc/self/status": "Name:\tpython\nCpus_allowed:\tf\nCpus_allowed_list:\t0-3\n",
        "proc/self/cgroup": "0::/job",
        "proc/sys/kernel/hostname": "node7",
        "proc/sys/kernel/osrelease": "6.1.0",
        "proc/sys/kernel/numa_balancing": "0",
        "etc/os-release": 'NAME="Made"\nPRETTY_NAME="Made Up Linux 1"',
        "sys/fs/cgroup/job/cpu.max": "150000 100000",
        "sys/fs/cgroup/job/cpu.stat": "usage_usec 9\nnr_throttled 2\nthrottled_usec 2500000",
        "sys/fs/cgroup/job/memory.max": "max",
        "sys/class/dmi/id/sys_vendor": "Amazon EC2",
        "sys/class/dmi/id/product_name": "c7i.large",
        "sys/class/hwmon/hwmon0/name": "coretemp",
        "sys/class/hwmon/hwmon0/temp1_input": "61000",
        "sys/devices/system/node/node0/cpulist": "0-3",
        "sys/devices/system/clocksource/clocksource0/current_clocksource": "tsc",
        "sys/kernel/mm/transparent_hugepage/enabled": "always [madvise] never",
    }


def write_tree(folder: Path, files: dict[str, str]) -> Path:
    """The folder, with the files in it: a root to pass."""
    for path, text in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text + "\n")
    return folder
