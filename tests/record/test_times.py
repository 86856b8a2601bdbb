"""What a cell's blocks say beyond their median."""

import pytest

from scalemark.record.times import time_fields
from scalemark.schema import Block, Cell, ModelConfig, Workload

WORKLOAD = Workload(phase="step", model=ModelConfig(n_layer=1, d_model=64, n_head=1), batch=2, seq_len=256)


def cell(*rounds_s: tuple[float, ...], warmup_s=(0.5, 0.1), setup_s: float = 0.2, steady=(True, True, True)) -> Cell:
    blocks = [
        Block(index=i, warmup_s=warmup_s, rounds_s=rounds, setup_s=setup_s, steady=steady[i])
        for i, rounds in enumerate(rounds_s)
    ]
    return Cell(workload=WORKLOAD, status="ok", blocks=tuple(blocks))


def test_a_cell_without_blocks_has_no_time():
    assert time_fields(cell()) == {}


def test_the_minimum_is_the_fastest_round_of_all_blocks():
    assert time_fields(cell((0.12, 0.11), (0.10, 0.13)))["minimum_s"] == 0.10


def test_what_happens_once_is_the_set_up_and_what_the_first_round_takes_beyond_a_steady_one():
    once_s = time_fields(cell((0.1, 0.1), (0.1, 0.1)))["once_s"]
    assert once_s.value == pytest.approx(0.2 + 0.5 - 0.1)


def test_compilation_is_apart_from_steady_rounds():
    fields = time_fields(cell((0.05, 0.05), (0.05, 0.05), warmup_s=(20.0, 0.05)))
    assert fields["once_s"].value > 20
    assert fields["time_s"].value == pytest.approx(0.05)


def test_a_first_round_faster_than_the_rest_takes_next_to_nothing_once():
    assert time_fields(cell((0.1, 0.1), warmup_s=(0.01,), setup_s=0.0))["once_s"].value == pytest.approx(1e-6)


def test_a_time_that_blocks_agree_on_has_no_marks():
    assert time_fields(cell((0.1,) * 9, (0.1,) * 9, (0.1,) * 9))["marks"] == ()


def test_a_time_that_blocks_disagree_on_is_wide():
    assert time_fields(cell((0.1,) * 9, (0.11,) * 9, (0.12,) * 9))["marks"] == ("wide",)


@pytest.mark.parametrize(("steady", "marks"), [((False, True, True), ()), ((False, False, True), ("not_steady",))])
def test_a_cell_is_not_steady_where_most_of_its_blocks_were_not(steady, marks):
    assert time_fields(cell(*[(0.1,) * 9] * 3, steady=steady))["marks"] == marks
