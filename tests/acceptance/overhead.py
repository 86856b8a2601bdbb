"""What the harness costs: the same step in a bare loop and through the harness, alternating in one process.

    python tests/acceptance/overhead.py d2w128 40

Prints three estimates as JSON, each a ratio to the bare loop with a 90 % interval: of the time that the harness
records, of the time that passes around the rounds (clocks, counters and looks included, the reference kernels apart:
they are the price of the control variate, and run between turns), and of the bare loop's time plus what the harness
takes around a round that does nothing. The last is the surest: noise of a step is far above what is weighed here.
"""

import sys
import time

import numpy as np
import torch

from scalemark.measure.clock import Round
from scalemark.measure.device import Device
from scalemark.measure.phases import build_task, make_round, nothing
from scalemark.measure.rounds import Limits, time_turns
from scalemark.measure.watch import Watch
from scalemark.model.ladder import BATCH, SEQ_LEN, find_rung
from scalemark.process import default_threads
from scalemark.schema import Estimate, Workload
from scalemark.stats import percentile_interval

# A slice is as long as a turn, so that it bears what a turn bears.
TOTAL_S, SLICE_S = 40.0, 0.1
EMPTY = Round(nothing, nothing)
EMPTY_ROUNDS = 200


class _NoReferences:
    """In place of the reference kernels, which are not what is weighed here."""

    def gemm_s(self) -> float:
        return 0.0

    def exchange_s(self) -> None:
        return None

    def triad_s(self) -> float:
        return 0.0


def overhead(rung: str, total_s: float = TOTAL_S) -> tuple[Estimate, Estimate, Estimate]:
    """The three ratios to the bare loop: medians over pairs of slices, with bootstrap intervals."""
    workload = Workload(phase="step", model=find_rung(rung), batch=BATCH, seq_len=SEQ_LEN, optimizer="adamw")
    tokens = np.random.default_rng(0).integers(0, 256, 100_000).astype(np.uint8)
    one = make_round(build_task(workload, tokens, seed=0), workload)
    step_s = _bare_s(one, 5)
    count = max(2, round(SLICE_S / step_s))
    pairs = max(4, round(total_s / (2 * count * step_s)))
    with Watch() as watch:
        ratios = np.array([_pair(one, workload.device, count, watch, swapped=index % 2 == 1) for index in range(pairs)])
    return _median(ratios[:, 0]), _median(ratios[:, 1]), _median(ratios[:, 2])


def _pair(one: Round, device: Device, count: int, watch: Watch, swapped: bool) -> tuple[float, float, float]:
    """Ratios of one pair of slices, the harness first in every other pair."""
    bare_s = _bare_s(one, count) if not swapped else 0.0
    recorded_s, passed_s = _harness_s(one, device, count, watch)
    bare_s = bare_s or _bare_s(one, count)
    _, empty_s = _harness_s(EMPTY, device, EMPTY_ROUNDS, watch)
    return recorded_s / bare_s, passed_s / bare_s, 1 + empty_s / bare_s


def _bare_s(one: Round, count: int) -> float:
    start = time.perf_counter()
    for _ in range(count):
        one.timed()
    return (time.perf_counter() - start) / count


def _harness_s(one: Round, device: Device, count: int, watch: Watch) -> tuple[float, float]:
    start = time.perf_counter()
    turns = time_turns(one, device, Limits(1e9, count, count), _NoReferences(), watch)
    passed_s = time.perf_counter() - start
    return sum(turn.seconds for turn in turns) / count, passed_s / count


def _median(ratios: np.ndarray) -> Estimate:
    rng = np.random.default_rng(0)
    draws = np.median(ratios[rng.integers(len(ratios), size=(2000, len(ratios)))], axis=1)
    return percentile_interval(draws, float(np.median(ratios)))


if __name__ == "__main__":
    torch.set_num_threads(default_threads())
    for estimate in overhead(sys.argv[1], float(sys.argv[2])):
        print(estimate.model_dump_json())
