"""Training steps on two ranks of this machine, launched by torch's elastic launcher: DDP and FSDP against one rank.

Each rank has half of the machine's threads (or a GPU), and one rank alone has no more, so that what is compared is the
same. The collectives behind them are timed on messages from 4 KiB up. On a cluster, `torchrun … -m scalemark measure`
measures the same on all of its ranks (docs/scale.md).
"""

import pytest

import scalemark

RUNGS = (scalemark.find_rung("d2w128"), scalemark.find_rung("d4w256"))


@pytest.mark.parametrize("workload", scalemark.on_ranks(RUNGS), ids=str)
def bench_distributed(workload, measured):
    measured(workload)
