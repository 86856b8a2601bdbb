"""The law of communication on networks whose latency and bandwidth are known."""

import networks
import numpy as np
import pytest
from networks import Link, Network

from scalemark.errors import FitError
from scalemark.fit.communication import Message, fit_all, fit_collective, predict_message, seconds, terms
from scalemark.schema import CollectiveTime, Estimate

SIZES = [2**power for power in range(12, 28, 3)]
ONE_NODE = Network(Link(8e-6, 2e11), Link(2e-5, 2.5e10), overhead_s=1.5e-5)


def of(operation: str, times: list[CollectiveTime]) -> list[CollectiveTime]:
    return [one for one in times if one.operation == operation]


def parameter(law, name):
    return next(one for one in law.parameters if one.name == name)


@pytest.mark.parametrize("operation", networks.OPERATIONS)
def test_a_ring_counted_step_by_step_has_the_terms_of_the_law(operation):
    """Each rank sends to its neighbour, step after step: counted, not taken from a formula."""
    p, size = 6, 600.0
    steps_per_pass = p - 1
    sent_bytes, rounds = 0.0, 0
    for _ in range(2 if operation == "all_reduce" else 1):
        for _ in range(steps_per_pass):
            rounds += 1
            sent_bytes += size / p
    assert terms(operation, [Message(p, size)]) == pytest.approx(np.array([[1.0, rounds, sent_bytes]]))


@pytest.mark.parametrize("operation", networks.OPERATIONS)
def test_known_overhead_latency_and_bandwidth_are_found_from_three_world_sizes(operation):
    law = fit_collective(of(operation, networks.measured(ONE_NODE, [2, 4, 8], SIZES)))
    assert law.coefficients == pytest.approx((1.5e-5, 8e-6, 1 / 2e11), rel=1e-3)
    assert parameter(law, "bandwidth").estimate.value == pytest.approx(2e11, rel=1e-3)
    assert all(one.identified for one in law.parameters)


def test_noise_widens_the_intervals_and_they_hold_the_truth():
    noisy = Network(ONE_NODE.inside, ONE_NODE.between, overhead_s=1.5e-5, noise=0.1)
    held = []
    for seed in range(10):
        law = fit_collective(of("all_reduce", networks.measured(noisy, [2, 4, 8], SIZES, seed)), seed)
        bandwidth, latency = parameter(law, "bandwidth").estimate, parameter(law, "latency").estimate
        held += [bandwidth.low <= 2e11 <= bandwidth.high, latency.low <= 8e-6 <= latency.high]
    assert np.mean(held) >= 0.8, "of 20, at 90 %"


def test_one_world_size_tells_no_latency_from_overhead_and_its_prediction_holds_either_way():
    for network in (
        Network(Link(2.3e-5, 2e11), ONE_NODE.between),
        Network(Link(1e-9, 2e11), ONE_NODE.between, 8, 4.6e-5),
    ):
        law = fit_collective(of("all_reduce", networks.measured(network, [2], SIZES)))
        assert not parameter(law, "latency").identified
        assert law.notes
        told = predict_message(law, "all_reduce", Message(8, 4096))
        assert told.low <= network.seconds("all_reduce", 8, 4096) * 1.05
        assert told.high >= network.seconds("all_reduce", 8, 4096) * 0.95


def test_messages_of_a_larger_group_are_foretold():
    law = fit_collective(of("all_gather", networks.measured(ONE_NODE, [2, 4], SIZES)))
    for size in SIZES:
        assert seconds(law, "all_gather", [Message(8, size)]) == pytest.approx(
            ONE_NODE.seconds("all_gather", 8, size), rel=1e-3
        )


def test_links_inside_a_node_and_between_nodes_have_laws_of_their_own():
    flat = Network(ONE_NODE.inside, ONE_NODE.between, hierarchical=False)
    laws = fit_all(networks.measured(flat, [2, 4, 8, 16, 32], SIZES))
    assert parameter(laws["all_reduce", False], "bandwidth").estimate.value == pytest.approx(2e11, rel=1e-2)
    assert parameter(laws["all_reduce", True], "bandwidth").estimate.value == pytest.approx(2.5e10, rel=1e-2)


def test_a_law_of_one_node_foretells_nothing_of_two():
    """Said in the docs: it is out by the ratio of the links."""
    flat = Network(ONE_NODE.inside, ONE_NODE.between, hierarchical=False)
    law = fit_all(networks.measured(flat, [2, 4, 8], SIZES))["all_reduce", False]
    message = Message(16, 2**27)
    assert seconds(law, "all_reduce", [message]) < 0.2 * flat.seconds("all_reduce", 16, 2**27)


def test_two_message_sizes_are_no_law():
    with pytest.raises(FitError, match="at least 3"):
        fit_collective(of("all_reduce", networks.measured(ONE_NODE, [2, 4], SIZES[:2])))


def test_bus_bandwidth_is_that_of_the_link_whatever_the_operation_and_the_group():
    without_latency = Network(Link(0.0, 2e11), ONE_NODE.between)
    for one in networks.measured(without_latency, [2, 8], [2**20]):
        assert one.bus_bytes_per_s.value == pytest.approx(2e11)
    slow = Estimate(value=2.0, low=1.0, high=4.0)
    one = networks.measured(without_latency, [2], [2**20])[0].model_copy(update={"time_s": slow})
    assert one.bus_bytes_per_s.low == pytest.approx(2**20 / 4)


def test_noise_never_makes_a_link_infinitely_fast():
    """Messages too small to tell bandwidth: the interval ends at ten times the fastest, and is said to be open."""
    noisy = Network(Link(1e-3, 1e9), ONE_NODE.between, noise=0.5)
    times = of("all_reduce", networks.measured(noisy, [2], SIZES[:3]))
    bandwidth = parameter(fit_collective(times), "bandwidth")
    fastest = max(one.bus_bytes_per_s.value for one in times)
    assert bandwidth.estimate.high == pytest.approx(10 * fastest)
    assert not bandwidth.identified
