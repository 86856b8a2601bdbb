from scalemark.record.collectives import collective_times
from scalemark.schema import CollectiveMeasured


def entry(index: int, *rounds_s: float, size: int = 4096, ranks: int = 2) -> CollectiveMeasured:
    return CollectiveMeasured(
        operation="all_reduce",
        backend="gloo",
        device="cpu",
        world_size=ranks,
        message_bytes=size,
        block_index=index,
        rounds_s=rounds_s,
    )


def test_blocks_of_one_message_become_one_time_with_its_raw_samples():
    (found,) = collective_times([entry(1, 3.0, 3.0), entry(0, 1.0, 1.0), entry(2, 2.0)])
    assert found.blocks_s == ((1.0, 1.0), (3.0, 3.0), (2.0,))
    assert found.time_s.value == 2.0
    assert found.time_s.low < 2.0 < found.time_s.high


def test_a_block_that_a_lost_group_began_goes_on_in_the_next_one():
    (found,) = collective_times([entry(0, 1.0), entry(0, 5.0)])
    assert found.blocks_s == ((1.0, 5.0),)


def test_sizes_and_groups_are_kept_apart_smallest_first():
    found = collective_times([entry(0, 1.0, size=2**20), entry(0, 1.0, ranks=4), entry(0, 1.0)])
    assert [(one.world_size, one.message_bytes) for one in found] == [(2, 4096), (2, 2**20), (4, 4096)]
