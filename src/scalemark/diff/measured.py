"""Time and energy of cells: each against the reruns of its baseline where there are any, all of them as one family.

    the baseline stores reruns    new run − mean of the reruns, margin from their scatter (`diff.family`)
    it stores none                interval of the ratio against a fixed margin (`verdict.judge_ratio`)

A side whose rounds waited for a processor much more than the other's proves no change of the code: what would be called
one is undecided.

Where both sides have a corrected time, that is judged, both at reference kernels' times that are typical of the reruns
(without reruns: of the base); the ratio as measured stands beside it. With reruns there is also one verdict on all
times together, since what slows every cell by a little is seen there first.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from math import exp, hypot, log, sqrt
from statistics import median

import numpy as np

from scalemark.diff.family import Candidate, Judged, judge_suite, standard_error
from scalemark.diff.machines import Machines
from scalemark.diff.noise import RunToRun, mean_over_cells, repeated_logs, run_to_run
from scalemark.diff.presence import judge_presence, neither_tried
from scalemark.diff.verdict import MARGIN_FLOOR, TIME_MARGIN, judge_ratio, ratio_of
from scalemark.schema import Cell, Comparison, Energy, Estimate, Reference, VerdictName

TIME, ENERGY = "time_s", "joules_per_round"
ALL_CELLS = "all timed cells"
# Of fewer cells the mean says nothing that they do not.
_FEWEST_FOR_ALL = 3
# Share of a cell's rounds in which something waited for a processor. Above it, and above so many times the share of the
# other side, others kept the machine busy. Quiet, cells of 14 runs had at most 9 %; with a neighbour many had 20 to 67.
BUSY_SHARE, BUSIER = 0.10, 3.0


@dataclass(frozen=True)
class _Pair:
    """One quantity of one cell on both sides, as judged and as measured.

    noise: what reruns say, if there are any. busy: why a change would be no proof, if others kept the machine busy.
    """

    key: str
    metric: str
    base: Estimate
    new: Estimate
    n_blocks: int
    raw: Estimate | None = None
    noise: RunToRun | None = None
    busy: str | None = None

    @property
    def candidate(self) -> Candidate | None:
        """For a verdict by the reruns."""
        if self.noise is None:
            return None
        own_error = standard_error(self.new, self.n_blocks)
        return Candidate(log(self.new.value) - self.noise.centre, self.noise, own_error)


def compare_measured(
    keys: Sequence[str],
    base: Mapping[str, Cell],
    new: Mapping[str, Cell],
    machines: Machines,
    margin: float | None = None,
) -> dict[str, list[Comparison]]:
    """By key, the time and the energy of each cell; under `ALL_CELLS` all times together, where reruns allow it.

    margin: no smaller change is called one; by default `MARGIN_FLOOR` with reruns, `TIME_MARGIN` without.
    """
    found: dict[str, list[Comparison]] = {key: [] for key in keys}
    pairs = [pair for key in keys if (pair := _time_pair(base.get(key), new.get(key)))]
    energies = [pair for key in keys if (pair := _energy_pair(base.get(key), new.get(key)))]
    pairs, energies = _with_noise(pairs, base, TIME), _with_noise(energies, base, ENERGY)
    energies = [pair if pair.noise else _of_any_process(pair, base[pair.key], new[pair.key]) for pair in energies]
    for key in keys:
        if not any(pair.key == key for pair in pairs) and not neither_tried(base.get(key), new.get(key)):
            found[key].append(_only_one(key, base.get(key), new.get(key), machines))
    on_one_device = [pair for pair in pairs if not (base[pair.key].workload.is_parallel or pair.busy)]
    together = _all_cells(on_one_device, base, new)
    for comparison in _judged([*pairs, *energies], together, machines, margin):
        found.setdefault(comparison.subject, []).append(comparison)
    return found


def shared_references_s(base: Cell) -> Mapping[Reference, float]:
    """The reference kernels' times that both sides are brought to: typical of the reruns, or of the base's run."""
    if base.repeats and base.repeats.references_s:
        return base.repeats.references_s
    return base.control.references_s if base.control else {}


def at_references(cell: Cell, references_s: Mapping[Reference, float]) -> Estimate | None:
    """The cell's corrected time at a moment when the kernels take so long; None where it has none."""
    if cell.corrected_s is None or cell.control is None:
        return None
    return cell.corrected_s.scaled(cell.control.factor_at(dict(references_s)))


