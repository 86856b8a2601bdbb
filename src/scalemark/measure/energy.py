"""Joules from the counters a machine has, and an empty object where it has none.

    find_counter ──> probe ──> measure_energy ──> schema.Energy
    what is there    does it    rounds until the window is long enough
                     advance?

Measured: everything the counter feels, so idle power and other programs are in it. Not measured: the power supply, fans
and, under powercap, the mainboard. Sources: Linux powercap (Documentation/power/powercap/powercap.rst in the kernel
tree) for the processor, NVML's total energy for the first visible GPU. A reason reads 'what is wrong: what to do'.
"""

import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

from scalemark.schema import Energy

POWERCAP_ROOT = Path("/sys/class/powercap")
_JOULES_PER_UJ = 1e-6
_JOULES_PER_MJ = 1e-3
# Wider than any machine: an idle package draws about a watt, eight sockets or one board stay far below 20 kW.
_PLAUSIBLE_W = (0.1, 20_000.0)

Clock = Callable[[], float]
ReadText = Callable[[Path], str]


class EnergyCounter(Protocol):
    """A running total of joules. `reason` says why there is none, and is None while there is one."""

    @property
    def source(self) -> str: ...

    @property
    def reason(self) -> str | None: ...

    def read_j(self) -> float | None:
        """Joules since an arbitrary start; None where the counter cannot be trusted (any more)."""
        ...


@dataclass(frozen=True)
class Unavailable:
    """No counter. It answers like one, so nobody needs to ask first."""

    reason: str
    source: str = "none"

    def read_j(self) -> None:
        return None


def find_counter(device: Literal["cpu", "cuda"], powercap_root: Path = POWERCAP_ROOT) -> EnergyCounter:
    """The machine's energy counter for this device, readable now; `probe` tells whether it also counts."""
    return find_powercap(powercap_root) if device == "cpu" else find_nvml()


def probe(
    counter: EnergyCounter, load: Callable[[], None], seconds: float = 0.3, clock: Clock = time.perf_counter
) -> EnergyCounter:
    """The counter, if `load` repeated for `seconds` moves it by a plausible power; otherwise Unavailable.

    Some virtual machines expose a counter that always reads 0.
    """
    window = _observe(counter, load, seconds, clock)
    if isinstance(window, Unavailable):
        return window
    power_w = window.gained_j / window.seconds
    lowest_w, highest_w = _PLAUSIBLE_W
    if lowest_w <= power_w <= highest_w:
        return counter
    return Unavailable(f"{counter.source} claims {power_w:.3g} W under load: measure energy on a physical machine")


def measure_energy(
    counter: EnergyCounter,
    run_round: Callable[[], None],
    min_window_s: float = 1.0,
    clock: Clock = time.perf_counter,
) -> Energy:
    """Energy of one round, averaged over as many as fill `min_window_s`.

    run_round: ends only when the device is done. Counters tick every 1 ms (powercap) to 100 ms (NVML), so a window of
    one second bounds the error of the edges at 0.1 % to 10 %. Without a counter no round is run.
    """
    window = _observe(counter, run_round, min_window_s, clock)
    if isinstance(window, Unavailable):
        return Energy(status="unavailable", reason=window.reason)
    return Energy(
        status="ok",
        joules_per_round=window.gained_j / window.rounds,
        source=counter.source,
        window_s=window.seconds,
        rounds=window.rounds,
    )


@dataclass(frozen=True)
class _Window:
    """Rounds run back to back between two readings."""

    gained_j: float
    seconds: float
    rounds: int


def _observe(
    counter: EnergyCounter, run_round: Callable[[], None], min_window_s: float, clock: Clock
) -> _Window | Unavailable:
    start_j = counter.read_j()
    if start_j is None:
        return Unavailable(counter.reason or f"{counter.source} cannot be read: measure without energy")
    seconds, rounds = _repeat(run_round, min_window_s, clock)
    end_j = counter.read_j()
    if end_j is None:
        return Unavailable(counter.reason or f"{counter.source} stopped answering: run again")
    if end_j <= start_j:
        how = "did not advance" if end_j == start_j else "ran backwards"
        return Unavailable(f"{counter.source} {how} in {seconds:.2g} s under load: measure energy on another machine")
    return _Window(gained_j=end_j - start_j, seconds=seconds, rounds=rounds)


def _repeat(run_round: Callable[[], None], min_window_s: float, clock: Clock) -> tuple[float, int]:
    """Seconds and rounds of a window that is at least one round and at least `min_window_s` long."""
    start_s = clock()
    rounds = 0
    while True:
        run_round()
        rounds += 1
        seconds = clock() - start_s
        if seconds >= min_window_s:
            return seconds, rounds


# Linux powercap


@dataclass(frozen=True)
class _Domain:
    """One powercap zone. It counts from 0 up to range_uj and starts again."""

    folder: Path
    name: str
    range_uj: int


