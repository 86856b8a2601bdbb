"""Does the law of communication foretell the next world size? Asked of simulated networks whose truth is known.

    python tests/acceptance/scale_simulated.py [--seeds 50]

What a suite would have measured on p ranks, with noise, is fitted as `scalemark.fit` fits it; what larger groups take
is predicted and compared with the network's own time. Networks: NVLink-like links inside nodes of eight and
InfiniBand-like ones between, an all-reduce that goes round all ranks or is hierarchical, with and without congestion.
Markdown on standard output; exit code 1 where the law fails on a network of its own form.
"""

import argparse
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

import networks
from networks import Link, Network

from scalemark.fit.communication import Message, fit_all, predict_message
from scalemark.schema import CollectiveTime

# Of the order of an H100 node with NVLink 4 and one 400 Gbit/s InfiniBand port a GPU; made up, and known exactly.
INSIDE, BETWEEN = Link(3e-6, 3.6e11), Link(1.2e-5, 4.5e10)
OVERHEAD_S, NOISE = 1.5e-5, 0.05
SIZES = [2**power for power in range(12, 28, 3)]
# The largest message that is measured, a gradient bucket, and one that is nearly all latency.
ASKED = (2**27, 25 * 2**20, 2**14)
WITHIN = 0.10


@dataclass(frozen=True)
class Case:
    """A network, the world sizes that are measured on it, and those that are foretold from them."""

    name: str
    network: Network
    measured: tuple[int, ...]
    foretold: tuple[int, ...]
    has_form_of_the_law: bool


@dataclass(frozen=True)
class Foretold:
    """One message among so many ranks: median error over seeds (predicted/true − 1), how often the interval held."""

    case: Case
    world_size: int
    size_bytes: int
    error: float
    coverage: float


def cases() -> list[Case]:
    hierarchical = Network(INSIDE, BETWEEN, overhead_s=OVERHEAD_S, noise=NOISE)
    flat = Network(INSIDE, BETWEEN, overhead_s=OVERHEAD_S, noise=NOISE, hierarchical=False)
    congested = Network(INSIDE, BETWEEN, overhead_s=OVERHEAD_S, noise=NOISE, hierarchical=False, congestion=0.1)
    return [
        Case("one node, from 2 and 4 to 8", hierarchical, (2, 4), (8,), True),
        Case("flat ring, from 2 and 4 nodes to 8, 64 and 128", flat, (16, 32), (64, 512, 1024), True),
        Case("one node to several, flat ring", flat, (2, 4, 8), (16, 64, 1024), False),
        Case("hierarchical, from 2 and 4 nodes to 8, 64 and 128", hierarchical, (16, 32), (64, 512, 1024), False),
        Case("congested flat ring, from 2 and 4 nodes", congested, (16, 32), (64, 512, 1024), False),
    ]


def foretell(case: Case, seeds: int) -> Iterator[Foretold]:
    """All-reduce alone: the others have the same terms with half the passes."""
    suites = [_fitted(case, seed) for seed in range(seeds)]
    for world_size in case.foretold:
        for size in ASKED:
            truth = case.network.seconds("all_reduce", world_size, size)
            told = [predict_message(law, "all_reduce", Message(world_size, size)) for law in suites]
            error = float(np.median([one.value for one in told]) / truth - 1)
            coverage = float(np.mean([one.low <= truth <= one.high for one in told]))
            yield Foretold(case, world_size, size, error, coverage)


def _fitted(case: Case, seed: int) -> object:
    times: Sequence[CollectiveTime] = networks.measured(case.network, case.measured, SIZES, seed)
    many_nodes = case.network.nodes(case.measured[0]) > 1
    return fit_all([one for one in times if one.operation == "all_reduce"], seed)["all_reduce", many_nodes]


def failures(found: Sequence[Foretold]) -> list[str]:
    """Where the law should hold and does not."""
    ours = [one for one in found if one.case.has_form_of_the_law]
    return [
        f"{one.case.name}, {one.world_size} ranks, {one.size_bytes} bytes: missed by {one.error:+.1%}"
        for one in ours
        if abs(one.error) > WITHIN
    ]


def table(found: Sequence[Foretold]) -> Iterator[str]:
    yield "| network | ranks | message | missed by | 90 % interval held |"
    yield "| --- | ---: | ---: | ---: | ---: |"
    for one in found:
        size = f"{one.size_bytes / 2**20:g} MiB" if one.size_bytes >= 2**20 else f"{one.size_bytes // 1024} KiB"
        yield f"| {one.case.name} | {one.world_size:,} | {size} | {one.error:+.1%} | {one.coverage:.0%} |"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=50)
    seeds = parser.parse_args().seeds
    found = [one for case in cases() for one in foretell(case, seeds)]
    print("\n".join(table(found)))
    broken = failures(found)
    for line in broken:
        print(f"FAILED: {line}", file=sys.stderr)
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