# --- both sides -------------------------------------------------------------------------------------------------------


def _time_pair(before: Cell | None, after: Cell | None) -> _Pair | None:
    if not (before and after and before.status == after.status == "ok" and before.time_s and after.time_s):
        return None
    busy = _busy(before, after)
    pair = _Pair(before.workload.key, TIME, before.time_s, after.time_s, len(after.blocks), busy=busy)
    references_s = shared_references_s(before)
    base, new = at_references(before, references_s), at_references(after, references_s)
    if base is None or new is None:
        return pair
    return replace(pair, base=base, new=new, raw=ratio_of(after.time_s, before.time_s))


def _energy_pair(before: Cell | None, after: Cell | None) -> _Pair | None:
    """Where both sides read the same counter in the same way."""
    if not (before and after and before.energy and after.energy):
        return None
    base, new = before.energy, after.energy
    if base.joules_per_round is None or new.joules_per_round is None or not _same_counter(base, new):
        return None
    busy = _busy(before, after)
    return _Pair(before.workload.key, ENERGY, base.joules_per_round, new.joules_per_round, 1, busy=busy)


def _busy(before: Cell, after: Cell) -> str | None:
    shares = _waited(before), _waited(after)
    for share, other, where in ((shares[1], shares[0], ""), (shares[0], shares[1], " in the base")):
        if share > max(BUSY_SHARE, BUSIER * other):
            return f"rounds{where} waited for a processor {share:.0%} of their time: end other programs, measure again"
    return None


def _waited(cell: Cell) -> float:
    """Share of its rounds' time in which some task waited for a processor (PSI); 0 where the system does not tell."""
    told = [block for block in cell.blocks if block.conditions and block.conditions.pressure_s is not None]
    rounds_s = sum(sum(block.rounds_s) for block in told)
    waited_s = sum(sum(block.conditions.pressure_s or ()) for block in told if block.conditions)
    return waited_s / rounds_s if rounds_s else 0.0


def _of_any_process(pair: _Pair, before: Cell, after: Cell) -> _Pair:
    """Energy was read in one process, and follows its time: the intervals take in how far processes differ.

    Where there are reruns, their scatter holds that already.
    """
    return replace(pair, base=_widened(pair.base, before), new=_widened(pair.new, after))


def _widened(joules: Estimate, cell: Cell) -> Estimate:
    """An interval of the time is of a median over blocks, each a process: one alone scatters √blocks times as far."""
    if cell.time_s is None:
        return joules
    spread = [sqrt(len(cell.blocks)) * log(end / cell.time_s.value) for end in (cell.time_s.low, cell.time_s.high)]
    own = [log(end / joules.value) for end in (joules.low, joules.high)]
    below, above = (hypot(*both) for both in zip(own, spread, strict=True))
    return joules.model_copy(update={"low": joules.value * exp(-below), "high": joules.value * exp(above)})


def _same_counter(base: Energy, new: Energy) -> bool:
    return (base.source, base.domain) == (new.source, new.domain) and not (base.fake or new.fake)


def _with_noise(pairs: Sequence[_Pair], base: Mapping[str, Cell], metric: str) -> list[_Pair]:
    """The pairs, those with reruns with their scatter and with the reruns' centre in place of a single run."""
    raw, judged = ([pair for pair in pairs if (pair.raw is None) is is_raw] for is_raw in (True, False))
    scatter = {
        **_scatter(raw, base, "joules" if metric == ENERGY else "time_s"),
        **_scatter(judged, base, "corrected_s"),
    }
    return [_centred(pair, scatter.get(pair.key)) for pair in pairs]


def _scatter(pairs: Sequence[_Pair], base: Mapping[str, Cell], quantity: str) -> dict[str, RunToRun]:
    return run_to_run(repeated_logs([base[pair.key] for pair in pairs], quantity))


def _centred(pair: _Pair, noise: RunToRun | None) -> _Pair:
    if noise is None:
        return pair
    return replace(pair, noise=noise, base=pair.base.scaled(exp(noise.centre) / pair.base.value))


