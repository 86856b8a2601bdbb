"""Which counter belongs to which device, and whether somebody put a made-up one in its place."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from scalemark.measure.board import NVML_VARIABLE
from scalemark.measure.energy.counter import EnergyCounter
from scalemark.measure.energy.nvml import find_nvml
from scalemark.measure.energy.powercap import POWERCAP_ROOT, find_powercap

POWERCAP_VARIABLE = "SCALEMARK_POWERCAP_ROOT"


def find_counter(
    device: Literal["cpu", "cuda"], powercap_root: Path = POWERCAP_ROOT, environment: Mapping[str, str] = os.environ
) -> EnergyCounter:
    """The machine's energy counter for this device, readable now; `probe` tells whether it also counts.

    environment: its SCALEMARK_POWERCAP_ROOT stands in for the kernel's root, its SCALEMARK_NVML_LIBRARY for the
    driver's library. What such a counter counts is stamped as fake.
    """
    if device == "cuda":
        return find_nvml(environment)
    root = _root(environment) if powercap_root == POWERCAP_ROOT else powercap_root
    return find_powercap(root)


def faked_sources(environment: Mapping[str, str] = os.environ) -> tuple[str, ...]:
    """Variables that put a made-up source in a real one's place: a run under any of them is no measurement."""
    powercap = (POWERCAP_VARIABLE,) if _root(environment) != POWERCAP_ROOT else ()
    return (*powercap, *((NVML_VARIABLE,) if environment.get(NVML_VARIABLE) else ()))


def _root(environment: Mapping[str, str]) -> Path:
    return Path(environment.get(POWERCAP_VARIABLE) or POWERCAP_ROOT)
