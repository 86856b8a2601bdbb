"""Processor energy from Linux powercap (Documentation/power/powercap/powercap.rst in the kernel tree).

    intel-rapl:0        package-0   counted           intel-rapl:1         psys       left out: packages are in it
    intel-rapl:0:0      core        left out: in it   intel-rapl-mmio:0    package-0  left out: the same package again
    intel-rapl:0:1      dram        counted

AMD's counters appear under the same names. Each zone counts microjoules up to its range and starts again.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from scalemark.measure.energy.counter import EnergyCounter, Unavailable

POWERCAP_ROOT = Path("/sys/class/powercap")
_JOULES_PER_UJ = 1e-6

ReadText = Callable[[Path], str]


@dataclass(frozen=True)
class _Domain:
    """One powercap zone. It counts from 0 up to range_uj and starts again."""

    folder: Path
    name: str
    range_uj: int


class PowercapCounter:
    """The sum of some zones, unwrapped. Lives through a measurement: it remembers each zone's last reading."""

    source = "powercap"

    def __init__(self, domains: tuple[_Domain, ...], read_text: ReadText, fake: bool) -> None:
        self._domains = domains
        self._read_text = read_text
        self._last_uj: dict[Path, int] = {}
        self._total_uj = 0
        self.domain = _name_domains([domain.name for domain in domains])
        self.fake = fake
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


def _name_domains(names: list[str]) -> str:
    """'package-0 + dram'; 'package-0 + package-1 + 2 × dram'."""
    packages = sorted(name for name in names if name != "dram")
    n_dram = len(names) - len(packages)
    return " + ".join([*packages, *([f"{n_dram} × dram" if n_dram > 1 else "dram"] if n_dram else [])])


def find_powercap(root: Path = POWERCAP_ROOT, read_text: ReadText = Path.read_text) -> EnergyCounter:
    """Packages plus their memory; psys, core and uncore are left out because they overlap the packages.

    root: folder of the kernel's powercap zones; any other than the kernel's makes a fake. read_text: how a file there
    is read.
    """
    fake = root != POWERCAP_ROOT
    try:
        domains = _find_domains(root, read_text)
    except (OSError, ValueError) as error:
        return Unavailable(_why_unreadable(root, error), fake=fake)
    if not any(domain.name.startswith("package") for domain in domains):
        reason = f"no processor energy counter in {root}: use Linux on a physical machine, try modprobe intel_rapl_msr"
        return Unavailable(reason, fake=fake)
    counter = PowercapCounter(domains, read_text, fake)
    counter.read_j()
    return Unavailable(counter.reason, fake=fake) if counter.reason else counter


def _find_domains(root: Path, read_text: ReadText) -> tuple[_Domain, ...]:
    """The zones that are counted. The kernel lists a subzone both at the root and under its parent: once is enough."""
    folders = [*root.glob("intel-rapl:*"), *root.glob("intel-rapl:*/intel-rapl:*")]
    unique = {folder.name: folder for folder in folders if folder.is_dir()}
    named = [(unique[key], read_text(unique[key] / "name").strip()) for key in sorted(unique)]
    return tuple(
        _Domain(folder, name, int(read_text(folder / "max_energy_range_uj")))
        for folder, name in named
        if name.startswith("package") or name == "dram"
    )


def _why_unreadable(folder: Path, error: OSError | ValueError) -> str:
    if isinstance(error, PermissionError):
        return f"{folder} is for root only: sudo chmod a+r {POWERCAP_ROOT}/intel-rapl:*/energy_uj"
    what = error.strerror if isinstance(error, OSError) else "not a number"
    return f"{folder} cannot be read ({what}): load the kernel module intel_rapl_msr"