class PowercapCounter:
    """The sum of some zones, unwrapped. Lives through a measurement: it remembers each zone's last reading."""

    def __init__(self, domains: tuple[_Domain, ...], read_text: ReadText) -> None:
        self._domains = domains
        self._read_text = read_text
        self._last_uj: dict[Path, int] = {}
        self._total_uj = 0
        self.source = "powercap " + "+".join(domain.name for domain in domains)
        self.reason: str | None = None

    def read_j(self) -> float | None:
        for domain in self._domains:
            if self.reason is None:
                self._advance(domain)
        return None if self.reason else self._total_uj * _JOULES_PER_UJ

    def _advance(self, domain: _Domain) -> None:
        try:
            now_uj = int(self._read_text(domain.folder / "energy_uj"))
        except (OSError, ValueError) as error:
            self.reason = _why_unreadable(domain.folder, error)
            return
        gained_uj = now_uj - self._last_uj.get(domain.folder, now_uj)
        if gained_uj < 0:
            gained_uj += domain.range_uj
            # Half a range is minutes at full power: a "wrap" that gains more is a counter that stepped back.
            if not 0 <= gained_uj <= domain.range_uj // 2:
                self.reason = f"powercap {domain.name} ran backwards: measure energy on a physical machine"
        self._last_uj[domain.folder] = now_uj
        self._total_uj += gained_uj


def find_powercap(root: Path = POWERCAP_ROOT, read_text: ReadText = Path.read_text) -> EnergyCounter:
    """Packages plus their memory; psys, core and uncore are left out because they overlap the packages.

    root: folder of the kernel's powercap zones. read_text: how a file there is read.
    """
    try:
        zones = _find_zones(root, read_text)
        domains = tuple(
            _Domain(zone, name, int(read_text(zone / "max_energy_range_uj")))
            for zone, name in zones
            if name.startswith("package") or name == "dram"
        )
    except (OSError, ValueError) as error:
        return Unavailable(_why_unreadable(root, error))
    if not any(domain.name.startswith("package") for domain in domains):
        return Unavailable(
            f"no processor energy counter in {root}: use Linux on a physical machine, try modprobe intel_rapl_msr"
        )
    counter = PowercapCounter(domains, read_text)
    counter.read_j()
    return Unavailable(counter.reason) if counter.reason else counter


def _find_zones(root: Path, read_text: ReadText) -> list[tuple[Path, str]]:
    """Folder and name of every zone. The kernel lists a subzone both at the root and under its parent: once is enough.

    Zones named intel-rapl-mmio count the same packages again by another way, so they are left out.
    """
    folders = [*root.glob("intel-rapl:*"), *root.glob("intel-rapl:*/intel-rapl:*")]
    unique = {folder.name: folder for folder in folders if folder.is_dir()}
    return [(unique[key], read_text(unique[key] / "name").strip()) for key in sorted(unique)]


def _why_unreadable(folder: Path, error: OSError | ValueError) -> str:
    if isinstance(error, PermissionError):
        return f"{folder} is for root only: sudo chmod a+r {POWERCAP_ROOT}/intel-rapl:*/energy_uj"
    what = error.strerror if isinstance(error, OSError) else "not a number"
    return f"{folder} cannot be read ({what}): load the kernel module intel_rapl_msr"


# NVML


class NvmlCounter:
    """Energy of one board since its driver was loaded, memory included."""

    def __init__(self, nvml: Any, handle: Any) -> None:
        self._nvml = nvml
        self._handle = handle
        self.source = "nvml total energy"
        self.reason: str | None = None

    def read_j(self) -> float | None:
        try:
            return float(self._nvml.nvmlDeviceGetTotalEnergyConsumption(self._handle)) * _JOULES_PER_MJ
        except self._nvml.NVMLError as error:
            self.reason = f"this GPU does not report its energy ({error}): it takes Volta or newer, and no MIG slice"
            return None


def _import_nvml() -> Any:
    import pynvml

    return pynvml


def find_nvml(
    import_nvml: Callable[[], Any] = _import_nvml, environment: Mapping[str, str] = os.environ
) -> EnergyCounter:
    """The board that torch calls cuda:0, or Unavailable.

    import_nvml: gives the pynvml module. environment: CUDA_VISIBLE_DEVICES is heeded, which NVML does not do by itself;
    on machines with unlike boards, CUDA_DEVICE_ORDER=PCI_BUS_ID makes torch number them as NVML does.
    """
    try:
        nvml = import_nvml()
    except ImportError:
        return Unavailable("the Python package pynvml is missing: pip install nvidia-ml-py")
    try:
        nvml.nvmlInit()
        counter = NvmlCounter(nvml, _first_visible(nvml, environment))
    except nvml.NVMLError as error:
        return Unavailable(f"no NVIDIA GPU answers ({error}): install its driver, then try nvidia-smi")
    counter.read_j()
    return Unavailable(counter.reason) if counter.reason else counter


def _first_visible(nvml: Any, environment: Mapping[str, str]) -> Any:
    """Handle of the first board in CUDA_VISIBLE_DEVICES, given there by number or by UUID; '' and -1 hide all."""
    first = environment.get("CUDA_VISIBLE_DEVICES", "0").split(",")[0].strip()
    if first.lstrip("-").isdigit():
        return nvml.nvmlDeviceGetHandleByIndex(int(first))
    return nvml.nvmlDeviceGetHandleByUUID(first)
