"""Warnings of a run: what made its numbers worse than they look, each ending in advice."""

from collections.abc import Iterable, Sequence

from scalemark.schema import Ceilings, Cell, Conditions, MeasurementWarning, Tag

WIDE_INTERVAL = 0.05
UNSTEADY_CEILING = 0.10
# Of a run's rounds, the share that something disturbed from which on it is said.
DISTURBED_SHARE = 0.05
# Where the host needs this share of the device's time to ask for it, launching and not computing decides.
LAUNCH_BOUND_SHARE = 0.95

_DISTURBANCES: dict[Tag, str] = {
    "stolen": "met time that the hypervisor gave to others: measure at another hour, or on a machine of your own",
    "pressured": "ran while another task waited for a CPU: end other programs, or give this container more CPUs",
    "throttled": "ran while a quota or heat held the cores back: raise the quota, or cool the machine",
    "preempted": "lost a CPU to other tasks: end other programs, or keep them to other CPUs",
}


def noise_warnings(cells: Sequence[Cell], ceilings: Ceilings) -> list[MeasurementWarning]:
    """All that the record gives reason for, worst kinds first."""
    timed = [cell for cell in cells if cell.time_s]
    found = (*_ceiling_warnings(ceilings), _wide(timed), _not_steady(timed), *_disturbed(timed), _launch_bound(timed))
    return [warning for warning in found if warning]


def _ceiling_warnings(ceilings: Ceilings) -> list[MeasurementWarning]:
    message = (
        "the matrix-product ceiling moved by more than 10 % between blocks, so MFU is uncertain: "
        "close other programs, or measure when the machine is quiet"
    )
    rates = ceilings.gemm_flops_per_s.items()
    return [
        MeasurementWarning(subject=name, message=message)
        for name, rate in rates
        if rate.relative_half_width > UNSTEADY_CEILING
    ]


def _wide(timed: Sequence[Cell]) -> MeasurementWarning | None:
    widths = {cell.workload.key: cell.typical_s.relative_half_width for cell in timed if cell.typical_s}
    wide = {key: width for key, width in widths.items() if width > WIDE_INTERVAL}
    if not wide:
        return None
    return _about(
        f"{len(wide)} of {len(timed)} cells",
        f"their time is known to no better than ± 5 % (worst: {max(wide, key=lambda key: wide[key])}): "
        "give more time with --scale-budget, or a quieter machine",
    )


def _not_steady(timed: Sequence[Cell]) -> MeasurementWarning | None:
    unsteady = [cell.workload.key for cell in timed if "not_steady" in cell.marks]
    if not unsteady:
        return None
    return _about(
        f"{len(unsteady)} of {len(timed)} cells",
        f"their rounds still drifted when the time was over (one is {unsteady[0]}): give more time with --scale-budget",
    )


def _disturbed(timed: Sequence[Cell]) -> Iterable[MeasurementWarning]:
    conditions = [block.conditions for cell in timed for block in cell.blocks if block.conditions]
    total = sum(map(sum, (one.turn_lengths for one in conditions)))
    for tag, what in _DISTURBANCES.items():
        share = _tagged(conditions, tag) / total if total else 0.0
        if share > DISTURBED_SHARE:
            yield _about(f"{share:.0%} of the timed rounds", what)


def _tagged(conditions: Iterable[Conditions], tag: Tag) -> int:
    return sum(len(one.tagged.get(tag, ())) for one in conditions)


def _launch_bound(timed: Sequence[Cell]) -> MeasurementWarning | None:
    """On CUDA: the host took as long to ask as the device to do."""
    bound = [cell.workload.key for cell in timed if _host_share(cell) >= LAUNCH_BOUND_SHARE]
    if not bound:
        return None
    return _about(
        f"{len(bound)} of {len(timed)} cells",
        f"the GPU waited for the host to launch its kernels (one is {bound[0]}): they price the host; "
        "take a larger batch or model, or compile",
    )


def _host_share(cell: Cell) -> float:
    host_s = [second for block in cell.blocks if block.conditions for second in block.conditions.host_s or ()]
    return sum(host_s) / sum(cell.samples_s) if host_s else 0.0


def _about(subject: str, message: str) -> MeasurementWarning:
    return MeasurementWarning(subject=subject, message=message)
