"""Who is faster from which size on: the true crossover is found, its intervals hold, and none is made up."""

from functools import cache

import numpy as np
import pytest
from contending import (
    board_suite,
    comparison,
    crossover_params,
    gpu,
    gpu_suite,
    laptop,
    machine_suite,
    slower,
    with_time_law,
)

from scalemark.schema import Cell, Contender, Crossover, CurvePoint, Repeats
from scalemark.versus.fitted import law_cells
from scalemark.versus.sizes import Lines, ask_laws, best_ranges, between_runs, crossovers, priced, speedup_curves


@cache
def law_of(seed: int) -> Contender:
    return with_time_law(machine_suite(seed))


def asked(*contenders: Contender) -> Lines:
    found = ask_laws(contenders)
    assert found is not None
    return found


def only(found: tuple[Crossover, ...]) -> Crossover:
    (one,) = found
    return one


def test_the_true_crossover_is_found_between_the_shapes_that_there_are() -> None:
    found = only(comparison().crossovers)
    assert (found.below, found.above) == ("laptop", "gpu")
    assert found.params == pytest.approx(crossover_params(), rel=0.05)
    assert found.low is not None and found.high is not None
    assert found.low <= crossover_params() <= found.high
    assert found.extrapolation == 1


def test_intervals_of_a_crossover_hold_the_true_one() -> None:
    """Four pairs of suites: 90 % intervals of which two miss are too narrow (of 100 pairs, see docs/notes.md)."""
    pairs = [asked(law_of(seed), with_time_law(board_suite(seed))) for seed in range(4)]
    found = [only(crossovers(lines)) for lines in pairs]
    assert all(one.low and one.high for one in found)
    assert sum((one.low or 0) <= crossover_params() <= (one.high or np.inf) for one in found) >= 3


def test_ranges_meet_where_the_laws_cross() -> None:
    first, second = comparison().fastest
    assert (first.contender, second.contender) == ("laptop", "gpu")
    assert first.params.high < only(comparison().crossovers).params < second.params.low
    assert second.extrapolation > 10


def test_a_machine_that_is_faster_throughout_is_so_in_every_draw() -> None:
    lines = asked(law_of(0), with_time_law(slower(machine_suite(1), 3)))
    (whole,) = best_ranges(lines)
    assert whole.contender == "machine-0" and whole.share == 1
    assert crossovers(lines) == ()


def test_of_two_machines_that_are_alike_no_crossover_is_told() -> None:
    lines = asked(law_of(0), law_of(1))
    assert all(not one.is_told for one in crossovers(lines))
    assert all(one.share < 0.95 for one in best_ranges(lines))


def test_the_speedup_that_the_laws_say_grows_through_one_at_the_crossover() -> None:
    curve = comparison().speedups["gpu"]
    below = [point for point in curve if point.x < crossover_params() / 1.5]
    above = [point for point in curve if point.x > crossover_params() * 1.5]
    assert all(point.y.high < 1 for point in below) and all(point.y.low > 1 for point in above)
    assert any(point.extrapolation > 1 for point in above)


def test_three_machines_share_the_sizes_among_them() -> None:
    fast = with_time_law(slower(gpu_suite(), 0.5))
    lines = asked(law_of(0), gpu(), fast)
    assert [one.contender for one in best_ranges(lines)] == ["machine-0", fast.name]
    assert only(crossovers(lines)).params < crossover_params()


def test_a_price_moves_the_crossover_to_where_the_speedup_is_worth_it() -> None:
    """At four times the price the GPU is the cheaper one where its speed-up is four."""
    cheap, dear = laptop().model_copy(update={"usd_per_hour": 0.5}), gpu().model_copy(update={"usd_per_hour": 2.0})
    lines = asked(cheap, dear)
    costs = priced(lines, (cheap, dear))
    assert costs is not None
    at = only(crossovers(costs)).params
    speedup = np.interp(at, [point.x for point in curve_of(lines)], [point.y.value for point in curve_of(lines)])
    assert speedup == pytest.approx(4, rel=0.02)
    assert priced(lines, (laptop(), gpu())) is None


def curve_of(lines: Lines) -> tuple[CurvePoint, ...]:
    return speedup_curves(lines)["gpu"]


def test_runs_that_differ_as_a_whole_widen_the_crossover() -> None:
    """Ten reruns in which every cell was slower or faster together."""
    factors = np.exp(0.1 * np.random.default_rng(0).standard_normal(10))

    def with_reruns(cell: Cell) -> Cell:
        assert cell.time_s
        reruns = tuple(float(cell.time_s.value * factor) for factor in factors)
        return cell.model_copy(update={"repeats": Repeats(time_s=reruns)})

    suite = machine_suite().model_copy(update={"cells": tuple(map(with_reruns, machine_suite().cells))})
    restless = law_of(0).model_copy(update={"suite": suite})
    assert between_runs(law_cells(restless)) == pytest.approx(np.log(factors).std(ddof=1))
    assert between_runs(law_cells(law_of(0))) == 0
    wide, narrow = (only(crossovers(asked(one, gpu()))) for one in (restless, law_of(0)))
    assert wide.params == narrow.params
    assert wide.low and wide.high and narrow.low and narrow.high
    assert wide.high / wide.low > 1.2 * narrow.high / narrow.low


def test_without_two_laws_nothing_is_said() -> None:
    assert ask_laws((gpu(), laptop().model_copy(update={"laws": ()}))) is None
