"""Joules from the counters a machine has, and an empty object where it has none.

    find_counter ──> probe ──────────> measure_energy ──> schema.Energy
    what is there    does it count,    windows of rounds, preparation taken off
    (powercap.py,    how often, in     (observe.py)
     nvml.py)        which steps       measure_idle ────> the same device at rest
                     (cadence.py)

Measured: everything the counter feels, so idle power and other programs are in it. Not measured: the power supply, fans
and, under powercap, the mainboard. A reason for no energy reads 'what is wrong: what to do'. Nothing here loads torch
before something is measured, so that the doctor can ask for counters without it.
"""

from scalemark.measure.energy.cadence import Cadence, Probed, probe
from scalemark.measure.energy.counter import EnergyCounter, Unavailable
from scalemark.measure.energy.observe import measure_energy, measure_idle
from scalemark.measure.energy.powercap import POWERCAP_ROOT
from scalemark.measure.energy.sources import POWERCAP_VARIABLE, faked_sources, find_counter

__all__ = [
    "POWERCAP_ROOT",
    "POWERCAP_VARIABLE",
    "Cadence",
    "EnergyCounter",
    "Probed",
    "Unavailable",
    "faked_sources",
    "find_counter",
    "measure_energy",
    "measure_idle",
    "probe",
]