def _all_cells(pairs: Sequence[_Pair], base: Mapping[str, Cell], new: Mapping[str, Cell]) -> Candidate | None:
    """The mean log ratio of all cells that were judged in one way, quiet cells weighing more, with its scatter."""
    quantity = "corrected_s" if all(pair.raw for pair in pairs) else "time_s"
    known = {pair: pair.noise for pair in pairs if pair.noise and (quantity == "corrected_s" or pair.raw is None)}
    if len(known) < _FEWEST_FOR_ALL:
        return None
    weights = [noise.sd**-2 for noise in known.values()]
    means = mean_over_cells([base[pair.key] for pair in known], quantity, weights)
    noise = run_to_run({ALL_CELLS: means}).get(ALL_CELLS)
    now = float(np.average([log(pair.new.value) for pair in known], weights=weights))
    own_error = _error_of_mean([new[pair.key] for pair in known], weights)
    return Candidate(now - noise.centre, noise, own_error) if noise else None


def _error_of_mean(cells: Sequence[Cell], weights: Sequence[float]) -> float:
    """Standard error of the mean log time of these cells, by the blocks that they share: a slow one slows them all.

    0 where they share fewer than two.
    """
    logs = [{block.index: log(median(block.rounds_s)) for block in cell.blocks if block.rounds_s} for cell in cells]
    shared = set.intersection(*map(set, logs)) if logs else set()
    means = [np.average([of_cell[index] for of_cell in logs], weights=weights) for index in shared]
    return float(np.std(means, ddof=1)) / sqrt(len(means)) if len(means) > 1 else 0.0


# --- verdicts ---------------------------------------------------------------------------------------------------------


def _judged(
    pairs: Sequence[_Pair], together: Candidate | None, machines: Machines, margin: float | None
) -> Iterator[Comparison]:
    candidates = {pair: candidate for pair in pairs if (candidate := pair.candidate)}
    floor = MARGIN_FLOOR if margin is None else margin
    verdicts, of_all = judge_suite(list(candidates.values()), together, floor)
    by_reruns = dict(zip(candidates, verdicts, strict=True))
    for pair in pairs:
        judged = by_reruns.get(pair) or _judge_alone(pair, TIME_MARGIN if margin is None else margin)
        yield _comparison(pair, judged, machines)
    if together and of_all:
        yield _all_comparison(together, of_all, machines)


def _all_comparison(together: Candidate, judged: Judged, machines: Machines) -> Comparison:
    verdict, reason = _verdict(judged, machines)
    ratio, margin = together.ratio, judged.margin
    return Comparison(subject=ALL_CELLS, metric=TIME, ratio=ratio, margin=margin, verdict=verdict, reason=reason)


def _judge_alone(pair: _Pair, margin: float) -> Judged:
    return Judged(judge_ratio(ratio_of(pair.new, pair.base), margin), margin)


def _comparison(pair: _Pair, judged: Judged, machines: Machines) -> Comparison:
    candidate = pair.candidate
    verdict, reason = _verdict(judged, machines)
    if pair.busy and verdict in ("regressed", "improved"):
        verdict, reason = "inconclusive", pair.busy
    return Comparison(
        subject=pair.key,
        metric=pair.metric,
        base=pair.base.value,
        new=pair.new.value,
        ratio=candidate.ratio if candidate else ratio_of(pair.new, pair.base),
        raw_ratio=pair.raw,
        margin=judged.margin,
        verdict=verdict,
        reason=reason,
    )


def _verdict(judged: Judged, machines: Machines) -> tuple[VerdictName, str | None]:
    return ("incomparable", machines.reason) if machines.differ else (judged.verdict, None)


def _only_one(key: str, before: Cell | None, after: Cell | None, machines: Machines) -> Comparison:
    """Where no ratio can be made."""
    verdict: VerdictName
    verdict, reason = judge_presence(before, after, machines)
    sides = [cell.time_s.value if cell and cell.status == "ok" and cell.time_s else None for cell in (before, after)]
    return Comparison(subject=key, metric=TIME, base=sides[0], new=sides[1], verdict=verdict, reason=reason)


def n_repeats(cells: Iterable[Cell]) -> int:
    """The most reruns that any of these cells stores."""
    return max((len(cell.repeats.time_s) for cell in cells if cell.repeats), default=0)
