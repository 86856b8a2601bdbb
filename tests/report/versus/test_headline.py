"""The first sentences: who is faster from which size on and by how much, what it costs, and nothing made up."""

import pytest
from contending import comparison, crossover_params, gpu, laptop

from scalemark.report.versus.headline import cause_line, contender_lines, doubt_line, headline, price_line
from scalemark.report.versus.words import crossover_size, speedup, watt_hours
from scalemark.schema import BestRange, Crossover, Estimate, NotCompared, Range, SuiteComparison
from scalemark.units import format_amount


def crossover(low: float | None, high: float | None, far: float = 1.0) -> Crossover:
    return Crossover(below="laptop", above="gpu", params=4e5, low=low, high=high, extrapolation=far)


def best(name: str, low: float, high: float, share: float = 1.0) -> BestRange:
    return BestRange(contender=name, params=Range(low=low, high=high), share=share, extrapolation=12.0)


def with_(**fields: object) -> SuiteComparison:
    return comparison().model_copy(update=fields)


def test_the_headline_says_from_which_size_on_and_by_how_much() -> None:
    said = headline(comparison())
    at = comparison().crossovers[0]
    assert said.startswith(f"gpu wins above {format_amount(at.params)} parameters (")
    assert ", laptop below. gpu is 14× (" in said
    assert said.endswith("as fast as laptop at d9w576, 36 M parameters without embeddings.")
    assert at.low is not None and at.high is not None and at.low < crossover_params() < at.high


def test_one_that_is_faster_throughout_is_said_to_be_with_its_distance() -> None:
    only = with_(fastest=(best("gpu", 5e4, 1.8e8),), crossovers=())
    assert headline(only).startswith(
        "gpu is the faster at every size from 50 k to 180 M parameters (up to 12× beyond the fitted range)."
    )
    unsure = with_(fastest=(best("gpu", 5e4, 1.8e8, share=0.6),), crossovers=())
    assert "though not surely (60 % of the draws)" in headline(unsure)


def test_a_crossover_that_is_not_told_is_not_said() -> None:
    told = with_(crossovers=(crossover(None, None),))
    assert headline(told).startswith("The laws cross, but their bands overlap so far that no size is told")


def test_three_contenders_stand_in_a_chain() -> None:
    ranges = (best("a", 1e4, 1e5), best("b", 1e5, 1e6), best("c", 1e6, 1e7))
    chain = with_(fastest=ranges, crossovers=(crossover(3e5, 5e5), crossover(3e5, 5e5)))
    assert headline(chain).startswith("Fastest: a up to 400 k parameters (300 k to 500 k), b up to 400 k")
    assert ", c above." in headline(chain)


def test_a_difference_that_the_interval_does_not_tell_is_none() -> None:
    shape = next(shape for shape in comparison().shapes if shape.name == "d9w576")
    alike = shape.steps[1].model_copy(update={"speedup": Estimate(value=1.02, low=0.97, high=1.08)})
    same = with_(shapes=(shape.model_copy(update={"steps": (shape.steps[0], alike)}),), fastest=())
    assert headline(same).endswith("no difference to laptop is told: 1.02× (0.97 to 1.08).")


def test_without_anything_in_common_that_is_said() -> None:
    bare = SuiteComparison(contenders=(laptop(), gpu()))
    assert headline(bare).startswith("No time could be compared")
    trained = bare.model_copy(update={"losses": comparison().losses})
    assert "equal configurations differ by" in headline(trained)


@pytest.mark.parametrize(
    ("found", "words"),
    [
        (crossover(3e5, 6e5), "400 k parameters (300 k to 600 k)"),
        (crossover(3e5, None), "400 k parameters (at least 300 k, how far above is not told)"),
        (crossover(None, 6e5), "400 k parameters (at most 600 k, how far below is not told)"),
        (crossover(None, None), "400 k parameters (not told: anywhere)"),
        (crossover(3e5, 6e5, 7.5), "400 k parameters (300 k to 600 k; 7.5× beyond the fitted range)"),
    ],
)
def test_a_crossover_is_never_said_without_its_interval_and_distance(found: Crossover, words: str) -> None:
    assert crossover_size(found) == words


def test_speedups_have_two_decimals_where_they_are_about_one() -> None:
    assert speedup(Estimate(value=5.13, low=4.6, high=5.72)) == "5.1× (4.6 to 5.7)"
    assert speedup(Estimate(value=2.07, low=1.76, high=2.43)) == "2.1× (1.8 to 2.4)"
    assert speedup(Estimate(value=172, low=41.2, high=204)) == "170× (41 to 200)"
    assert speedup(Estimate(value=0.973, low=0.914, high=1.04)) == "0.97× (0.91 to 1.04)"
    assert watt_hours(3.6e6 * 1.23) == "1.23 kWh"


def test_prices_are_said_or_asked_for() -> None:
    assert price_line(comparison()).startswith("A million tokens of d9w576 (36.1 M parameters) cost $")
    assert price_line(comparison()).endswith(" on gpu.")
    free = with_(shapes=())
    assert "--usd-per-hour NAME=P" in price_line(free)
    both = with_(cheapest=(best("laptop", 1e4, 4e5), best("gpu", 4e5, 1e7)), price_crossovers=(crossover(3e5, 6e5),))
    assert price_line(both).endswith("gpu is cheaper above 400 k parameters (300 k to 600 k).")


def test_causes_machines_and_doubts_have_a_line_each() -> None:
    assert cause_line(comparison()).startswith("Where the time of d9w576 goes: on laptop mostly matrix products")
    assert contender_lines(comparison())[1] == "gpu: Test GPU, 2 cores, 16.0 GiB, torch 2.13.0; cuda, float32"
    doubt = NotCompared(what="losses", reason="other text")
    assert doubt_line(with_(not_compared=(doubt,))) == "Not compared, or not on equal terms: losses (see below)."
    assert doubt_line(with_(not_compared=())) == ""
