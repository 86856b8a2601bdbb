"""The short version of `tests/acceptance/scale_simulated.py`: where the law of communication holds, and where not."""

import importlib.util
from pathlib import Path

import pytest

PATH = Path(__file__).parents[1] / "acceptance" / "scale_simulated.py"
SEEDS = 4


@pytest.fixture(scope="module")
def simulated():
    spec = importlib.util.spec_from_file_location("scale_simulated", PATH)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def found(simulated):
    return [one for case in simulated.cases() for one in simulated.foretell(case, SEEDS)]


def test_on_networks_of_its_own_form_the_law_foretells_up_to_1024_ranks(simulated, found):
    assert max(one.world_size for one in found if one.case.has_form_of_the_law) == 1024
    assert simulated.failures(found) == []


def test_one_node_tells_nothing_of_several(found):
    """The docs say so, and the report does: a test that this stays true, not that it is good."""
    missed = [one for one in found if one.case.name.startswith("one node to several")]
    assert missed and all(one.error < -0.5 and one.coverage == 0 for one in missed)


def test_congestion_makes_large_messages_slower_than_foretold(found):
    large = [one for one in found if one.case.name.startswith("congested") and one.size_bytes == 2**27]
    assert all(one.error < 0 for one in large)
    assert min(one.error for one in large) < -0.05


def test_a_law_that_misses_is_reported_as_failed(simulated, found):
    broken = next(one for one in found if one.case.has_form_of_the_law)
    wrong = simulated.Foretold(broken.case, 8, 2**20, error=0.5, coverage=0.0)
    assert len(simulated.failures([wrong])) == 1
